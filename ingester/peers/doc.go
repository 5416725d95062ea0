// Package peers keeps a bounded account of who sends: the peers of a listener, by
// address, and the filtering hosts that events name.
//
// A [Table] holds so many senders at most; the one that has been silent for longest
// makes room, and its counts go to the sum of those that are gone. A [Tally] collects
// the counts of one read without a lock and adds them to the tables at its end, so that
// a frame costs two comparisons and some additions, and no allocation.
//
// # Clock skew
//
// The skew of a sender is its own time less the time of arrival, in seconds: negative
// for a clock that is behind or for what was sent late, positive only for a clock that
// is ahead. It is the median of the last samples, at most one of each read, so that
// some queued mail does not look like a clock. A peer's own time is the syslog
// header's, or else the event's; a filtering host's is the event's. Times that were
// derived from a message id or from the arrival are no clock and no sample.
//
// # Rejects of a filtering host
//
// A frame that could not be decoded names no filtering host. It counts for the host
// that its syslog header names, if events have named that one, or else for the one
// filtering host whose events its peer has sent, if it was one alone. Behind a relay
// without headers nobody knows, and the share is unknown, not 0.
package peers
