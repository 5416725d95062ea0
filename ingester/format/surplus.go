package format

import "bytes"

// maxShift bounds how many surplus pieces are looked for before one pinned run
// of columns, so that no frame costs more than a constant for each column.
const maxShift = 64

// join joins the surplus pieces in d.spans, of a body that has more pieces than
// b has columns, and returns one piece a column; nil when no column could hold
// the surplus. See doc.go for the rule.
func (d *Decoder) join(s *Set, b *bound, body []byte) []span {
	surplus := len(d.spans) - len(b.columns)
	lastText := -1 // the last run that can absorb
	for i, r := range b.runs {
		if r.pins > r.text {
			lastText = i
		}
	}
	if lastText < 0 {
		return nil
	}
	out := d.joined[:0]
	shift := 0 // surplus pieces used so far
	for i, r := range b.runs {
		use := 0
		switch {
		case i == lastText:
			use = surplus - shift // what is right of it is pinned from the right
		case r.pins > r.text:
			use = s.shiftBefore(b, r, body, d.spans, shift, surplus)
		}
		out = b.spread(r, body, d.spans[r.text+shift:r.pins+shift+use], out)
		shift += use
		out = append(out, d.spans[r.pins+shift:r.end+shift]...)
	}
	d.joined = out
	return out
}

// shiftBefore is how many surplus pieces stand in the text columns of run r: the
// fewest with which the pinned columns behind them have values of their types;
// if none does, those with the fewest that have not.
func (s *Set) shiftBefore(b *bound, r run, body []byte, spans []span, shift, surplus int) int {
	best, fewest := 0, int(^uint(0)>>1)
	for use := 0; use <= min(surplus-shift, maxShift); use++ {
		bad := 0
		for i := r.pins; i < r.end; i++ {
			p := spans[i+shift+use]
			if s.judge(&b.columns[i], body[p.start:p.end]) < 0 {
				bad++
			}
		}
		if bad < fewest {
			best, fewest = use, bad
		}
		if bad == 0 {
			break
		}
	}
	return best
}

// spread gives the pieces to the text columns of run r, of which there are
// fewer. An address list that a quote opens takes pieces until a quote closes
// it; the last column takes what is left over.
func (b *bound) spread(r run, body []byte, pieces []span, out []span) []span {
	surplus := len(pieces) - (r.pins - r.text)
	at := 0
	for i := r.text; i < r.pins; i++ {
		take := 1
		switch {
		case surplus == 0:
		case b.columns[i].quoted && opens(body, pieces[at]):
			for j := 1; j <= surplus; j++ {
				if opens(body, pieces[at+j]) { // the second odd one closes
					take += j
					break
				}
			}
		}
		if i == r.pins-1 {
			take = len(pieces) - at
		}
		out = append(out, span{pieces[at].start, pieces[at+take-1].end})
		surplus -= take - 1
		at += take
	}
	return out
}

// opens tells whether a quote in the piece is left open: their number is odd.
// Quotes behind a backslash are part of a quoted string.
func opens(body []byte, p span) bool {
	odd := false
	for v := body[p.start:p.end]; ; {
		i := bytes.IndexByte(v, '"')
		if i < 0 {
			return odd
		}
		if i == 0 || v[i-1] != '\\' {
			odd = !odd
		}
		v = v[i+1:]
	}
}

// settle looks again at places where two separators overlap, as in `",","`: the
// text before ends with the separator's beginning, or the text behind begins
// with its end. split took the first; where the column behind has a type that
// only the second suits, the second is right.
func (d *Decoder) settle(s *Set, b *bound, body []byte) {
	sep := b.uniform
	for i := range len(b.columns) - 1 {
		left, right := &d.spans[i], &d.spans[i+1]
		if !b.columns[i].class.absorbs() || s.judge(&b.columns[i+1], body[right.start:right.end]) >= 0 {
			continue
		}
		for at := left.end + 1; at < left.end+len(sep) && at+len(sep) <= right.end; at++ {
			if bytes.HasPrefix(body[at:], sep) && s.judge(&b.columns[i+1], body[at+len(sep):right.end]) >= 0 {
				left.end, right.start = at, at+len(sep)
				break
			}
		}
	}
}
