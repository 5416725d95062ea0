// Package e2e tests the program as its users have it: the built binary, real
// syslog clients (Python's SysLogHandler, util-linux logger, rsyslog), the real
// Kafka protocol and a real ClickHouse. Nothing here reaches into the program:
// what is checked is what a person sees, on the wire, in /metrics and in SQL.
package e2e
