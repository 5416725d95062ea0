package clean

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"millrace/schema"
)

// FuzzIs: with the assembly and without, it is what the standard library says.
func FuzzIs(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 8))
	for n := range 140 {
		v := []byte(strings.Repeat("a", n))
		f.Add(v)
		for _, c := range []string{"\x00", "\x01", "\x7f", "\x80", "\xff", "\u00fc", "\u20ac"} {
			at := r.IntN(n + 1)
			f.Add([]byte(string(v[:at]) + c + string(v[at:])))
		}
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		v = bytes.Clone(v)
		want := utf8.Valid(v) && bytes.IndexByte(v, 0) < 0
		if have := Is(v); have != want {
			t.Errorf("Is(%q) is %v", v, have)
		}
		if have := schema.IsClean(v); have != want {
			t.Errorf("schema.IsClean(%q) is %v", v, have)
		}
		for _, c := range v[:prefix(v)] {
			if c == 0 || c >= 0x80 {
				t.Errorf("%d bytes of %q are no prefix of plain ASCII", prefix(v), v)
			}
		}
	})
}
