// Package kafkatest gives tests Apache Kafka itself: one broker, or a cluster
// whose nodes each are broker and controller, on loopback addresses.
//
//	kafka := kafkatest.Start(t, kafkatest.Options{Nodes: 3})
//	... kafka.Brokers() ...
//	kafka.Kill(2)
//	kafka.Run(2)    // returns when the node's replicas are in sync again
//
// The jars are those of "make kafka" (.tools/kafka), or of the directory that
// MILLRACE_KAFKA names. Every node is a Java process of its own with a data
// directory of its own. It dies with the test binary, whatever ends that. When a
// test fails its nodes' logs stay, and the test says where.
//
// Tests that use it have the build tag kafka, so that nothing is skipped in
// silence where there is no Java: "make test" says that they are left out.
package kafkatest
