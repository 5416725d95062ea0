// Package embedded is the trial stack: a broker that speaks the Kafka
// protocol, inside this process, and a real ClickHouse, as a child process of
// the same binary. It is for trials, tests and small sites. It is one node
// without replicas and without TLS: production points the same two daemons at
// a Kafka cluster and a ClickHouse cluster.
//
// # Who calls what
//
//   - main() and the TestMain of a package that starts a ClickHouse call
//     [RunChildIfAsked] before anything else: the ClickHouse child is this
//     binary, started again.
//   - [StartBroker] serves Kafka on one address and keeps its log under
//     DataDir/kafka. Nothing that it acknowledged is missing after kill -9 of
//     the process.
//   - [StartClickHouse] serves ClickHouse's native and HTTP protocols and keeps
//     its data under DataDir/clickhouse. Whatever kills the parent, the child
//     does not outlive it.
//
// Both lock their part of the data directory: one directory, one process. Both
// may be given the same DataDir. A listener's address that is taken is an
// [AddressInUseError], which names the listener by its flag. Start functions
// return when the listener serves.
//
// Tests of other packages use package embeddedtest instead: one shared
// ClickHouse for each test binary, a database and a broker for each test.
//
// # Retention of the broker
//
// The broker's own retention is switched off. A loop here deletes whole
// segments instead: those older than RetentionAge, and the oldest ones while
// the log is larger than RetentionBytes (a quarter of the memory at most, which
// a start after an unclean end needs for a moment). It deletes nothing at or above the
// low-water mark of the partition: RetentionFloor when it is given, else what
// RetentionGroup has committed. A partition without a mark loses nothing.
//
// # Who may do what in ClickHouse
//
// Users come from a generated XML file; ClickHouse offers no other way in this
// form. Passwords are generated once and kept in files that only the owner can
// read.
//
//   - Admin (the pipeline's user): everything within the databases, SELECT on
//     system tables, KILL QUERY. No file, no URL, no other source.
//   - Reader: SELECT within the databases and on a few harmless system tables.
//     readonly=2, bounded memory. DataDir/clickhouse-reader holds "user:password".
//   - default has no password, because the process's own session needs it so.
//     That session is the only one it may have (max_sessions_for_user), it may
//     come from 127.0.0.1 only, and its quota is exactly the life line's queries.
//
// Grants are not enough: the function file() asks for none, and this form of
// ClickHouse does not keep it to a directory. So the kernel confines the child
// (Landlock, Linux 5.19) to its own data and to its own ports. Where it cannot,
// ClickHouse is served on loopback only, with a warning in the log.
//
// # The life line
//
// ClickHouse serves only as long as its own command line query runs, so that
// query never ends. The child's Go side watches its standard input: when it
// closes (the parent stopped or died), the query is killed and the server shuts
// down cleanly; when that takes too long, the child kills itself. On Linux the
// kernel also kills the child at once when the parent dies; what was inserted
// stays.
//
// # A table of virtual functions
//
// This form of ClickHouse ends its process when an exception leaves a native
// connection: a wrong password or a reset connection from anybody would do. The
// child repairs that in memory before it serves: see errorhandler_linux.go.
package embedded
