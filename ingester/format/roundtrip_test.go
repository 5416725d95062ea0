package format

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"millrace/internal/eximid"
	"millrace/schema"
)

// TestRoundTrip_RandomTemplates: whatever the template, and whatever the values
// as long as they do not hold its separators, rendering and decoding gives every
// value back.
func TestRoundTrip_RandomTemplates(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(9, 10))
	formats := Builtin()
	var d Decoder
	var e schema.Event
	for i := range 20_000 {
		f := formats[i%len(formats)]
		if i%3 != 0 {
			f = randomFormat(t, rng)
		}
		s, err := NewSet([]*Format{f}, Options{})
		if err != nil {
			t.Fatalf("%s: cannot make the set: %s", f.Template, err)
		}
		want, body := render(rng, f)
		v := d.Decode(s, body, &e, Context{Received: testReceived})
		if v.Format != f || e.Flagged() != 0 {
			t.Fatalf("%q with the template %s: %+v, flags %q", body, f.Template, v, e.Flagged().Words())
		}
		for name, value := range want {
			if got := valueOf(&e, name); got != value {
				t.Fatalf("%q with the template %s: %s is %q; want %q", body, f.Template, name, got, value)
			}
		}
	}
}

// valueOf is a variable's value as text.
func valueOf(e *schema.Event, name string) string {
	if i := fieldOf(e.Kind, name); i >= 0 {
		if e.Kind.Fields[i].Type == schema.Millis && e.Has(i) {
			return fmt.Sprint(e.Millis(i))
		}
		return Text(e, i)
	}
	for _, p := range e.Pairs() {
		if string(p.Key) == name {
			return string(p.Value)
		}
	}
	return ""
}

// Characters of separators and of values: none is both.
const (
	separatorRunes = "|;,\t\"<>#é"
	valueRunes     = "abcXYZ019@._+=/ äñ漢😀"
)

func randomFormat(t *testing.T, rng *rand.Rand) *Format {
	kind := schema.Message
	if rng.IntN(2) == 0 {
		kind = schema.Status
	}
	names := []string{"unknown_1", "unknown (2)"}
	for i := range kind.Fields {
		if name := kind.Fields[i].Name; fieldOf(kind, name) >= 0 {
			names = append(names, name)
		}
	}
	rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	names = names[:1+rng.IntN(len(names))]
	// No literal begins as it ends, so that two never share bytes.
	literal := func(least int) string {
		runes := []rune(separatorRunes)
		rng.Shuffle(len(runes), func(i, j int) { runes[i], runes[j] = runes[j], runes[i] })
		return string(runes[:least+rng.IntN(4)])
	}
	uniform, same := literal(1), rng.IntN(2) == 0
	var text strings.Builder
	text.WriteString(literal(0))
	for i, name := range names {
		switch {
		case i > 0 && same:
			text.WriteString(uniform)
		case i > 0:
			text.WriteString(literal(1))
		}
		conversion := []string{"s", "s", "s", "s", "d", "r", "20s", "-20s", ".40s"}[rng.IntN(9)]
		text.WriteString("%(" + name + ")" + conversion)
	}
	text.WriteString(strings.TrimRight(literal(0), "\r\n"))
	return &Format{Name: "random", Kind: kind, Template: compiled(t, text.String())}
}

// render makes a frame of a format, and says what each variable is to become.
func render(rng *rand.Rand, f *Format) (want map[string]string, body []byte) {
	verbs := map[string]byte{}
	for _, v := range f.Template.variables {
		verbs[v.name] = v.verb
	}
	want = map[string]string{}
	body = f.Template.Append(nil, func(name string) []byte {
		class, bits := classExtra, 64
		if i := fieldOf(f.Kind, name); i >= 0 {
			class = classOf(&f.Kind.Fields[i])
			switch f.Kind.Fields[i].Type {
			case schema.UInt8:
				bits = 8
			case schema.UInt16:
				bits = 16
			}
		}
		written, value := randomValue(rng, class, bits)
		want[name] = value
		if verbs[name] == 'r' && (class.absorbs() || class == classWord) {
			return repr(written)
		}
		return []byte(written)
	})
	return want, body
}

// randomValue is a value as a source writes it and as valueOf shows it.
func randomValue(rng *rand.Rand, c class, bits int) (written, value string) {
	if rng.IntN(8) == 0 {
		return "", ""
	}
	switch c {
	case classID:
		id := []byte("1phfsb-0004M4-O4")
		if rng.IntN(2) == 0 {
			id = []byte("1tnyvV-000000064WS-3314")
		}
		for i := range id[2:] {
			if id[i+2] != '-' {
				id[i+2] = eximid.Digits[rng.IntN(len(eximid.Digits))]
			}
		}
		return string(id), string(id)
	case classInteger:
		n := fmt.Sprint(1 + rng.Uint64N(1<<bits-1))
		return n, n
	case classAddress:
		var a [16]byte
		for i := range a {
			a[i] = byte(rng.Uint32())
		}
		addr := netip.AddrFrom16(a)
		if rng.IntN(2) == 0 {
			addr = netip.AddrFrom4([4]byte(a[:4]))
		}
		return addr.String(), addr.String()
	case classTime:
		ms := 1 + rng.Int64N(4e12)
		return fmt.Sprintf("%d.%03d", ms/1000, ms%1000), fmt.Sprint(ms)
	case classHost:
		return "mx243.Example.com", "mx243.Example.com"
	case classDomain:
		return "mail.Example.COM", "mail.example.com"
	}
	runes := []rune(valueRunes)
	var b strings.Builder
	for range 1 + rng.IntN(30) {
		b.WriteRune(runes[rng.IntN(len(runes))])
	}
	v := "v" + b.String() + "v" // no padding of its own
	return v, v
}

// repr is Python's, of text without quotes and control characters: in half of the
// cases as Python 2 has it, byte by byte.
func repr(s string) []byte {
	if len(s)%2 == 0 {
		return []byte("'" + s + "'")
	}
	b := []byte{'\''}
	for _, c := range []byte(s) {
		if c < utf8.RuneSelf {
			b = append(b, c)
		} else {
			b = fmt.Appendf(b, `\x%02x`, c)
		}
	}
	return append(b, '\'')
}

// TestPiecesAreTheFrame: literals and values, put together again, are the frame,
// whatever was in it: no byte is lost or moved.
func TestPiecesAreTheFrame(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(11, 12))
	s := newSet(t, Options{})
	var d Decoder
	for range 3000 {
		f := Builtin()[rng.IntN(6)]
		body := f.Template.Append(nil, func(name string) []byte {
			_, v := randomValue(rng, classText, 0)
			if rng.IntN(3) == 0 {
				v += []string{`","`, `"`, `",","`, `,`, `""`, `a","b","c`}[rng.IntN(6)]
			}
			return []byte(v)
		})
		wantPieces(t, &d, s, body)
	}
}

func wantPieces(t *testing.T, d *Decoder, s *Set, body []byte) {
	t.Helper()
	for _, a := range d.Explain(s, body, Context{Received: testReceived}) {
		if a.Reason != "" {
			continue
		}
		i := 0
		whole := a.Format.Template.literals[0]
		for _, v := range a.Values {
			i++
			whole = append(append(bytes.Clone(whole), v.Text...), a.Format.Template.literals[i]...)
		}
		if i != len(a.Format.Template.variables) || !bytes.Equal(whole, body) && !bytes.Equal(whole, skipBlank(body)) {
			t.Fatalf("%s reads %q as %q", a.Format.Name, body, whole)
		}
	}
}
