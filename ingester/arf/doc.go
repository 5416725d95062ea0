// Package arf reads abuse reports in the Abuse Reporting Format: RFC 5965, the
// authentication failures of RFC 6591, and what a SpamExperts filter sends of each
// outgoing message that it blocks.
//
// A Decoder makes one event of kind schema.Feedback of one message (RFC 5322), or says
// why the message is none. The MIME of the message is go-message's; this package reads
// the fields of the report and of the original that it is about.
//
// What it promises: no message makes it panic, or hold more than a few times its size;
// parts are followed to a depth of MaxDepth, MaxParts of them, with bounds on
// the size of each one's header, and a message beyond that is a reject. What a sender does wrong and can be
// understood is understood, and flagged: a closing boundary that is missing, a misspelt
// media type, an original without a report, lines that end with CR, fields twice or not
// at all. Text of an event is valid UTF-8 without NUL. An event's values fit into
// Options.Limit: longer ones are cut, and flagged.
//
// To read another field of a report: a line in the table of report.go, and its column
// in schema/feedback.go. A field without a column goes into `extra` by itself.
package arf
