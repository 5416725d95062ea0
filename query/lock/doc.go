// Package lock is what can be done with locks of identities and outgoing users, blocks of
// senders, and the settings of outgoing users: over the store of package state, for the
// command line, the API and the rules alike.
//
//	result, err := lock.Lock(ctx, store, by, targets, lock.Options{Reason: "spam run"})
//	result, err := lock.Unlock(ctx, store, by, targets, "it was cleaned")
//	held := lock.List(store.Snapshot(), lock.Filter{Domain: "example.com"}, time.Now())
//	why, locked := lock.Of(store.Snapshot(), "example.com", "192.0.2.1", "bob@example.com", time.Now())
//
// What it promises:
//   - Domains, addresses and identities are written in the form of package
//     internal/mailname, whoever gives them; no user's name is all of the domain's.
//   - An identity is locked only where the outgoing user has an identification method:
//     else the log source could not tell it from the others. The error says how to set it.
//   - In bulk, all targets are looked at before any is changed. A verb that finds nothing
//     to do makes no record: it says which targets were so already.
package lock
