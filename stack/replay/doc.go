// Package replay does again what went wrong the first time, so that each row is there once.
//
// Rejects decodes what was stored undecoded, with the configuration of today, and inserts
// what has become an event. A reject of the ingester is a record of the topic of rejects,
// and its row says where that stands in Kafka. The event that it becomes gets the same place
// (k_topic, k_epoch, k_part, k_off) in the table of its kind, so that each reject has one
// event at most: what is there already is not inserted again, whichever run did it. A
// block's rows are a function of the rejects and of the configuration, and its token of
// which rejects they are: an INSERT whose answer was lost, or that a run which died has left
// behind, is recognized by ClickHouse when it is sent again.
//
// Events decodes the frames that events keep, and replaces the rows that become others. The
// new row has the place of the old one and the next revision. It is gathered in a table of
// the run's own, goes over with the others of its week in one step, and then the rows of
// lower revisions go. Whatever an interrupted run leaves is one of two things: a table that
// nobody reads, or rows beside those of a higher revision. The next run removes both first.
//
// Topic reads confirmed records of Kafka again and inserts those that have no row. That is
// the transformer's to do, in transformer.Refill.
//
// Two runs at the same time with different configurations are not told apart by all that:
// run one.
package replay
