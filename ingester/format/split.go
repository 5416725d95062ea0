package format

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
)

// span is one piece of a body: body[start:end].
type span struct{ start, end int }

// gather moves the lowest bits of eight bytes into the highest byte.
const gather = 0x0102040810204080

// maxPieces is how many pieces of a body are told apart: more than columns and
// surplus can use. It bounds what a frame full of separators costs.
const maxPieces = 1024

// split cuts body[from:to] at every sep, leftmost first, into spans, which it
// returns grown when needed. It stops at limit pieces, the last of which is what
// remains. overlap tells that two occurrences share bytes, so that the text could
// have been cut otherwise.
func split(body []byte, from, to int, sep []byte, spans []span, limit int) (_ []span, overlap bool) {
	if len(sep) == 3 {
		return split3(body[:to], from, sep, spans, limit)
	}
	start := from
	for {
		at := -1
		if len(spans) < limit-1 {
			at = bytes.Index(body[start:to], sep)
		}
		if at < 0 {
			return append(spans, span{start, to}), overlap
		}
		at += start
		spans = append(spans, span{start, at})
		start = at + len(sep)
		if len(sep) > 1 && !overlap {
			// An occurrence that begins inside this one.
			overlap = bytes.Contains(body[at+1:min(start+len(sep)-1, to)], sep)
		}
	}
}

// split3 is split for a separator of three bytes, which `","` is.
func split3(body []byte, from int, sep []byte, spans []span, limit int) (_ []span, overlap bool) {
	start := from
	if len(body) < 66 {
		for i := from; i+3 <= len(body) && len(spans) < limit-1; i++ {
			if body[i] != sep[0] || body[i+1] != sep[1] || body[i+2] != sep[2] {
				continue
			}
			if i < start {
				overlap = true
				continue
			}
			spans = append(spans, span{start, i})
			start = i + 3
		}
		return append(spans, span{start, len(body)}), overlap
	}
	q := [3]uint64{uint64(sep[0]) * ones, uint64(sep[1]) * ones, uint64(sep[2]) * ones}
	for i := from; i+3 <= len(body); i += 64 {
		// The last look reaches back over places that were looked at.
		base := min(i, len(body)-66)
		for found := places((*[66]byte)(body[base:]), &q) >> (i - base) << (i - base); found != 0; found &= found - 1 {
			at := base + bits.TrailingZeros64(found)
			if at < start {
				overlap = true
				continue
			}
			if len(spans) == limit-1 {
				return append(spans, span{start, len(body)}), overlap
			}
			spans = append(spans, span{start, at})
			start = at + 3
		}
	}
	return append(spans, span{start, len(body)}), overlap
}

// places tells, one bit for each, at which of 64 places three bytes in a row are
// those of q: where the exclusive or of each with q's is zero, for eight places at
// a time. It has no branch: one would be guessed wrong as often as there are
// separators.
func places(block *[66]byte, q *[3]uint64) (found uint64) {
	for k := 0; k < 64; k += 8 {
		x := (binary.LittleEndian.Uint64(block[k:]) ^ q[0]) | (binary.LittleEndian.Uint64(block[k+1:]) ^ q[1]) | (binary.LittleEndian.Uint64(block[k+2:]) ^ q[2])
		zero := ^((x&^highs + ^uint64(highs)) | x) & highs // the high bit of each zero byte
		found |= zero >> 7 * gather >> 56 << k
	}
	return found
}

// splitEnd cuts up to n pieces off the end of the last of spans.
func splitEnd(body, sep []byte, spans []span, n int) []span {
	first := len(spans) - 1
	for range n {
		rest := spans[first]
		at := bytes.LastIndex(body[rest.start:rest.end], sep)
		if at < 0 {
			break
		}
		at += rest.start
		spans = slices.Insert(spans, first+1, span{at + len(sep), rest.end})
		spans[first].end = at
	}
	return spans
}

// cut splits a body by the literals of one format whose separators differ, each
// at its leftmost place, or, where a typed column follows, at the first place
// that leaves that column a value of its type. found is the number of columns
// that were found; ambiguous tells that a separator stands in a value as well.
func (b *bound) cut(s *Set, body []byte, spans []span) (_ []span, found int, ambiguous bool) {
	spans, found, ambiguous = b.cutAt(s, body, spans, true)
	if found < len(b.columns) {
		// A value of no type may have sent the search too far: it costs no event.
		spans, found, ambiguous = b.cutAt(s, body, spans[:0], false)
	}
	return spans, found, ambiguous
}

func (b *bound) cutAt(s *Set, body []byte, spans []span, pin bool) (_ []span, found int, ambiguous bool) {
	last := len(b.columns) - 1
	start, to := len(b.literals[0]), len(body)-len(b.literals[last+1])
	for i := 0; i < last; i++ {
		sep := b.literals[i+1]
		at := bytes.Index(body[start:to], sep)
		if at < 0 {
			return append(spans, span{start, to}), i + 1, ambiguous
		}
		at += start
		if next := &b.columns[i+1]; pin && next.class.typed() && b.columns[i].class.absorbs() {
			at = b.pinned(s, body[:to], i, at)
		}
		spans = append(spans, span{start, at})
		start = at + len(sep)
		ambiguous = ambiguous || bytes.Contains(body[spans[i].start:at], sep) || i+1 == last && bytes.Contains(body[start:to], sep)
	}
	return append(spans, span{start, to}), last + 1, ambiguous
}

// pinned is the first of some places of the separator behind column i, from at
// on, that leaves column i+1 a value of its type; at if none does.
func (b *bound) pinned(s *Set, body []byte, i, at int) int {
	sep, try := b.literals[i+1], at
	for range maxShift {
		next := body[try+len(sep):]
		if i+2 < len(b.columns) {
			// A typed value is short, so its end is near or nowhere.
			follows := b.literals[i+2]
			next = next[:min(len(next), b.columns[i+1].width+maxTyped+1+len(follows))]
			if end := bytes.Index(next, follows); end >= 0 {
				next = next[:end]
			}
		}
		if s.judge(&b.columns[i+1], next) >= 0 {
			return try
		}
		more := bytes.Index(body[try+1:], sep)
		if more < 0 {
			break
		}
		try += 1 + more
	}
	return at
}

// cutQuoted splits a body whose source doubles the quotes inside values: a value
// ends at a quote that is not one of a pair, where the next literal stands. A
// lone quote elsewhere is taken as it is and makes the frame ambiguous.
func (b *bound) cutQuoted(body []byte, spans []span) (_ []span, found int, ambiguous bool) {
	last := len(b.columns) - 1
	start, to := len(b.literals[0]), len(body)-len(b.literals[last+1])
	for i := 0; i < last; i++ {
		sep := b.literals[i+1]
		at := -1
		for j := start; j <= to-len(sep) && at < 0; {
			if body[j] != '"' {
				if sep[0] != '"' && bytes.HasPrefix(body[j:to], sep) {
					at = j
				}
				j++
				continue
			}
			end := j
			for end < to && body[end] == '"' {
				end++
			}
			if (end-j)%2 == 1 { // pairs, and one more that ends the value or stands alone
				if bytes.HasPrefix(body[end-1:to], sep) {
					at = end - 1
				} else {
					ambiguous = true
				}
			}
			j = end
		}
		if at < 0 {
			return append(spans, span{start, to}), i + 1, ambiguous
		}
		spans = append(spans, span{start, at})
		start = at + len(sep)
	}
	ambiguous = ambiguous || bytes.Count(body[start:to], quote)%2 == 1
	return append(spans, span{start, to}), last + 1, ambiguous
}

var quote = []byte{'"'}
