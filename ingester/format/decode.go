package format

import (
	"bytes"

	"millrace/schema"
)

// Context is what is known of a body besides its bytes.
type Context struct {
	Received int64 // ms since 1970: when the frame was taken
	Header   int64 // ms since 1970: the syslog header's time; 0: none
	// Relay is the text between the frame's PRI and the body: the syslog header
	// that was taken off, nil when there was none. A relay that mangled the frame
	// has left parts of it there.
	Relay []byte
}

// Verdict is how decoding one body ended.
type Verdict struct {
	Format *Format       // the format it is of; nil for a reject
	Reason schema.Reason // "" or why it is none
	Detail string        // the reason in words
}

// Decoder decodes bodies; it is used by one goroutine at a time. The zero value
// is ready.
type Decoder struct {
	cuts    cuts
	spans   []span
	joined  []span // one a column, after surplus pieces were joined
	scratch []byte // values that are not the frame's own bytes
	locals  []local
}

// Decode fills e with the values of body, whose format it finds among those of
// s: the fields of its kind and event_time, event_time_source, id_time, format
// and direction. The fields of the transport are the caller's. Values are views
// into body and into the decoder's own memory: e is good until the next Decode.
// When the verdict is a reject, e holds nothing of use.
func (d *Decoder) Decode(s *Set, body []byte, e *schema.Event, c Context) Verdict {
	d.reset()
	for i := range s.layouts {
		l := &s.layouts[i]
		if !bytes.HasPrefix(body, l.prefix) {
			continue
		}
		b := d.quick(s, l, body)
		if b == nil {
			break
		}
		doubts, unexpanded := d.fill(s, b, body, d.spans, e, c)
		if unexpanded != nil {
			return rejectUnexpanded(unexpanded)
		}
		if doubts > 0 && len(s.layouts)+len(l.formats) > 2 {
			break // another format may fit better
		}
		return Verdict{Format: b.Format}
	}
	return d.resolve(s, body, e, c)
}

// quick cuts body by layout l into d.spans and tells the format, if there is no
// question which one and where to cut.
func (d *Decoder) quick(s *Set, l *layout, body []byte) *bound {
	if !l.closed(body) {
		return nil
	}
	open := false
	if l.sep == nil {
		b, found := l.formats[0], 0
		if b.CSVQuoting {
			d.spans, found, open = b.cutQuoted(body, d.spans[:0])
		} else {
			d.spans, found, open = b.cut(s, body, d.spans[:0])
		}
		if open || found != len(b.columns) {
			return nil
		}
		return b
	}
	if n := d.cut(body[:len(body)-len(l.suffix)], len(l.prefix), l.sep); n >= 0 {
		return l.byCount[n]
	}
	d.spans, open = split(body, len(l.prefix), len(body)-len(l.suffix), l.sep, d.spans[:0], maxVariables+1)
	if open || len(d.spans) > maxVariables {
		return nil
	}
	return l.byCount[len(d.spans)]
}

// cut is split for the bodies that nearly all are: at a separator of three bytes, that
// stands nowhere twice in one place, and not too often. It returns the number of pieces,
// or -1 if the body is another one.
func (d *Decoder) cut(body []byte, from int, sep []byte) int {
	if len(sep) != 3 || len(body)-from < minCuttable {
		return -1
	}
	n := findCuts(body[from:], (*[3]byte)(sep), &d.cuts)
	if n > maxCuts-1 {
		return -1
	}
	spans := d.spans[:n+1]
	start, overlap := from, 0
	for i, at := range d.cuts[:n] {
		end := from + int(at)
		spans[i] = span{start, end}
		overlap |= end - start // negative if it shares bytes with the one before
		start = end + len(sep)
	}
	spans[n] = span{start, len(body)}
	if overlap|(len(body)-start) < 0 {
		return -1
	}
	d.spans = spans
	return n + 1
}

// keepScratch is how much memory a decoder keeps from one frame to the next.
const keepScratch = 64 << 10

func (d *Decoder) reset() {
	if cap(d.scratch) > keepScratch {
		d.scratch = nil
	}
	if d.spans == nil {
		d.spans = make([]span, 0, maxVariables)
	}
	d.scratch = d.scratch[:0]
}

// reading is one way to read a body: a format, its pieces, and how well the
// pieces suit the columns.
type reading struct {
	format    *bound
	pieces    int  // how many the body has; more than columns means surplus
	good, bad int  // typed columns whose value is surely one, surely none
	headed    bool // from_header holds an address
	ambiguous bool
}

// resolve is the unhurried half of Decode: several formats could be meant, or
// there are too many pieces, or the frame is none at all.
func (d *Decoder) resolve(s *Set, body []byte, e *schema.Event, c Context) Verdict {
	r, ok := d.choose(s, body)
	if !ok {
		trimmed := skipBlank(body)
		if len(trimmed) == len(body) {
			return s.reject(d, body, c)
		}
		if r, ok = d.choose(s, trimmed); !ok {
			return s.reject(d, trimmed, c)
		}
		body = trimmed
	}
	b := r.format
	d.scratch = d.scratch[:0]
	pieces := d.read(s, &r, body)
	_, unexpanded := d.fill(s, b, body, pieces, e, c)
	if unexpanded != nil {
		return rejectUnexpanded(unexpanded)
	}
	if r.ambiguous {
		e.Flag(schema.FlagAmbiguous)
	}
	return Verdict{Format: b.Format}
}

// choose finds the best reading of body.
//
// A body with as many pieces as a format has columns is of that format, unless a
// typed column says no and another format, with its surplus joined, says yes
// throughout. A tagged prefix (such as m3's) decides alone, unless a plainer
// format fits without any doubt.
func (d *Decoder) choose(s *Set, body []byte) (best reading, ok bool) {
	tag := 0 // length of the longest tagged prefix that the body begins with
	for i := range s.layouts {
		l := &s.layouts[i]
		if !bytes.HasPrefix(body, l.prefix) {
			continue
		}
		if l.tagged {
			tag = max(tag, len(l.prefix))
		}
		if !l.closed(body) {
			continue
		}
		for _, b := range l.formats {
			r, fits := d.try(s, l, b, body)
			if !fits {
				continue
			}
			if len(l.prefix) < tag && (r.pieces != len(b.columns) || r.bad > 0 || r.good == 0) {
				continue
			}
			if ok && r.ties(best) {
				best.ambiguous = true
			} else if !ok || r.betterThan(best) {
				best, ok = r, true
			}
		}
	}
	return best, ok
}

// closed tells whether a body that begins as this layout also ends as it.
func (l *layout) closed(body []byte) bool {
	return len(body) >= len(l.prefix)+len(l.suffix) && bytes.HasSuffix(body, l.suffix)
}

// try reads body as format b and judges the result.
func (d *Decoder) try(s *Set, l *layout, b *bound, body []byte) (r reading, fits bool) {
	r = reading{format: b}
	pieces := d.read(s, &r, body)
	if pieces == nil {
		return r, false
	}
	r.good, r.bad, r.headed = s.judgeAll(b, body, pieces)
	exact := r.pieces == len(b.columns)
	if exact && r.bad == 0 {
		return r, true
	}
	// Surplus is believed only when the typed columns speak for the format.
	if !exact && !speakFor(r.good, r.bad) {
		return r, false
	}
	// A longer format of the same layout that lost columns looks the same. Then
	// the shorter one needs proof: no typed column against it, and an address in
	// from_header if the typed columns of the longer do not contradict.
	for _, longer := range l.formats {
		if len(longer.columns) <= r.pieces {
			continue
		}
		if !exact && r.bad > 0 {
			return r, false
		}
		if r.headed {
			continue
		}
		d.spans, _ = split(body, len(l.prefix), len(body)-len(l.suffix), l.sep, d.spans[:0], maxVariables+1)
		good, bad, _ := s.judgeAll(longer, body, d.spans)
		if exact && bad < r.bad && good > r.good || !exact && good > 0 && speakFor(good, bad) {
			return r, false
		}
	}
	return r, true
}

// speakFor tells whether the typed columns speak for a reading, all in all.
func speakFor(good, bad int) bool { return 2*bad <= good }

// read cuts body into one piece a column of r.format, or returns nil when it has
// too few. It notes in r how many there were and whether that took a guess.
func (d *Decoder) read(s *Set, r *reading, body []byte) []span {
	b := r.format
	n, sep := len(b.columns), b.uniform
	found, doubtful := 0, false
	switch {
	case b.CSVQuoting:
		d.spans, found, doubtful = b.cutQuoted(body, d.spans[:0])
	case sep == nil:
		d.spans, found, doubtful = b.cut(s, body, d.spans[:0])
	default:
		d.spans, doubtful = split(body, len(b.literals[0]), len(body)-len(b.literals[n]), sep, d.spans[:0], maxPieces)
		if len(d.spans) == maxPieces {
			d.spans = splitEnd(body, sep, d.spans, b.behind)
		}
		found = len(d.spans)
	}
	r.ambiguous = r.ambiguous || doubtful
	r.pieces = found
	switch {
	case found < n:
		return nil
	case found > n:
		r.ambiguous = true
		return d.join(s, b, body)
	case doubtful && sep != nil:
		d.settle(s, b, body)
	}
	return d.spans
}

// judgeAll judges the pieces as the columns of b, as far as they go.
func (s *Set) judgeAll(b *bound, body []byte, pieces []span) (good, bad int, headed bool) {
	for i := range min(len(pieces), len(b.columns)) {
		col := &b.columns[i]
		v := body[pieces[i].start:pieces[i].end]
		switch s.judge(col, v) {
		case 1:
			good++
		case -1:
			bad++
		}
		if col.headed {
			headed = headed || bytes.IndexByte(v, '@') >= 0
		}
	}
	return good, bad, headed
}

// betterThan compares two readings of one body. The number of columns decides
// unless types speak against it.
func (r reading) betterThan(o reading) bool {
	exact, oExact := r.pieces == len(r.format.columns), o.pieces == len(o.format.columns)
	switch {
	case exact && !oExact:
		return !o.refutes(r)
	case !exact && oExact:
		return r.refutes(o)
	case r.bad != o.bad:
		return r.bad < o.bad
	case r.good != o.good:
		return r.good > o.good
	}
	return len(r.format.columns) > len(o.format.columns) // less surplus
}

// ties tells that nothing but the order of the configuration decides.
func (r reading) ties(o reading) bool {
	return len(r.format.columns) == len(o.format.columns) && r.pieces == o.pieces && r.good == o.good && r.bad == o.bad
}

// refutes tells whether a reading with surplus beats one whose count is exact.
func (r reading) refutes(exact reading) bool {
	return r.bad == 0 && exact.bad > 0 && r.good >= 2 && r.good >= exact.good
}
