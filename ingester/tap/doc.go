// Package tap lets people look at a running ingester: events as they are decoded
// (`millrace tap`), and frames as they came (`millrace capture`).
//
// # What it promises
//
// The ingester never waits for who looks. While nobody does, a frame costs one
// atomic load. Else it is asked of each tap whether its filter takes the frame,
// and what it takes is copied into the tap's buffer, which is bounded in bytes: what
// does not fit, or comes faster than the tap's rate, is counted, and the counts are
// told to the reader. A reader that takes nothing for ten seconds is cut off.
//
// A frame is shown when it has met its fate in the ingester: its event or reject
// has joined a Kafka batch, or was dropped because none had room or there were too many
// rejects. A TCP frame that
// waits for Kafka is shown when it has stopped to wait. What is dropped before it
// is decoded (an address that is not allowed, an empty frame, a full disk) is not
// shown; the metrics have it.
//
// # Who owns what
//
// Show borrows everything for the length of the call. Next gives the reader a buffer
// that is its own until it calls Next again. Two buffers of a tap are all its memory.
//
// # On the wire
//
// /tap answers with JSON lines: an event each, by the names of its fields, and lines
// with the one key "tap", which hold the counts. /capture answers with items as they
// stand in the buffer, which Reader reads; they are for the command of the same
// version and nothing else.
package tap
