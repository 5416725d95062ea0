package schema

// LockedReasons is SQL for why somebody's mail is locked, for a condition: what package query
// makes for the rows that are shown, where it is described.
//
// locks is SQL for what the view Locks is called; users an array of (domain, auth_user), of any
// of which the lock may be; names an array of what the identity may be.
func LockedReasons(locks, users, names string) string {
	return "arrayStringConcat(arraySort(arrayDistinct(arrayMap(l -> concat(if(l.3 = '', 'user', 'identity'), if(l.4 = '', '', concat(': ', l.4))), " +
		"arrayFilter(l -> arrayExists(u -> l.1 = u.1 AND has(['*', u.2, splitByChar('@', u.2)[1]], l.2), " + users + ") AND (l.3 = '' OR arrayExists(n -> lowerUTF8(n) = lowerUTF8(l.3), " + names + ")), " +
		"(SELECT groupArray((domain, user, identity, reason)) FROM " + locks + " WHERE locked = 1))))), '; ')"
}
