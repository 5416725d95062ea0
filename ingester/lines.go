package ingester

import (
	"container/list"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"millrace/ingester/clean"
	"millrace/ingester/framing"
	"millrace/ingester/header"
	"millrace/ingester/publish"
	"millrace/ingester/qmail"
	"millrace/schema"
)

// Bounds of what a listener remembers of lines that are not whole events yet. Beyond them
// the source that has been silent for longest is ended: what it has open becomes events.
const (
	maxLineSources = 1024
	maxHeldBytes   = 64 << 20
	// idleSource is for how long a source without anything open is remembered, in milliseconds.
	idleSource = 60 * 60 * 1000
	// sourceDeferred is how many deliveries a source remembers that will be tried again.
	sourceDeferred = 1 << 12
)

// lineSources are the sources of a listener's lines: one for each sender, host and
// program, because their lines stand in order, and nobody else's between them.
//
// Nobody waits for a source with a lane in hand: whoever has the source may be waiting
// for that lane.
type lineSources struct {
	mu     sync.Mutex
	byName map[string]*lineSource
	recent list.List    // of *lineSource, the latest first
	held   atomic.Int64 // bytes
}

// lineSource is one of them. Its lock is held while one of its lines is decoded and the
// events are published, so that these are in the order of the lines.
type lineSource struct {
	name string
	peer netip.AddrPort
	at   *list.Element // in recent; guarded by the lineSources' lock

	mu     sync.Mutex
	gone   bool // from byName: get another one
	rules  *rules
	lines  *qmail.Set
	again  *qmail.Deferred
	header header.Header // of the last line; Host, App and PID are the source's own bytes
	pid    []byte
	count  int64 // lines so far
	last   int64 // ms since 1970
	held   int   // bytes, as counted in lineSources
}

// name writes the name of a source.
func appendSourceName(b []byte, peer netip.Addr, h *header.Header) []byte {
	a := peer.As16()
	b = append(b, a[:]...)
	b = append(append(b, h.Host...), 0)
	return append(b, h.App...)
}

// find returns the source of that name; made says that it is new. name is borrowed.
func (ls *lineSources) find(name []byte) *lineSource {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if src := ls.byName[string(name)]; src != nil {
		ls.recent.MoveToFront(src.at)
		return src
	}
	if ls.byName == nil {
		ls.byName = map[string]*lineSource{}
	}
	src := &lineSource{name: string(name)}
	ls.byName[src.name] = src
	src.at = ls.recent.PushFront(src)
	return src
}

// excess takes the source out that has been silent for longest, if there are too many
// or they hold too much; nil: there is no need.
func (ls *lineSources) excess() *lineSource {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if len(ls.byName) <= maxLineSources && ls.held.Load() <= maxHeldBytes {
		return nil
	}
	return ls.remove(ls.recent.Back())
}

// idle takes a source out that nothing has come from since a time.
func (ls *lineSources) idle(since int64) *lineSource {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	at := ls.recent.Back()
	if at == nil {
		return nil
	}
	src := at.Value.(*lineSource)
	if !src.mu.TryLock() {
		return nil // it is at work
	}
	defer src.mu.Unlock()
	if lines, _ := src.heldNow(); lines > 0 || src.last >= since {
		return nil
	}
	return ls.remove(at)
}

func (ls *lineSources) remove(at *list.Element) *lineSource {
	if at == nil {
		return nil
	}
	src := at.Value.(*lineSource)
	ls.recent.Remove(at)
	delete(ls.byName, src.name)
	return src
}

func (ls *lineSources) all() (all []*lineSource) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, src := range ls.byName {
		all = append(all, src)
	}
	return all
}

// open is the offset of the oldest line whose event is still to come, of a file.
func (ls *lineSources) open() (offset int64, ok bool) {
	for _, src := range ls.all() {
		if o, open := src.lines.Open(); open && (!ok || o < offset) {
			offset, ok = o, true
		}
	}
	return offset, ok
}

// silent names the logs of which something has waited for too long, in a file that has
// been silent for a time.
func (ls *lineSources) silent(silence time.Duration) (logs []string) {
	for _, src := range ls.all() {
		for _, log := range src.lines.Silent(silence) {
			if !slices.Contains(logs, log) {
				logs = append(logs, log)
			}
		}
	}
	return logs
}

// sources are those of the listener, or of the file.
func (s *sink) sources() *lineSources {
	if s.file != nil {
		return &s.file.lines
	}
	return &s.in.lines
}

func (src *lineSource) heldNow() (lines, bytes int) {
	if src.lines == nil {
		return 0, 0
	}
	return src.lines.Held()
}

// isLine takes the syslog header off a frame, and tells whether the rest is for the
// decoders of logs: all that is no event of a template.
func (s *sink) isLine(f framing.Frame) (line []byte, ok bool) {
	if f.Reject != "" {
		return nil, false
	}
	frame := header.StripTrailer(f.Bytes)
	rest := header.ParsePRI(frame, &s.header)
	templates := s.rules.formats
	if len(rest) == 0 || templates != nil && templates.Matches(rest) {
		return nil, false
	}
	if line = rest; !qmail.Bare(rest) {
		if b, parsed := s.parser.ParseRest(rest, &s.header, s.stampsBefore(), s.rules.zone); parsed {
			line = b
		}
	}
	if len(line) == 0 || templates != nil && templates.Matches(line) {
		return nil, false
	}
	return line, true
}

// line takes one line of a log, whose header is in s.header.
func (s *sink) line(peer netip.AddrPort, f framing.Frame, line []byte) error {
	sources := s.sources()
	s.name = appendSourceName(s.name[:0], peer.Addr(), &s.header)
	src := sources.find(s.name)
	for !s.lock(src) {
		src = sources.find(s.name)
	}
	src.peer, src.last = peer, s.now
	if src.rules != s.rules {
		s.renew(src)
	}
	s.begin(peer, f)
	l := qmail.Line{Bytes: line, Offset: src.count, Received: s.now}
	if s.file != nil {
		l.Offset = s.file.current
	}
	if s.header.HasTime {
		l.Header = s.header.Millis
	}
	src.count++
	src.remember(&s.header)
	before, _ := src.heldNow()
	s.in.ledger.enter()
	reason, detail := src.lines.Line(l, s.emit)
	if reason != "" {
		s.in.ledger.leave()
		src.mu.Unlock()
		return s.rejectLine(peer, f, reason, detail)
	}
	after, bytes := src.heldNow()
	s.in.ledger.join(before + 1 - after - s.emitted)
	sources.held.Add(int64(bytes - src.held))
	src.held = bytes
	s.answer(f)
	src.mu.Unlock()
	for excess := sources.excess(); excess != nil; excess = sources.excess() {
		s.endSource(excess)
	}
	return nil
}

// lock takes a source's lock, and does not wait for it with a lane in hand. It is not ok,
// and the lock not taken, when the source has ended.
func (s *sink) lock(src *lineSource) (ok bool) {
	if !src.mu.TryLock() {
		s.releaseLane()
		src.mu.Lock()
	}
	if src.gone {
		src.mu.Unlock()
		return false
	}
	return true
}

// renew makes the decoders of a source anew: it has none, or the rules have changed.
func (s *sink) renew(src *lineSource) {
	if src.lines != nil {
		s.end(src)
	}
	if src.again == nil {
		src.again = s.deferred(src.name)
	}
	o := s.rules.log
	o.Deferred = src.again
	set, err := qmail.NewSet(s.rules.logs, o)
	if err != nil {
		panic("BUG: " + err.Error()) // the configuration has been checked
	}
	src.rules, src.lines = s.rules, set
}

// deferred is what a new source has to know of deliveries that are tried again.
func (s *sink) deferred(source string) *qmail.Deferred {
	if s.file == nil || s.file.in.state == nil { // an import's files come in any order
		return qmail.NewDeferred(sourceDeferred)
	}
	return s.file.in.rotated.of(string(s.file.path) + "\x00" + source)
}

// remember keeps what events have of the header when no line is at hand.
func (src *lineSource) remember(h *header.Header) {
	host, app := src.header.Host, src.header.App
	if host == nil {
		host, app = append([]byte{}, h.Host...), append([]byte{}, h.App...) // of the source's name: they do not change
	}
	src.pid = append(src.pid[:0], h.PID...)
	src.header = header.Header{PRI: h.PRI, Facility: h.Facility, Severity: h.Severity, Host: host, App: app, PID: src.pid}
}

// begin notes whose events come next.
func (s *sink) begin(peer netip.AddrPort, f framing.Frame) {
	s.peer, s.of, s.emitted, s.kind = peer, f, 0, nil
}

// end emits what a source has open, which the caller has locked, and counts it.
func (s *sink) end(src *lineSource) { s.flushSource(src, src.lines.End) }

// flushSource lets f emit events without a line at hand.
func (s *sink) flushSource(src *lineSource, f func(qmail.Emit)) {
	before, _ := src.heldNow()
	if before == 0 {
		return
	}
	h := s.header
	s.header = src.header
	s.begin(src.peer, framing.Frame{})
	f(s.emit)
	s.header = h
	after, bytes := src.heldNow()
	s.in.ledger.join(before - after - s.emitted)
	s.sources().held.Add(int64(bytes - src.held))
	src.held = bytes
}

// endSource ends a source that has been taken out.
func (s *sink) endSource(src *lineSource) {
	if !s.lock(src) {
		return
	}
	src.gone = true
	if src.lines != nil {
		s.end(src)
	}
	src.mu.Unlock()
}

// publishLine takes an event of the decoders: it is their Emit.
func (s *sink) publishLine(e *schema.Event) {
	offset := int64(e.Uint(schema.SourceOffset))
	if s.file != nil && s.file.has(offset) {
		return
	}
	s.emitted++
	raw := e.Text(schema.Raw)
	isClean := clean.Is(raw)
	if s.file == nil {
		e.SetUint(schema.SourceOffset, 0) // it was a number of lines, and no file's
	}
	s.common(e, s.peer, s.of)
	e.Clean = e.Clean && isClean
	if r := s.rules.raw; r == "never" || r == "flagged" && e.Flagged() == 0 && isClean {
		e.SetText(schema.Raw, nil)
	}
	kind := e.Kind
	err := s.publish(e, 0)
	if errors.Is(err, publish.ErrRecordTooLarge) {
		e.SetText(schema.Raw, nil) // the columns have the same text once more
		e.Flag(schema.FlagIncomplete)
		err = s.publish(e, 0)
	}
	if errors.Is(err, publish.ErrRecordTooLarge) {
		kind, err = schema.Reject, s.rejectEvent(raw, offset, err)
	}
	if s.in.taps.Watched() {
		s.in.taps.Show(e, &s.header, &s.of, s.peer, dropOf(err))
	}
	if err != nil {
		reason := dropOf(err)
		s.in.ledger.lose(reason, 1)
		if s.file != nil {
			s.file.lost()
		}
		s.in.samples.dropped(reason).take(s.peer.Addr(), raw, len(raw))
		return
	}
	s.kind = kind
	if s.file != nil {
		s.file.published(kind, offset)
	}
	if s.scratch != nil && s.of.Bytes != nil {
		s.heardLine(e)
	}
}

// rejectEvent publishes the beginning of an event's lines, which no batch can hold.
func (s *sink) rejectEvent(raw []byte, offset int64, cause error) error {
	f := framing.Frame{Size: len(raw), Bytes: raw[:min(len(raw), rejectRawMax)]}
	s.reject(f, schema.ReasonOversize, cause.Error())
	s.common(&s.event, s.peer, f)
	if s.file != nil {
		s.event.SetUint(schema.SourceOffset, uint64(offset))
	}
	return s.publish(&s.event, 1+indexOf(rejectReasons, schema.ReasonOversize))
}

// answer tells a sender who wants to know that a line is safe: with the event that it
// completed, or at once when its event is still to come.
func (s *sink) answer(f framing.Frame) {
	switch {
	case f.Receipt == 0:
	case s.kind != nil:
		s.lane.Confirm(s.kind, s.receipts, f.Receipt)
	default:
		s.receipt[0] = f.Receipt
		s.receipts.Kept(s.receipt[:])
	}
}

func (s *sink) heardLine(e *schema.Event) {
	var header, own int64
	if s.header.HasTime {
		header = s.header.Millis
	}
	if string(e.Text(schema.EventTimeSource)) == "event" {
		own = e.Millis(schema.EventTime)
	}
	s.tally.Event(s.header.Host, s.header.Host, len(s.of.Bytes), header, own)
}

// expireEvery is how often sources are looked at whose lines have stopped.
const expireEvery = time.Second

// expireLines ends events whose other lines do not come, until it is told to end.
func (in *Ingester) expireLines() (end func()) {
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(expireEvery)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case now := <-tick.C:
				for _, input := range in.inputs {
					input.lines.expire(input, now.UnixMilli())
				}
			}
		}
	})
	return func() {
		close(stop)
		running.Wait()
	}
}

// own is a sink for events that no read has brought.
func (in *input) own(now int64) *sink {
	s := in.open(nil)
	s.scratch, s.rules, s.now, s.patient = new(scratch), in.rules.Load(), now, true
	return s
}

func (ls *lineSources) expire(in *input, now int64) {
	all := ls.all()
	if len(all) == 0 {
		return
	}
	s := in.own(now)
	defer s.releaseLane()
	for _, src := range all {
		if !s.lock(src) {
			continue
		}
		if src.lines != nil {
			s.flushSource(src, func(emit qmail.Emit) { src.lines.Expire(now, emit) })
		}
		src.mu.Unlock()
	}
	for src := ls.idle(now - idleSource); src != nil; src = ls.idle(now - idleSource) {
		s.endSource(src)
	}
}

// end emits all that is open: nobody sends any more.
func (ls *lineSources) end(in *input) {
	s := in.own(time.Now().UnixMilli())
	defer s.releaseLane()
	for _, src := range ls.all() {
		s.endSource(src)
	}
}

// rejectLine makes a reject of a line that no decoder knows. Where there are templates
// too, they have the last word on it.
func (s *sink) rejectLine(peer netip.AddrPort, f framing.Frame, reason schema.Reason, detail string) error {
	if s.rules.formats != nil {
		if outcome, ok := s.decode(f); ok {
			return s.finish(peer, f, outcome)
		}
	}
	s.reject(f, reason, detail)
	return s.finish(peer, f, 1+indexOf(rejectReasons, reason))
}
