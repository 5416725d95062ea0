package schema

// spamdykeFields are those of Spamdyke's line for a message and recipient.
var spamdykeFields = []Field{
	{Number: 32, Name: "code", Type: Word, Doc: "ALLOWED, DENIED_RDNS_MISSING, TIMEOUT, ..."},
	{Number: 33, Name: "verdict", Type: Word, Doc: "code in a word: allowed, denied, failed, timeout or other"},
	{Number: 34, Name: "domain", Type: Text, Doc: "recipient's domain, lower case"},
	{Number: 35, Name: "sender", Type: Text, Doc: "envelope sender; empty is the null sender, or unknown: Spamdyke writes (unknown) for both"},
	{Number: 36, Name: "recipient", Type: Text, Doc: "envelope recipient"},
	{Number: 37, Name: "origin_ip", Type: IP, Doc: "address of the client"},
	{Number: 38, Name: "origin_rdns", Type: Text, Doc: "reverse DNS name of the client"},
	{Number: 39, Name: "auth_user", Type: Text, Doc: "authenticated user"},
	{Number: 40, Name: "encryption", Type: Word, Doc: "TLS, SSL, TLS_PASSTHROUGH; empty: none, or a version before 4.1"},
	{Number: 41, Name: "reason", Type: Text, Doc: "what decided, with _ for blanks, as it is logged; qmail's reply for a message that was allowed"},
	{Number: 42, Name: "qmail_time", Type: Seconds, Doc: "EPOCH of reason 250_ok_EPOCH_qp_PID: when qmail took it over"},
	{Number: 43, Name: "qp", Type: UInt64, Doc: "PID of reason 250_ok_EPOCH_qp_PID: qmail-queue's, which the SMTP log and the delivery log name too"},
}
