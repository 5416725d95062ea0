package eximid

import (
	"math/rand/v2"
	"testing"
)

func TestSecond(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		id     string
		second uint64 // 0: none
	}{
		{"1phfsb-0004M4-O4", 1680135061},
		{"1phfsb-00000000000-0000", 1680135061},
		{"000001-000000-00", 1},
		{"4gfFC3-000000-00", 1<<32 - 1},
		{"4gfFC4-000000-00", 0}, // 2^32
		{"zzzzzz-000000-00", 0},
		{"000000-000000-00", 0},
		{"1phfsb-0004M4-O", 0},
		{"1phfsb-0004M4-O4 ", 0},
		{"1phfsb_0004M4-O4", 0},
		{"1phfsb-0004M4_O4", 0},
		{"1phfsb-0004M-4O4", 0},
		{"1phf b-0004M4-O4", 0},
		{"1phfsb-0004M4-\xc34", 0},
		{"", 0},
	} {
		if second, ok := Second([]byte(c.id)); second != c.second || ok != (c.second != 0) {
			t.Errorf("%q: second %d, %t, not %d", c.id, second, ok, c.second)
		}
	}
}

// What is written is read, in both forms; a number too large for its digits is cut.
func TestAppend(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		second, process, fraction := rng.Uint64()>>rng.IntN(64), rng.Uint64()>>rng.IntN(64), rng.Uint64()>>rng.IntN(64)
		want := second % (62 * 62 * 62 * 62 * 62 * 62)
		for _, id := range []string{string(Append(nil, second, process, fraction)), string(AppendLong(nil, second, process, fraction))} {
			if got, ok := Second([]byte(id)); ok != (want > 0 && want <= maxSecond) || ok && got != want {
				t.Fatalf("%q of second %d is read as %d, %t", id, second, got, ok)
			}
		}
	}
	for _, c := range []struct{ got, want string }{
		{string(Append(nil, 1680135061, 75022, 1492)), "1phfsb-000JW2-O4"},
		{string(AppendLong(nil, 1680135061, 62, 0)), "1phfsb-00000000010-0000"},
	} {
		if c.got != c.want {
			t.Errorf("%s, not %s", c.got, c.want)
		}
	}
}
