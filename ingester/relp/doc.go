// Package relp reads and writes the frames of RELP, the reliable event logging
// protocol of rsyslog, as the side that takes messages.
//
//	frame = TXNR SP COMMAND SP DATALEN [SP DATA] LF
//
// TXNR counts a session's frames from 1 to 999,999,999 and begins anew; 0 is a hint of
// the server. The sender opens with its offers, sends `syslog` frames and repeats, in a
// session to come, each one that had no `rsp` of its number.
//
// # What it promises
//
// The frames depend on the bytes alone, never on how the network cut them into reads.
// No input makes a Parser panic, loop or keep more than the beginning of a frame that is
// too long. What breaks the grammar is an error; nothing behind it can be told apart.
//
// # Who owns what
//
// The caller owns the buffer. A Frame's bytes are views into it, those of a frame that
// is too long into the Parser; both are valid until the next call. A Parser belongs to
// one goroutine and allocates for such a frame and for an error, nothing else.
package relp
