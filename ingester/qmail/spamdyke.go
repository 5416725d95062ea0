package qmail

import (
	"bytes"

	"millrace/schema"
)

// Spamdyke decodes Spamdyke's lines, of all versions: `CODE from: S to: R origin_ip: IP
// origin_rdns: NAME auth: USER encryption: TYPE reason: REASON`. 4.0 ends at auth, 4.1
// brought encryption, 4.2.1 the reason on each line (spamdyke's Changelog.txt).
//
// S, R and USER are whatever the client said, blanks and keys included: the keys are
// looked for in their order, and the reason, which has no blanks, behind the last one.
type Spamdyke struct {
	direction []byte
	event     schema.Event
	domain    []byte
}

// NewSpamdyke makes the decoder of a source.
func NewSpamdyke(o Options) *Spamdyke {
	direction := incoming
	if o.Direction != "" {
		direction = schema.Padded(o.Direction)
	}
	return &Spamdyke{direction: direction}
}

// The keys, each with the blank before it; the value of origin_ip may be missing with
// the blank behind the key.
var (
	keyDykeFrom       = []byte(" from: ")
	keyDykeTo         = []byte(" to: ")
	keyDykeIP         = []byte(" origin_ip:")
	keyDykeRDNS       = []byte(" origin_rdns: ")
	keyDykeAuth       = []byte(" auth: ")
	keyDykeEncryption = []byte(" encryption: ")
	keyDykeReason     = []byte(" reason: ")

	dykeUnknown, dykeNone, dykeEmpty = []byte("(unknown)"), []byte("(none)"), []byte("(empty)")
	dykeFilter                       = []byte("FILTER_")
)

// Positions of the fields.
var (
	dykeCode       = schema.Spamdyke.Index("code")
	dykeVerdict    = schema.Spamdyke.Index("verdict")
	dykeDomain     = schema.Spamdyke.Index("domain")
	dykeSender     = schema.Spamdyke.Index("sender")
	dykeRecipient  = schema.Spamdyke.Index("recipient")
	dykeOriginIP   = schema.Spamdyke.Index("origin_ip")
	dykeOriginRDNS = schema.Spamdyke.Index("origin_rdns")
	dykeAuthUser   = schema.Spamdyke.Index("auth_user")
	dykeEncryption = schema.Spamdyke.Index("encryption")
	dykeReason     = schema.Spamdyke.Index("reason")
	dykeQmailTime  = schema.Spamdyke.Index("qmail_time")
	dykeQP         = schema.Spamdyke.Index("qp")
)

// Line implements Decoder.
func (d *Spamdyke) Line(l Line, emit Emit) (schema.Reason, string) {
	l.Bytes = untagged(l.Bytes)
	head := bytes.Index(l.Bytes, keyDykeFrom)
	if head <= 0 || !isCode(l.Bytes[:head]) {
		return d.other(l, emit)
	}
	e := &d.event
	e.Reset(schema.Spamdyke)
	setTime(e, 0, &l)
	e.SetText(schema.Direction, d.direction)
	e.SetText(schema.Format, logSpamdyke)
	e.SetUint(schema.SourceOffset, uint64(l.Offset))
	e.SetText(schema.Raw, l.Bytes)
	e.SetText(dykeCode, l.Bytes[:head])
	e.SetText(dykeVerdict, verdict(l.Bytes[:head]))

	cut := isCut(l.Bytes)
	rest := d.tail(e, l.Bytes[head+len(keyDykeFrom):], cut)
	var v []byte
	var complete bool
	if v, rest, complete = upTo(rest, keyDykeTo); !known(v) {
		v = nil
	}
	e.SetText(dykeSender, v)
	if complete {
		if v, rest, complete = upTo(rest, keyDykeIP); !known(v) {
			v = nil
		}
		e.SetText(dykeRecipient, v)
		var lower []byte
		lower, d.domain = domain(d.domain[:0], v)
		e.SetText(dykeDomain, lower)
	}
	if complete {
		v, rest, complete = upTo(rest, keyDykeRDNS)
		if v = bytes.TrimPrefix(v, blank); len(v) > 0 && known(v) {
			if a, ok := ip(v); ok {
				e.SetIP(dykeOriginIP, a)
			} else {
				e.MarkBad(dykeOriginIP, schema.FlagBadIP)
			}
		}
	}
	if complete {
		if v, rest, complete = upTo(rest, keyDykeAuth); known(v) {
			e.SetText(dykeOriginRDNS, v)
		}
	}
	if complete && known(rest) && !(cut && bytes.HasPrefix(dykeUnknown, rest)) {
		e.SetText(dykeAuthUser, rest)
	}
	if !complete || cut {
		e.Flag(schema.FlagIncomplete)
	}
	if complete && twice(l.Bytes) {
		e.Flag(schema.FlagAmbiguous)
	}
	emit(e)
	return "", ""
}

// untagged is the line without `spamdyke[PID]: `, which stands there when it was written
// to standard error (spamdyke's log.c).
func untagged(b []byte) []byte {
	rest, ok := bytes.CutPrefix(b, dykeTag)
	if !ok {
		return b
	}
	_, n := number(rest)
	if text, ok := bytes.CutPrefix(rest[n:], dykeTagEnd); ok && n > 0 {
		return text
	}
	return b
}

var dykeTag, dykeTagEnd = []byte("spamdyke["), []byte("]: ")

// twice tells whether a key stands in the line more than once.
func twice(b []byte) bool {
	const keys = 7 // each has a colon
	return bytes.Count(b, colon) > keys &&
		(bytes.Count(b, keyDykeFrom) > 1 || bytes.Count(b, keyDykeTo) > 1 || bytes.Count(b, keyDykeAuth) > 1)
}

var blank, colon = []byte(" "), []byte(":")

// isCut tells whether a line may have lost its end: spamdyke formats it into 1023 bytes
// (MAX_BUF), of which the last is the string's end.
func isCut(line []byte) bool { return len(line) == 1022 || len(line) == 1023 }

// uncut is b without the part of a key that a cut line ends with.
func uncut(b []byte) []byte {
	at := max(bytes.LastIndexByte(b, ' '), 0)
	if end := b[at:]; len(end) > 0 && (bytes.HasPrefix(keyDykeReason, end) || bytes.HasPrefix(keyDykeEncryption, end)) {
		return b[:at]
	}
	return b
}

// tail takes what stands behind USER off b, from the right: no blank is in either value.
// Of a cut line the last value may lack its end: it is kept only as a reason, to be read.
func (d *Spamdyke) tail(e *schema.Event, b []byte, cut bool) []byte {
	ended := !cut
	if v, rest, ok := last(b, keyDykeReason); ok {
		b, ended = rest, true
		if !bytes.Equal(v, dykeEmpty) {
			e.SetText(dykeReason, v)
			if c, text := code(v); c == 250 && !cut {
				if epoch, pid, ok := accepted(text); ok {
					e.SetUint(dykeQmailTime, epoch)
					e.SetUint(dykeQP, pid)
				}
			}
		}
	}
	if !ended {
		if rest := uncut(b); len(rest) < len(b) {
			b, ended = rest, true
		}
	}
	if v, rest, ok := last(b, keyDykeEncryption); ok {
		b = rest
		if ended && known(v) && !bytes.Equal(v, dykeNone) {
			e.SetText(dykeEncryption, v)
		}
	}
	return b
}

// last takes a value without blanks, and its key, off the end of b. key begins with a blank
// and ends with another.
func last(b, key []byte) (v, rest []byte, ok bool) {
	at := bytes.LastIndexByte(b, ' ') + 1
	if !bytes.HasSuffix(b[:at], key) {
		return nil, b, false
	}
	return b[at:], b[:at-len(key)], true
}

// upTo is what stands before the first key, and what behind it.
func upTo(b, key []byte) (v, rest []byte, ok bool) {
	if at := bytes.Index(b, key); at >= 0 {
		return b[:at], b[at+len(key):], true
	}
	return b, nil, false
}

func known(v []byte) bool { return !bytes.Equal(v, dykeUnknown) }

// isCode tells whether b is a word in capitals.
func isCode(b []byte) bool {
	for _, c := range b {
		if c-'A' > 25 && c-'0' > 9 && c != '_' {
			return false
		}
	}
	return len(b) > 0 && b[0]-'A' <= 25
}

var verdicts = []struct{ prefix, word []byte }{
	{[]byte("ALLOWED"), schema.Padded("allowed")},
	{[]byte("DENIED_"), schema.Padded("denied")},
	{[]byte("FAILED_"), schema.Padded("failed")},
	{[]byte("TIMEOUT"), schema.Padded("timeout")},
}

var verdictOther = schema.Padded("other")

func verdict(code []byte) []byte {
	for i := range verdicts {
		if bytes.HasPrefix(code, verdicts[i].prefix) {
			return verdicts[i].word
		}
	}
	return verdictOther
}

// other is a line about something else: `ERROR(main()@spamdyke.c:1): text`, `ERROR: text`,
// `FILTER_NAME key: value`, `FILTER_NAME` alone, `DEBUG(...): text`.
func (d *Spamdyke) other(l Line, emit Emit) (schema.Reason, string) {
	b := l.Bytes
	n := 0
	for n < len(b) && (b[n]-'A' <= 25 || b[n]-'0' <= 9 || b[n] == '_') {
		n++
	}
	if n < 3 || n == len(b) && !bytes.HasPrefix(b, dykeFilter) || n < len(b) && b[n] != '(' && b[n] != ':' && b[n] != ' ' {
		return schema.ReasonNoTemplate, "the line is none of Spamdyke's: it begins with no code"
	}
	g := general{log: logSpamdyke, program: programSpamdyke, level: levelInfo, key: b[:n], text: bytes.TrimPrefix(b[n:], colon)}
	switch string(g.key) {
	case "ERROR":
		g.level = levelError
	case "WARNING":
		g.level = levelWarning
	case "DEBUG", "EXCESSIVE", "VERBOSE":
		g.level = levelDebug
	}
	emitLine(&d.event, g, 0, 0, d.direction, &l, emit)
	return "", ""
}

// Open implements Decoder: a line is an event.
func (d *Spamdyke) Open() (offset int64, ok bool) { return 0, false }

// Held implements Decoder.
func (d *Spamdyke) Held() (lines, bytes int) { return 0, 0 }

// Expire implements Decoder.
func (d *Spamdyke) Expire(int64, Emit) {}

// End implements Decoder.
func (d *Spamdyke) End(Emit) {}
