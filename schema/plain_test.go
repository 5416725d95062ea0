package schema

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzIsClean: with the assembly and without, it is what the standard library says.
func FuzzIsClean(f *testing.F) {
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
		if have, want := IsClean(v), utf8.Valid(v) && bytes.IndexByte(v, 0) < 0; have != want {
			t.Errorf("IsClean(%q) is %v", v, have)
		}
		for name, n := range map[string]int{"the fastest": plainPrefix(v), "plain Go": plainPrefixGo(v)} {
			for _, c := range v[:n] {
				if c == 0 || c >= 0x80 {
					t.Errorf("%s takes %d bytes of %q for plain", name, n, v)
				}
			}
		}
	})
}
