// Package replay decodes what was stored undecoded, with the configuration of today, and
// inserts what has become an event, once.
//
// A reject of the ingester is a record of the topic of rejects, and its row says where that
// stands in Kafka. The event that it becomes gets the same place (k_topic, k_epoch, k_part,
// k_off) in the table of its kind, so that each reject has one event at most: what is there
// already is not inserted again, whichever run did it. A block's rows are a function of
// the rejects and of the configuration, and its token of which rejects they are: an INSERT
// whose answer was lost, or that a run which died has left behind, is recognized by
// ClickHouse when it is sent again. Two runs at the same time with different
// configurations are not told apart by that: run one.
package replay
