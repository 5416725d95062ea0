package schema

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// ErrRecord is wrapped by every error of Reader.
var ErrRecord = errors.New("not an event record")

// Reader reads records back into events. It keeps nothing between records.
type Reader struct{}

// Read fills e with the record's values, which are views into record. Fields
// with a number that kind k does not have are skipped: a newer ingester may
// write them. The error depends on the bytes alone, so that every reading of a
// record gives the same answer; e is not to be used after one.
func (Reader) Read(k *Kind, record []byte, e *Event) error {
	e.Reset(k)
	e.Clean = true // checked here
	b := record
	for len(b) > 0 {
		tag, n := uvarint(b)
		if n <= 0 {
			return fmt.Errorf("%w: cut or overlong tag at byte %d", ErrRecord, len(record)-len(b))
		}
		b = b[n:]
		number, wire := tag>>3, tag&7
		if number == 0 || number > 1<<29-1 {
			return fmt.Errorf("%w: field number %d at byte %d", ErrRecord, number, len(record)-len(b))
		}
		i := -1
		if number <= maxNumber {
			i = int(k.byNumber[number]) - 1
		}
		if i < 0 {
			rest, ok := skip(b, wire)
			if !ok {
				return fmt.Errorf("%w: cut unknown field %d at byte %d", ErrRecord, number, len(record)-len(b))
			}
			b = rest
			continue
		}
		f := &k.Fields[i]
		if wire != f.Type.wire() {
			return fmt.Errorf("%w: field %q has wire type %d", ErrRecord, f.Name, wire)
		}
		v, n := uvarint(b)
		if n <= 0 {
			return fmt.Errorf("%w: field %q is cut", ErrRecord, f.Name)
		}
		b = b[n:]
		if wire == wireVarint {
			if !inRange(f.Type, v) {
				return fmt.Errorf("%w: field %q has value %d, out of range", ErrRecord, f.Name, v)
			}
			if f.Type == Codes {
				e.AddCode(i, uint16(v))
			} else {
				e.SetUint(i, v)
			}
			continue
		}
		if v > uint64(len(b)) {
			return fmt.Errorf("%w: field %q has %d bytes of %d", ErrRecord, f.Name, len(b), v)
		}
		var value []byte
		value, b = b[:v:v], b[v:]
		if err := e.setLen(i, f, value); err != nil {
			return err
		}
	}
	return nil
}

// SourceOf is which file a record's event is of, and where in it its line begins; no source
// where the event is of none. The record is that of any kind: its other fields are passed
// over, and are not checked. source is a view into it.
func SourceOf(record []byte) (source []byte, offset uint64, err error) {
	for b := record; len(b) > 0; {
		tag, n := uvarint(b)
		if n <= 0 {
			return nil, 0, fmt.Errorf("%w: cut or overlong tag at byte %d", ErrRecord, len(record)-len(b))
		}
		rest, ok := skip(b[n:], tag&7)
		if !ok {
			return nil, 0, fmt.Errorf("%w: field %d is cut", ErrRecord, tag>>3)
		}
		value := b[n : len(b)-len(rest)]
		switch tag {
		case sourceTag:
			_, n := uvarint(value) // its length
			source = value[n:]
		case sourceOffsetTag:
			offset, _ = uvarint(value)
		}
		b = rest
	}
	return source, offset, nil
}

var (
	sourceTag       = uint64(commonFields[Source].Number)<<3 | wireLen
	sourceOffsetTag = uint64(commonFields[SourceOffset].Number)<<3 | wireVarint
)

// setLen sets a field whose value is a run of bytes.
func (e *Event) setLen(i int, f *Field, value []byte) error {
	switch f.Type {
	case Bytes:
		e.SetText(i, value)
		return nil
	case IP:
		switch len(value) {
		case 4:
			e.addr[i] = [16]byte{10: 0xff, 11: 0xff, 12: value[0], 13: value[1], 14: value[2], 15: value[3]}
		case 16:
			e.addr[i] = [16]byte(value)
		default:
			return fmt.Errorf("%w: field %q has an address of %d bytes", ErrRecord, f.Name, len(value))
		}
		e.mark(i, e.addr[i] != [16]byte{})
		return nil
	case IPs:
		if n := len(value); n != 0 && n != 4 && n != 16 {
			return fmt.Errorf("%w: field %q has an address of %d bytes", ErrRecord, f.Name, n)
		}
		e.AddName(i, value)
		return nil
	case Map:
		key, val, ok := readPair(value)
		if !ok {
			return fmt.Errorf("%w: field %q has an entry that does not parse", ErrRecord, f.Name)
		}
		if !utf8.Valid(key) || !utf8.Valid(val) {
			return fmt.Errorf("%w: field %q is not UTF-8", ErrRecord, f.Name)
		}
		e.AddPair(i, key, val)
		return nil
	}
	if !utf8.Valid(value) {
		return fmt.Errorf("%w: field %q is not UTF-8", ErrRecord, f.Name)
	}
	if f.Type == Names || f.Type == Texts {
		e.AddName(i, value)
	} else {
		e.SetText(i, value)
	}
	return nil
}

// inRange tells whether the column's type can hold v.
func inRange(t Type, v uint64) bool {
	switch t {
	case UInt8:
		return v < 1<<8
	case UInt16, Codes:
		return v < 1<<16
	case Seconds:
		return v <= MaxSeconds
	case Millis:
		return int64(v) >= MinMillis && int64(v) <= MaxMillis
	default:
		return true
	}
}

// readPair reads a map entry; a missing key or value is empty, as protobuf has it.
func readPair(b []byte) (key, value []byte, ok bool) {
	for len(b) > 0 {
		tag, n := uvarint(b)
		if n <= 0 {
			return nil, nil, false
		}
		b = b[n:]
		if tag != 1<<3|wireLen && tag != 2<<3|wireLen {
			if tag>>3 == 0 {
				return nil, nil, false
			}
			if b, ok = skip(b, tag&7); !ok {
				return nil, nil, false
			}
			continue
		}
		size, n := uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, nil, false
		}
		if tag>>3 == 1 {
			key = b[n : n+int(size)]
		} else {
			value = b[n : n+int(size)]
		}
		b = b[n+int(size):]
	}
	return key, value, true
}

// skip passes over a value of a field that is not known.
func skip(b []byte, wire uint64) (rest []byte, ok bool) {
	switch wire {
	case wireVarint:
		_, n := uvarint(b)
		return b[max(n, 0):], n > 0
	case 1: // 64-bit
		return b[min(8, len(b)):], len(b) >= 8
	case wireLen:
		size, n := uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, false
		}
		return b[n+int(size):], true
	case 5: // 32-bit
		return b[min(4, len(b)):], len(b) >= 4
	default:
		return nil, false
	}
}

// uvarint is binary.Uvarint with the one-byte case, the most common one, first.
// n <= 0: cut short, or over 64 bits.
func uvarint(b []byte) (v uint64, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	var shift uint
	for i, c := range b {
		if i == 10 || i == 9 && c > 1 {
			return 0, -(i + 1)
		}
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v, i + 1
		}
		shift += 7
	}
	return 0, 0
}
