package ingester

import (
	"net/netip"
	"time"

	"millrace/ingester/framing"
	"millrace/schema"
)

// take counts a frame for its peer, and begins a read with its first frame.
func (s *sink) take(peer netip.AddrPort, f framing.Frame) {
	if s.scratch == nil {
		s.scratch = scratches.Get().(*scratch)
		s.rules = s.in.rules.Load()
		s.parser.Stored = s.file != nil
		s.now = time.Now().UnixMilli()
		s.in.ledger.lastTook.Store(s.now)
		s.tally.Begin(s.in.peers, s.in.hosts, s.now)
	}
	s.tally.Frame(peer.Addr(), max(f.Size, len(f.Bytes)))
}

// keep counts a reject for its peer, and tells whether it may be stored.
func (s *sink) keep(peer netip.AddrPort, f framing.Frame, outcome int) bool {
	e, h := &s.event, &s.header
	s.tally.Reject(h.Host)
	size := len(e.Text(schema.Raw)) + len(e.Text(rejectDetail)) + len(h.Host) + len(h.App) + len(h.PID) + len(h.StructuredData)
	if !s.in.rejects.admit(peer.Addr(), size, s.now) {
		return false
	}
	s.in.samples.rejects[outcome-1].take(peer.Addr(), f.Bytes, f.Size)
	return true
}

// drop ends a frame here, as a counted drop.
func (s *sink) drop(peer netip.AddrPort, f framing.Frame, r schema.Reason) {
	s.in.ledger.drop(r)
	s.gone(peer, f, r)
}

// lose does the same with a frame that is in flight.
func (s *sink) lose(peer netip.AddrPort, f framing.Frame, r schema.Reason) {
	s.in.ledger.lose(r, 1)
	s.gone(peer, f, r)
}

func (s *sink) gone(peer netip.AddrPort, f framing.Frame, r schema.Reason) {
	if f.Receipt != 0 { // or its sender would send it for ever
		s.receipt[0] = f.Receipt
		s.receipts.Kept(s.receipt[:])
	}
	s.tally.Drop()
	s.in.samples.dropped(r).take(peer.Addr(), f.Bytes, f.Size)
}

// heard counts an event for the filtering host that it names, and compares clocks.
func (s *sink) heard(f framing.Frame) {
	e, h := &s.event, &s.header
	if e.Kind == schema.Feedback { // it names none, and is of a time that another clock has told
		s.tally.Event(nil, nil, max(f.Size, len(f.Bytes)), 0, 0)
		return
	}
	var header, own int64
	if h.HasTime {
		header = h.Millis
	}
	if string(e.Text(schema.EventTimeSource)) == "event" {
		own = e.Millis(schema.EventTime)
	}
	s.tally.Event(e.Text(hostField), h.Host, len(f.Bytes), header, own)
}

// hostField is where both kinds of events have the filtering host.
var hostField = sameIndex("filtering_host", schema.Message, schema.Status)

func sameIndex(field string, kinds ...*schema.Kind) int {
	at := kinds[0].Index(field)
	for _, k := range kinds {
		if k.Index(field) != at {
			panic("BUG: " + field + " has not the same place in all kinds")
		}
	}
	return at
}
