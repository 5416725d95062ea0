package query

import (
	"fmt"
	"regexp"

	"millrace/schema"
)

var expansion = regexp.MustCompile(`\{\{(\w+)\((.*?)\)\}\}`)

// targetsColumn is of those who act on a row: a table for people does not show it.
const targetsColumn = "targets"

// expand writes out what a line of a report's SELECT has in double braces:
//
//	{{locked(USERS)}}  AS locked   whether and why who is locked: schema.LockedReasons
//	{{targets(USERS)}} AS targets  what a lock of who would be of: (domain, user, identity)
//
// USERS is SQL for an array of (domain, auth_user): those of the row's outgoing mail. The SELECT has a
// column who, and the report a choice group_by: identity and sender make who an identity,
// auth_user an outgoing user, domain all users of one. Of anything else there is no lock.
func expand(line string) (string, error) {
	var err error
	line = expansion.ReplaceAllStringFunc(line, func(use string) string {
		m := expansion.FindStringSubmatch(use)
		users := "arraySort(arrayDistinct(arrayMap(u -> (if({group_by:String} = 'domain', toString(who), toString(u.1)), " +
			"multiIf({group_by:String} = 'domain', '*', {group_by:String} = 'auth_user', toString(who), u.2 = '', '*', toString(u.2))), " + m[2] + ")))"
		someone := "{group_by:String} IN ('identity', 'sender', 'auth_user', 'domain') AND who NOT IN ('', '<>')"
		switch m[1] {
		case "locked":
			return "if(" + someone + ", " + schema.LockedReasons(schema.Locks.Name, users, "[lower(who)]") + ", '')"
		case "targets":
			return "CAST(if(" + someone + ", arrayMap(u -> (u.1, u.2, if({group_by:String} IN ('identity', 'sender'), toString(who), '')), arrayFilter(u -> u.1 != '', " + users + ")), []), 'Array(Tuple(domain String, user String, identity String))')"
		}
		err = fmt.Errorf("there is no %q to expand: want locked(USERS) or targets(USERS)", m[1])
		return use
	})
	return line, err
}
