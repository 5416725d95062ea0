// Package guard locks and blocks by rules, does what locks lead to, and gives the lists of
// what is locked to mail servers.
//
//	o, err := guard.FromConfig(cfg, store, reader, log)
//	o.Mailer = mailer                    // something with Send(ctx, to, subject, body); nil: mail effects fail, and say so
//	g, err := guard.New(o)
//	registry.MustRegister(g)             // a prometheus.Collector
//	err = g.Run(ctx)                     // acts while this instance is elected, until ctx ends
//
// millrace serve and up run it beside trail.Copy, over the same store; reader are the
// query.Options of a user that may read. Every instance runs it; one of them acts.
//
// What it promises:
//   - A rule is one query every [Options.Interval] (3 s): what has come to ClickHouse is
//     acted on within 10 s. The query is bounded: it reads what was received since the
//     window, the allowance for late events and an hour before. The window itself is by the
//     events' own time.
//   - A rule fires once for a crossing, with any number of instances and over restarts:
//     the lock and the record that it has fired are one batch in the log of state, in the
//     name of the term. It fires again when the count had fallen below, or when the
//     cooldown is over and more has come since.
//   - What is on the never list, or is locked already, is left alone.
//   - Locks that have an end, and blocks of rules with unlock_after, are ended by a record.
//   - Each change of a lock or block, whoever makes it, runs its effects at least once, in
//     order for each effect, with the same idempotency key however often. How far each
//     effect is stands in the state. What fails is tried again, then given up and counted.
//   - What is imported from the filter's panel is not told to it.
//   - [ListsOf] depends on nothing but a snapshot and the time.
package guard
