package query

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What a table holds at most; it is cut at whichever comes first.
const (
	MaxTableRows  = 10_000
	MaxTableBytes = 32 << 20
)

// table aligns: it has to know all rows before it writes the first.
type table struct {
	w      io.Writer
	right  []bool
	width  []int
	header []string
	rows   [][]string
	total  []string
	bytes  int
	buf    []byte
}

func newTable(w io.Writer, cols []cell) *table {
	t := &table{w: w, right: make([]bool, len(cols)), width: make([]int, len(cols)), header: make([]string, len(cols))}
	for i, c := range cols {
		t.right[i] = c.typ.number()
		t.header[i] = visible(c.name)
		t.width[i] = width(t.header[i])
	}
	return t
}

func (t *table) row(cols []cell) (full bool, err error) {
	if len(t.rows) >= MaxTableRows || t.bytes >= MaxTableBytes {
		return true, nil
	}
	t.rows = append(t.rows, t.cells(cols))
	return false, nil
}

func (t *table) cells(cols []cell) []string {
	cells := make([]string, len(cols))
	for i := range cols {
		if isNull(cols[i].value) {
			cells[i] = "NULL"
		} else {
			t.buf = appendText(t.buf[:0], cols[i].typ, cols[i].value, false)
			cells[i] = visible(string(t.buf))
		}
		t.bytes += len(cells[i]) + 16
		t.width[i] = max(t.width[i], width(cells[i]))
	}
	return cells
}

func (t *table) totals(cols []cell) error {
	t.total = t.cells(cols)
	return nil
}

func (t *table) end() error {
	w := bufio.NewWriter(t.w)
	t.rule(w, "┌", "┬", "┐")
	t.line(w, t.header)
	t.rule(w, "├", "┼", "┤")
	for _, r := range t.rows {
		t.line(w, r)
	}
	if t.total != nil {
		t.rule(w, "├", "┼", "┤")
		t.line(w, t.total)
	}
	t.rule(w, "└", "┴", "┘")
	return w.Flush()
}

func (t *table) rule(w *bufio.Writer, left, middle, right string) {
	w.WriteString(left)
	for i, n := range t.width {
		if i > 0 {
			w.WriteString(middle)
		}
		for range n + 2 {
			w.WriteString("─")
		}
	}
	w.WriteString(right)
	w.WriteByte('\n')
}

func (t *table) line(w *bufio.Writer, cells []string) {
	for i, c := range cells {
		pad := t.width[i] - width(c)
		w.WriteString("│ ")
		if t.right[i] {
			spaces(w, pad)
		}
		w.WriteString(c)
		if !t.right[i] {
			spaces(w, pad)
		}
		w.WriteByte(' ')
	}
	w.WriteString("│\n")
}

func spaces(w *bufio.Writer, n int) {
	for range n {
		w.WriteByte(' ')
	}
}

// visible replaces what would move the cursor, hide text or turn its direction:
// control characters, format characters, and bytes that are no UTF-8.
func visible(s string) string {
	if strings.IndexFunc(s, hidden) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x80 && hidden(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000 && hidden(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		case hidden(r):
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			b.WriteRune(r)
		}
		i += size
	}
	return b.String()
}

func hidden(r rune) bool {
	if r < 0x80 {
		return r < 0x20 || r == 0x7f
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp)
}

// width is the number of columns that a terminal gives s.
func width(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case r < 0x300:
			n++
		case unicode.In(r, unicode.Mn, unicode.Me):
		case wide(r):
			n += 2
		default:
			n++
		}
	}
	return n
}

// wide tells the characters that terminals draw two columns wide: the East
// Asian ones but for their half-width forms, and the pictures.
func wide(r rune) bool {
	switch {
	case r < 0x1100, r >= 0xFF61 && r <= 0xFFDC:
		return false
	case r >= 0x1160 && r <= 0x11FF: // joining vowels and finals
		return false
	case r <= 0x115F,
		r >= 0x2E80 && r <= 0x303E, r >= 0x3041 && r <= 0x33FF, r >= 0x3400 && r <= 0x4DBF,
		r >= 0x4E00 && r <= 0x9FFF, r >= 0xA000 && r <= 0xA4CF, r >= 0xA960 && r <= 0xA97F,
		r >= 0xAC00 && r <= 0xD7A3, r >= 0xF900 && r <= 0xFAFF, r >= 0xFE30 && r <= 0xFE6F,
		r >= 0xFF01 && r <= 0xFF60, r >= 0xFFE0 && r <= 0xFFE6,
		r >= 0x16FE0 && r <= 0x18DFF, r >= 0x1AFF0 && r <= 0x1B2FF,
		r >= 0x1F300 && r <= 0x1F64F, r >= 0x1F680 && r <= 0x1F6FF, r >= 0x1F7E0 && r <= 0x1F7EB,
		r >= 0x1F900 && r <= 0x1F9FF, r >= 0x1FA70 && r <= 0x1FAFF, r >= 0x20000 && r <= 0x3FFFD:
		return true
	}
	return strings.ContainsRune("⌚⌛⏩⏪⏫⏬⏰⏳◽◾☔☕♈♉♊♋♌♍♎♏♐♑♒♓♿⚓⚡⚪⚫⚽⚾⛄⛅⛎⛔⛪⛲⛳⛵⛺⛽✅✊✋✨❌❎❓❔❕❗➕➖➗➰➿⬛⬜⭐⭕🀄🃏🆎🈁🈚🈯🈲🈳🈴🈵🈶🈸🈹🈺🉐🉑", r)
}
