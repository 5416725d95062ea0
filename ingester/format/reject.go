package format

import (
	"bytes"
	"fmt"
	"strings"

	"millrace/schema"
)

func rejectUnexpanded(c *column) Verdict {
	return Verdict{Reason: schema.ReasonTemplateUnexpanded, Detail: fmt.Sprintf("the value of %q is the text %q: the source did not fill the variable in", c.variable.name, c.text)}
}

// reject says why body, which no format could be read from, is none.
func (s *Set) reject(d *Decoder, body []byte, c Context) Verdict {
	if detail := s.mangled(d, body, c); detail != "" {
		return Verdict{Reason: schema.ReasonRelayMangled, Detail: detail}
	}
	if text := unexpanded(body); text != "" {
		return Verdict{Reason: schema.ReasonTemplateUnexpanded, Detail: fmt.Sprintf("the text %q stands in the frame, which fits no format: the source did not fill the variable in", text)}
	}
	l := s.begun(body)
	if l == nil {
		return Verdict{Reason: schema.ReasonNoTemplate, Detail: fmt.Sprintf("it begins with %s; the formats of this listener begin with %s", shown(body, false), s.beginnings())}
	}
	found := d.count(s, l, body)
	if l.closed(body) {
		return Verdict{Reason: schema.ReasonColumnCount, Detail: fmt.Sprintf("it has %s; %s", values(found), l.counts())}
	}
	detail := fmt.Sprintf("it begins as %s, ends with %s instead of %#q, and has %s", l.names(), shown(body, true), l.suffix, values(found))
	if l.marked {
		return Verdict{Reason: schema.ReasonTruncated, Detail: detail}
	}
	return Verdict{Reason: schema.ReasonShort, Detail: detail}
}

// begun is the layout that body begins as: the one with the longest prefix, and
// among equals one that it also ends as.
func (s *Set) begun(body []byte) (best *layout) {
	for i := range s.layouts {
		l := &s.layouts[i]
		if !bytes.HasPrefix(body, l.prefix) {
			continue
		}
		if best == nil || len(l.prefix) == len(best.prefix) && l.closed(body) && !best.closed(body) {
			best = l
		}
	}
	return best
}

// count is how many values body has in layout l.
func (d *Decoder) count(s *Set, l *layout, body []byte) (found int) {
	b, to := l.formats[0], len(body)
	if l.closed(body) {
		to -= len(l.suffix)
	}
	switch from := min(len(l.prefix), to); {
	case l.sep != nil:
		d.spans, _ = split(body, from, to, l.sep, d.spans[:0], maxPieces)
		return len(d.spans)
	case !l.closed(body):
		return 1 // the literals differ: what was cut off is not known
	case b.CSVQuoting:
		d.spans, found, _ = b.cutQuoted(body, d.spans[:0])
	default:
		d.spans, found, _ = b.cut(s, body, d.spans[:0])
	}
	return found
}

// values says how many values a body has; from maxPieces on they are not counted.
func values(n int) string {
	switch {
	case n == 1:
		return "1 value"
	case n == maxPieces:
		return fmt.Sprintf("%d values or more", n)
	}
	return fmt.Sprintf("%d values", n)
}

// tagMax is where rsyslog cuts what it takes for the TAG of a headerless frame.
const tagMax = 32

// mangled tells how a syslog relay destroyed the frame, or nothing. A relay that
// expects a header takes the beginning of the body for one: it cuts it to 32
// bytes and drops the rest up to the first blank or colon.
func (s *Set) mangled(d *Decoder, body []byte, c Context) string {
	head, _, _ := bytes.Cut(c.Relay, []byte(" [")) // structured data has quotes of its own
	if bytes.IndexByte(head, '"') >= 0 {
		return fmt.Sprintf("a relay made the beginning of the frame into its own header: %s", shown(head, false))
	}
	if i := bytes.Index(body, []byte(" - - - ")); i >= 0 && bytes.IndexByte(body[:i], '"') >= 0 {
		word := body[bytes.LastIndexByte(body[:i], ' ')+1 : i]
		if bytes.IndexByte(word, '"') >= 0 {
			return fmt.Sprintf("a relay made the beginning of the frame into the header %s", shown(word, false))
		}
	}
	start := body
	if s.begun(body) == nil { // perhaps a header that did not parse stands in front
		if i := bytes.Index(body, []byte(` "`)); i >= 0 {
			start = body[i+1:]
		}
	}
	l := s.begun(start)
	if l == nil || bytes.IndexByte(start, '"') < 0 {
		return ""
	}
	few := d.count(s, l, start) < l.fewest
	if few && len(start) > tagMax && bytes.IndexByte(start[:tagMax+1], ' ') == tagMax {
		return fmt.Sprintf("a relay took the beginning for a syslog TAG and cut it after %d bytes: %s", tagMax, shown(start[:tagMax], true))
	}
	if few && len(c.Relay) > 0 && l.closed(start) {
		return fmt.Sprintf("it came with a relay's header and has too few values left: %d; %s", d.count(s, l, start), l.counts())
	}
	return ""
}

// unexpanded is the first %(name)s that stands in body, or "".
func unexpanded(body []byte) string {
	for rest := body; ; {
		i := bytes.Index(rest, []byte("%("))
		if i < 0 {
			return ""
		}
		rest = rest[i:]
		end := 2
		for end < len(rest) && (rest[end] == '_' || isBase62(rune(rest[end]))) {
			end++
		}
		if end > 2 && end+1 < len(rest) && rest[end] == ')' && strings.IndexByte("sdr", rest[end+1]) >= 0 {
			return string(rest[:end+2])
		}
		rest = rest[2:]
	}
}

// shown quotes the beginning or the end of some bytes.
func shown(b []byte, end bool) string {
	const most = 48
	switch {
	case len(b) <= most:
		return fmt.Sprintf("%#q", b)
	case end:
		return fmt.Sprintf("...%#q", b[len(b)-most:])
	}
	return fmt.Sprintf("%#q...", b[:most])
}

func (s *Set) beginnings() string {
	var texts []string
	for i := range s.layouts {
		texts = append(texts, fmt.Sprintf("%#q (%s)", s.layouts[i].prefix, s.layouts[i].names()))
	}
	return strings.Join(texts, ", ")
}

func (l *layout) names() string {
	var names []string
	for _, b := range l.formats {
		names = append(names, b.Name)
	}
	return strings.Join(names, ", ")
}

func (l *layout) counts() string {
	var counts []string
	for _, b := range l.formats {
		counts = append(counts, fmt.Sprintf("%s has %d", b.Name, len(b.columns)))
	}
	return strings.Join(counts, ", ")
}
