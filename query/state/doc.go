// Package state holds what people and rules have decided: locks, blocks, users, tokens,
// settings of outgoing users, schedules, and which reports were sent. It is an event log
// in one Kafka topic, PREFIX + "state", of one partition and compacted; each instance
// reads it whole and keeps the result in memory.
//
//	store, err := state.Open(ctx, options)   // reads to the end, then follows
//	snap := store.Snapshot()                 // immutable, cheap
//	lock, known := snap.Lock("example.com", "*", "bob@example.com")
//	err = store.Append(ctx, state.By{Actor: "cli:root", How: state.CLI}, state.Change{
//		Key: state.LockKey("example.com", "*", "bob@example.com"), Action: "lock",
//		Value: state.Lock{Locked: true}, Reason: "spam run", If: state.At(lock.Last.Version),
//	})
//	term, err := store.Leader(ctx)           // this instance acts now, until term.Context() ends
//	err = term.Append(ctx, by, changes...)   // has no effect once another one acts
//
// What it promises:
//   - A record has the whole new state of its key, who, how, when and why. Unlocking is a
//     record too. What is removed has a record that says so, and then a tombstone.
//   - Append returns nil when the change is in the log, acknowledged by all replicas in
//     sync, and in this store's Snapshot. Each change stands for itself.
//   - Whether a record has effect is decided when it is read, from the log alone, so that
//     all instances decide alike: a record with a condition has none when its key has
//     changed since its author looked ([ErrConflict]); one of a term has none when a later
//     term has begun before it ([ErrFenced]); a second copy of a record has none.
//   - Compaction keeps the last record of a key. When that one had no effect, the state
//     that holds is appended again, by its author or whoever appends next, long before
//     compaction (min.compaction.lag.ms is a day) can remove the record that had effect.
//   - Records that a newer version has written are kept and passed over.
//   - One instance at a time has a [Term]: a consumer group over the one partition elects
//     it, and its term counts from the record in the log that begins it, not from the
//     group's generation, which a broker may forget and begin again.
package state
