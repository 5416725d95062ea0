// Package benchmarks measures the program's capacity over real sockets, so that
// anyone can do it again on other machines and with other versions.
//
//	go test ./benchmarks -run '^$' -bench . -count 5
//
// The sender and the broker are a process of their own: what is reported as
// cpu-ns/frame is the ingester's work alone. frames/s is bounded by whatever is
// slowest on the machine, which with few cores is often the sender. `make bench`
// runs each benchmark once, to see that it works.
package benchmarks
