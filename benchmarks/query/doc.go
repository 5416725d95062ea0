// Package main is `make bench-query`: how long the questions take that a site asks every day, over
// a past that ClickHouse makes up (internal/history): the search of a domain's day, of an id,
// of an address over a month, the top spammers of a day, a month's outgoing report. Each is
// the median of rounds in which the questions take turns; with the time stand the rows that
// the server read. The message state is the view messages, as it is shipped; the rollups
// are counted as `millrace schema count` does.
package main
