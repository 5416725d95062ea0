// Package stack is `millrace up`: the embedded broker and ClickHouse, the
// ingester and the transformer put together in one process, and the demo on top.
// The daemons are the same as in production and meet, as there, over the Kafka
// protocol and in ClickHouse only.
//
// Order of start: data directory, ClickHouse, its schema, broker, topics,
// transformer, ingester. Stop is the reverse: sockets are read empty, Kafka
// acknowledges, blocks are inserted and confirmed; what a stop or a kill leaves
// in the broker's log is inserted after the next start.
//
// While less of the disk is free than up.min_free_disk, intake stops (disk.go).
package stack
