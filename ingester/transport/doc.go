// Package transport takes frames from sockets: syslog over TCP, TLS over it, RELP over either, UDP, and Unix datagrams;
// messages by SMTP and LMTP.
//
// # What it promises
//
// Whatever has been read from a socket reaches a Sink or a counter of Stats before
// Serve returns, also when it is told to stop: TCP then reads what the kernel holds,
// for a short time. UDP and Unix sockets first have the kernel queue no more (so that a
// sender is refused, rather than taken and forgotten) and empty their queue. A second context ends that at once.
//
// A listener beyond loopback without a list of allowed senders is refused. UDP has
// such a list too; what comes from elsewhere is counted, nothing else.
//
// Back-pressure is the socket's: while Sink.Frame blocks, a TCP connection is not read,
// and its sender waits. So does that of a
// Unix socket, whose queue is short. On UDP the Sink must not block; what the kernel drops because
// nobody reads fast enough is counted too (Linux).
//
// A TLS handshake (RFC 5425) is the connection's own: it holds up nobody, and ends with
// its deadline. What a Reload puts in place of allow-lists, certificates and names holds
// for those to come, and ends connections that are not permitted any more; what these had
// sent is handed over.
//
// An idle TCP connection, with TLS or without, holds no buffer of ours: one is taken when
// bytes have come. A frame that stays open is copied to a buffer of its own size while its
// connection waits.
//
// On RELP (package relp) a sender is told of each frame once a sink's Receipts say that
// it is kept: once, in the frames' order, and never when the listener has to stop first.
// Of its own accord a sender then sends it again, to us or another. An unfinished frame
// at the end of a RELP connection is thus no frame.
//
// A message that comes by SMTP or LMTP is one frame, whole and as it was. Its sender hears
// 250 once a sink's Receipts say that it is kept, for LMTP once for each recipient, and 451
// when that takes too long, when there are too many at once, or when Options.Forward has
// not taken it: it then has the message still, so that nothing of it is counted. A stop
// lets a message that has begun end within DrainTime, answers what is kept until hard ends,
// and tells all others 421. The messages in hand hold no more than Options.OpenFrames.
//
// One datagram is one message (RFC 5426), whatever listeners[].framing says; trailing
// NUL, CR and LF are stripped.
//
// # Who owns what
//
// The bytes of a frame belong to the transport and are valid until Sink.Frame returns.
// A Sink is used by the one goroutine of its connection or UDP socket.
//
// # To add a transport
//
// Write one file with a function that makes a Listener, and add its line to the list in
// transport.go. The contract suite of transport_test.go runs over it unasked. One on top
// of TCP is a tcpListener with a protocol (conn.go), and has TLS for nothing (tls.go).
package transport
