package block

import (
	"encoding/binary"
	"hash/maphash"
)

// dictionary numbers the distinct values of a Word or Names column in the order in
// which they come. Value 0 is the empty one, so that a row without a value is a zero.
type dictionary struct {
	last   uint32 // the number given out last: most rows say what the row before says
	latest span   // its bytes
	keys   []byte // all values in wire form
	spans  []span // where each value's bytes are in keys
	table  []uint32
}

type span struct{ start, end uint32 }

// minTable is the table's size at first, a power of two.
const minTable = 64

var seed = maphash.MakeSeed()

func (d *dictionary) reset() {
	d.keys, d.spans, d.last = append(d.keys[:0], 0), append(d.spans[:0], span{1, 1}), 0
	d.latest = d.spans[0]
	if d.table == nil {
		d.table = make([]uint32, minTable)
	}
	clear(d.table)
}

func (d *dictionary) capacity() int { return cap(d.keys) + 8*cap(d.spans) + 4*cap(d.table) }

// again tells whether v is the value whose number was given out last.
func (d *dictionary) again(v []byte) bool {
	return string(d.keys[d.latest.start:d.latest.end]) == string(v)
}

// find returns the value's number if it has one, else the place for it in the table.
func (d *dictionary) find(v []byte) (n uint32, place uint64, known bool) {
	if d.again(v) {
		return d.last, 0, true
	}
	if len(v) == 0 {
		d.last, d.latest = 0, d.spans[0]
		return 0, 0, true
	}
	mask := uint64(len(d.table) - 1)
	for place = maphash.Bytes(seed, v) & mask; d.table[place] != 0; place = (place + 1) & mask {
		n := d.table[place]
		if s := d.spans[n]; string(d.keys[s.start:s.end]) == string(v) {
			d.last, d.latest = n, s
			return n, 0, true
		}
	}
	return 0, place, false
}

// add gives the next number to the value that find did not find.
func (d *dictionary) add(v []byte, place uint64) uint32 {
	n := uint32(len(d.spans))
	d.keys = binary.AppendUvarint(d.keys, uint64(len(v)))
	start := uint32(len(d.keys))
	d.keys = append(d.keys, v...)
	d.spans = append(d.spans, span{start, uint32(len(d.keys))})
	d.table[place], d.last, d.latest = n, n, d.spans[n]
	if 2*len(d.spans) > len(d.table) {
		d.grow()
	}
	return n
}

func (d *dictionary) grow() {
	d.table = make([]uint32, 2*len(d.table))
	mask := uint64(len(d.table) - 1)
	for n := 1; n < len(d.spans); n++ {
		s := d.spans[n]
		at := maphash.Bytes(seed, d.keys[s.start:s.end]) & mask
		for d.table[at] != 0 {
			at = (at + 1) & mask
		}
		d.table[at] = uint32(n)
	}
}
