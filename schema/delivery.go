package schema

// deliveryFields are those of one delivery attempt in qmail-send's log.
var deliveryFields = []Field{
	{Number: 32, Name: "domain", Type: Text, Doc: "recipient's domain, lower case"},
	{Number: 33, Name: "sender", Type: Text, Doc: "envelope sender; empty is the null sender of a bounce, or unknown (sender_unknown in flags)"},
	{Number: 34, Name: "delivery_number", Type: UInt64, Doc: "qmail-send's number of the attempt; it begins at 1 again with qmail-send, and is no key"},
	{Number: 35, Name: "channel", Type: Word, Doc: "local or remote"},
	{Number: 36, Name: "recipient", Type: Text, Doc: "envelope recipient"},
	{Number: 37, Name: "outcome", Type: Word, Doc: "success, deferral or failure; empty: the log ended before the result"},
	{Number: 38, Name: "text", Type: Text, Doc: "report of qmail-local or qmail-remote, with / for line ends and _ for blanks, as it is logged"},
	{Number: 39, Name: "files", Type: UInt64, Doc: "F of did_F+W+P/: deliveries into files"},
	{Number: 40, Name: "forwards", Type: UInt64, Doc: "W of did_F+W+P/: forwards"},
	{Number: 41, Name: "programs", Type: UInt64, Doc: "P of did_F+W+P/: programs run"},
	{Number: 42, Name: "smtp_auth", Type: UInt8, Doc: "1: the report says smtp_auth, the sender had authenticated"},
	{Number: 43, Name: "remote_host", Type: Text, Doc: "host that the report names"},
	{Number: 44, Name: "remote_ip", Type: IP, Doc: "address that the report names"},
	{Number: 45, Name: "code", Type: UInt16, Doc: "SMTP code that the report quotes"},
	{Number: 46, Name: "enhanced_code", Type: Word, Doc: "enhanced status code that the report quotes (RFC 3463): 4.4.2"},
	{Number: 47, Name: "reply", Type: Text, Doc: "remote server's reply that the report quotes"},
	{Number: 48, Name: "started", Type: Millis, Codec: "Delta, Default", Doc: "when the attempt began; event_time is when it ended"},
	{Number: 49, Name: "message_number", Type: UInt64, Doc: "qmail-send's own lines: number of the message, an inode's, which is used again"},
	{Number: 50, Name: "size", Type: UInt64, Doc: "qmail-send's own lines: bytes of the message"},
	{Number: 51, Name: "qp", Type: UInt64, Doc: "qmail-send's own lines: PID of qmail-queue, which the SMTP log and Spamdyke name too"},
	{Number: 52, Name: "uid", Type: UInt64, Doc: "qmail-send's own lines: user id that injected the message"},
}
