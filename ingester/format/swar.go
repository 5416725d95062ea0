package format

import (
	"encoding/binary"
	"math/bits"

	"millrace/schema"
)

// Values are read eight bytes at a time, in an integer: a loop over bytes ends at
// another place in each frame, and the processor's wrong guess of where costs as much
// as the rest. What is read behind a value belongs to the frame's buffer and is
// shifted out; where the buffer ends there, the loops of number.go do the same.

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
	zeros = '0' * ones
)

// load is the first eight bytes of v, of which those behind v, up to its capacity, are
// none of its own. It is not ok when there are none.
func load(v []byte) (x uint64, ok bool) {
	if cap(v) < 8 {
		return 0, false
	}
	return binary.LittleEndian.Uint64(v[:8]), true
}

// digits8 reads eight bytes of digits, the first in the lowest byte, as values: '0' is
// 0. It is not ok when one is no digit.
func digits8(x uint64) (n uint64, ok bool) {
	bad := (x + 0x76*ones | x) & highs // over 9
	x = x*10 + x>>8                    // pairs
	const every4 = 0x000000FF000000FF
	return (x&every4*(100+1000000<<32) + x>>16&every4*(1+10000<<32)) >> 32 & 0xffffffff, bad == 0
}

// digitsUpTo8 reads v, which has one to eight digits and nothing else.
func digitsUpTo8(v []byte) (n uint64, ok bool) {
	x, ok := load(v)
	if !ok || uint(len(v)-1) >= 8 {
		return 0, false
	}
	return digits8((x ^ zeros) << (64 - 8*len(v))) // what is behind v goes, zeros come before it
}

// epoch reads seconds since 1970 of ten digits, alone or with three of a fraction, as
// milliseconds.
func epoch(v []byte) (millis int64, ok bool) {
	if len(v) != 14 && len(v) != 10 {
		return 0, false
	}
	high, ok := digits8(binary.LittleEndian.Uint64(v) ^ zeros)
	if !ok {
		return 0, false
	}
	if len(v) == 10 {
		low, ok := two(v[8:], 99)
		millis = (int64(high)*100 + low) * 1000
		return millis, ok && millis <= schema.MaxMillis
	}
	if v[10] != '.' {
		return 0, false
	}
	// "5678.901": the four digits move over the point.
	x := binary.LittleEndian.Uint64(v[6:]) ^ zeros
	low, ok := digits8(x>>40<<40 | x&0xffffffff<<8)
	millis = int64(high/100*10_000_000 + low)
	return millis, ok && millis <= schema.MaxMillis
}

// quad reads a plain IPv4 address where nineteen bytes can be read. It finds the dots
// first, so that the octets need not wait for each other.
func quad(v []byte) (a [4]byte, ok bool) {
	if cap(v) < 19 || uint(len(v)-7) > 15-7 {
		return a, false
	}
	w := (*[19]byte)(v[:19])
	dots := dots8(binary.LittleEndian.Uint64(w[0:])) | dots8(binary.LittleEndian.Uint64(w[8:]))<<8
	end := uint32(1) << uint(len(v)&15)
	dots = dots&(end-1) | end // those within v, and its end
	start, bad, beyond := 0, uint32(0), uint32(0)
	for i := range a {
		stop := bits.TrailingZeros32(dots)
		dots &= dots - 1
		n := stop - start
		if uint(n-1) > 2 {
			return a, false
		}
		x := (binary.LittleEndian.Uint32(w[start:]) ^ '0'*0x01010101) << (32 - 8*n)
		octet := x>>24 + x>>16&0xff*10 + x>>8&0xff*100
		bad |= x + 0x76767676 | x
		beyond |= (octet - leastOctet[n]) | (255 - octet) // negative: zeros stand before it, or it is too large
		a[i] = byte(octet)
		start = stop + 1
	}
	return a, bad&0x80808080|beyond>>31 == 0 && start == len(v)+1
}

// dots8 has a bit for each of eight bytes that is a dot.
func dots8(x uint64) uint32 {
	x ^= '.' * ones
	zero := ^((x&^highs + ^uint64(highs)) | x) & highs
	return uint32(zero >> 7 * gather >> 56)
}

// leastOctet is the least octet of so many digits.
var leastOctet = [4]uint32{1: 0, 2: 10, 3: 100}

// strange is not 0 if one of eight bytes stands in no host name: a blank or control
// character, a quote, a comma.
func strange(x uint64) uint64 {
	quote, comma := x^'"'*ones, x^','*ones
	return ((x-'!'*ones)&^x | (quote-ones)&^quote | (comma-ones)&^comma) & highs
}

// capital is not 0 if one of eight bytes is an ASCII capital.
func capital(x uint64) uint64 {
	low := x &^ highs
	return (low + (0x80-'A')*ones) &^ (low + (0x80-'Z'-1)*ones) &^ x & highs
}

// tail is the bytes of v behind its last eighth byte, as load gives them, and 'a' in
// the place of what is not v's own. readable tells whether there is memory for it.
func tail(v []byte) (x uint64) {
	n := len(v) &^ 7
	own := 8 * uint(len(v)-n)
	return binary.LittleEndian.Uint64(v[n:n+8])<<(64-own) | 'a'*ones>>own
}

func readable(v []byte) bool { return cap(v)-len(v) >= 8 }
