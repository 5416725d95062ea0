package schema

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// AppendRecord appends the event in protobuf wire format (docs/events.proto) to
// dst. It is the one copy that an event's bytes make on their way to Kafka. What
// stands behind the result, up to its capacity, is overwritten, and what stands behind
// a value of the event, likewise, is read.
//
// Unless e.Clean is set, text that is not valid UTF-8 or holds a NUL is written
// with U+FFFD in place of the bytes in question, and `flags` says so: neither
// protobuf strings nor the readers of a table should meet such bytes.
func AppendRecord(dst []byte, e *Event) []byte {
	fields := e.Kind.Fields
	flags := e.flags
	at := len(dst)
	dst = dst[:cap(dst)]
	for s := e.set; ; s &= s - 1 {
		if at, s = putFields(dst, at, e, s); s == 0 {
			break
		}
		i := next(s)
		f := e.Kind.heads[i]
		var v []byte
		if f.typ <= Bytes {
			v = e.text[i]
		}
		if f.typ <= Word && !e.Clean && !IsClean(v) {
			v = repaired(v, &flags)
		}
		if len(dst)-at < len(v)+headRoom {
			dst = grow(dst, at, len(v)+headRoom)
		}
		switch f.typ {
		case Text, Word, Bytes:
			at = putUint(dst, at, f, uint64(len(v)))
			at += copy(dst[at:], v)
		case IP:
			at = putIP(dst, at, f, &e.addr[i])
		default:
			at = putUint(dst, at, f, e.num[i])
		}
	}
	dst = dst[:at]
	for _, p := range e.pairs {
		dst = appendPair(dst, fields[p.Field].tag, p, e.Clean, &flags)
	}
	for _, n := range e.names {
		v := n.Name
		if fields[n.Field].Type == Texts && !e.Clean {
			v = repaired(v, &flags)
		}
		dst = appendLen(dst, fields[n.Field].tag, v)
	}
	for _, c := range e.codes {
		dst = append(dst, fields[c.Field].tag...)
		dst = binary.AppendUvarint(dst, uint64(c.Code))
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

// repaired is v, or a copy with the offending bytes replaced: off the hot path, it may
// allocate.
func repaired(v []byte, flags *Flag) []byte {
	if IsClean(v) {
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
