package arf

import (
	"bytes"
	"io"
	"mime"
	"net/mail"
	"strings"
	"time"

	"github.com/emersion/go-message"

	"millrace/schema"
)

// splitHeader cuts a message at the blank line behind its header.
func splitHeader(b []byte) (header, body []byte) {
	for at := 0; at < len(b); {
		end := bytes.IndexByte(b[at:], '\n')
		if end < 0 {
			break
		}
		if line := b[at : at+end]; len(line) == 0 || len(line) == 1 && line[0] == '\r' {
			return b[:at], b[at+end+1:]
		}
		at += end + 1
	}
	return b, nil
}

// eachField calls f with the fields of a header, unfolded, until f returns false or a
// blank line comes. ok is false if lines were passed over that are no fields.
func eachField(header []byte, f func(name, value []byte) bool) (ok bool) {
	header, _ = splitHeader(header)
	return eachLine(header, f)
}

// eachLine is eachField that passes over blank lines: some write them between the fields
// of a report.
func eachLine(b []byte, f func(name, value []byte) bool) (ok bool) {
	ok = true
	for len(b) > 0 {
		field := b[:logicalLine(b)]
		b = b[len(field):]
		colon := bytes.IndexByte(field, ':')
		if colon <= 0 || !isName(bytes.TrimRight(field[:colon], " \t")) {
			ok = ok && len(bytes.TrimSpace(field)) == 0
			continue
		}
		if !f(bytes.TrimRight(field[:colon], " \t"), unfold(field[colon+1:])) {
			return ok
		}
	}
	return ok
}

// logicalLine is the length of the first line and those that continue it.
func logicalLine(b []byte) int {
	for at := 0; ; {
		end := bytes.IndexByte(b[at:], '\n')
		if end < 0 {
			return len(b)
		}
		at += end + 1
		if at == len(b) || b[at] != ' ' && b[at] != '\t' {
			return at
		}
	}
}

// isName knows the name of a field: printable ASCII without blanks.
func isName(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(b) > 0
}

// unfold takes the line ends out of a field's value, and the blanks around it.
func unfold(v []byte) []byte {
	v = bytes.TrimSpace(v)
	if bytes.IndexByte(v, '\n') < 0 {
		return v
	}
	out := make([]byte, 0, len(v))
	for _, c := range v {
		switch c {
		case '\r', '\n':
		case '\t':
			out = append(out, ' ')
		default:
			out = append(out, c)
		}
	}
	return out
}

var words = mime.WordDecoder{CharsetReader: func(charset string, r io.Reader) (io.Reader, error) {
	return message.CharsetReader(charset, r)
}}

// decoded is text with its encoded words (RFC 2047) in UTF-8, as far as they can be
// decoded.
func decoded(v []byte) []byte {
	if len(v) > textMax*4 || !bytes.Contains(v, []byte("=?")) {
		return v
	}
	s, err := words.DecodeHeader(string(v))
	if err != nil {
		return v
	}
	return []byte(s)
}

// bare is an address or id without the brackets around it, and what stands behind them.
func bare(v []byte) []byte {
	if len(v) > 0 && v[0] == '<' {
		if end := bytes.IndexByte(v, '>'); end > 0 {
			return bytes.TrimSpace(v[1:end])
		}
	}
	return bytes.Trim(v, "<> \t")
}

// typed is a value without the type in front of it: dns; mx.example.net.
func typed(v []byte) []byte {
	at := bytes.IndexByte(v, ';')
	if at < 0 {
		return v
	}
	for _, c := range bytes.TrimSpace(v[:at]) {
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return v
		}
	}
	return bytes.TrimSpace(v[at+1:])
}

// layouts of dates beside RFC 5322's.
var layouts = []string{
	"Mon, 2 Jan 2006 15:04:05", "2 Jan 2006 15:04:05", "Mon Jan _2 15:04:05 2006",
	time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05",
}

// date reads a date, in ms since 1970; ok is false if it is none that an event can have.
// guessed: it had no zone, and is in the decoder's.
func (d *Decoder) date(v []byte) (ms int64, guessed, ok bool) {
	s := string(v[:min(len(v), 200)])
	if t, err := time.Parse("Mon, _2 Jan 2006 15:04:05 -0700", s); err == nil { // nearly all; ParseDate tries sixteen layouts before
		return millis(t, false)
	}
	if t, err := mail.ParseDate(s); err == nil {
		return millis(t, false)
	}
	if at := strings.IndexByte(s, '('); at > 0 { // a comment that says the zone's name
		s = s[:at]
	}
	s = strings.TrimSpace(s)
	zone := d.Zone
	if zone == nil {
		zone = time.UTC
	}
	for i, layout := range layouts {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			return millis(t, i != 3 && i != 5)
		}
	}
	return 0, false, false
}

func millis(t time.Time, guessed bool) (int64, bool, bool) {
	ms := t.UnixMilli()
	if ms <= 0 || ms > schema.MaxMillis {
		return 0, guessed, false
	}
	return ms, guessed, true
}
