// Package history makes up a mail filter's past inside ClickHouse: message and status events
// of so many days, written by the server itself, to try searches and reports on. Package
// traffic makes frames that go the whole way; this one makes a hundred million rows.
//
// What it promises:
//   - The same [Options] give the same rows, but for what ClickHouse makes of their order.
//     A block is inserted under a token of its own, so that a run that was cut off can be
//     run again.
//   - A message's id is Exim's, its time is the message's, no two are the same; its
//     statuses share domain, id_time, id, recipient and filtering host with it, and come later.
//   - Domains have the frequencies of Zipf's law. Classes, statuses and directions have the
//     shares that package traffic has, roughly: a fifth is outgoing, and one identity in
//     fifty there sends spam.
//   - No name belongs to anybody: domains end in .example, addresses come from 198.51.100.0/24.
//   - It writes into a database that has no other messages, since made-up ones could not be told
//     from them: k_topic is "history" in every row.
package history
