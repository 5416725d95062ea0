package schema

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// AppendRecord appends the event in protobuf wire format (docs/events.proto) to
// dst. It is the one copy that an event's bytes make on their way to Kafka.
//
// Unless e.Clean is set, text that is not valid UTF-8 or holds a NUL is written
// with U+FFFD in place of the bytes in question, and `flags` says so: neither
// protobuf strings nor the readers of a table should meet such bytes.
func AppendRecord(dst []byte, e *Event) []byte {
	fields := e.Kind.Fields
	flags := e.flags
	for s := e.set; s != 0; s &= s - 1 {
		i := next(s)
		f := &fields[i]
		switch f.Type {
		case Text, Word:
			v := e.text[i]
			if !e.Clean && !isClean(v) {
				dst = appendRepaired(dst, f.tag, v, &flags)
				continue
			}
			dst = appendLen(dst, f.tag, v)
		case Bytes:
			dst = appendLen(dst, f.tag, e.text[i])
		case UInt8, UInt16, UInt64, Millis, Seconds:
			dst = append(dst, f.tag...)
			dst = binary.AppendUvarint(dst, e.num[i])
		case IP:
			dst = appendIP(dst, f.tag, &e.addr[i])
		}
	}
	for _, p := range e.pairs {
		dst = appendPair(dst, fields[p.Field].tag, p, e.Clean, &flags)
	}
	for _, n := range e.names {
		dst = appendLen(dst, fields[n.Field].tag, n.Name)
	}
	if flags != 0 {
		for i, w := range flagWords {
			if flags&(1<<i) != 0 {
				dst = appendLenString(dst, fields[Flags].tag, w)
			}
		}
	}
	for s := e.bad; s != 0; s &= s - 1 {
		dst = appendLenString(dst, fields[BadFields].tag, fields[next(s)].Name)
	}
	return dst
}

func isClean(v []byte) bool { return utf8.Valid(v) && bytes.IndexByte(v, 0) < 0 }

func appendLen(dst, tag, v []byte) []byte {
	dst = append(dst, tag...)
	dst = binary.AppendUvarint(dst, uint64(len(v)))
	return append(dst, v...)
}

func appendLenString(dst, tag []byte, v string) []byte {
	dst = append(dst, tag...)
	dst = binary.AppendUvarint(dst, uint64(len(v)))
	return append(dst, v...)
}

var mappedPrefix = [12]byte{10: 0xff, 11: 0xff}

func appendIP(dst, tag []byte, a *[16]byte) []byte {
	if [12]byte(a[:12]) == mappedPrefix {
		return appendLen(dst, tag, a[12:])
	}
	return appendLen(dst, tag, a[:])
}

// appendPair writes a map entry: a message with the key as field 1 and the
// value as field 2.
func appendPair(dst, tag []byte, p Pair, clean bool, flags *Flag) []byte {
	key, value := p.Key, p.Value
	if !clean {
		key, value = repaired(key, flags), repaired(value, flags)
	}
	size := 1 + uvarintLen(len(key)) + len(key) + 1 + uvarintLen(len(value)) + len(value)
	dst = append(dst, tag...)
	dst = binary.AppendUvarint(dst, uint64(size))
	dst = append(dst, 1<<3|wireLen)
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	dst = append(dst, key...)
	dst = append(dst, 2<<3|wireLen)
	dst = binary.AppendUvarint(dst, uint64(len(value)))
	return append(dst, value...)
}

func uvarintLen(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

// replacement stands for a byte that is no UTF-8 and for NUL.
const replacement = "\uFFFD"

// appendRepaired writes v with the offending bytes replaced: off the hot path,
// it may allocate.
func appendRepaired(dst, tag, v []byte, flags *Flag) []byte {
	return appendLen(dst, tag, repaired(v, flags))
}

func repaired(v []byte, flags *Flag) []byte {
	if isClean(v) {
		return v
	}
	if !utf8.Valid(v) {
		*flags |= FlagBadUTF8
		v = bytes.ToValidUTF8(v, []byte(replacement))
	}
	if bytes.IndexByte(v, 0) >= 0 {
		*flags |= FlagNULByte
		v = bytes.ReplaceAll(v, []byte{0}, []byte(replacement))
	}
	return v
}
