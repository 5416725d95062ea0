package qmail

import (
	"time"

	"millrace/schema"
)

// Decoder makes events of one source's lines. It is used by one goroutine.
type Decoder interface {
	// Line takes a line, without its end, and emits the events that it completes.
	// The reason is one of a reject: the line is in no event. The line is borrowed.
	Line(l Line, emit Emit) (schema.Reason, string)
	// Open is the source's offset of the oldest line whose event is still to come; ok is
	// false when nothing is open.
	Open() (offset int64, ok bool)
	// Held is how many lines have been taken whose event is still to come, and their bytes.
	Held() (lines, bytes int)
	// Expire emits what has been open for longer than its lines take to come: a message of
	// the SMTP log after Options.Timeout without a line, an attempt of delivery after two hours.
	Expire(now int64, emit Emit)
	// End emits all that is open.
	End(emit Emit)
}

// Line is one line of a source.
type Line struct {
	Bytes    []byte
	Offset   int64 // of its first byte in the source; of a network source, how many came before
	Received int64 // ms since 1970, of the clock that Expire is told
	Header   int64 // ms since 1970, of a syslog header; 0: none
}

// Emit takes an event: its own fields, event_time and its source, flags, raw and
// source_offset are set. It is borrowed until emit returns.
type Emit func(*schema.Event)

// Options are how a source's lines are understood.
type Options struct {
	Zone      *time.Location // of stamps; nil: UTC
	Port      uint16         // of an SMTP log
	Direction string         // incoming, outgoing or unknown; empty: by the port
	Timeout   time.Duration  // of a group of the SMTP log; 0: DefaultTimeout
	Deferred  *Deferred      // of the delivery log, as its decoder before left it; nil: nothing is known
}

// DefaultTimeout is for how long an SMTP log may be silent in the middle of a message. Its
// lines are written together; what is silent for so long has none to come.
const DefaultTimeout = time.Minute

// attemptTimeout is more than an attempt takes: qmail-remote gives up after twenty minutes
// of silence (control/timeoutremote), with each of a host's addresses.
const attemptTimeout = 2 * time.Hour

// foldTimeout is for how long the rest of a line that splogger has cut may take.
const foldTimeout = 5 * time.Second

// forever is later than all lines.
const forever = 1<<63 - 1

// Words of event_time_source and direction.
var (
	sourceEvent    = schema.Padded("event")
	sourceHeader   = schema.Padded("header")
	sourceReceived = schema.Padded("received")

	incoming = schema.Padded("incoming")
	outgoing = schema.Padded("outgoing")
	unknown  = schema.Padded("unknown")
)

// setTime sets the event's own time, or the next best one: ms is 0 where there is none.
func setTime(e *schema.Event, ms int64, l *Line) {
	source := sourceEvent
	if ms == 0 {
		ms, source = l.Header, sourceHeader
	}
	if ms == 0 {
		ms, source = l.Received, sourceReceived
	}
	e.SetMillis(schema.EventTime, ms)
	e.SetText(schema.EventTimeSource, source)
	e.SetUint(schema.IDTime, uint64(min(max(ms/1000, 0), schema.MaxSeconds)))
}
