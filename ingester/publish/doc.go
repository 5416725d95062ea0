// Package publish puts events into Kafka: idempotently, acknowledged by all
// in-sync replicas, in bounded memory, without an allocation per record.
//
// The way of a record. A goroutine that has events takes a Lane, appends them and
// gives the lane back. schema.AppendRecord writes an event straight into the open
// record batch of its kind; a batch is sealed when it is full or has been open
// for Options.Linger. A sealed batch is given to a partition of its topic,
// compressed, stamped and sent; the next batch for that partition follows after
// its acknowledgement. When Kafka has acknowledged a batch, Options.OnAck gets
// the number of its records per tag, which is what the accounting of the caller
// rests on, and the batch's buffer is free again.
//
// Receipts. A record may be appended with a number that its sender is told once Kafka has
// the record (Lane.Confirm). Batches of such records do not linger: one leaves as soon as
// none of its kind is under way, so that they grow with the load and the wait is one or
// two round trips (group commit).
//
// Partitions. Nothing depends on order, so a topic's batches go to one partition until
// about StickyBytes have been sent, and then to the next (after KIP-794, which changes
// after a batch): what consumers insert is cut by partition, so that few partitions at a
// time make few, large inserts. A partition with a batch under way, without a leader, or
// whose last batch failed, is passed over for the one behind it, as long as there is one.
//
// Retries. A batch that may have reached the log is sent again to the same
// partition, the same bytes with the same producer id and sequence, until it is
// acknowledged or the hard context of Run ends: the broker recognises a
// repetition. A batch that certainly did not is given to another partition. When
// a broker no longer knows the sequence (codes 45, 47, 49, 59, 90) the partition
// gets a new producer id and the batch is sent again, which
// Stats.PossibleDuplicates counts when an earlier attempt may have succeeded.
//
// Memory. All buffers, open, waiting and under way, come from one pool of
// BufferBytes. When it is empty Append blocks and TryAppend fails; there is no
// other queue.
//
// Buffers and kafka-go. A call of its Transport can return, at the end of its
// context, while another goroutine still means to read the request. Each attempt
// therefore hands over a body of its own that is closed when the call returns:
// after that no one reads the batch (see body).
package publish
