package framing

import "bytes"

// answer to a question about bytes of which more may come.
type answer uint8

const (
	no answer = iota
	yes
	maybe
)

// maxCountDigits bounds how far a count is read. Longer runs of digits are text.
const maxCountDigits = 20

// octetCount reads "LEN SP" and, unless anyContent, the '<' behind it. A value above
// limit is limit+1.
func octetCount(b []byte, limit int, anyContent bool) (value, digits int, is answer) {
	for digits < len(b) && digits <= maxCountDigits && isDigit(b[digits]) {
		if value <= limit {
			value = value*10 + int(b[digits]-'0')
		}
		digits++
	}
	value = min(value, limit+1)
	switch {
	case len(b) == 0:
		return 0, 0, maybe
	case digits == 0 || b[0] == '0':
		return 0, 0, no
	case digits > maxCountDigits:
		if anyContent {
			return value, digits, yes // nothing but counts may stand here
		}
		return 0, 0, no
	case digits == len(b):
		return 0, 0, maybe
	case b[digits] != ' ':
		return 0, 0, no
	case anyContent:
		return value, digits, yes
	case digits+1 == len(b):
		return 0, 0, maybe
	case b[digits+1] != '<':
		return 0, 0, no
	}
	return value, digits, yes
}

// frameStart asks whether an LF before b ends a frame: '<' and a digit follow, behind
// a byte order mark or not, or an octet count and '<'.
func frameStart(b []byte) answer {
	if len(b) == 0 {
		return maybe
	}
	if b[0] == bom[0] {
		if len(b) < len(bom) {
			if bytes.HasPrefix(bom, b) {
				return maybe
			}
			return no
		}
		if !bytes.HasPrefix(b, bom) {
			return no
		}
		b = b[len(bom):]
		if len(b) == 0 {
			return maybe
		}
	}
	if b[0] == '<' {
		if len(b) == 1 {
			return maybe
		}
		if isDigit(b[1]) {
			return yes
		}
		return no
	}
	_, _, is := octetCount(b, 0, false)
	return is
}

// plausible: a frame may begin with c. Text does not begin with a control byte, nor
// with a byte that no UTF-8 character begins with.
func plausible(c byte) bool {
	return c >= ' ' && c < 0x7F || c == '\t' || c >= 0xC2 && c <= 0xF4
}

// findStart looks for the end of garbage at the front of b: the next "<PRI>" or octet
// count, or four printable characters behind a delimiter. Without one it says how many
// bytes are surely garbage.
func (f *Framer) findStart(b []byte, end End) (int, bool) {
	// Before anything of the run is consumed its first byte is known to be garbage.
	for i := f.firstStart(); i < len(b); i++ {
		is := no
		switch {
		case b[i] == '<':
			is = priAt(b[i:])
		case isDigit(b[i]):
			_, _, is = octetCount(b[i:], 0, false)
		}
		if is == no && i > 0 && f.delimits(b[i-1]) {
			is = textAt(b[i:])
		}
		if is == yes {
			return i, true
		}
		// The byte before is kept too: it may be the delimiter that the text needs.
		if is == maybe && end == More {
			return max(i-1, 0), false
		}
	}
	if end == More && len(b) > 0 && f.delimits(b[len(b)-1]) {
		return len(b) - 1, false
	}
	return len(b), false
}

func (f *Framer) firstStart() int {
	if f.skip.size == 0 {
		return 1
	}
	return 0
}

// delimits: c could end a frame on this connection.
func (f *Framer) delimits(c byte) bool { return c == 0 || c == '\n' && !f.nulEnds }

// priAt asks whether b begins with '<', one to three digits and '>'.
func priAt(b []byte) answer {
	i := 1
	for i < len(b) && i < 4 && isDigit(b[i]) {
		i++
	}
	switch {
	case i == len(b):
		return maybe
	case i > 1 && b[i] == '>':
		return yes
	}
	return no
}

// textAt asks whether four printable characters follow.
func textAt(b []byte) answer {
	for i := range 4 {
		if i == len(b) {
			return maybe
		}
		if b[i] < ' ' || b[i] > '~' {
			return no
		}
	}
	return yes
}
