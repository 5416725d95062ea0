// Package benchmarks measures the program's capacity over real sockets, so that
// anyone can do it again on other machines and with other versions.
//
//	go test ./benchmarks -run '^$' -bench . -count 5
//
// The sender and the broker are a process of their own: what is reported as
// cpu-ns/frame is the ingester's work alone. frames/s is bounded by whatever is
// slowest on the machine, which with few cores is often the sender. `make bench`
// runs each benchmark once, to see that it works.
//
// Beside rsyslog and syslog-ng the ingester is measured by `make bench-ingest`, the
// program in benchmarks/ingest; beside ClickHouse's Kafka engine the transformer is, by
// `make bench-transform`. How long the questions of every day take is measured by query,
// `make bench-query`. Whether a second and a third of each bring what the first did, and
// what an event costs at each stage, is measured over three real brokers by `make
// bench-capacity`. The directory results has what they found, version by
// version: the tables, all figures of all rounds as JSON and CSV, and the plot.
package benchmarks
