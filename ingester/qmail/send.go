package qmail

import (
	"bytes"

	"millrace/schema"
)

// qmail-send's own lines (qmail-send.c), as multilog, splogger or nothing stamps them.
var (
	sendStarting = []byte("starting delivery ")
	sendDelivery = []byte("delivery ")
	sendInfo     = []byte("info msg ")
	sendNew      = []byte("new msg ")
	sendEnd      = []byte("end msg ")
	sendBounce   = []byte("bounce msg ")
	sendDouble   = []byte("double bounce: ")
	sendTriple   = []byte("triple bounce: ")
	sendStatus   = []byte("status: ")
	sendWarning  = []byte("warning: ")
	sendAlert    = []byte("alert: ")
	sendMangled  = []byte("report mangled, will defer")

	colonBlank = []byte(": ")
	msgWord    = []byte("msg ")
	toWord     = []byte("to ")
	bytesWord  = []byte("bytes ")
	fromWord   = []byte("from <")
	qpWord     = []byte("> qp ")
	uidWord    = []byte(" uid ")

	keyStatus, keyWarning, keyAlert = schema.Padded("status"), schema.Padded("warning"), schema.Padded("alert")
	keyBounce                       = schema.Padded("bounce")
)

// isSend tells whether a line, without its stamp, begins like one of qmail-send's.
func isSend(b []byte) bool {
	for _, w := range [...][]byte{sendStarting, sendDelivery, sendInfo, sendNew, sendEnd, sendBounce, sendDouble, sendTriple, sendStatus, sendWarning, sendAlert} {
		if bytes.HasPrefix(b, w) {
			return true
		}
	}
	return false
}

// native takes one of qmail-send's own lines; ok is false when it is none.
func (d *Delivery) native(l Line, emit Emit) (ok bool) {
	ms, b := sendStamp(l.Bytes)
	g := general{log: logDelivery, program: programSend, level: levelInfo}
	switch {
	case bytes.HasPrefix(b, sendDelivery):
		number, n := number(b[len(sendDelivery):])
		outcome, text, cut := upTo(b[len(sendDelivery)+n:], colonBlank)
		if n == 0 || len(outcome) != 0 || !cut {
			return false
		}
		if bytes.Equal(text, sendMangled) { // no report, and the message stays in the queue
			d.result(number, outcomeDeferral, sendMangled, ms, 0, l, emit)
			return true
		}
		if outcome, text, cut = upTo(text, colonBlank); cut {
			d.result(number, outcome, text, ms, 0, l, emit)
		}
		return cut
	case bytes.HasPrefix(b, sendStarting):
		return d.starting(b[len(sendStarting):], ms, l, emit)
	case bytes.HasPrefix(b, sendInfo):
		return d.info(b[len(sendInfo):], l)
	case bytes.HasPrefix(b, sendNew), bytes.HasPrefix(b, sendEnd):
		rest := b[bytes.IndexByte(b, ' ')+1+len(msgWord):]
		number, ok := whole(rest)
		if !ok {
			return false
		}
		d.forget(number)
		return true
	case bytes.HasPrefix(b, sendBounce):
		g.key, g.text = keyBounce, b[len(sendBounce)-len(msgWord):]
	case bytes.HasPrefix(b, sendDouble), bytes.HasPrefix(b, sendTriple):
		g.key, g.text, g.level = keyBounce, b, levelWarning
	case bytes.HasPrefix(b, sendStatus):
		g.key, g.text = keyStatus, b[len(sendStatus):]
	case bytes.HasPrefix(b, sendWarning):
		g.key, g.text, g.level = keyWarning, b[len(sendWarning):], levelWarning
	case bytes.HasPrefix(b, sendAlert):
		g.key, g.text, g.level = keyAlert, b[len(sendAlert):], levelAlert
	default:
		return false
	}
	emitLine(&d.event, g, ms, 0, d.direction, &l, emit)
	return true
}

// starting is `D: msg M to local|remote R`.
func (d *Delivery) starting(b []byte, ms int64, l Line, emit Emit) bool {
	n, digits := number(b)
	rest, ok := bytes.CutPrefix(b[digits:], colonBlank)
	if digits == 0 || !ok {
		return false
	}
	if rest, ok = bytes.CutPrefix(rest, msgWord); !ok {
		return false
	}
	m, digits := number(rest)
	if rest, ok = bytes.CutPrefix(bytes.TrimPrefix(rest[digits:], blank), toWord); !ok || digits == 0 {
		return false
	}
	channel, recipient, ok := upTo(rest, blank)
	if !ok {
		return false
	}
	a := d.begin(n, ms, 0, l, emit)
	a.channel, a.recipient = d.add(a, l.Bytes, channel), inside(0, l.Bytes, recipient)
	a.numbered = m
	if of := d.messages[m]; of != nil {
		a.of = of
		of.tried = true
		of.running++
	}
	return true
}

// info is `M: bytes B from <S> qp Q uid U`. S is whatever the client said.
func (d *Delivery) info(b []byte, l Line) bool {
	n, digits := number(b)
	rest, ok := bytes.CutPrefix(b[digits:], colonBlank)
	if digits == 0 || !ok {
		return false
	}
	if rest, ok = bytes.CutPrefix(rest, bytesWord); !ok {
		return false
	}
	size, digits := number(rest)
	if rest, ok = bytes.CutPrefix(bytes.TrimPrefix(rest[digits:], blank), fromWord); !ok {
		return false
	}
	at := bytes.LastIndex(rest, qpWord)
	if at < 0 {
		return false
	}
	sender := rest[:at]
	qp, digits := number(rest[at+len(qpWord):])
	rest, ok = bytes.CutPrefix(rest[at+len(qpWord)+digits:], uidWord)
	if !ok {
		return false
	}
	uid, _ := number(rest)
	m := d.messages[n]
	if m == nil || m.running > 0 {
		if len(d.messages) >= maxMessages {
			for number := range d.messages { // any: its attempts lose their sender, not themselves
				d.forget(number)
				break
			}
		}
		d.forget(n)
		m = d.newMessage()
		d.messages[n] = m
	}
	*m = message{sender: append(m.sender[:0], sender...), size: size, qp: qp, uid: uid}
	return true
}

// forget ends a message: its number is another one's from now on.
func (d *Delivery) forget(number uint64) {
	m := d.messages[number]
	if m == nil {
		return
	}
	delete(d.messages, number)
	if m.gone = m.running > 0; !m.gone {
		d.spare = append(d.spare, m)
	}
}

// isTAI tells whether b begins like a line of multilog, with a TAI64N stamp.
func isTAI(b []byte) bool { return len(b) > 26 && b[0] == '@' && b[25] == ' ' }

// sendStamp takes a stamp off a line: TAI64N of multilog, seconds and microseconds of
// splogger, or none.
func sendStamp(b []byte) (ms int64, rest []byte) {
	if isTAI(b) {
		var v [3]uint64
		for i, c := range b[1:25] {
			h := hex(c)
			if h < 0 {
				return 0, b
			}
			v[i/8] = v[i/8]<<4 | uint64(h)
		}
		// 2^62 is 1970, and TAI was 10 s ahead then (libtai's tai64nlocal and qmail's now).
		const epoch = 1<<62 + 10
		return int64(v[0]<<32+v[1]-epoch)*1000 + int64(v[2]/1e6), b[26:]
	}
	n := sploggerStamp(b)
	if n == 0 || b[n] != ' ' {
		return 0, b
	}
	seconds, _ := number(b)
	micro, _ := number(b[n-6 : n])
	return int64(seconds)*1000 + int64(micro/1000), b[n+1:]
}

func hex(c byte) int {
	switch {
	case c-'0' <= 9:
		return int(c - '0')
	case c-'a' <= 5:
		return int(c-'a') + 10
	case c-'A' <= 5:
		return int(c-'A') + 10
	}
	return -1
}
