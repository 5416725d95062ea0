package query

import (
	"bufio"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Format is how a result is written.
type Format string

// The formats.
const (
	Table Format = "table" // aligned columns, for eyes
	TSV   Format = "tsv"   // ClickHouse's TabSeparated: no header, \N for NULL
	CSV   Format = "csv"   // RFC 4180 with a header; \N for NULL
	JSON  Format = "json"  // one object a line, in column order
)

// Formats lists them.
func Formats() []Format { return []Format{Table, TSV, CSV, JSON} }

// ParseFormat reads a format's name.
func ParseFormat(s string) (Format, error) {
	for _, f := range Formats() {
		if s == string(f) {
			return f, nil
		}
	}
	return "", fmt.Errorf("cannot use format %q: want table, tsv, csv or json", s)
}

// flushAfter bounds how long a row waits in the buffer for others.
const flushAfter = 100 * time.Millisecond

// writeError tells a failed writer from a failed query.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }

// cell is one column of a result and the value of its current row.
type cell struct {
	name    string
	typ     *chType
	dest    any
	value   reflect.Value
	ordered *orderedMap
}

func newColumns(rows driver.Rows) []cell {
	types := rows.ColumnTypes()
	cols := make([]cell, len(types))
	for i, t := range types {
		c := cell{name: t.Name(), typ: parseType(t.DatabaseTypeName())}
		switch st := t.ScanType(); {
		case c.typ.name == "Map":
			// Go's map would lose the order and keys that occur twice.
			c.ordered = &orderedMap{}
			c.dest = c.ordered
			c.value = reflect.ValueOf(c.ordered)
		case st == nil:
			c.dest = new(any)
			c.value = reflect.ValueOf(c.dest).Elem()
		default:
			if c.typ.lowNullable() && st.Kind() != reflect.Pointer {
				st = reflect.PointerTo(st) // the driver forgets that it may be NULL
			}
			p := reflect.New(st)
			c.dest, c.value = p.Interface(), p.Elem()
		}
		cols[i] = c
	}
	return cols
}

// ending says why no more rows were written.
type ending int

const (
	atEnd   ending = iota // there are no more
	atLimit               // Output.Limit, and the result goes on
	atLast                // Output.Limit, and of the result there was one row more: it has been read
	atBound               // the table's own
)

// write reads rows to their end, or as far as they are wanted, and writes them.
func write(rows driver.Rows, o Output) (n int, end ending, err error) {
	all := newColumns(rows)
	if len(all) == 0 {
		return 0, atEnd, nil
	}
	dest := make([]any, len(all))
	for i := range all {
		if o.PlainAddresses {
			all[i].typ.plainAddresses()
		}
		dest[i] = all[i].dest
	}
	notShown := o.Hidden
	if o.Made != nil {
		notShown += o.Made.Hidden
	}
	cols, hidden := all[:len(all)-notShown], make([]string, notShown)
	for i := range hidden {
		dest[len(cols)+i] = &hidden[i]
	}
	made := func() error { return nil }
	if o.Made != nil {
		made = func() error {
			text, err := o.Made.Text(hidden[o.Hidden:])
			for _, c := range cols {
				if c.name == o.Made.Name {
					c.value.SetString(text)
				}
			}
			return err
		}
	}
	var out rowWriter
	var late *lateWriter
	if o.Format == Table {
		out = newAligned(o.To, cols)
	} else {
		late = &lateWriter{w: bufio.NewWriterSize(o.To, 64<<10)}
		defer late.stop()
		out = newLines(late, cols, o.Format, o.NoHeader)
	}
	for rows.Next() {
		if o.Limit > 0 && n == o.Limit {
			// What the server has read for the rows it says behind the last one.
			if end = atLast; rows.Next() {
				end = atLimit
			}
			break
		}
		if err := scan(rows.Scan, all, dest); err != nil {
			return n, end, err
		}
		if o.Row != nil && !o.Row(hidden[:o.Hidden]) {
			continue
		}
		if err := made(); err != nil {
			return n, end, err
		}
		full, err := out.row(cols)
		if err != nil {
			return n, end, &writeError{err}
		}
		if full {
			end = atBound
			break
		}
		n++
	}
	// What has come is written, also when the query failed on the way.
	if end == atEnd || end == atLast {
		if err := rows.Err(); err != nil {
			if late != nil {
				late.flush()
			}
			return n, end, err
		}
		if end == atEnd && scan(rows.Totals, all, dest) == nil {
			if err := out.totals(cols); err != nil {
				return n, end, &writeError{err}
			}
		}
	}
	if err := out.end(); err != nil {
		return n, end, &writeError{err}
	}
	return n, end, nil
}

func scan(f func(...any) error, cols []cell, dest []any) error {
	for i := range cols {
		if cols[i].ordered != nil {
			cols[i].ordered.reset()
		}
	}
	return f(dest...)
}

type rowWriter interface {
	row(cols []cell) (full bool, err error)
	totals(cols []cell) error
	end() error
}

// lines writes TSV, CSV and JSON.
type lines struct {
	w      *lateWriter
	format Format
	buf    []byte
	value  []byte
	keys   [][]byte // JSON: `"name":` of each column
}

func newLines(w *lateWriter, cols []cell, f Format, noHeader bool) *lines {
	l := &lines{w: w, format: f}
	switch f {
	case CSV:
		if noHeader {
			break
		}
		for i, c := range cols {
			if i > 0 {
				l.buf = append(l.buf, ',')
			}
			l.buf = appendCSV(l.buf, c.name)
		}
		l.buf = append(l.buf, "\r\n"...)
	case JSON:
		for _, c := range cols {
			l.keys = append(l.keys, append(appendJSONString(nil, c.name), ':'))
		}
	}
	return l
}

func (l *lines) row(cols []cell) (bool, error) {
	b := l.buf
	if l.format == JSON {
		b = append(b, '{')
		for i := range cols {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, l.keys[i]...)
			b = appendJSON(b, cols[i].typ, cols[i].value)
		}
		b = append(b, "}\n"...)
	} else {
		for i := range cols {
			b = l.cell(b, i, &cols[i])
		}
		if l.format == CSV {
			b = append(b, '\r')
		}
		b = append(b, '\n')
	}
	_, err := l.w.Write(b)
	l.buf = b[:0]
	return false, err
}

func (l *lines) cell(b []byte, i int, c *cell) []byte {
	if i > 0 {
		if l.format == CSV {
			b = append(b, ',')
		} else {
			b = append(b, '\t')
		}
	}
	if isNull(c.value) {
		return append(b, `\N`...)
	}
	// Only a text of its own is escaped; the text of a container is escaped
	// within already.
	l.value = appendText(l.value[:0], c.typ, c.value, false)
	switch {
	case l.format == CSV:
		return appendCSV(b, string(l.value))
	case c.typ.container():
		return append(b, l.value...)
	default:
		return appendEscaped(b, string(l.value))
	}
}

// totals writes the row of WITH TOTALS as ClickHouse does: after an empty line,
// and not at all in JSON, where it would look like one more row.
func (l *lines) totals(cols []cell) error {
	if l.format == JSON {
		return nil
	}
	if l.format == CSV {
		l.buf = append(l.buf, '\r')
	}
	l.buf = append(l.buf, '\n')
	_, err := l.row(cols)
	return err
}

func (l *lines) end() error {
	if len(l.buf) > 0 { // a header without rows
		if _, err := l.w.Write(l.buf); err != nil {
			return err
		}
	}
	return l.w.flush()
}

// appendCSV quotes where RFC 4180 demands it, and where the text would read as
// NULL.
func appendCSV(b []byte, s string) []byte {
	if !strings.ContainsAny(s, ",\"\r\n") && s != `\N` {
		return append(b, s...)
	}
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		if s[i] == '"' {
			b = append(b, '"')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

// lateWriter is a buffer that is flushed when it is full or some time after it
// was written to, so that a slow query shows its rows as they come.
type lateWriter struct {
	mu    sync.Mutex
	w     *bufio.Writer
	timer *time.Timer
	armed bool
	err   error
}

func (l *lateWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return 0, l.err
	}
	if !l.armed {
		l.armed = true
		if l.timer == nil {
			l.timer = time.AfterFunc(flushAfter, func() { l.flush() })
		} else {
			l.timer.Reset(flushAfter)
		}
	}
	n, err := l.w.Write(p)
	l.err = err
	return n, err
}

func (l *lateWriter) flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = false
	if l.err == nil {
		l.err = l.w.Flush()
	}
	return l.err
}

// stop flushes for the last time; nothing is written after it.
func (l *lateWriter) stop() {
	l.flush()
	if l.timer != nil {
		l.timer.Stop()
	}
}
