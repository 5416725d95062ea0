package query

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// What a table holds at most; it is cut at whichever comes first. The bytes are
// those of the values, and apart from them those of the lines, padding
// included: one long value makes every line as long.
const (
	MaxTableRows  = 10_000
	MaxTableBytes = 32 << 20
)

func init() {
	// Characters that Unicode calls ambiguous (é, Ω) are one column wide in
	// terminals of any locale; the library would go by LANG.
	text.OverrideRuneWidthEastAsianWidth(false)
}

// aligned has to know all rows before it writes the first.
type aligned struct {
	w     io.Writer
	table table.Writer
	width []int // of the columns, as far as rows have come
	rows  int
	bytes int
	max   int // MaxTableBytes
	buf   []byte
}

func newAligned(w io.Writer, cols []cell) *aligned {
	t := &aligned{w: w, table: table.NewWriter(), width: make([]int, len(cols)), max: MaxTableBytes}
	style := table.StyleLight
	style.Format = table.FormatOptions{} // names as they are, not in capitals
	t.table.SetStyle(style)
	header := make(table.Row, len(cols))
	configs := make([]table.ColumnConfig, len(cols))
	for i, c := range cols {
		name := visible(c.name)
		header[i] = name
		t.width[i] = text.StringWidthWithoutEscSequences(name)
		configs[i].Number = i + 1
		if c.typ.number() {
			configs[i].Align, configs[i].AlignHeader, configs[i].AlignFooter = text.AlignRight, text.AlignRight, text.AlignRight
		}
	}
	t.table.AppendHeader(header)
	t.table.SetColumnConfigs(configs)
	return t
}

func (t *aligned) row(cols []cell) (full bool, err error) {
	if t.rows >= MaxTableRows {
		return true, nil
	}
	row, bytes := t.cells(cols)
	line := 1
	width := make([]int, len(row))
	for i, s := range row {
		width[i] = max(t.width[i], text.StringWidthWithoutEscSequences(s.(string)))
		line += width[i] + len("│ ")
	}
	// The first row has come in whole already, and a table without it says nothing.
	if t.rows > 0 && max(t.bytes+bytes, (t.rows+1)*line) > t.max {
		return true, nil
	}
	t.table.AppendRow(row)
	t.rows, t.bytes, t.width = t.rows+1, t.bytes+bytes, width
	return false, nil
}

func (t *aligned) cells(cols []cell) (row table.Row, bytes int) {
	row = make(table.Row, len(cols))
	for i := range cols {
		s := "NULL"
		if !isNull(cols[i].value) {
			t.buf = appendText(t.buf[:0], cols[i].typ, cols[i].value, false)
			s = visible(string(t.buf))
		}
		row[i] = s
		bytes += len(s)
	}
	return row, bytes
}

func (t *aligned) totals(cols []cell) error {
	row, _ := t.cells(cols)
	t.table.AppendFooter(row)
	return nil
}

func (t *aligned) end() error {
	_, err := fmt.Fprintln(t.w, t.table.Render())
	return err
}

// visible replaces what would move the cursor, hide text or turn its direction:
// control characters, format characters, and bytes that are no UTF-8.
func visible(s string) string {
	if strings.IndexFunc(s, hidden) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case hidden(r):
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		default:
			b.WriteRune(r)
		}
		s = s[size:]
	}
	return b.String()
}

// Visible is s as a table shows it: without what would drive a terminal.
func Visible(s string) string { return visible(s) }

func hidden(r rune) bool {
	if r < 0x80 {
		return r < 0x20 || r == 0x7f
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp)
}
