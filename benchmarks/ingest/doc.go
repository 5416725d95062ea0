// Package main is `make bench-ingest`: the ingester, rsyslog and syslog-ng take the
// same frames to the same broker by turns, and the program writes down what each needed.
package main
