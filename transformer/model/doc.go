// Package model is the protocol that carries a partition's records into
// ClickHouse exactly once, small enough to be tried in every order: two members,
// one partition of a few records, the consumer group, the log, and ClickHouse with
// its rows and the tokens that it remembers.
//
//   - Explore visits every state that the bounds allow, breadth first, with a
//     crash, a freeze, a lost answer or a fault of Kafka or ClickHouse between any
//     two steps. It finds the shortest course on which a row is doubled, or is
//     missing (or not counted as lost) when all has come to rest, and states from
//     which nothing comes to rest any more.
//   - Rules are the protocol's rules, each a switch: with one off, Explore shows
//     what the rule is for. World is what the protocol assumes of its surroundings;
//     with an assumption off it shows what is not covered.
//   - Legal tells whether what a real member did, step by step, is a course of the
//     model: so the model stays one of the program.
//
// A member's steps are those of transformer/partition.go, recover.go and
// reconcile.go, by the same names: a change there is made here, too.
//
// Time is two things: whether the lease is over, and whether the time is over after
// which ClickHouse is asked (Options.ReconcileAfter). The step "time passes" ends
// both. A freeze is a member that takes no step meanwhile; a session that expires is
// a rebalance. One record stands for one record batch. It imports nothing of the
// transformer and holds no clock, no goroutine and no connection.
package model
