// Package stack puts together what each running command is: `millrace up` (the
// embedded broker and ClickHouse, the ingester and the transformer in one
// process, and the demo on top), `millrace ingest` and `millrace transform`. The
// daemons are the same in all of them and meet over the Kafka protocol and in
// ClickHouse only.
//
// Order of start of up: data directory, operations HTTP, broker, listeners'
// sockets, ClickHouse, its tables, transformer, and only then the listeners are
// read. Stop is the other way round: sockets are read empty, Kafka
// acknowledges, blocks are inserted and confirmed; what a stop or a kill leaves
// in the broker's log is inserted after the next start.
//
// While less of the disk is free than up.min_free_disk, intake stops (disk.go).
package stack
