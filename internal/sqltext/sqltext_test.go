package sqltext

import (
	"slices"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	t.Parallel()
	f := func(s string, want ...string) {
		t.Helper()
		if got := Split(s); !slices.Equal(got, want) {
			t.Errorf("Split(%q) = %q, want %q", s, got, want)
		}
	}
	f("", "")
	f("a", "a")
	f("a UInt8,  `b, c` Enum8('x, )' = 1)", "a UInt8", "`b, c` Enum8('x, )' = 1)")
	f("'it\\', s', (1, (2, 3)), \"x,\"", "'it\\', s'", "(1, (2, 3))", `"x,"`)
	f("'never closed, ", "'never closed,")
	f("(never, closed", "(never, closed")
	f("), a", "), a") // a depth below zero is not the top either
	f(`'\`, `'\`)
}

func TestClosing(t *testing.T) {
	t.Parallel()
	f := func(s string, open, want int) {
		t.Helper()
		if got := Closing(s, open); got != want {
			t.Errorf("Closing(%q, %d) = %d, want %d", s, open, got, want)
		}
	}
	f("()", 0, 1)
	f("f(g(x), ')') + 1", 1, 11)
	f("f(g(x), ')') + 1", 3, 5)
	f("(a", 0, -1)
	f("(')", 0, -1)
}

func TestIndexWord(t *testing.T) {
	t.Parallel()
	f := func(s string, want int) {
		t.Helper()
		if got := IndexWord(s, "TTL"); got != want {
			t.Errorf("IndexWord(%q) = %d, want %d", s, got, want)
		}
	}
	f("TTL x", 0)
	f("a ' TTL b' (x TTL y) TTL z", 21)
	f("aTTL b", -1)
	f("a TTL", -1)
}

func FuzzSplit(f *testing.F) {
	f.Add("Tuple(a UInt8, `b, c` Enum8('x, )' = 1))")
	f.Add("a '\\', b")
	f.Fuzz(func(t *testing.T, s string) {
		for _, part := range Split(s) {
			if !strings.Contains(s, part) {
				t.Fatalf("%q is no part of %q", part, s)
			}
		}
		for i := range s {
			if s[i] == '(' {
				if end := Closing(s, i); end >= 0 && (end <= i || s[end] != ')') {
					t.Fatalf("Closing(%q, %d) = %d", s, i, end)
				}
				break
			}
		}
		if at := IndexWord(s, "TTL"); at >= 0 && !strings.HasPrefix(s[at:], "TTL ") {
			t.Fatalf("IndexWord(%q) = %d", s, at)
		}
	})
}
