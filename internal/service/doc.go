// Package service is what the daemons share: the two-stage stop, the log, and
// the operations HTTP server with metrics, health and profiles.
//
// It promises:
//
//   - [Run] stops in two stages. The first SIGINT or SIGTERM ends the soft
//     context: read no more, hand over what has been read. The hard context ends
//     when the drain timeout is over or a second signal comes: give up at once.
//   - /healthz answers as long as the process can; /readyz answers 200 only
//     while every named condition holds, and else says which do not and why.
//   - nothing here is global: each daemon owns its registry, its conditions and
//     its logger, so tests and `millrace up` run several in one process.
//
// A daemon makes its [Conditions] (all unmet: "starting"), its registry, and
// its [Server]; sets conditions as its parts begin to serve; and calls
// Conditions.Drain when its soft context ends.
package service
