package ingester

import (
	"context"
	"net/netip"
	"time"

	"millrace/ingester/arf"
	"millrace/ingester/framing"
	"millrace/ingester/header"
	"millrace/ingester/transport"
	"millrace/internal/config"
	"millrace/schema"
)

// Messages go the way of frames, through the same sink: what is different is here. A
// message can be longer than a Kafka record; it is cut to fit and flagged, never lost.

// recordRoom is how much of a batch an event's own values must leave: for the batch's and
// the record's heads and for the fields that every event has.
const recordRoom = 4 << 10

// shownMax is how much of a message is shown to who watches (millrace tap).
const shownMax = 256 << 10

// reportRules are how a listener's messages are understood.
type reportRules struct {
	arf.Options
	patience time.Duration // listeners[].answer_timeout
}

// reportsOf are a listener's, or nil for one whose frames are lines.
func reportsOf(cfg *config.Config, l *config.Listener) *reportRules {
	if !l.Address.Mail() {
		return nil
	}
	return newReportRules(cfg, l)
}

func newReportRules(cfg *config.Config, l *config.Listener) *reportRules {
	return &reportRules{
		Options:  arf.Options{Body: l.Body == "keep", Limit: int(cfg.Kafka.BatchBytes) - recordRoom, Zone: l.TimeZone},
		patience: l.AnswerTimeout,
	}
}

// sinkFor makes the sink of a connection or socket.
func (in *input) sinkFor(r transport.Receipts) transport.Sink {
	s := in.open(r)
	if in.rules.Load().reports != nil {
		return &reportSink{s}
	}
	return s
}

// reportSink is the sink of messages: their senders do not wait as long as those of
// lines, and have a copy to try again with.
type reportSink struct{ *sink }

// Frame implements transport.Sink.
func (s *reportSink) Frame(peer netip.AddrPort, f framing.Frame) error {
	var done context.CancelFunc
	s.patience, done = context.WithTimeout(s.in.hard, s.in.rules.Load().reports.patience)
	defer done()
	return s.sink.Frame(peer, f)
}

// putOff tells a message that Kafka does not take now: its sender has it, and nothing
// has become of it.
func (s *sink) putOff(err error) bool { return err != nil && s.patience != nil }

// shortReport is the frame as it is shown and counted once it has been decoded.
func shortReport(f framing.Frame) framing.Frame {
	if f.Reject == "" {
		f.Size = max(f.Size, len(f.Bytes))
		f.Bytes = f.Bytes[:min(len(f.Bytes), shownMax)]
	}
	return f
}

// decodeReport is decode of a message: it also sets raw, and says that the event's text
// is clean.
func (s *sink) decodeReport(f framing.Frame) (outcome int, ok bool) {
	s.header = header.Header{}
	if len(f.Bytes) == 0 {
		return 0, false
	}
	e, d := &s.event, &s.reports
	d.Options = s.rules.reports.Options
	if reason, detail := d.Decode(f.Bytes, s.now, e); reason != "" {
		s.reject(f, reason, detail)
		s.keepRaw(f.Bytes, d.Limit-len(detail))
		return 1 + indexOf(rejectReasons, reason), true
	}
	e.SetText(schema.Direction, s.rules.direction)
	if s.rules.raw == "always" || s.rules.raw == "flagged" && e.Flagged() != 0 {
		s.keepRaw(f.Bytes, d.Rest())
	}
	return 0, true
}

// keepRaw keeps a message, or as much of it as the record has room for.
func (s *sink) keepRaw(message []byte, most int) {
	if len(message) > most {
		message = message[:max(most, 0)]
		s.event.Flag(schema.FlagCut)
	}
	s.event.SetText(schema.Raw, message)
}
