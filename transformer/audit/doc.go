// Package audit proves on live data that ClickHouse has every record of Kafka's
// log once, or says which it has not and which twice.
//
// It compares three things, for each topic, epoch and partition: the offsets that
// have a row (in the kind's table or, for a refused record, in rejects), the offset
// that the consumer group has confirmed, and the bounds of Kafka's log. The commits
// are read before the rows, so that a pipeline at work is no cause for alarm:
//
//   - What lies below the confirmed offset and has no row is missing.
//   - What lies at or above it and has no row is lag.
//   - More rows than offsets are doubled.
//   - What is explained by a removal is removed, not missing: the offsets before
//     Kafka's log start that stand before the first row of the epoch, the rows of
//     weeks that the table's TTL has deleted, and, where somebody has run a DELETE
//     on the table, gaps among rows older than that.
//
// A reject that millrace replay has made an event of is there under one place in
// two tables. That is no double; two events of one reject are.
//
// A gap behind the first row is not excused by Kafka having forgotten the record:
// what retention took before it was inserted is lost, and an audit that looked no
// further back than the log reaches would prove little.
//
// Every offset between two others counts as a record. Kafka also gives offsets to
// control batches, but only a transactional producer's commits and aborts write
// them; ours is idempotent and has no transactions, and compaction, which removes
// records from the middle, is refused for our topics. So our logs have no holes.
// A foreign transactional producer on them would show as single missing offsets.
//
// With several shards each is asked, and what they have is one: it does not matter which
// of them has a row, and a row on two of them is doubled.
//
// Only the k_ columns are read, a week of a table at a time: the server makes a
// bitmap of the offsets and sends its ranges, of which there are few. Nothing is
// changed, so the read-only user suffices.
package audit
