package guard

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"millrace/query/lock"
	"millrace/query/state"
)

// List names one of the lists for mail servers.
type List string

// The lists.
const (
	Identities List = "identities" // locked identities
	Users      List = "users"      // locked outgoing users: USER@DOMAIN, or the address that the user is
	Domains    List = "domains"    // domains all of whose outgoing users are locked
	Senders    List = "senders"    // blocked senders
)

// AllLists are all of them.
var AllLists = []List{Identities, Users, Domains, Senders}

// Format is how a list is written.
type Format string

// The formats.
const (
	Text    Format = "text"    // an entry a line
	JSON    Format = "json"    // a list of objects
	Exim    Format = "exim"    // lsearch: key, colon, code
	Postfix Format = "postfix" // texthash: key and action of access(5)
	Rspamd  Format = "rspamd"  // a map of multimap
)

// AllFormats are all of them.
var AllFormats = []Format{Text, JSON, Exim, Postfix, Rspamd}

// Entry is one of a list.
type Entry struct {
	Key    string    `json:"key"` // what a mail server looks up
	Domain string    `json:"domain"`
	User   string    `json:"user"`
	Until  time.Time `json:"until,omitzero"`
	Code   string    `json:"code,omitempty"` // the answer to the sender: a code of SMTP or blackhole
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since"`
}

// ContentType of a format.
func (f Format) ContentType() string {
	if f == JSON {
		return "application/json"
	}
	return "text/plain; charset=utf-8"
}

// ParseList and ParseFormat read names.
func ParseList(s string) (List, error) {
	if !slices.Contains(AllLists, List(s)) {
		return "", fmt.Errorf("cannot give list %q: want identities, users, domains or senders", s)
	}
	return List(s), nil
}

// ParseFormat reads a format's name.
func ParseFormat(s string) (Format, error) {
	if !slices.Contains(AllFormats, Format(s)) {
		return "", fmt.Errorf("cannot give a list in format %q: want text, json, exim, postfix or rspamd", s)
	}
	return Format(s), nil
}

// ListsOf are the entries of a list that hold at a time, in the order of their keys.
func ListsOf(s *state.Snapshot, l List, filter lock.Filter, now time.Time) []Entry {
	filter.All = false
	var all []Entry
	add := func(key, domain, user string, until time.Time, code string, m state.Mark) {
		all = append(all, Entry{Key: key, Domain: domain, User: user, Until: until, Code: code, Reason: m.Reason, Since: m.At})
	}
	if l == Senders {
		for _, b := range lock.Blocked(s, filter) {
			add(b.Sender, b.Domain, b.User, time.Time{}, "", b.Last)
		}
	} else {
		for _, x := range lock.List(s, filter, now) {
			code := x.Code
			if set, ok := lock.Settings(s, x.Domain, x.User); ok && code == "" {
				code = set.ResponseCode
			}
			switch {
			case l == Identities && x.Identity != "":
				add(x.Identity, x.Domain, x.User, x.Until, code, x.Last)
			case l == Domains && x.Identity == "" && x.User == state.AllUsers:
				add(x.Domain, x.Domain, x.User, x.Until, code, x.Last)
			case l == Users && x.Identity == "" && x.User != state.AllUsers:
				add(userKey(x.Domain, x.User), x.Domain, x.User, x.Until, code, x.Last)
			}
		}
	}
	slices.SortFunc(all, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.User, b.User))
	})
	return all
}

// userKey is how a mail server knows an outgoing user.
func userKey(domain, user string) string {
	if _, err := netip.ParseAddr(user); err == nil || strings.Contains(user, "@") {
		return user
	}
	return user + "@" + domain
}

// ETag is a strong one of what ListsOf gives: two times at which it is the same have the
// same lists in all formats. It changes with the last change of any lock, block or setting,
// and when the time of a lock is over.
func ETag(s *state.Snapshot, now time.Time) string {
	var last state.Version
	entries, lapsed := 0, 0
	note := func(m state.Mark) { last = max(last, m.Version); entries++ }
	for _, l := range s.Locks() {
		note(l.Last)
		if l.Locked && !l.Held(now) {
			lapsed++
		}
	}
	for _, b := range s.Blocks() {
		note(b.Last)
	}
	for _, u := range s.OutgoingUsers() {
		note(u.Last)
	}
	return fmt.Sprintf(`"%d-%d-%d-%d"`, s.Epoch(), last, entries, lapsed)
}

// Render writes a list. A key that several entries have is written once, except in JSON,
// and one that a format cannot express not at all: a comment at the end counts these.
func Render(f Format, l List, entries []Entry) []byte {
	if f == JSON {
		if entries == nil {
			entries = []Entry{}
		}
		b, err := json.MarshalIndent(entries, "", "  ")
		if err != nil { // texts and times can be written
			return []byte("[]\n")
		}
		return append(b, '\n')
	}
	var b bytes.Buffer
	seen := map[string]bool{}
	left := 0
	for _, e := range entries {
		if seen[e.Key] {
			continue
		}
		seen[e.Key] = true
		line, ok := f.line(e)
		if !ok {
			left++
			continue
		}
		b.WriteString(line + "\n")
	}
	if left > 0 && f != Text {
		fmt.Fprintf(&b, "# %d of %s left out: the format cannot express them\n", left, l)
	}
	return b.Bytes()
}

// answer is what the sender hears. It does not say why: that is for the operator.
const answer = "sending is locked, ask your provider"

func (f Format) line(e Entry) (string, bool) {
	if strings.ContainsFunc(e.Key, unicode.IsControl) {
		return "", false
	}
	code := cmp.Or(e.Code, "550")
	switch f {
	case Exim:
		key := e.Key
		if strings.ContainsFunc(key, unicode.IsSpace) || strings.ContainsAny(key, `:"\#`) {
			key = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
		}
		return key + ": " + code, true
	case Postfix:
		if strings.ContainsFunc(e.Key, unicode.IsSpace) || strings.HasPrefix(e.Key, "#") {
			return "", false
		}
		switch {
		case code == "blackhole":
			return e.Key + " DISCARD " + answer, true
		case code[0] == '4':
			return e.Key + " " + code + " 4.7.1 " + answer, true
		}
		return e.Key + " " + code + " 5.7.1 " + answer, true
	case Rspamd:
		// A blank would begin a value, and # a comment.
		return e.Key, !strings.ContainsFunc(e.Key, unicode.IsSpace) && !strings.Contains(e.Key, "#")
	}
	return e.Key, true
}
