// Package crashpoint ends the process, as kill -9 does, at a named step of the
// protocol between Kafka and ClickHouse. It does so in a build for tests alone:
// with the tag crashpoints and the variable MILLRACE_CRASHPOINTS, a directory. In
// any other build its functions are empty, and nothing of it is in the program.
//
// A point is armed by a file of its name in that directory; the file says at which
// time of coming by it. Several processes may have the same directory: who comes to
// the point first takes the file away and dies, and the others go on.
package crashpoint
