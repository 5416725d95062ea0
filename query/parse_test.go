package query

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestParseType(t *testing.T) {
	t.Parallel()
	f := func(in, name string, args ...string) {
		t.Helper()
		got := parseType(in)
		if got.name != name || len(got.args) != len(args) {
			t.Errorf("%s: %+v", in, got)
			return
		}
		for i, a := range args {
			if got.args[i].name != a {
				t.Errorf("%s: argument %d is %s, want %s", in, i, got.args[i].name, a)
			}
		}
	}
	f("String", "String")
	f("Map(LowCardinality(String), Array(UInt8))", "Map", "LowCardinality", "Array")
	f("Tuple(a UInt8, `b c` Enum8('x, )' = 1), Nullable(String))", "Tuple", "UInt8", "Enum8", "Nullable")
	f("Tuple(DateTime64(3, 'UTC'), Decimal(9, 2))", "Tuple", "DateTime64", "Decimal")
	f("SimpleAggregateFunction(sum, UInt64)", "UInt64")
	f("Nested(a UInt8, b String)", "Array", "Tuple")
	f("Point", "Tuple", "Float64", "Float64")
	f("(", "(")
	f("", "")
	if got := parseType("Tuple(a UInt8, `b c` String)").fields; !reflect.DeepEqual(got, []string{"a", "b c"}) {
		t.Error(got)
	}
	if parseType(strings.Repeat("Array(", 1000)+strings.Repeat(")", 1000)) == nil {
		t.Error("nil")
	}
	for typ, want := range map[string]bool{"UInt8": true, "Nullable(Decimal(9, 2))": true, "IntervalDay": false, "IPv4": false, "LowCardinality(Nullable(Int64))": true, "Array(UInt8)": false} {
		if parseType(typ).number() != want {
			t.Error(typ, !want)
		}
	}
}

func TestFloatText(t *testing.T) {
	t.Parallel()
	for want, f := range map[string]float64{
		"0": 0, "0.1": 0.1, "1e21": 1e21, "100000000000000000000": 1e20, "1e-7": 1e-7, "0.000001": 1e-6, "-1.5e300": -1.5e300,
		"nan": math.NaN(), "inf": math.Inf(1), "-inf": math.Inf(-1), "-12.25": -12.25, "5e-324": 5e-324,
	} {
		if got := floatText(f, 64); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestDurationText(t *testing.T) {
	t.Parallel()
	if got := durationText(parseType("Time"), -(100*time.Hour + 2*time.Second)); got != "-100:00:02" {
		t.Error(got)
	}
	if got := durationText(parseType("Time64(3)"), time.Second+20*time.Millisecond); got != "00:00:01.020" {
		t.Error(got)
	}
}

// What is drawn wide, and what is drawn on top of what stands before it: the
// column behind begins at the same place in every line.
func TestTable_widths(t *testing.T) {
	t.Parallel()
	widths := map[string]int{"": 0, "abc": 3, "é": 1, "e\u0301": 1, "漢字": 4, "ｶﾅ": 2, "한글": 4, "😀": 2, "☔": 2, "Ω": 1, "│": 1, "Ａ": 2, "🎉": 2, "שָׁלוֹם": 4, "กี่": 1}
	cols := []cell{{name: "text", typ: parseType("String")}, {name: "n", typ: parseType("UInt8")}}
	var out strings.Builder
	table := newAligned(&out, cols)
	want := []string{"┌──────┬───┐", "│ text │ n │", "├──────┼───┤"}
	for s, width := range widths {
		cols[0].value, cols[1].value = reflect.ValueOf(s), reflect.ValueOf(uint8(7))
		if full, err := table.row(cols); full || err != nil {
			t.Fatal(full, err)
		}
		want = append(want, "│ "+s+strings.Repeat(" ", 4-width)+" │ 7 │")
	}
	if err := table.end(); err != nil {
		t.Fatal(err)
	}
	want = append(want, "└──────┴───┘", "")
	got := strings.Split(out.String(), "\n")
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", out.String(), strings.Join(want, "\n"))
	}
}

// One long value makes every line as long: the table is cut before its padding
// takes the memory that its values do not.
func TestTable_bound(t *testing.T) {
	t.Parallel()
	f := func(first, then string, rows int) {
		t.Helper()
		cols := []cell{{name: "text", typ: parseType("String"), value: reflect.ValueOf(first)}}
		var out countingWriter
		table := newAligned(&out, cols)
		table.max = 1 << 20
		for n := range MaxTableRows + 1 {
			full, err := table.row(cols)
			if err != nil {
				t.Fatal(err)
			}
			if full != (n == rows) {
				t.Fatalf("row %d: full is %v, want %d rows", n, full, rows)
			}
			if full {
				break
			}
			cols[0].value = reflect.ValueOf(then)
		}
		if err := table.end(); err != nil || int(out) > 2<<20+12*len(first) {
			t.Errorf("%d bytes, %v", out, err)
		}
	}
	f("a", "b", MaxTableRows)
	f(strings.Repeat("x", 1<<15), "b", 31)
	f("a", strings.Repeat("x", 1<<15), 31)
	f(strings.Repeat("x", 1<<20+1), "b", 1)
	f("", strings.Repeat("\u0301", 1<<15), 17) // no width, but bytes
}

type countingWriter int

func (w *countingWriter) Write(p []byte) (int, error) {
	*w += countingWriter(len(p))
	return len(p), nil
}

func FuzzText(f *testing.F) {
	f.Add("a\tb\n\x00'\\\"", "Map(String, Tuple(a UInt8))")
	f.Add("\x1b[31m\u202e\xff", "Tuple(`a` Enum8('x' = 1), b DateTime64(3))")
	f.Fuzz(func(t *testing.T, s, typ string) {
		v := visible(s)
		if !utf8.ValidString(v) || strings.IndexFunc(v, hidden) >= 0 {
			t.Fatalf("not visible: %q", v)
		}
		var back string
		if err := json.Unmarshal(appendJSONString(nil, s), &back); err != nil || back != strings.ToValidUTF8(s, "\ufffd") && utf8.ValidString(s) {
			t.Fatalf("JSON of %q: %q, %v", s, back, err)
		}
		if b := appendEscaped(nil, s); strings.ContainsAny(string(b), "\t\n\x00") {
			t.Fatalf("not escaped: %q", b)
		}
		c := parseType(typ)
		appendText(nil, c, reflect.ValueOf([]any{s, nil, map[string]any{"a": s}}), false)
		appendJSON(nil, c, reflect.ValueOf([]any{s, nil, map[string]any{"a": s}}))
	})
}
