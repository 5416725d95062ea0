// Package porttest gives tests and benchmarks ports for servers that cannot be told to take
// port 0: other programs, and such as start again where they were. Nobody else gets one before
// the test's end, whether something listens on it or not: what was merely free a moment ago the
// kernel may make the near end of somebody's connection.
package porttest
