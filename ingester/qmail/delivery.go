package qmail

import (
	"bytes"

	"millrace/schema"
)

// Bounds of what is open. The oldest goes first, as an event without its result; so does
// one that is older than attemptTimeout, by the log's own times, when another begins.
const (
	maxAttempts = 4096 // twice 255 is qmail-send's own bound; patched ones have some thousands
	maxMessages = 8192

	maxHeld = 16 << 20 // bytes of all attempts' lines

	maxIdleLines = 4 << 10 // bytes that an attempt keeps for the next that takes its place
)

// Delivery decodes the delivery log, in both forms: `2021-03-09 12:43:51, init, <sender>`,
// `try, N, local|remote, recipient` and `result, N, OUTCOME, text`; or qmail-send's own
// lines, `starting delivery 7: msg 114878 to local recipient` and the others of
// qmail-send.c. An attempt is one event, when its result is there.
//
// N is qmail-send's number of the attempt, which begins at 1 again when that is started
// again. The first form has no number of the message. The sender is that of the nearest
// earlier init, which is right as long as no other message is open; or, when none is, that
// of the delivery to the recipient that was deferred. Where both are possible, or more
// than one message is, the event has the flag sender_inferred.
type Delivery struct {
	direction []byte
	clock     clock
	event     schema.Event
	domain    []byte

	attempts map[uint64]*attempt
	oldest   *attempt // of a list in the order in which they began
	newest   *attempt
	idle     *attempt // a list of those that can be used again
	held     int      // bytes of attempts' lines
	fold     fold

	messages map[uint64]*message // qmail-send's own lines: by number
	latest   *message            // the other form: of the nearest earlier init, as all below
	inits    [maxMessages]*message
	inited   uint64 // inits so far
	opened   uint64 // no message of an earlier init is open
	open     int    // messages among inits that are open
	spare    []*message
	deferred *Deferred
}

// message is a message of which attempts are made.
type message struct {
	sender  []byte
	size    uint64
	qp, uid uint64
	since   int64 // ms since 1970

	tried   bool
	running int  // attempts without a result
	gone    bool // from messages or inits: its last attempt makes it a spare one
}

// isOpen tells whether more attempts may come, but for those of deferred deliveries.
func (m *message) isOpen() bool { return !m.tried || m.running > 0 }

// attempt is a delivery that has begun.
type attempt struct {
	earlier, later *attempt
	number         uint64
	of             *message // nil: it is of a deferred delivery, or unknown
	sender         []byte   // of a deferred delivery
	known          bool     // sender is
	numbered       uint64   // qmail-send's number of the message
	lines          []byte   // as they were, each with a line end
	recipient      span
	channel        span
	started        int64
	flags          schema.Flag
	first          Line // without its bytes
}

// The keys of the log, and positions of the fields.
var (
	keyInit, keyTry, keyResult = []byte("init"), []byte("try"), []byte("result")

	dvDomain, dvSender, dvNumber    = schema.Delivery.Index("domain"), schema.Delivery.Index("sender"), schema.Delivery.Index("delivery_number")
	dvChannel, dvRecipient          = schema.Delivery.Index("channel"), schema.Delivery.Index("recipient")
	dvOutcome, dvText               = schema.Delivery.Index("outcome"), schema.Delivery.Index("text")
	dvFiles, dvForwards, dvPrograms = schema.Delivery.Index("files"), schema.Delivery.Index("forwards"), schema.Delivery.Index("programs")
	dvSMTPAuth                      = schema.Delivery.Index("smtp_auth")
	dvRemoteHost, dvRemoteIP        = schema.Delivery.Index("remote_host"), schema.Delivery.Index("remote_ip")
	dvCode, dvEnhanced, dvReply     = schema.Delivery.Index("code"), schema.Delivery.Index("enhanced_code"), schema.Delivery.Index("reply")
	dvStarted                       = schema.Delivery.Index("started")
	dvMessage, dvSize, dvQP, dvUID  = schema.Delivery.Index("message_number"), schema.Delivery.Index("size"), schema.Delivery.Index("qp"), schema.Delivery.Index("uid")
)

// NewDelivery makes the decoder of a source.
func NewDelivery(o Options) *Delivery {
	direction := unknown
	if o.Direction != "" {
		direction = schema.Padded(o.Direction)
	}
	deferred := o.Deferred
	if deferred == nil {
		deferred = NewDeferred(maxMessages)
	}
	return &Delivery{
		direction: direction, clock: clock{zone: o.Zone},
		attempts: map[uint64]*attempt{}, messages: map[uint64]*message{}, deferred: deferred,
	}
}

const noDelivery = "the line is neither a date, a time, a key and a comma behind each, nor one of qmail-send's own"

// Line implements Decoder.
func (d *Delivery) Line(l Line, emit Emit) (schema.Reason, string) {
	ms, flags, key, rest, reason := d.clock.keyed(l.Bytes)
	if reason != "" {
		if d.fold.add(l.Bytes) {
			return "", ""
		}
		d.release(emit)
		if stamp, ok := isFolded(l.Bytes); ok && isSend(l.Bytes[stamp+1:]) {
			d.fold.hold(l, stamp)
			return "", ""
		}
		if d.native(l, emit) {
			return "", ""
		}
		return reason, noDelivery
	}
	d.release(emit)
	switch {
	case bytes.Equal(key, keyTry):
		number, rest, ok := numbered(rest)
		channel, recipient, _ := upTo(rest, commaBlank)
		if !ok {
			return schema.ReasonColumnCount, "a try has a number, local or remote, and a recipient"
		}
		a := d.begin(number, ms, flags, l, emit)
		a.channel, a.recipient = d.add(a, l.Bytes, channel), inside(0, l.Bytes, recipient)
		d.infer(a, recipient)
	case bytes.Equal(key, keyResult):
		number, rest, ok := numbered(rest)
		if !ok {
			return schema.ReasonColumnCount, "a result has a number, an outcome and a text"
		}
		outcome, text, _ := upTo(rest, commaBlank)
		d.result(number, outcome, text, ms, flags, l, emit)
	case bytes.Equal(key, keyInit):
		d.init(address(rest), ms)
	default:
		emitLine(&d.event, general{log: logDelivery, program: programSend, level: levelInfo, key: key, text: rest}, ms, flags, d.direction, &l, emit)
	}
	return "", ""
}

// numbered takes a number and the comma behind it off b.
func numbered(b []byte) (v uint64, rest []byte, ok bool) {
	v, n := number(b)
	if n == 0 || n+2 > len(b) || b[n] != ',' {
		return 0, nil, false
	}
	return v, bytes.TrimPrefix(b[n+1:], blank), true
}

// infer finds out whose message an attempt is of.
func (d *Delivery) infer(a *attempt, recipient []byte) {
	m := d.latest
	if d.open == 0 {
		var unsure, ok bool
		if a.sender, a.known, unsure, ok = d.deferred.take(recipient, a.sender); ok {
			if unsure {
				a.flags |= schema.FlagSenderInferred
			}
			return
		}
	}
	if m == nil {
		return
	}
	if d.open != 1 || !m.isOpen() || d.deferred.doubt(recipient) {
		a.flags |= schema.FlagSenderInferred
	}
	d.attach(a, m)
}

// init notes a message. The one that has been known longest is forgotten for it.
func (d *Delivery) init(sender []byte, ms int64) {
	d.abandon(ms)
	place := &d.inits[d.inited%maxMessages]
	d.inited++
	m := *place
	if m != nil && m.isOpen() {
		d.open--
		m.gone = m.running > 0
	}
	if m == nil || m.running > 0 { // an attempt still points to the old one
		m = d.newMessage()
	}
	*m = message{sender: append(m.sender[:0], sender...), since: ms}
	*place, d.latest = m, m
	d.open++
}

// abandon gives up messages of which no attempt has come for long.
func (d *Delivery) abandon(ms int64) {
	if d.inited > maxMessages {
		d.opened = max(d.opened, d.inited-maxMessages)
	}
	for ; d.opened < d.inited; d.opened++ {
		m := d.inits[d.opened%maxMessages]
		if m.running > 0 || !m.tried && ms-m.since <= attemptTimeout.Milliseconds() {
			return
		}
		if !m.tried {
			m.tried = true
			d.open--
		}
	}
}

// newMessage takes a message that nothing points to.
func (d *Delivery) newMessage() *message {
	n := len(d.spare)
	if n == 0 {
		return new(message)
	}
	m := d.spare[n-1]
	d.spare = d.spare[:n-1]
	return m
}

func (d *Delivery) attach(a *attempt, m *message) {
	a.of = m
	was := m.isOpen()
	m.tried = true
	m.running++
	if !was {
		d.open++
	}
}

// begin makes an attempt. One with the same number has lost its result.
func (d *Delivery) begin(number uint64, ms int64, flags schema.Flag, l Line, emit Emit) *attempt {
	if old := d.attempts[number]; old != nil {
		d.finish(old, nil, nil, 0, l, emit)
	}
	for len(d.attempts) == maxAttempts || d.oldest != nil && (d.held > maxHeld || d.oldest.started > 0 && ms-d.oldest.started > attemptTimeout.Milliseconds()) {
		d.finish(d.oldest, nil, nil, 0, l, emit)
	}
	a := d.idle
	if a != nil {
		d.idle = a.later
	} else {
		a = new(attempt)
	}
	*a = attempt{
		number: number, lines: a.lines[:0], sender: a.sender[:0], started: ms, flags: flags, earlier: d.newest,
		first: Line{Offset: l.Offset, Received: l.Received, Header: l.Header},
	}
	if d.newest != nil {
		d.newest.later = a
	} else {
		d.oldest = a
	}
	d.newest = a
	d.attempts[number] = a
	return a
}

func (d *Delivery) add(a *attempt, line, part []byte) span {
	start := len(a.lines)
	a.lines = append(append(a.lines, line...), '\n')
	d.held += len(a.lines) - start
	return inside(start, line, part)
}

// result ends an attempt.
func (d *Delivery) result(number uint64, outcome, text []byte, ms int64, flags schema.Flag, l Line, emit Emit) {
	a := d.attempts[number]
	if a == nil { // the log begins in its middle
		a = d.begin(number, 0, schema.FlagIncomplete, l, emit)
	}
	a.flags |= flags
	d.add(a, l.Bytes, nil)
	d.finish(a, outcome, text, ms, l, emit)
}

// finish makes the event of an attempt; without an outcome it has lost that.
func (d *Delivery) finish(a *attempt, outcome, text []byte, ms int64, l Line, emit Emit) {
	delete(d.attempts, a.number)
	d.unlink(a)
	d.held -= len(a.lines)
	e := &d.event
	e.Reset(schema.Delivery)
	e.Flag(a.flags)
	offset := l.Offset
	if outcome == nil {
		e.Flag(schema.FlagIncomplete)
		offset, ms, l = a.first.Offset, a.started, a.first
	}
	setTime(e, ms, &l)
	e.SetUint(schema.SourceOffset, uint64(offset))
	e.SetText(schema.Direction, d.direction)
	e.SetText(schema.Format, logDelivery)
	e.SetText(schema.Raw, a.lines)
	e.SetMillis(dvStarted, a.started)
	e.SetUint(dvNumber, a.number)
	e.SetText(dvChannel, a.lines[a.channel.start:a.channel.end])
	recipient := a.lines[a.recipient.start:a.recipient.end]
	e.SetText(dvRecipient, recipient)
	var lower []byte
	lower, d.domain = domain(d.domain[:0], recipient)
	e.SetText(dvDomain, lower)
	e.SetText(dvOutcome, outcome)
	e.SetText(dvText, text)
	e.SetUint(dvMessage, a.numbered)
	m, sender := a.of, a.sender
	if m != nil {
		sender, a.known = m.sender, true
		e.SetUint(dvSize, m.size)
		e.SetUint(dvQP, m.qp)
		e.SetUint(dvUID, m.uid)
		m.running--
		switch {
		case m.gone && m.running == 0:
			d.spare = append(d.spare, m)
		case !m.gone && !m.isOpen() && a.numbered == 0:
			d.open--
		}
	}
	e.SetText(dvSender, sender)
	if !a.known {
		e.Flag(schema.FlagIncomplete)
	}
	if a.numbered == 0 && len(recipient) > 0 && len(sender) <= maxSender && bytes.Equal(outcome, outcomeDeferral) {
		d.deferred.put(recipient, sender, a.known, a.flags&schema.FlagSenderInferred != 0)
	}
	report(e, text)
	emit(e)
	a.of, a.later = nil, d.idle
	if cap(a.lines) > maxIdleLines {
		a.lines = nil
	}
	if cap(a.sender) > maxSender {
		a.sender = nil
	}
	d.idle = a
}

var outcomeDeferral = []byte("deferral")

func (d *Delivery) unlink(a *attempt) {
	if a.earlier != nil {
		a.earlier.later = a.later
	} else {
		d.oldest = a.later
	}
	if a.later != nil {
		a.later.earlier = a.earlier
	} else {
		d.newest = a.earlier
	}
}

// Open implements Decoder.
func (d *Delivery) Open() (offset int64, ok bool) {
	offset = forever
	if d.fold.parts > 0 {
		offset, ok = d.fold.first.Offset, true
	}
	if a := d.oldest; a != nil {
		offset, ok = min(offset, a.first.Offset), true
	}
	return offset, ok
}

// Held implements Decoder. A line that tells of a message is in no event.
func (d *Delivery) Held() (lines, bytes int) {
	return len(d.attempts) + d.fold.parts, d.held + len(d.fold.bytes)
}

// Expire implements Decoder.
func (d *Delivery) Expire(now int64, emit Emit) {
	if d.fold.parts > 0 && now-d.fold.first.Received > foldTimeout.Milliseconds() {
		d.release(emit)
	}
	d.endBefore(now-attemptTimeout.Milliseconds(), emit)
}

// End implements Decoder.
func (d *Delivery) End(emit Emit) {
	d.release(emit)
	d.endBefore(forever, emit)
}

func (d *Delivery) endBefore(ms int64, emit Emit) {
	for d.oldest != nil && d.oldest.first.Received < ms {
		d.finish(d.oldest, nil, nil, 0, Line{}, emit)
	}
}
