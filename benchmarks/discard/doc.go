// Package discard is a Kafka broker that keeps nothing: it acknowledges what
// producers send and counts it. Benchmarks use it so that what they measure is the
// producer's work and not a broker's.
//
// # What it promises
//
// It speaks ApiVersions, Metadata, DescribeConfigs, InitProducerId and Produce, which is
// what kafka-go and librdkafka ask of a broker to write to it. Every topic that is
// asked for exists, with the same number of partitions. Of a record batch it reads the
// header alone.
//
// A record counts once: a batch that an idempotent producer sends again is
// acknowledged again and not counted again, and one that comes too early is refused,
// as by Kafka. So the count is what a real topic would hold.
//
// Freeze stops it in mid-traffic, as a stopped process or a network that swallows
// packets would: connections stay open, nothing is read or answered until Thaw.
package discard
