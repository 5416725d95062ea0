package traffic

import (
	"math/bits"

	"millrace/internal/eximid"
)

// An Exim id is the second, the process and the fraction of a second, in
// base62. Process and fraction together are one number of idSpace values; a
// generator walks through them with a stride that has no factor in common with
// idSpace, so that none comes twice before all have come.
const (
	idFractions = 2000              // Exim counts half milliseconds
	idSpace     = idFractions << 22 // and Linux 2^22 processes
	idStride    = 5184444863        // idSpace divided by the golden ratio, odd and no multiple of 5
)

// walk gives numbers in [0, idSpace) that do not repeat. The walks of several
// lanes with one seed never meet.
type walk struct{ at, step uint64 }

func newWalk(seed uint64, lane, lanes int) walk {
	first := mix(seed^0x6d696c6c72616365) % idSpace
	return walk{
		at:   (first + mulMod(uint64(lane), idStride)) % idSpace,
		step: mulMod(uint64(lanes), idStride),
	}
}

func mulMod(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a%idSpace, b%idSpace)
	return bits.Rem64(hi, lo, idSpace)
}

func (w *walk) next() uint64 {
	v := w.at
	if w.at += w.step; w.at >= idSpace {
		w.at -= idSpace
	}
	return v
}

// appendID writes the 16-character form, or the 23-character form of Exim 4.97,
// which has wider fields and counts microseconds.
func appendID(dst []byte, second int64, number uint64, long bool) []byte {
	process, fraction := number/idFractions, number%idFractions
	if long {
		return eximid.AppendLong(dst, uint64(second), process, fraction*500)
	}
	return eximid.Append(dst, uint64(second), process, fraction)
}
