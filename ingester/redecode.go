package ingester

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"millrace/ingester/format"
	"millrace/ingester/framing"
	"millrace/ingester/qmail"
	"millrace/internal/config"
	"millrace/schema"
)

// Stored is a frame as a row of a table has it.
type Stored struct {
	Listener, Transport string
	Peer                netip.Addr
	Received            int64 // ms since 1970
	Frame               []byte
	Flags               schema.Flag // of the framing, which the frame's bytes do not tell
}

// Redecoder decodes stored frames as the configuration would have them decoded now. It is
// used by one goroutine.
type Redecoder struct {
	inputs  map[string]*input // by the listener's name
	scratch scratch
	frame   []byte // the last one's copy

	// The event goes the way of the others, through a record: it repairs text and names flags.
	record []byte
	reader schema.Reader
	event  schema.Event
}

// NewRedecoder compiles the formats of cfg. With formatName the frames of all listeners
// are read as that format alone.
func NewRedecoder(cfg *config.Config, formatName string) (*Redecoder, error) {
	formats, err := CompileFormats(cfg)
	if err != nil {
		return nil, err
	}
	known, err := knownFormats(cfg)
	if err != nil {
		return nil, err
	}
	only := known[formatName]
	if only == nil && formatName != "" && formatName != config.ReportFormat {
		return nil, fmt.Errorf("cannot decode as format %q: there are %q (formats[].name)", formatName, append(slices.Sorted(maps.Keys(known)), config.ReportFormat))
	}
	r := &Redecoder{inputs: map[string]*input{}}
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		set, logs := formats[i].Set, formats[i].Logs
		if only != nil {
			logs = nil
			if set, err = format.NewSet([]*format.Format{only}, optionsOf(cfg, l)); err != nil {
				return nil, err
			}
		}
		in := &input{name: schema.Padded(l.Name)}
		rules := rulesOf(l, set, logs)
		switch {
		case formatName == config.ReportFormat:
			rules.reports = newReportRules(cfg, l)
		case only == nil:
			rules.reports = reportsOf(cfg, l)
		}
		in.rules.Store(rules)
		r.inputs[l.Name] = in
	}
	return r, nil
}

// ErrListener is what Decode returns for a frame of a listener that is not configured.
var ErrListener = errors.New("the configuration has no listener of that name")

// Decode returns the event of a stored frame, valid until the next call, or the reason why
// it is still none. ErrListener: the configuration does not have its listener.
func (r *Redecoder) Decode(f Stored) (e *schema.Event, reason schema.Reason, err error) {
	in := r.inputs[f.Listener]
	if in == nil {
		return nil, "", ErrListener
	}
	r.frame = append(r.frame[:0], f.Frame...)
	s := &sink{in: in, scratch: &r.scratch, rules: in.rules.Load(), now: f.Received}
	whole := framing.Frame{Bytes: r.frame, Flags: f.Flags}
	if len(s.rules.logs) > 0 {
		if line, ok := s.isLine(whole); ok {
			return r.line(s, netip.AddrPortFrom(f.Peer, 0), whole, line, []byte(f.Transport))
		}
	}
	outcome, ok := s.decode(whole)
	switch {
	case !ok:
		return nil, schema.DropEmpty, nil
	case outcome != 0:
		return nil, rejectReasons[outcome-1], nil
	}
	s.complete(netip.AddrPortFrom(f.Peer, 0), whole, outcome)
	s.event.SetText(schema.Transport, []byte(f.Transport))
	return r.through(&s.event)
}

func (r *Redecoder) through(e *schema.Event) (*schema.Event, schema.Reason, error) {
	r.record = schema.AppendRecord(r.record[:0], e)
	if err := r.reader.Read(e.Kind, r.record, &r.event); err != nil {
		return nil, "", fmt.Errorf("BUG: cannot read the record of a decoded frame: %w", err)
	}
	return &r.event, "", nil
}

// line is Decode of a log's line. Lines that are an event only together with others,
// which were rejected on their own, stay what they are.
func (r *Redecoder) line(s *sink, peer netip.AddrPort, f framing.Frame, line, transport []byte) (e *schema.Event, reason schema.Reason, err error) {
	set, err := qmail.NewSet(s.rules.logs, s.rules.log)
	if err != nil {
		return nil, "", err
	}
	l := qmail.Line{Bytes: line, Received: s.now}
	if s.header.HasTime {
		l.Header = s.header.Millis
	}
	reason, _ = set.Line(l, func(one *schema.Event) {
		raw := one.Text(schema.Raw)
		s.common(one, peer, f)
		one.SetText(schema.Transport, transport)
		if s.rules.raw == "never" || s.rules.raw == "flagged" && one.Flagged() == 0 && s.isClean {
			raw = nil
		}
		one.SetText(schema.Raw, raw)
		e, _, err = r.through(one)
	})
	if reason == "" && e == nil {
		reason = schema.ReasonNoTemplate
	}
	return e, reason, err
}
