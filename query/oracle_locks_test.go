package query

import (
	"fmt"
	"slices"
	"strings"
)

// userKey is whose mail it is: an outgoing user.
type userKey struct{ domain, user string }

func usersOf(all []state) map[userKey]bool {
	users := map[userKey]bool{}
	for _, s := range all {
		if s.way == "outgoing" {
			users[userKey{s.domain, s.user}] = true
		}
	}
	return users
}

// locked are the cells locked and targets of a row about who, whose mail is of the users.
func (q askedOf) locked(c *corpus, who string, users map[userKey]bool) []string {
	by := q.text("group_by")
	if who == "" || who == "<>" || !slices.Contains([]string{"identity", "sender", "auth_user", "domain"}, by) {
		return []string{"", "[]"}
	}
	reasons, targets := map[string]bool{}, map[string]bool{}
	for u := range users {
		identity := ""
		switch by {
		case "domain":
			u = userKey{who, "*"}
		case "auth_user":
			u.user = who
		default:
			identity = who
		}
		if u.user == "" {
			u.user = "*"
		}
		targets[fmt.Sprintf("('%s','%s','%s')", u.domain, u.user, identity)] = true
		for _, l := range c.locks {
			if !l.locked || l.domain != u.domain || l.user != "*" && l.user != u.user && l.user != strings.Split(u.user, "@")[0] {
				continue
			}
			reason := ""
			if l.reason != "" {
				reason = ": " + l.reason
			}
			if l.identity == "" {
				reasons["user"+reason] = true
			} else if strings.EqualFold(l.identity, who) {
				reasons["identity"+reason] = true
			}
		}
	}
	return []string{strings.Join(sortedSet(reasons), "; "), "[" + strings.Join(sortedSet(targets), ",") + "]"}
}

func sortedSet(set map[string]bool) []string {
	var all []string
	for word := range set {
		all = append(all, word)
	}
	slices.Sort(all)
	return all
}
