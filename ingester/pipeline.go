package ingester

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"millrace/ingester/arf"
	"millrace/ingester/clean"
	"millrace/ingester/format"
	"millrace/ingester/framing"
	"millrace/ingester/header"
	"millrace/ingester/peers"
	"millrace/ingester/publish"
	"millrace/ingester/qmail"
	"millrace/ingester/tap"
	"millrace/schema"
)

// rejectRawMax is how much of an over-long frame a reject keeps.
const rejectRawMax = 1 << 10

// input is one configured listener and what its frames need on their way. It is
// shared by the listener's connections and never changes, but for its rules.
type input struct {
	name      []byte
	transport []byte
	rules     atomic.Pointer[rules]
	waits     bool         // not UDP: a full publisher makes the sender wait
	tag       int          // tag of outcome 0; those of the rejects follow
	expires   atomic.Int64 // when its certificate does, in Unix seconds; 0: it has none
	ledger    *ledger
	gate      *Gate
	rejects   *rejectLimit
	samples   *samples
	peers     *peers.Table
	hosts     *peers.Table // all listeners'
	publisher *publish.Publisher
	lines     lineSources
	taps      *tap.Hub
	hard      context.Context // ends waiting for Kafka at the stop's deadline
}

// rules are how a listener's frames are understood. Reload puts others in their place;
// those that a read began with hold to its end.
type rules struct {
	direction []byte
	formats   *format.Set // nil: no templates
	logs      []string    // of qmail-based servers
	log       qmail.Options
	reports   *reportRules // of a listener for mail
	zone      *time.Location
	raw       string // always, flagged, never
}

// scratch is what decoding one frame needs and no frame leaves anything in: it
// is held from the first frame of a read to its Flush, so that idle connections
// hold none.
type scratch struct {
	event   schema.Event
	header  header.Header
	parser  header.Parser
	decoder format.Decoder
	reports arf.Decoder
	tally   peers.Tally
	isClean bool   // the frame's bytes are valid UTF-8 without a NUL
	name    []byte // of a line's source
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// sink takes the frames of one connection or socket: frame -> header -> format
// -> event -> open batch. It is the transport.Sink of package ingester.
type sink struct {
	in   *input
	lane *publish.Lane // held between the first frame of a read and Flush
	*scratch
	rules *rules // of this read
	now   int64  // when this read's first frame was taken

	patience context.Context  // ends waiting for Kafka; nil: in.hard does
	receipts publish.Receipts // of a sender that wants to know which frames are safe, or nil
	receipt  [1]uint32        // of a frame of which nothing is kept

	// Of the line that is being decoded; see lines.go.
	emit    qmail.Emit // publishLine
	peer    netip.AddrPort
	of      framing.Frame
	emitted int          // events
	kind    *schema.Kind // of the last that was published
	patient bool         // no sender waits: it may, for Kafka

	file *fileSource   // of a file's lines
	own  *publish.Lane // the file's
}

// open makes a sink, for a connection or socket whose sender may want receipts.
func (in *input) open(r publish.Receipts) *sink {
	s := &sink{in: in, receipts: r}
	s.emit = s.publishLine
	return s
}

// Frame turns one frame into an event, a reject or a counted drop. f.Bytes is
// borrowed from the reader's buffer: nothing refers to it when Frame returns. It
// blocks while Kafka takes no more and the sender can wait (all but UDP). An error means
// that the frame was not taken: the transport counts it, and ends the connection.
func (s *sink) Frame(peer netip.AddrPort, f framing.Frame) error {
	if s.in.gate.closed() != nil {
		if !s.in.waits {
			s.take(peer, f)
			s.drop(peer, f, schema.DropDiskFull)
			return nil
		}
		s.Flush() // hold nothing while waiting
		if err := s.in.gate.wait(s.waits()); err != nil {
			return err
		}
	}
	s.take(peer, f)
	if len(s.rules.logs) > 0 {
		if line, ok := s.isLine(f); ok {
			return s.line(peer, f, line)
		}
	}
	outcome, ok := s.decode(f)
	if s.rules.reports != nil {
		f = shortReport(f)
	}
	if !ok {
		s.drop(peer, f, schema.DropEmpty)
		return nil
	}
	return s.finish(peer, f, outcome)
}

// finish publishes the event or reject that a frame has become.
func (s *sink) finish(peer netip.AddrPort, f framing.Frame, outcome int) error {
	if s.file != nil && s.file.has(s.file.current) {
		s.in.ledger.again()
		return nil
	}
	if outcome != 0 && !s.keep(peer, f, outcome) {
		s.drop(peer, f, schema.DropRejectLimit)
		if s.in.taps.Watched() {
			s.complete(peer, f, outcome)
			s.in.taps.Show(&s.event, &s.header, &f, peer, schema.DropRejectLimit)
		}
		return nil
	}
	s.complete(peer, f, outcome)
	// Counted before it is appended: the batch may be acknowledged at once.
	s.in.ledger.enter()
	err := s.publish(&s.event, outcome)
	if errors.Is(err, publish.ErrRecordTooLarge) {
		// Whatever made it so large, the header included, stays behind.
		s.header = header.Header{Facility: s.header.Facility, Severity: s.header.Severity}
		f.Size, f.Bytes = max(f.Size, len(f.Bytes)), f.Bytes[:min(len(f.Bytes), rejectRawMax)]
		s.reject(f, schema.ReasonOversize, err.Error())
		event := outcome == 0
		outcome = 1 + indexOf(rejectReasons, schema.ReasonOversize)
		if event && !s.keep(peer, f, outcome) {
			s.lose(peer, f, schema.DropRejectLimit)
			return nil
		}
		s.complete(peer, f, outcome)
		err = s.publish(&s.event, outcome)
	}
	if s.in.taps.Watched() && !s.putOff(err) {
		s.in.taps.Show(&s.event, &s.header, &f, peer, dropOf(err))
	}
	switch {
	case err == nil:
		if f.Receipt != 0 {
			s.lane.Confirm(s.event.Kind, s.receipts, f.Receipt)
		}
		if s.file != nil {
			s.file.published(s.event.Kind, s.file.current)
		}
		if outcome == 0 {
			s.heard(f)
		}
		return nil
	case errors.Is(err, publish.ErrNoBuffer):
		s.lose(peer, f, schema.DropBackpressure)
		return nil
	}
	s.in.ledger.leave()
	return err
}

// dropOf is the drop that publishing with err makes of a frame: "" for none.
func dropOf(err error) schema.Reason {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, publish.ErrNoBuffer):
		return schema.DropBackpressure
	}
	return schema.DropShutdown
}

// decode fills the event's own fields and tells the outcome: 0 or a reject's.
// ok is false for a frame with nothing in it.
func (s *sink) decode(f framing.Frame) (outcome int, ok bool) {
	if f.Reject != "" {
		s.header = header.Header{}
		s.reject(f, f.Reject, f.Detail)
		return 1 + indexOf(rejectReasons, f.Reject), true
	}
	if s.rules.reports != nil {
		return s.decodeReport(f)
	}
	frame := header.StripTrailer(f.Bytes)
	rest := header.ParsePRI(frame, &s.header)
	if len(rest) == 0 {
		return 0, false
	}
	if s.rules.formats == nil {
		return 0, false // a header, and no line behind it
	}
	body := rest
	if !s.rules.formats.Matches(rest) {
		if b, parsed := s.parser.ParseRest(rest, &s.header, s.stampsBefore(), s.rules.zone); parsed {
			body = b
		}
	}
	if len(body) == 0 {
		return 0, false
	}
	v := s.decoder.Decode(s.rules.formats, body, &s.event, format.Context{
		Received: s.now, Header: s.header.Millis, Relay: rest[:len(rest)-len(body)],
	})
	if v.Reason != "" {
		if f.Flags&schema.FlagNoTrailer != 0 && (v.Reason == schema.ReasonShort || v.Reason == schema.ReasonTruncated) {
			// It is the connection that ended, not the sender's line.
			v.Reason, v.Detail = schema.ReasonTruncatedEOF, "the input ended before the frame's delimiter came; "+v.Detail
		}
		s.reject(f, v.Reason, v.Detail)
		return 1 + indexOf(rejectReasons, v.Reason), true
	}
	return 0, true
}

// reject makes the event a reject that keeps the frame.
func (s *sink) reject(f framing.Frame, reason schema.Reason, detail string) {
	e := &s.event
	e.Reset(schema.Reject)
	e.SetText(schema.Direction, s.rules.direction)
	e.SetMillis(schema.EventTime, s.now)
	e.SetText(schema.EventTimeSource, sourceReceived)
	e.SetUint(schema.IDTime, uint64(s.now/1000))
	e.SetText(rejectReason, []byte(reason))
	e.SetText(rejectDetail, []byte(detail))
	e.SetUint(rejectBytes, uint64(max(f.Size, len(f.Bytes))))
	raw := f.Bytes
	if f.Size > len(raw) {
		raw = raw[:min(len(raw), rejectRawMax)]
	}
	e.SetText(schema.Raw, raw)
}

var (
	sourceReceived = schema.Padded("received")

	rejectReason = schema.Reject.Index("reason")
	rejectDetail = schema.Reject.Index("detail")
	rejectBytes  = schema.Reject.Index("frame_bytes")
)

// complete sets what the frame's event has of its way here.
func (s *sink) complete(peer netip.AddrPort, f framing.Frame, outcome int) {
	s.common(&s.event, peer, f)
	if outcome == 0 && s.rules.reports == nil {
		if s.rules.raw == "always" || s.rules.raw == "flagged" && (s.event.Flagged() != 0 || !s.isClean) {
			s.event.SetText(schema.Raw, f.Bytes)
		}
	}
}

// common sets what every event has of its way here. f is the frame that completed it.
func (s *sink) common(e *schema.Event, peer netip.AddrPort, f framing.Frame) {
	h := &s.header
	e.SetMillis(schema.ReceivedAt, s.now)
	e.SetText(schema.Listener, s.in.name)
	e.SetText(schema.Transport, s.in.transport)
	e.SetIP(schema.PeerIP, peer.Addr())
	e.SetUint(schema.Facility, uint64(h.Facility))
	e.SetUint(schema.Severity, uint64(h.Severity))
	e.SetText(schema.SyslogHost, h.Host)
	e.SetText(schema.SyslogApp, h.App)
	e.SetText(schema.SyslogPID, h.PID)
	if s.file != nil {
		e.SetText(schema.Source, s.file.name)
		e.SetText(schema.SourcePath, s.file.path)
		e.SetUint(schema.SourceOffset, uint64(s.offsetOf(e)))
	}
	if len(h.StructuredData) > 0 {
		if err := header.EachParam(h.StructuredData, func(key, value []byte) {
			e.AddPair(schema.StructuredData, key, value)
		}); err != nil {
			e.Flag(schema.FlagBadStructuredData)
		}
	}
	e.Flag(f.Flags | s.headerFlags(h))
	if s.rules.reports != nil {
		return // decodeReport has seen to the rest
	}
	// One look at the whole frame saves one at each of its values. Structured
	// data are unescaped into bytes of their own, which it has not seen.
	s.isClean = clean.Is(f.Bytes)
	e.Clean = s.isClean && len(h.StructuredData) == 0
}

// offsetOf is where in the file an event's line begins: the decoders of logs have said so.
func (s *sink) offsetOf(e *schema.Event) int64 {
	if e == &s.event {
		return s.file.current
	}
	return int64(e.Uint(schema.SourceOffset))
}

// headerFlags are what the header's parser had to forgive.
func (s *sink) headerFlags(h *header.Header) (f schema.Flag) {
	switch h.PRI {
	case header.PRIMissing:
		if s.file == nil { // no file has any
			f |= schema.FlagNoPRI
		}
	case header.PRIBad:
		f |= schema.FlagBadPRI
	}
	if h.BOM {
		f |= schema.FlagBOM
	}
	if h.BadTime {
		f |= schema.FlagBadHeaderTime
	}
	return f
}

// publish adds the event to an open batch.
func (s *sink) publish(e *schema.Event, outcome int) error {
	s.takeLane()
	tag := s.in.tag + outcome
	if s.in.waits || s.patient {
		return s.lane.Append(s.waits(), e, tag)
	}
	return s.lane.TryAppend(e, tag)
}

// stampsBefore is a time that stamps without a year are not much later than.
func (s *sink) stampsBefore() int64 {
	if s.file != nil {
		return min(s.now, s.file.modified)
	}
	return s.now
}

// waits ends waiting for Kafka.
func (s *sink) waits() context.Context {
	if s.patience != nil {
		return s.patience
	}
	return s.in.hard
}

// Flush ends a read: lane and scratch go back for others.
func (s *sink) Flush() {
	s.releaseLane()
	if s.scratch != nil {
		s.tally.End()
		scratches.Put(s.scratch)
		s.scratch = nil
	}
}

func (s *sink) takeLane() {
	switch {
	case s.lane != nil:
	case s.own != nil:
		s.own.Hold()
		s.lane = s.own
	default:
		s.lane = s.in.publisher.Acquire()
	}
}

func (s *sink) releaseLane() {
	if s.lane != nil {
		s.lane.Release()
		s.lane = nil
	}
}
