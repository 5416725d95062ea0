package schema

import (
	"encoding/binary"
	"slices"
	"unsafe"
)

// The writers of AppendRecord's common cases write at dst[at:] and return where the
// next value goes. Appending would ask for room, and call a function to copy, for each
// of the parts of each value.

// head is what stands before a field's value in a record.
type head struct {
	tag      uint16 // protobuf tag, of one byte or two
	tagSize  uint8
	lenShift uint8 // by how many bits the length stands behind it
	typ      Type
}

// headRoom is more than a value takes besides its bytes: its head, and what is copied
// in excess.
const headRoom = 2 + binary.MaxVarintLen64 + excess

// excess: values are copied in blocks of so many bytes.
const excess = 32

// Padded is text that AppendRecord copies as fast as a part of a frame: with memory
// behind it that may be read.
func Padded(text string) []byte {
	return append(make([]byte, 0, (len(text)+excess)&^(excess-1)), text...)
}

// grow makes room for n bytes at dst[at:].
func grow(dst []byte, at, n int) []byte {
	dst = slices.Grow(dst[:at], n)
	return dst[:cap(dst)]
}

// putFields writes the fields of s, lowest first, up to one that is not of the common
// kind: for which there is no room, text that was not checked or is long, or an
// address that is not IPv4. It returns which are left. It calls nothing, so that its
// variables stay in registers.
func putFields(dst []byte, at int, e *Event, s uint64) (int, uint64) {
	heads, clean := &e.Kind.heads, e.Clean
	for ; s != 0; s &= s - 1 {
		i := next(s) & (MaxFields - 1)
		f := heads[i]
		if len(dst)-at < headRoom {
			return at, s
		}
		switch {
		case f.typ <= Bytes:
			v := e.text[i]
			room := (len(v)+excess-1)&^(excess-1) + headRoom
			if len(v) >= 0x80 || cap(v) < room-headRoom || len(dst)-at < room || !clean && f.typ != Bytes {
				return at, s
			}
			put4(dst, at, uint32(f.tag)|uint32(len(v))<<(f.lenShift&31))
			at += int(f.tagSize) + 1
			for n := 0; n < len(v); n += excess {
				copyBlock(dst, at+n, v, n)
			}
			at += len(v)
		case f.typ == IP:
			a := &e.addr[i]
			if binary.LittleEndian.Uint64(a[:])|uint64(binary.LittleEndian.Uint32(a[8:])^0xffff0000) != 0 {
				return at, s
			}
			put4(dst, at, uint32(f.tag)|4<<(f.lenShift&31))
			at += int(f.tagSize) + 1
			put4(dst, at, binary.LittleEndian.Uint32(a[12:]))
			at += 4
		default:
			at = putUint(dst, at, f, e.num[i])
		}
	}
	return at, 0
}

// put4 writes four bytes of x, the lowest first, at dst[at:]. The caller knows that
// there is room: this is, with copyBlock, a third of what a record costs.
func put4(dst []byte, at int, x uint32) {
	binary.LittleEndian.PutUint32((*[4]byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(dst)), at))[:], x)
}

// copyBlock copies excess bytes of v's memory, from v[n] on, to dst[at:], where there is
// room. As one array the compiler would have a function copy them, which this is to
// spare.
func copyBlock(dst []byte, at int, v []byte, n int) {
	to := (*[2][16]byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(dst)), at))
	from := (*[2][16]byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(v)), n))
	to[0], to[1] = from[0], from[1]
}

func putUint(dst []byte, at int, f head, v uint64) int {
	binary.LittleEndian.PutUint16(dst[at:], f.tag)
	at += int(f.tagSize)
	for v >= 0x80 {
		dst[at] = byte(v) | 0x80
		v >>= 7
		at++
	}
	dst[at] = byte(v)
	return at + 1
}

var mappedPrefix = [12]byte{10: 0xff, 11: 0xff}

// putIP writes an address: an IPv4 address in four bytes.
func putIP(dst []byte, at int, f head, a *[16]byte) int {
	v := a[:]
	if [12]byte(v) == mappedPrefix {
		v = v[12:]
	}
	at = putUint(dst, at, f, uint64(len(v)))
	return at + copy(dst[at:], v)
}
