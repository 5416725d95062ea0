package audit

import (
	"cmp"
	"slices"
)

// A Range is the offsets from From up to, but not including, To.
type Range struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// Len is how many offsets it has.
func (r Range) Len() int64 { return max(r.To-r.From, 0) }

// ranges are in order and do not touch.
type ranges []Range

func (r ranges) count() (n int64) {
	for _, x := range r {
		n += x.Len()
	}
	return n
}

// join sorts all and returns what any of them covers, and what more than one does,
// once for each further one.
func join(all []Range) (union, again ranges) {
	slices.SortFunc(all, func(a, b Range) int { return cmp.Compare(a.From, b.From) })
	for _, r := range all {
		if r.Len() == 0 {
			continue
		}
		n := len(union)
		if n == 0 || r.From > union[n-1].To {
			union = append(union, r)
			continue
		}
		last := &union[n-1]
		if r.From < last.To {
			again = append(again, Range{r.From, min(r.To, last.To)})
		}
		last.To = max(last.To, r.To)
	}
	return union, again
}

// within are the parts of r that lie in [from, to).
func (r ranges) within(from, to int64) (in ranges) {
	for _, x := range r {
		if x = (Range{max(x.From, from), min(x.To, to)}); x.Len() > 0 {
			in = append(in, x)
		}
	}
	return in
}

// gaps are the parts of [from, to) that r does not cover.
func (r ranges) gaps(from, to int64) (out ranges) {
	for _, x := range r.within(from, to) {
		if x.From > from {
			out = append(out, Range{from, x.From})
		}
		from = x.To
	}
	if from < to {
		out = append(out, Range{from, to})
	}
	return out
}

// without are the parts of r that other does not cover.
func (r ranges) without(other ranges) (out ranges) {
	if len(other) == 0 {
		return r
	}
	for _, x := range r {
		out = append(out, other.gaps(x.From, x.To)...)
	}
	return out
}
