// Package e2e tests the program as its users have it: the built binary, real
// syslog clients (Python's SysLogHandler, util-linux logger, rsyslog, syslog-ng), HAProxy
// and systemd around it, the real Kafka protocol and a real ClickHouse. Nothing here reaches into the program:
// what is checked is what a person sees, on the wire, in /metrics and in SQL.
//
// Two tests last as long as they are told to: TestSoak, steady traffic over
// each transport with garbage beside it (MILLRACE_SOAK_MINUTES, make soak), and TestFault, which
// kills, freezes and stops parts of the stack in traffic (MILLRACE_FAULT_MINUTES,
// make faults). What both rest on is checkPlaces: every row carries its record's
// place in Kafka, so one query shows a loss or a double, and millrace audit has to
// find none either.
//
// With the race detector in the tests it is in the program under test too.
package e2e
