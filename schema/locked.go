package schema

// LockedReasons is SQL for why somebody's mail is locked: the reasons of the locks that hold,
// as "identity: REASON" or "user: REASON" with "; " between them; empty: none does. It is the
// one definition for a found message and for a report's row.
//
// locks is SQL for what the view Locks is called; users an array of (domain, auth_user), of any
// of which the lock may be; names an array of what the identity may be, in lower case. What
// an identity is says the outgoing user's identification method, which a lock need not know:
// so a message's names are its identity, its sender and its authenticated user.
func LockedReasons(locks, users, names string) string {
	return "arrayStringConcat(arraySort(arrayDistinct(arrayMap(l -> concat(if(l.3 = '', 'user', 'identity'), if(l.4 = '', '', concat(': ', l.4))), " +
		"arrayFilter(l -> arrayExists(u -> l.1 = u.1 AND has(['*', u.2, splitByChar('@', u.2)[1]], l.2), " + users + ") AND (l.3 = '' OR has(" + names + ", lower(l.3))), " +
		"(SELECT groupArray((domain, user, identity, reason)) FROM " + locks + " WHERE locked = 1))))), '; ')"
}
