package format

import (
	"bytes"
	"encoding/binary"
	"slices"
	"unicode/utf8"

	"millrace/internal/eximid"
	"millrace/schema"
)

// isNull tells whether v is one of the null words.
func (s *Set) isNull(v []byte) bool {
	if len(v) == 0 {
		return true
	}
	if !s.nullStart[v[0]] {
		return false
	}
	for _, w := range s.nulls {
		if bytes.Equal(v, w) {
			return true
		}
	}
	return false
}

// judge tells, without setting anything, whether v can be a value of column c:
// -1 no, 0 nothing speaks against it, 1 it is one beyond doubt.
func (s *Set) judge(c *column, v []byte) int {
	if c.class.absorbs() {
		return 0
	}
	if !c.plain {
		v = bytes.Trim(v, ` "'`)
	}
	v = bytes.TrimSpace(v)
	if s.isNull(v) {
		return 0
	}
	ok := false
	switch c.class {
	case classWord:
		return -b2i(bytes.IndexByte(v, '"') >= 0)
	case classHost, classDomain:
		return -b2i(!hostLike(v))
	case classID:
		_, ok = eximid.Second(v)
	case classInteger:
		_, ok = parseUint(v, c.max)
	case classAddress:
		_, ok = parseIP(v)
	case classTime:
		var t instant
		if t, ok = parseTime(v); ok && t.millis < plausible {
			return 0 // any number is an epoch
		}
	}
	return 2*b2i(ok) - 1
}

// plausible is the time from which a number is taken for an epoch beyond doubt:
// 2001-09-09, when epochs got their tenth digit.
const plausible = 1_000_000_000_000

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// hostLike tells whether nothing in v is strange in a host name.
func hostLike(v []byte) bool {
	if len(v) > 255 {
		return false
	}
	if readable(v) {
		all := strange(tail(v))
		for ; len(v) >= 8; v = v[8:] {
			all |= strange(binary.LittleEndian.Uint64(v))
		}
		return all == 0
	}
	for _, c := range v {
		if c <= ' ' || c == '"' || c == ',' {
			return false
		}
	}
	return true
}

// local is a time without a zone that waits for the message id.
type local struct {
	field  int
	millis int64
}

// The values of event_time_source.
var (
	sourceEvent    = schema.Padded("event")
	sourceID       = schema.Padded("id")
	sourceHeader   = schema.Padded("header")
	sourceReceived = schema.Padded("received")
)

// fill makes e an event of format b out of the pieces of a body: one piece a
// column. doubts counts the typed columns whose value did not parse, and hosts
// that look like none. It stops at a variable that the source left unexpanded.
func (d *Decoder) fill(s *Set, b *bound, body []byte, pieces []span, e *schema.Event, c Context) (doubts int, unexpanded *column) {
	e.Reset(b.Kind)
	var idSeconds uint64
	locals := d.locals[:0]
	for i := 0; ; i++ {
		if i = b.texts(s, body, pieces, i, e); i == len(b.columns) {
			break
		}
		col := &b.columns[i]
		p := pieces[i]
		v := body[p.start:p.end]
		if !col.plain || b.CSVQuoting {
			v = d.unwrap(b, col, v, e)
		}
		if len(v) == 0 {
			if col.class == classExtra {
				e.AddPair(schema.Extra, col.name, v)
			}
			continue
		}
		if v[0] == '%' && string(v) == col.text {
			return doubts, col
		}
		if col.class == classText {
			if v[0] == 'N' && len(v) == 4 && s.noneText && string(v) == "None" {
				e.Flag(schema.FlagNoneText)
				continue
			}
			e.SetText(col.field, v)
			continue
		}
		if col.class == classExtra {
			e.AddPair(schema.Extra, col.name, v)
			continue
		}
		if s.nullStart[v[0]] && s.isNull(v) {
			continue
		}
		bad := schema.Flag(0)
		switch col.class {
		case className, classWord:
			e.SetText(col.field, v)
		case classHost:
			e.SetText(col.field, v)
			doubts += b2i(!hostLike(v))
		case classDomain:
			v, d.scratch = lower(v, d.scratch)
			e.SetText(col.field, v)
		case classID:
			n, ok := eximid.Second(v)
			if !ok {
				// The text is kept all the same: an id of another kind still finds its row.
				e.Flag(schema.FlagBadID)
				doubts++
			}
			idSeconds = n
			e.SetText(col.field, v)
		case classInteger:
			n, ok := parseUint(v, col.max)
			if !ok {
				if n, ok = parseUint(bytes.TrimSpace(v), col.max); !ok {
					bad = schema.FlagBadInt
					break
				}
			}
			e.SetUint(col.field, n)
		case classAddress:
			if a, ok := quad(v); ok {
				e.SetIPv4(col.field, a)
				continue
			}
			a, ok := parseIP(v)
			if !ok {
				if a, ok = parseIP(bytes.TrimSpace(v)); !ok {
					bad = schema.FlagBadIP
					break
				}
			}
			e.SetIP(col.field, a)
		case classTime:
			t, ok := parseTime(v)
			if !ok {
				if t, ok = parseTime(bytes.TrimSpace(v)); !ok {
					bad = schema.FlagBadTime
					break
				}
			}
			if t.leap {
				e.Flag(schema.FlagLeapSecond)
			}
			if t.zoned {
				e.SetMillis(col.field, t.millis)
			} else {
				locals = append(locals, local{col.field, t.millis})
			}
		}
		if bad != 0 {
			if blank := bytes.TrimSpace(v); len(blank) < len(v) && s.isNull(blank) {
				continue
			}
			e.MarkBad(col.field, bad)
			doubts++
		}
	}
	for _, l := range locals {
		ms, sure := s.place(l.millis, int64(idSeconds)*1000, c.Received)
		e.SetMillis(l.field, ms)
		if !sure {
			e.Flag(schema.FlagTZGuess)
		}
	}
	d.locals = locals
	d.derive(s, b, idSeconds, e, c)
	return doubts, nil
}

// texts sets the columns from the i-th on, up to one that is more than text that stays
// as it is, which it returns: nearly all that a frame holds is read here. It calls
// nothing, so that its variables stay in registers.
func (b *bound) texts(s *Set, body []byte, pieces []span, i int, e *schema.Event) int {
	set := uint64(0)
	for ; i < len(b.asIs); i++ {
		field := b.asIs[i]
		if field < 0 {
			break
		}
		v := body[pieces[i].start:pieces[i].end]
		if len(v) == 0 {
			continue
		}
		if len(v) <= int(s.mayMean[v[0]]) {
			break
		}
		e.PutText(int(field), v)
		set |= 1 << (field & 63)
	}
	e.Mark(set)
	return i
}

// derive sets what follows from other columns.
func (d *Decoder) derive(s *Set, b *bound, idSeconds uint64, e *schema.Event, c Context) {
	var word []byte
	if b.statusField >= 0 && e.Has(b.statusField) {
		word, d.scratch = statusWord(e.Text(b.statusField), d.scratch)
		e.SetText(b.statusNorm, word)
	}
	if b.classNorm >= 0 {
		if e.Has(b.mainField) {
			word, d.scratch = s.className(e.Text(b.mainField), d.scratch)
			e.SetText(b.classNorm, word)
		} else if e.Has(b.codeField) {
			word, d.scratch = s.className(e.Text(b.codeField), d.scratch)
			e.SetText(b.classNorm, word)
		}
	}
	millis, source := c.Received, sourceReceived
	switch {
	case b.timeField >= 0 && e.Has(b.timeField):
		millis, source = e.Millis(b.timeField), sourceEvent
	case idSeconds != 0:
		millis, source = int64(idSeconds)*1000, sourceID
	case c.Header != 0:
		millis, source = c.Header, sourceHeader
	}
	millis = min(max(millis, schema.MinMillis), schema.MaxMillis)
	e.SetMillis(schema.EventTime, millis)
	e.SetText(schema.EventTimeSource, source)
	if idSeconds == 0 {
		idSeconds = uint64(min(max(millis/1000, 0), maxEpoch))
	}
	e.SetUint(schema.IDTime, idSeconds)
	e.SetText(schema.Format, b.name)
	if way := d.way(s, b, e); len(way) > 0 {
		e.SetText(schema.Direction, way)
	}
}

// unwrap undoes what a column's conversion and, before it, the format's quoting
// did to the value: padding, Python's repr, CSV's doubled quotes. The result is v or in
// scratch.
func (d *Decoder) unwrap(b *bound, col *column, v []byte, e *schema.Event) []byte {
	// A value longer than the width has no padding; its blanks are its own. Python
	// 2 counts the width in bytes.
	if col.width > 0 && (len(v) == col.width || len(v) > col.width && utf8.RuneCount(v) == col.width) {
		if col.left {
			v = bytes.TrimRight(v, " ")
		} else {
			v = bytes.TrimLeft(v, " ")
		}
	}
	if col.verb == 'r' || col.verb == 'a' {
		v = d.unrepr(v, col.verb, e)
	}
	if b.CSVQuoting && bytes.IndexByte(v, '"') >= 0 {
		at := len(d.scratch)
		d.scratch = slices.Grow(d.scratch, len(v))
		for i := 0; i < len(v); i++ {
			d.scratch = append(d.scratch, v[i])
			if v[i] == '"' && i+1 < len(v) && v[i+1] == '"' {
				i++
			}
		}
		v = d.scratch[at:len(d.scratch):len(d.scratch)]
	}
	return v
}

// unrepr reads a Python string literal; other text is returned as it is.
func (d *Decoder) unrepr(v []byte, verb byte, e *schema.Event) []byte {
	q, raw := v, verb == 'r'
	if len(q) > 0 && (q[0] == 'u' || q[0] == 'b') { // Python 2 text, Python 3 bytes
		raw = raw && q[0] == 'b'
		q = q[1:]
	}
	if len(q) < 2 || q[0] != '\'' && q[0] != '"' || q[len(q)-1] != q[0] {
		return v
	}
	q = q[1 : len(q)-1]
	if bytes.IndexByte(q, '\\') < 0 {
		return q
	}
	at := len(d.scratch)
	d.scratch = unescape(slices.Grow(d.scratch, len(q)), q, raw)
	// In the repr of bytes, which Python 2 has for most text, \xc3\xa9 is one
	// character. Where that makes no text, they are Latin-1 or characters already.
	if raw && !utf8.Valid(d.scratch[at:]) {
		d.scratch = unescape(d.scratch[:at], q, false)
	}
	text := d.scratch[at:len(d.scratch):len(d.scratch)]
	// The frame may have been found free of NUL; its values must be so too.
	if bytes.IndexByte(text, 0) >= 0 {
		e.Flag(schema.FlagNULByte)
		text = bytes.ReplaceAll(text, []byte{0}, []byte(string(utf8.RuneError)))
	}
	return text
}

// unescape appends q with the escapes of a Python string literal read. raw says
// that \x is a byte and not a character.
func unescape(dst, q []byte, raw bool) []byte {
	for i := 0; i < len(q); i++ {
		if q[i] != '\\' || i+1 == len(q) {
			dst = append(dst, q[i])
			continue
		}
		i++
		digits := 0
		switch q[i] {
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case '\\', '\'', '"':
			dst = append(dst, q[i])
		case 'x':
			digits = 2
		case 'u':
			digits = 4
		case 'U':
			digits = 8
		default:
			dst = append(dst, '\\', q[i])
		}
		if digits == 0 {
			continue
		}
		r, ok := parseHex(q[i+1:], digits)
		switch {
		case !ok:
			dst = append(dst, '\\', q[i])
			continue
		case raw && digits == 2:
			dst = append(dst, byte(r))
		default:
			dst = utf8.AppendRune(dst, r)
		}
		i += digits
	}
	return dst
}

func parseHex(v []byte, digits int) (r rune, ok bool) {
	if len(v) < digits {
		return 0, false
	}
	for _, c := range v[:digits] {
		h, ok := hexDigit(c)
		if !ok || r > utf8.MaxRune {
			return 0, false
		}
		r = r<<4 | rune(h)
	}
	return r, r <= utf8.MaxRune
}
