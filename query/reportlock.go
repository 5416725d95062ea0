package query

import (
	"encoding/json"
	"fmt"
	"regexp"
)

// targetsLine is the line of a report's SELECT that is expanded.
var (
	expansion   = regexp.MustCompile(`\{\{(?:targets\((.*?)\)|.*?)\}\}`)
	targetsLine = regexp.MustCompile(`(?m)^\s*\{\{targets\(.+\)\}\} AS targets,?\s*$`)
)

// targets is of those who act on a row: a table for people does not show it.
const (
	targetsColumn = "targets"
	lockedColumn  = "locked"
)

// expand writes out what a line of a report's SELECT has in double braces:
//
//	{{targets(USERS)}} AS targets  what a lock of who would be of: (domain, user, identity)
//
// and [Asked.Run] puts the column locked before it: whether these are locked, and why.
// USERS is SQL for an array of (domain, auth_user): those of the row's outgoing mail. The SELECT has a
// column who, and the report a choice group_by: identity and sender make who an identity,
// auth_user an outgoing user, domain all users of one. Of anything else there is no lock.
func (r Report) expand(line string, values map[string]string) (string, error) {
	var err error
	line = expansion.ReplaceAllStringFunc(line, func(use string) string {
		m := expansion.FindStringSubmatch(use)
		if p, ok := r.Parameter("group_by"); !ok || len(p.Choices) == 0 {
			err = fmt.Errorf("%s is of what a row is: the report has no -- choice: group_by", use)
			return use
		}
		if !targetsLine.MatchString(line) {
			err = fmt.Errorf("cannot expand %s: want a line {{targets(USERS)}} AS targets", use)
			return use
		}
		target := ""
		switch values["group_by"] {
		case "identity", "sender":
			target = "(toString(u.1), if(u.2 = '', '*', toString(u.2)), toString(who))"
		case "auth_user":
			target = "(toString(u.1), toString(who), '')"
		case "domain":
			target = "(toString(who), '*', '')"
		default:
			return "CAST([], '" + targetsType + "')"
		}
		return "CAST(if(who IN ('', '<>'), [], arrayFilter(t -> t.1 != '', arraySort(arrayDistinct(arrayMap(u -> " + target + ", " + m[1] + "))))), '" + targetsType + "')"
	})
	return line, err
}

const targetsType = "Array(Tuple(domain String, user String, identity String))"

// withLocked is the SELECT with the column locked before targets, or in its place, and behind
// all what it is made of: who and the targets.
func withLocked(sql string, targets bool) string {
	shown := "* EXCEPT (" + targetsColumn + "), '' AS " + lockedColumn
	if targets {
		shown += ", " + targetsColumn
	}
	return "SELECT " + shown + ", toString(who) AS _who, toJSONString(" + targetsColumn + ") AS _targets FROM\n(\n" + sql + "\n)"
}

// locked makes the column.
func (l *Locks) locked() *Column {
	return &Column{Name: lockedColumn, Hidden: 2, Text: func(hidden []string) (string, error) {
		var targets []Owner
		if err := json.Unmarshal([]byte(hidden[1]), &targets); err != nil {
			return "", fmt.Errorf("cannot read the column %s of a report: %w", targetsColumn, err)
		}
		return l.Reasons(targets, hidden[0])
	}}
}
