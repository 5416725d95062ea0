package block

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"

	"millrace/schema"
)

// unknown stands in byNumber for a number that the kind does not have.
const unknown = 0xff

// AppendRecord adds the event of a record as a row, as schema.Reader and Append
// would, at a fraction of their cost: the length and the bytes of a text stand in a
// record as they do in a column. It copies everything.
//
// It knows records as this program writes them. When it returns false the record may
// still be an event, and the block is as before: Reader decides.
func (b *Block) AppendRecord(record []byte, offset int64) bool {
	seen, size, ok := b.appendFields(record)
	if !ok {
		b.takeBack(seen)
		return false
	}
	b.rows++
	b.columns[schema.KOff].uint(uint64(offset))
	b.bytes += size
	return true
}

// takeBack undoes what was added to the columns of the row that did not become one.
func (b *Block) takeBack(seen uint64) {
	for ; seen != 0; seen &= seen - 1 {
		c := &b.columns[bits.TrailingZeros64(seen)]
		switch {
		case c.typ.Repeated():
			c.n = c.before.n
			c.keys = c.keys[:c.before.keys]
			c.data = c.data[:c.before.data*max(c.width, 1)]
			c.ends = c.ends[:8*b.rows]
		case c.typ == schema.Text || c.typ == schema.Bytes:
			c.data = c.data[:c.before.data]
		default:
			c.data = c.data[:b.rows*c.width]
		}
		c.rows = b.rows
	}
}

// appendFields adds the record's values to row b.rows. seen are the columns that it
// has touched.
func (b *Block) appendFields(record []byte) (seen uint64, size int, ok bool) {
	row := b.rows
	size = b.fixed()
	for at := 0; at < len(record); {
		tag := uint(record[at])
		at++
		if tag >= 0x80 {
			if at == len(record) || record[at] >= 0x80 {
				return seen, 0, false
			}
			tag = tag&0x7f | uint(record[at])<<7
			at++
		}
		i := uint8(unknown)
		if n := tag >> 3; n < uint(len(b.byNumber)) {
			i = b.byNumber[n]
		}
		if int(i) >= len(b.columns) || at == len(record) {
			return seen, 0, false
		}
		c := &b.columns[i]
		if byte(tag&7) != c.wire {
			return seen, 0, false
		}
		head := at // of the length, or the number
		v := uint64(record[at])
		at++
		if v >= 0x80 {
			var n int
			if v, n = uvarint(record[head:]); n <= 0 || record[head+n-1] == 0 {
				return seen, 0, false // the form with the fewest bytes alone is copied
			}
			at = head + n
		}
		if seen&(1<<i) != 0 { // again
			if !c.typ.Repeated() {
				return seen, 0, false
			}
		} else {
			if c.rows < row {
				c.pad(row)
			}
			seen |= 1 << i
			c.rows++
			c.before.data = len(c.data)
			if c.typ.Repeated() {
				c.before = mark{len(c.data) / max(c.width, 1), len(c.keys), c.n}
				c.ends = binary.LittleEndian.AppendUint64(c.ends, uint64(c.n))
			}
		}
		if c.wire == 0 {
			if v-c.least > c.span {
				return seen, 0, false // out of range
			}
			switch c.width {
			case 1:
				c.data = append(c.data, byte(v))
			case 2:
				if c.typ == schema.Codes {
					c.code(row, uint16(v))
					size += 2
					continue
				}
				c.data = binary.LittleEndian.AppendUint16(c.data, uint16(v))
			case 4:
				c.data = binary.LittleEndian.AppendUint32(c.data, uint32(v))
			default:
				c.data = binary.LittleEndian.AppendUint64(c.data, v)
			}
			continue
		}
		if v > uint64(len(record)-at) {
			return seen, 0, false
		}
		end := at + int(v)
		switch c.typ {
		case schema.Text:
			if !c.clean(record, head, at, end) {
				return seen, 0, false
			}
		case schema.Bytes:
			c.data = append(c.data, record[head:end]...)
		case schema.Word:
			if c.width == 1 && c.dict.again(record[at:end]) {
				c.data = append(c.data, byte(c.dict.last))
			} else if !c.numberUTF8(record[at:end]) {
				return seen, 0, false
			}
		case schema.IP:
			switch v {
			case 4:
				c.data = append(c.data, mapped[:]...)
				c.data = append(c.data, record[at:end]...)
			case 16:
				c.data = append(c.data, record[at:end]...)
			default:
				return seen, 0, false
			}
			v = 0
		case schema.IPs:
			if v != 0 && v != 4 && v != 16 {
				return seen, 0, false
			}
			c.entry(row, nil, record[at:end])
		case schema.Names, schema.Texts:
			if !utf8.Valid(record[at:end]) {
				return seen, 0, false
			}
			c.entry(row, nil, record[at:end])
			v++
		default:
			key, value, ok := pair(record[at:end])
			if !ok {
				return seen, 0, false
			}
			c.entry(row, key, value)
			v = uint64(len(key) + len(value) + 2)
		}
		size += int(v)
		at = end
	}
	return seen, size, true
}

// uvarint is binary.Uvarint, of two bytes or more, with the loop's ends told apart.
func uvarint(b []byte) (v uint64, n int) {
	v = uint64(b[0] & 0x7f)
	for n = 1; n < len(b) && n < 9; n++ {
		c := b[n]
		v |= uint64(c&0x7f) << (7 * uint(n) & 63)
		if c < 0x80 {
			return v, n + 1
		}
	}
	return binary.Uvarint(b)
}

var mapped = [12]byte{10: 0xff, 11: 0xff}

// highBits are those that ASCII does not have.
const highBits = 0x8080808080808080

// clean adds the text that stands with its length at record[head:end] and tells
// whether it is UTF-8. Eight bytes at a time are both looked at and copied, beyond the
// text's end, where the next row's is written.
func (c *Column) clean(record []byte, head, at, end int) bool {
	n := end - head
	if cap(c.data)-len(c.data) < n+8 {
		c.grow(n + 8)
	}
	if len(record)-end < 8 || at-head > 1 {
		c.data = append(c.data, record[head:end]...)
		return utf8.Valid(record[at:end])
	}
	to := c.data[len(c.data) : len(c.data)+n+8]
	from := record[head : end+8]
	var or uint64
	i := 0
	for ; i+8 <= n; i += 8 {
		w := binary.LittleEndian.Uint64(from[i:])
		binary.LittleEndian.PutUint64(to[i:], w)
		or |= w
	}
	w := binary.LittleEndian.Uint64(from[i:])
	binary.LittleEndian.PutUint64(to[i:], w)
	or |= w & (1<<(8*uint(n-i)) - 1)
	c.data = c.data[:len(c.data)+n]
	return or&highBits == 0 || utf8.Valid(record[at:end])
}

// grow makes room for n bytes.
func (c *Column) grow(n int) {
	old := c.data
	c.data = make([]byte, len(old), max(2*cap(old), len(old)+n, 1024))
	copy(c.data, old)
}

// pair reads a map entry with its key first and its value second.
func pair(b []byte) (key, value []byte, ok bool) {
	key, b, ok = part(b, 1<<3|2)
	if !ok {
		return nil, nil, false
	}
	value, b, ok = part(b, 2<<3|2)
	return key, value, ok && len(b) == 0 && utf8.Valid(key) && utf8.Valid(value)
}

func part(b []byte, tag byte) (v, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != tag {
		return nil, nil, false
	}
	size, n := binary.Uvarint(b[1:])
	if n <= 0 || size > uint64(len(b)-1-n) {
		return nil, nil, false
	}
	b = b[1+n:]
	return b[:size], b[size:], true
}
