// Package retrieve is millrace quarantine: it lists what came into the filter's quarantine,
// writes the list, and loads it into the pipeline.
//
// Run goes through the folders that are asked for, one after another, and hands each message to
// the receiver of rows as it comes. Sheet writes rows as the vendor's script does: numbered, twelve
// columns, the same order on the screen and in a file.
//
// Load. Each message becomes an event of the kind quarantine, published like any other, and
// Run returns when Kafka has acknowledged all of them, or an error that says how many it
// has not. What is in quarantine_messages already, by server, account, folder, UIDVALIDITY and
// UID, is asked of ClickHouse first and left out, so that a run can be repeated. Between Kafka's
// acknowledgement and the transformer's insert, about a second, a repetition would not see
// them: two runs at the same time, or while the transformer stands still, load twice.
package retrieve
