// Package framing cuts the byte stream of one connection into syslog frames.
//
// # What it promises
//
// The frames depend on the bytes alone, never on how the network cut them into
// reads. Every byte is in a good frame, in a reject, in a counted empty frame,
// or in a run of CR, LF and NUL between frames. No input makes a Framer panic,
// loop or keep more than the first KiB of what it skips.
//
// # Auto
//
// The mode Auto decides for each frame anew:
//
//   - digits, a space and '<' begin an octet-counted frame (RFC 6587, 3.4.1);
//   - any other frame ends at NUL, always;
//   - it also ends at an LF that is followed by '<' and a digit, or by an octet
//     count and '<', or by nothing for the idle time or at the end of input. An
//     LF inside a subject thus stays in its frame;
//   - a frame without any delimiter ends when nothing comes for the idle time, and
//     with the flag no_trailer. A retransmission can take longer than the usual
//     200 ms: on a lossy path the idle time is longer, or the mode NUL, in which
//     nothing but NUL ends a frame;
//   - once a frame has ended with NUL, LF ends none on that connection. This is
//     what keeps a subject with a line break and a forged <PRI> from becoming
//     an event, from the second frame on; the mode NUL does it from the first. A
//     sender of LF frames that may hold NUL needs the mode LF.
//
// Bytes that begin no frame (control bytes, torn UTF-8) are skipped up to the
// next plausible start: one reject for a whole run. After an octet-counted
// frame such bytes prove the count wrong, so the connection is given up.
//
// The fixed modes NUL and LF end a frame at their delimiter and nowhere else,
// Octet takes counted frames only.
//
// # Who owns what
//
// The caller owns the buffer. Frame.Bytes of a good frame is a view into it; of
// a reject it may be a view into the Framer. Both are valid until the next call.
// A Framer belongs to one goroutine and allocates for a reject of what was
// skipped and for the text of a frame_too_big, nothing else.
package framing
