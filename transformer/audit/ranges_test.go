package audit

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

func TestJoin(t *testing.T) {
	t.Parallel()
	f := func(in []Range, union, again string) {
		t.Helper()
		u, a := join(in)
		if fmt.Sprint(u) != union || fmt.Sprint(a) != again {
			t.Errorf("union %v, again %v; want %s, %s", u, a, union, again)
		}
	}
	f(nil, "[]", "[]")
	f([]Range{{5, 5}}, "[]", "[]")
	f([]Range{{5, 9}, {0, 5}}, "[{0 9}]", "[]")
	f([]Range{{0, 5}, {6, 9}}, "[{0 5} {6 9}]", "[]")
	f([]Range{{0, 9}, {2, 3}, {8, 12}}, "[{0 12}]", "[{2 3} {8 9}]")
	f([]Range{{0, 3}, {0, 3}, {0, 3}}, "[{0 3}]", "[{0 3} {0 3}]")
}

// TestRanges compares with sets of single offsets.
func TestRanges(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 7))
	for range 2000 {
		var in []Range
		times := map[int64]int{}
		for range r.IntN(8) {
			x := Range{From: r.Int64N(40)}
			x.To = x.From + r.Int64N(8)
			in = append(in, x)
			for o := x.From; o < x.To; o++ {
				times[o]++
			}
		}
		more := int64(0)
		for _, n := range times {
			more += int64(n - 1)
		}
		union, again := join(in)
		if union.count() != int64(len(times)) || again.count() != more {
			t.Fatalf("%v: union %v, again %v", in, union, again)
		}
		from, to := r.Int64N(50), r.Int64N(50)
		missing := map[int64]bool{}
		for o := from; o < to; o++ {
			if times[o] == 0 {
				missing[o] = true
			}
		}
		gaps := union.gaps(from, to)
		for _, g := range gaps {
			for o := g.From; o < g.To; o++ {
				if !missing[o] {
					t.Fatalf("%v: gaps of [%d, %d): %v", in, from, to, gaps)
				}
				delete(missing, o)
			}
		}
		if len(missing) > 0 {
			t.Fatalf("%v: gaps of [%d, %d): %v: without %v", in, from, to, gaps, missing)
		}
		if left := (ranges{{from, max(from, to)}}).without(union); left.count() != gaps.count() {
			t.Fatalf("[%d, %d) without %v is %v", from, to, union, left)
		}
	}
}

func TestMonday(t *testing.T) {
	t.Parallel()
	f := func(in, want string) {
		t.Helper()
		at, err := time.Parse(time.RFC3339, in)
		if err != nil {
			t.Fatal(err)
		}
		if got := monday(at).Format(time.RFC3339); got != want {
			t.Errorf("the week of %s begins %s, want %s", in, got, want)
		}
	}
	f("2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z")
	f("2026-11-27T03:00:00Z", "2026-11-23T00:00:00Z")
	f("2026-11-29T23:59:59.999Z", "2026-11-23T00:00:00Z")
	f("2026-11-30T01:00:00+02:00", "2026-11-23T00:00:00Z")
	f("1969-12-31T12:00:00Z", "1969-12-29T00:00:00Z")
}

func TestExtend(t *testing.T) {
	t.Parallel()
	var all []Range
	for _, o := range []int64{3, 4, 5, 9, 11, 12} {
		all = extend(all, o)
	}
	if fmt.Sprint(all) != "[{3 6} {9 10} {11 13}]" {
		t.Error(all)
	}
}
