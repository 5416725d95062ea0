package block

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"millrace/schema"
)

var update = flag.Bool("update", false, "write the corpus of FuzzBlock_AppendRecord anew")

// seeds are records of all shapes: full, empty, with repeated, unknown, cut, overlong
// and out-of-range fields.
func seeds() map[string][]byte {
	e := message(1)
	e.AddName(schema.Flags, []byte("tz_guess"))
	e.AddName(schema.Flags, nil)
	e.AddPair(schema.Extra, []byte("key"), []byte("value"))
	e.AddPair(schema.StructuredData, []byte("a.b"), nil)
	e.SetText(schema.Raw, []byte("\x00\xff raw"))
	e.SetMillis(schema.EventTime, -1)
	full := schema.AppendRecord(nil, e)
	return map[string][]byte{
		"full": full, "empty": nil, "cut": full[:len(full)-3], "cut_in_the_middle": full[:len(full)/2],
		"twice":                  append(append([]byte{}, full...), full...),
		"unknown_fields":         append([]byte{0xfa, 0x0f, 2, 'h', 'i', 0xf1, 0x0f, 1, 2, 3, 4, 5, 6, 7, 8}, full...),
		"number_again":           {8 << 3, 1, 8 << 3, 2},
		"text_again":             {5<<3 | 2, 1, 'a', 5<<3 | 2, 1, 'b'},
		"zeros":                  {8 << 3, 0, 5<<3 | 2, 0, 1 << 3, 0},
		"overlong_length":        {5<<3 | 2, 0x81, 0, 'a'},
		"overlong_tag":           {0xaa, 0x80, 0, 1, 'a'},
		"length_over_64_bits":    {5<<3 | 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2},
		"number_out_of_range":    {8 << 3, 0x80, 2},
		"seconds_out_of_range":   {4 << 3, 0x80, 0x80, 0x80, 0x80, 0x10},
		"millis_below":           {1 << 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x80, 1},
		"wrong_wire_type":        {8<<3 | 2, 1, 0},
		"not_utf8":               {12<<3 | 2, 1, 0xff, 5<<3 | 2, 3, 'a', 'b', 'c', 8 << 3, 1},
		"word_not_utf8":          {12<<3 | 2, 1, 'x', 5<<3 | 2, 3, 'a', 0xc0, 0x80},
		"name_not_utf8":          {0x82, 1, 1, 'a', 0x82, 1, 1, 0xff},
		"address_of_4":           {7<<3 | 2, 4, 192, 0, 2, 1},
		"address_of_5":           {12<<3 | 2, 1, 'x', 7<<3 | 2, 5, 192, 0, 2, 1, 0},
		"map_value_first":        {0x6a, 6, 2<<3 | 2, 1, 'v', 1<<3 | 2, 1, 'k'},
		"map_without_value":      {0x6a, 3, 1<<3 | 2, 1, 'k'},
		"map_with_another_field": {0x6a, 8, 1<<3 | 2, 1, 'k', 2<<3 | 2, 1, 'v', 3 << 3, 1},
	}
}

// FuzzBlock_AppendRecord: whatever AppendRecord takes, Reader takes too, and the row is
// the same; whatever it does not take leaves no trace; and the driver reads the block.
func FuzzBlock_AppendRecord(f *testing.F) {
	for name, record := range seeds() {
		f.Add(record, uint8(0))
		if *update {
			for i := range schema.Kinds() {
				file := filepath.Join("testdata", "fuzz", "FuzzBlock_AppendRecord", fmt.Sprint(name, "_", i))
				if err := os.WriteFile(file, fmt.Appendf(nil, "go test fuzz v1\n[]byte(%q)\nbyte('\\x%02x')\n", record, i), 0o644); err != nil {
					f.Fatal(err)
				}
			}
		}
	}
	good := map[*schema.Kind][]byte{}
	for _, k := range schema.Kinds() {
		var e schema.Event
		e.Reset(k)
		e.SetText(schema.Listener, []byte("filter"))
		e.SetText(schema.SyslogPID, []byte("42"))
		e.AddName(schema.Flags, []byte("flag"))
		e.AddPair(schema.Extra, []byte("key"), []byte("value"))
		good[k] = schema.AppendRecord(nil, &e)
	}
	f.Fuzz(func(t *testing.T, record []byte, kind uint8) {
		k := schema.Kinds()[int(kind)%len(schema.Kinds())]
		var e schema.Event
		var r schema.Reader
		err := r.Read(k, record, &e)
		got, want := New(k), New(k)
		got.Reset(Place{"message", 1, 2})
		want.Reset(Place{"message", 1, 2})
		for offset, record := range [][]byte{good[k], nil, record, good[k], nil, record, nil} {
			ours := offset == 2 || offset == 5
			rows := got.Rows()
			if got.AppendRecord(record, int64(offset)) {
				if ours && err != nil {
					t.Fatalf("taken, but Reader says: %v", err)
				}
			} else if !ours {
				t.Fatalf("a good record was not taken at offset %d", offset)
			} else if got.Rows() != rows {
				t.Fatal("a record that was not taken made a row")
			} else {
				continue
			}
			if r.Read(k, record, &e) == nil {
				want.Append(&e, int64(offset))
			}
		}
		if got.Rows() != want.Rows() || got.Bytes() != want.Bytes() {
			t.Fatalf("%d rows of %d bytes, by events %d rows of %d bytes", got.Rows(), got.Bytes(), want.Rows(), want.Bytes())
		}
		a, b := withoutDefaults(decoded(t, got)), withoutDefaults(decoded(t, want))
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("the rows are\n%v\nby events they are\n%v", a, b)
		}
	})
}

// withoutDefaults leaves out the columns in which no row has a value: they need not be sent.
func withoutDefaults(columns map[string][]any) map[string][]any {
	for name, values := range columns {
		empty := true
		for _, v := range values {
			switch v := v.(type) {
			case string:
				empty = empty && v == ""
			default:
				empty = empty && defaults[fmt.Sprint(v)]
			}
		}
		if empty {
			delete(columns, name)
		}
	}
	return columns
}

var defaults = map[string]bool{"0": true, "::": true, "[]": true, "map[]": true, time.UnixMilli(0).UTC().String(): true}

// Words beyond what a byte, and two, can number.
func TestBlock_ManyWords(t *testing.T) {
	t.Parallel()
	k := schema.Message
	b := New(k)
	for _, words := range []int{70_000, 3, 300} { // the second and third in the memory of the first
		b.Reset(Place{"message", 1, 2})
		rows := words * 2
		var e schema.Event
		for n := range rows {
			e.Reset(k)
			e.SetText(schema.Listener, fmt.Appendf(nil, "word-%d", n*7919%words))
			e.AddName(schema.Flags, fmt.Appendf(nil, "name-%d", n%words))
			if !b.AppendRecord(schema.AppendRecord(nil, &e), int64(n)) {
				t.Fatal("not taken")
			}
		}
		got := decoded(t, b)
		for n := range rows {
			if w := fmt.Sprintf("word-%d", n*7919%words); got["listener"][n] != w {
				t.Fatalf("listener of row %d is %q, want %q", n, got["listener"][n], w)
			}
			if w := []string{fmt.Sprintf("name-%d", n%words)}; !reflect.DeepEqual(got["flags"][n], w) {
				t.Fatalf("flags of row %d are %q, want %q", n, got["flags"][n], w)
			}
		}
	}
}
