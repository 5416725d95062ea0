package schema

// Reason says why a frame did not become an event: the value of the column
// `reason`, of the metric label `reason`, and a row of docs/errors.md.
type Reason string

// Why a frame was rejected: its bytes are kept in the table `rejects`.
const (
	ReasonNoTemplate         Reason = "no_template"
	ReasonColumnCount        Reason = "column_count"
	ReasonShort              Reason = "short"
	ReasonTruncated          Reason = "truncated"
	ReasonTemplateUnexpanded Reason = "template_unexpanded"
	ReasonRelayMangled       Reason = "relay_mangled"
	ReasonBadFrame           Reason = "bad_frame"
	ReasonFrameTooBig        Reason = "frame_too_big"
	ReasonOversize           Reason = "oversize"
	ReasonTruncatedEOF       Reason = "truncated_eof"
	ReasonTruncatedDatagram  Reason = "truncated_datagram"
	ReasonBadDate            Reason = "bad_date"
	ReasonNotAReport         Reason = "not_a_report"
	ReasonMIMELimit          Reason = "mime_limit"
	ReasonBadRecord          Reason = "bad_record"
)

// Why a frame was dropped: it is counted and nothing of it is kept.
const (
	DropEmpty        Reason = "empty"
	DropNotAllowed   Reason = "not_allowed"
	DropKernel       Reason = "kernel"
	DropBackpressure Reason = "backpressure"
	DropDiskFull     Reason = "disk_full"
	DropRejectLimit  Reason = "reject_limit"
	DropShutdown     Reason = "shutdown"
)

// ReasonDoc is a row of docs/errors.md.
type ReasonDoc struct {
	Reason  Reason
	Meaning string
	Mend    string // what the operator does
}

var rejectDocs = []ReasonDoc{
	{ReasonNoTemplate, "The frame begins like none of the listener's formats, with or without a syslog header.", "See what came: `millrace query \"SELECT raw FROM rejects WHERE reason = 'no_template' ORDER BY received_at DESC LIMIT 5\"`. If it is a template of yours, add it under `formats:`, try it with `millrace template test`, and then `millrace replay --rejects`."},
	{ReasonColumnCount, "The frame is whole, but its number of values fits none of the listener's formats.", "The template at the filter is not the one configured: `millrace source check` shows the difference. Once the right one is configured, `millrace replay --rejects` makes events of these."},
	{ReasonShort, "The frame begins as a format and ends before its last value is closed.", "A value held the frame's delimiter, or a relay cut it. Use TCP with `framing: nul`, or a template with an end mark (m3, s3)."},
	{ReasonTruncated, "The frame begins as a format that has an end mark, and the mark is missing.", "A datagram or a relay cut the frame: use TCP, and raise the relay's message size."},
	{ReasonTemplateUnexpanded, "The text `%(name)s` stands in the frame: the filter did not know the variable.", "Correct the template at the filter: `millrace source check` shows where it differs from the configured one, whose variables exist."},
	{ReasonRelayMangled, "A syslog relay parsed the frame as its own header and cut it; it cannot be restored.", "Point the filter here, or give the relay the template `<%pri%>%rawmsg-after-pri%`."},
	{ReasonBadFrame, "Bytes that begin no frame, or an octet count that does not end at a frame's end.", "The sender's framing is not the listener's `framing`: set it to the one that the sender uses."},
	{ReasonFrameTooBig, "An octet count above the listener's `max_frame`; the connection was closed.", "Raise `listeners[].max_frame` if the sender is right."},
	{ReasonOversize, "No delimiter within `max_frame` bytes; the first KiB is kept and the rest was skipped to the next delimiter.", "Raise `listeners[].max_frame`, or correct `framing`."},
	{ReasonTruncatedEOF, "The input ended inside a frame: the connection closed, or nothing came for `frame_idle`.", "Look at the sender's own log for why it stopped; on a lossy path raise `listeners[].frame_idle`, or use `framing: nul`."},
	{ReasonTruncatedDatagram, "A datagram was longer than the listener's `max_frame`; what the kernel kept of it is in `raw`.", "Raise `listeners[].max_frame` (65,535 at most for UDP), or use TCP."},
	{ReasonBadDate, "The line does not begin with the log's date and time, or names a day that does not exist.", "See that the listener's or file's `formats` are those of the log that it gets."},
	{ReasonNotAReport, "A message that is no abuse report (RFC 5965): no part of it reports an original.", "See what came: `raw` has the message. People write to such addresses too; a feedback loop that sends reports of its own shape is worth telling us."},
	{ReasonMIMELimit, "A message whose parts are nested deeper, are more, or have longer headers than any report's: it is not looked into further.", "Look at the sender: `raw` has the beginning. No report is like that."},
	{ReasonBadRecord, "A Kafka record that is not an event of its topic's kind; `raw` holds the record.", "Another program writes to Millrace's topics, or a newer ingester writes what this transformer cannot read: upgrade the transformer first."},
}

var dropDocs = []ReasonDoc{
	{DropEmpty, "A frame with nothing in it: an empty datagram, a bare `<PRI>`, delimiters in a row.", "Nothing: it held no event."},
	{DropNotAllowed, "A datagram or a connection from an address that is not in the listener's `allow`, or a TLS client whose certificate has none of `tls.client_names`; also a connection that a reload ended for either.", "Add the sender's network to `listeners[].allow`, or its name to `tls.client_names`, if it is yours."},
	{DropKernel, "The kernel's UDP receive buffer was full.", "Raise `listeners[].receive_buffer` and the sysctl `net.core.rmem_max`, or use TCP."},
	{DropBackpressure, "A datagram that came while Kafka could not take more and `kafka.buffer_bytes` was used up.", "See why Kafka is away: `/readyz` says it. TCP senders wait instead."},
	{DropDiskFull, "A datagram that came while the trial stack's disk was nearly full.", "Free disk space, or lower `retention`. TCP senders wait instead."},
	{DropRejectLimit, "A frame that could not be decoded, from a peer that had used up `listeners[].reject_limit`: nothing of it is stored.", "If its frames are events, mend the template: `millrace source check`, and `millrace template test` with the rejects that are stored. Raise `listeners[].reject_limit` until then."},
	{DropShutdown, "Taken from the socket and not acknowledged by Kafka before the stop's deadline.", "Raise `stop.drain_timeout`, and see why Kafka was away."},
}

// RejectReasons are all reasons for a row in `rejects`.
func RejectReasons() []ReasonDoc { return rejectDocs }

// DropReasons are all reasons for a counted drop.
func DropReasons() []ReasonDoc { return dropDocs }
