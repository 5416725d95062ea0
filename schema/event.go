package schema

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Event is one event in memory: values by the position of their field in
// Kind.Fields. Its byte slices are borrowed from a frame or a record and are
// valid until that is reused; an Event is reused with Reset and is not safe for
// concurrent use.
type Event struct {
	Kind *Kind

	// Clean says that the caller has checked all text to be valid UTF-8 without
	// NUL (one look at the whole frame), so that AppendRecord need not look.
	Clean bool

	set   uint64 // bit i: field i has a value
	bad   uint64 // bit i: the value of field i did not parse
	flags Flag
	text  [MaxFields][]byte
	num   [MaxFields]uint64
	addr  [MaxFields][16]byte
	names []Name
	pairs []Pair
	codes []Code
}

// Pair is one entry of a Map field.
type Pair struct {
	Field      int
	Key, Value []byte
}

// Name is one entry of a Names, Texts or IPs field; of the last it is an address of 4 or
// 16 bytes, or of none.
type Name struct {
	Field int
	Name  []byte
}

// Code is one entry of a Codes field.
type Code struct {
	Field int
	Code  uint16
}

// Reset empties the event and makes it one of kind k.
func (e *Event) Reset(k *Kind) {
	e.Kind, e.Clean = k, false
	e.set, e.bad, e.flags = 0, 0, 0
	e.names, e.pairs, e.codes = e.names[:0], e.pairs[:0], e.codes[:0]
}

func (e *Event) mark(i int, present bool) {
	if present {
		e.set |= 1 << i
	} else {
		e.set &^= 1 << i
	}
}

// SetText sets field i, of type Text, Word or Bytes. The event borrows v.
func (e *Event) SetText(i int, v []byte) {
	e.text[i] = v
	e.mark(i, len(v) != 0)
}

// PutText is SetText of a text that is not empty, for a caller that sets many and then
// says which, with Mark.
func (e *Event) PutText(i int, v []byte) { e.text[i&(MaxFields-1)] = v }

// Mark says which fields PutText gave a value, bit i for field i.
func (e *Event) Mark(set uint64) { e.set |= set }

// SetUint sets field i, of type UInt8, UInt16, UInt64 or Seconds.
func (e *Event) SetUint(i int, v uint64) {
	e.num[i] = v
	e.mark(i, v != 0)
}

// SetMillis sets field i, of type Millis. The caller keeps ms within MinMillis
// and MaxMillis.
func (e *Event) SetMillis(i int, ms int64) { e.SetUint(i, uint64(ms)) }

// SetIP sets field i, of type IP; an IPv4 address is mapped, a zone is dropped.
func (e *Event) SetIP(i int, a netip.Addr) {
	if !a.IsValid() {
		e.mark(i, false)
		return
	}
	e.addr[i] = a.As16()
	// What was just written is not compared: the processor would wait for it.
	e.mark(i, a.Is4() || a.WithZone("") != netip.IPv6Unspecified())
}

// SetIPv4 is SetIP of an IPv4 address.
func (e *Event) SetIPv4(i int, a [4]byte) {
	to := &e.addr[i]
	binary.LittleEndian.PutUint64(to[0:], 0)
	binary.LittleEndian.PutUint64(to[8:], 0xffff0000|uint64(binary.LittleEndian.Uint32(a[:]))<<32)
	e.mark(i, true)
}

// AddPair adds an entry to field i, of type Map. The event borrows both slices.
func (e *Event) AddPair(i int, key, value []byte) {
	e.pairs = append(e.pairs, Pair{i, key, value})
}

// AddName adds an entry to field i, of type Names, Texts or IPs. The event borrows name.
func (e *Event) AddName(i int, name []byte) {
	e.names = append(e.names, Name{i, name})
}

// AddCode adds an entry to field i, of type Codes.
func (e *Event) AddCode(i int, code uint16) { e.codes = append(e.codes, Code{i, code}) }

// Flag records what was forgiven; AppendRecord writes it into `flags`.
func (e *Event) Flag(f Flag) { e.flags |= f }

// HasFlag tells whether any of the flags in f was set with Flag.
func (e *Event) HasFlag(f Flag) bool { return e.flags&f != 0 }

// Flagged are the flags set so far. An event read by Reader has its flags as
// names instead: a newer writer may know words that this program does not.
func (e *Event) Flagged() Flag { return e.flags }

// MarkBad empties field i, whose value did not parse, names it in `bad_fields`
// and sets flag f.
func (e *Event) MarkBad(i int, f Flag) {
	e.mark(i, false)
	e.bad |= 1 << i
	e.flags |= f
}

// Bad tells whether MarkBad was called for field i.
func (e *Event) Bad(i int) bool { return e.bad&(1<<i) != 0 }

// Has tells whether field i has a value other than its type's default. Fields of
// repeated types are not asked here.
func (e *Event) Has(i int) bool { return e.set&(1<<i) != 0 }

// Text is field i, of type Text, Word or Bytes, or nil.
func (e *Event) Text(i int) []byte {
	if !e.Has(i) {
		return nil
	}
	return e.text[i]
}

// Uint is field i, of type UInt8, UInt16, UInt64 or Seconds.
func (e *Event) Uint(i int) uint64 {
	if !e.Has(i) {
		return 0
	}
	return e.num[i]
}

// Millis is field i, of type Millis.
func (e *Event) Millis(i int) int64 { return int64(e.Uint(i)) }

// IP is field i, of type IP, in its 16-byte form.
func (e *Event) IP(i int) [16]byte {
	if !e.Has(i) {
		return [16]byte{}
	}
	return e.addr[i]
}

// Pairs are the entries of all Map fields, in the order they were added. The
// slice is valid until the next change of the event.
func (e *Event) Pairs() []Pair { return e.pairs }

// Codes are the entries of all Codes fields, likewise.
func (e *Event) Codes() []Code { return e.codes }

// Names are the entries of all Names, Texts and IPs fields, likewise. Flags set with Flag and
// MarkBad are not among them until the event has been written and read.
func (e *Event) Names() []Name { return e.names }

// Set is the set of fields that have a value, bit i for field i. It lets a
// caller visit them without asking for each:
//
//	for s := e.Set(); s != 0; s &= s - 1 { i := bits.TrailingZeros64(s) ... }
func (e *Event) Set() uint64 { return e.set }

// next is the lowest field in s.
func next(s uint64) int { return bits.TrailingZeros64(s) }
