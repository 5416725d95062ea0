// Package main is `make bench-transform`: the way from a Kafka topic to rows of ClickHouse,
// beside ClickHouse's own Kafka engine and beside ready-made blocks, by turns, into the same
// table of the same server; then what a row takes on the disk, and the whole of `millrace
// up` under a steady load.
//
// The broker is in this process, the measured program and ClickHouse are others. The
// server is the trial stack's, with one difference: here it is not confined and may make
// tables of the Kafka engine.
package main
