package traffic

import (
	"math"
	"math/bits"
)

// random is SplitMix64: a few instructions for a number, and any seed is a good
// one, so that seeds next to each other give unrelated traffic.
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	return mix(uint64(*r))
}

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number in [0, n).
func (r *random) below(n int) int {
	hi, _ := bits.Mul64(r.next(), uint64(n))
	return int(hi)
}

// permille is true with a probability of p in 1000.
func (r *random) permille(p int) bool { return r.below(1000) < p }

// alias draws from a fixed discrete distribution in constant time (Vose).
type alias struct {
	keep  []uint32 // below this the column itself, else other
	other []uint32
}

func newZipf(n int, exponent float64) *alias {
	weights := make([]float64, n)
	for i := range weights {
		weights[i] = math.Pow(float64(i+1), -exponent)
	}
	return newAlias(weights)
}

func newAlias(weights []float64) *alias {
	n := len(weights)
	var sum float64
	for _, w := range weights {
		sum += w
	}
	a := &alias{keep: make([]uint32, n), other: make([]uint32, n)}
	scaled := make([]float64, n)
	var small, large []int
	for i, w := range weights {
		scaled[i] = w / sum * float64(n)
		if scaled[i] < 1 {
			small = append(small, i)
		} else {
			large = append(large, i)
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		a.keep[s], a.other[s] = uint32(scaled[s]*math.MaxUint32), uint32(l)
		if scaled[l] -= 1 - scaled[s]; scaled[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	for _, i := range append(small, large...) {
		a.keep[i], a.other[i] = math.MaxUint32, uint32(i)
	}
	return a
}

func (a *alias) draw(r *random) int {
	v := r.next()
	i := int(uint64(uint32(v)) * uint64(len(a.keep)) >> 32)
	if uint32(v>>32) <= a.keep[i] {
		return i
	}
	return int(a.other[i])
}
