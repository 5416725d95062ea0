// Package main is `make bench-capacity`: it measures whether a second and a third instance bring what the first
// did, and what an event costs at each stage: one, two and three ingesters, and then as many
// transformers, over three brokers of Apache Kafka and the trial stack's ClickHouse, in some
// five minutes. docs/performance.md has what it wrote, and `millrace capacity` plans by it.
//
// On one machine three instances share the cores that one has alone. So each is held to the
// same share of a core (package quota), so small that the brokers, ClickHouse and the
// generator have what they need beside three of them: the rate is then what the instance
// does with its share, and whatever it waits for shows as share that it has not used.
//
// What is sent is counted, and found again in Kafka's offsets and in ClickHouse's rows.
package main
