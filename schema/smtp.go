package schema

// smtpFields are those of one message in a qmail server's SMTP log, whose lines stand
// together: from, resp, then to, check, resp for each recipient, then size, resp. The
// columns recipients to check_details have one entry for each recipient.
var smtpFields = []Field{
	{Number: 32, Name: "port", Type: UInt16, Doc: "port that the log is of, as its source is configured"},
	{Number: 33, Name: "session", Type: Word, Doc: "smtp (port 25), smtps (465) or submission (587)"},
	{Number: 34, Name: "domain", Type: Text, Doc: "domain that it is about, lower case: the sender's of outgoing mail, else the first recipient's"},
	{Number: 35, Name: "sender", Type: Text, Doc: "envelope sender; empty is the null sender of a bounce"},
	{Number: 36, Name: "sender_code", Type: UInt16, Doc: "SMTP code of the reply to the sender"},
	{Number: 37, Name: "sender_reply", Type: Text, Doc: "that reply's text"},
	{Number: 38, Name: "recipients", Type: Texts, Doc: "envelope recipients"},
	{Number: 39, Name: "recipient_codes", Type: Codes, Doc: "SMTP code of the reply to each; 0: none is logged"},
	{Number: 40, Name: "recipient_replies", Type: Texts, Doc: "that reply's text"},
	{Number: 41, Name: "checks", Type: Texts, Doc: "chkuser's result for each: accepted rcpt, rejected relaying, ...; empty: none is logged"},
	{Number: 42, Name: "check_client_names", Type: Texts, Doc: "client's name as the check has it"},
	{Number: 43, Name: "check_client_ips", Type: IPs, Doc: "client's address as the check has it"},
	{Number: 44, Name: "check_recipients", Type: Texts, Doc: "recipient as the check has it"},
	{Number: 45, Name: "check_details", Type: Texts, Doc: "what the check says besides: found existing recipient, ..."},
	{Number: 46, Name: "size", Type: UInt64, Doc: "bytes of the message"},
	{Number: 47, Name: "code", Type: UInt16, Doc: "SMTP code of the last reply"},
	{Number: 48, Name: "reply", Type: Text, Doc: "the last reply's text"},
	{Number: 49, Name: "accepted", Type: UInt8, Doc: "1: qmail took the message over; else 0"},
	{Number: 50, Name: "qmail_time", Type: Seconds, Doc: "EPOCH of `250 ok EPOCH qp PID`: when qmail took it over"},
	{Number: 51, Name: "qp", Type: UInt64, Doc: "PID of `250 ok EPOCH qp PID`: qmail-queue's, which the delivery log and Spamdyke name too"},
}
