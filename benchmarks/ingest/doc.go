// Package main is `make bench-ingest`: the ingester, rsyslog and syslog-ng take the same
// frames to the same broker by turns, and the program writes down what each needed.
//
// # What it promises
//
// A measurement starts a program afresh, warms it up, and counts the processor time of
// that program alone. It is void, left out and named unless the broker has exactly what
// was sent over TCP; over UDP what is missing is what is measured. The programs take
// turns round by round, and figures are medians over the rounds. What was set as a goal
// is compared by the program, not by whoever writes the page.
//
// Load generator and broker are this process. docs/performance.md says how each figure
// comes about, and holds the last complete run between two marks.
//
// # Extending it
//
// A peer is a command in peers.go; a measurement is a job (main.go) that returns
// report.Metrics under names of report.go; a table is a sheet of table.go, a goal a line of
// goals.go.
package main
