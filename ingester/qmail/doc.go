// Package qmail reads the logs of qmail-based mail servers: the SMTP log of a port, the
// delivery log and Spamdyke's. One file is one log's decoder.
//
// A Decoder takes the lines of one source in their order and makes events of them. Lines
// of the SMTP log that belong to one message stand together and become one event; those
// of the delivery log become one for each attempt. What is open is in the decoder, in
// memory that is bounded: a group that is cut, or that others stand between, ends as an
// event with the flag `incomplete`, never as a loss.
//
// What it promises: each line that it takes is in exactly one event's raw bytes, or
// is rejected; no line makes it panic or allocate more than its bounds; nothing is
// allocated for a line in steady state.
package qmail
