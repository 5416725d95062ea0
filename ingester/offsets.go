package ingester

import "slices"

// offsets are those of a source's lines whose events are stored already, in order.
type offsets []int64

// has tells whether an offset is among them.
func (o offsets) has(offset int64) bool {
	_, found := slices.BinarySearch(o, offset)
	return found
}

// sorted puts offsets in their order.
func sorted(all []int64) offsets {
	slices.Sort(all)
	return slices.Compact(all)
}
