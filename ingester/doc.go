// Package ingester turns bytes into records: it listens for syslog and for mail, follows
// log files, cuts what comes into frames, decodes them with the configured formats and
// publishes the events to Kafka. Of what comes over the network it keeps no state: add
// instances at will. Of files it remembers how far they were read.
//
// The rooms, in the order that a frame passes them:
//
//	transport  sockets: UDP datagrams, TCP connections
//	framing    a byte stream -> frames
//	relp       the same of a RELP session, whose frames are acknowledged
//	header     PRI, RFC 3164, RFC 5424
//	format     templates -> typed events
//	qmail      lines of a mail server's logs -> events of several lines
//	arf        abuse reports -> events
//	publish    events -> Kafka record batches, idempotent, bounded memory
//
// files follows log files, whose lines are frames too (filesource.go),
// and this package is the way between them (pipeline.go) and the account of
// every frame (ledger.go).
//
// A frame is a slice of its reader's buffer, borrowed until Sink.Frame returns.
// Decoding makes views of it; schema.AppendRecord copies the values, once, into
// the open batch that the lane owns.
//
// What it promises: received = published + joined + rejected + dropped + in flight, for
// each listener; memory bounded by kafka.buffer_bytes and the readers' buffers;
// no frame waits longer than kafka.linger for company; a TCP sender waits when
// Kafka does, and a datagram that cannot be taken is counted.
package ingester
