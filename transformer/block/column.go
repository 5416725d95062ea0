package block

import (
	"encoding/binary"
	"unicode/utf8"

	"millrace/schema"
)

// Column holds one field of all rows, in the form that ClickHouse's native format
// has for it, so that an INSERT is handing this memory over. A row without a value
// costs nothing until a later row has one: rows counts what is filled in, and pad
// catches up.
type Column struct {
	// What AppendRecord needs of every column stands first, in few cache lines.

	// data is, of strings, each one's length and bytes; of numbers and addresses, the
	// values, lowest byte first; of Word and Names, numbers in dict; of Map, the values; of
	// Texts, Codes and IPs, the entries of all rows.
	data  []byte
	rows  int
	typ   schema.Type
	wire  byte // protobuf wire type
	width int  // of a value in data: 0 for strings

	least, span uint64     // of a number: the lowest value, and how far it may be above that
	before      mark       // AppendRecord's, to take a row back
	dict        dictionary // Word and Names

	keys  []byte // Map: the keys, each one's length and bytes
	ends  []byte // repeated types: how many entries there are up to each row's end, 8 bytes a row
	n     int    // repeated types: entries
	field *schema.Field
}

// mark is how long the slices of a column were.
type mark struct{ data, keys, n int }

// widths are those of values in data. Numbers in a dictionary begin with a byte.
var widths = [...]int{
	schema.UInt8: 1, schema.UInt16: 2, schema.UInt64: 8, schema.Millis: 8, schema.Seconds: 4, schema.IP: 16,
	schema.Word: 1, schema.Names: 1, schema.Map: 0, schema.Texts: 0, schema.Codes: 2, schema.IPs: 16,
}

// init makes c the column of f.
func (c *Column) init(f *schema.Field) {
	c.field, c.typ = f, f.Type
	switch f.Type {
	case schema.UInt8:
		c.span = 1<<8 - 1
	case schema.UInt16, schema.Codes:
		c.span = 1<<16 - 1
	case schema.UInt64:
		c.span = 1<<64 - 1
	case schema.Seconds:
		c.span = schema.MaxSeconds
	case schema.Millis:
		least := int64(schema.MinMillis)
		c.least, c.span = uint64(least), schema.MaxMillis-schema.MinMillis
	default:
		c.wire = 2 // a length and bytes
	}
	c.reset()
}

// Field is what the column holds.
func (c *Column) Field() *schema.Field { return c.field }

// Empty tells whether no row has a value.
func (c *Column) Empty() bool { return c.rows == 0 }

// Uint64 is the row's value in a column of type UInt64 or Millis.
func (c *Column) Uint64(row int) uint64 { return binary.LittleEndian.Uint64(c.data[8*row:]) }

func (c *Column) reset() {
	c.rows, c.n = 0, 0
	c.data, c.keys, c.ends = c.data[:0], c.keys[:0], c.ends[:0]
	c.width = widths[c.typ]
	if c.typ == schema.Word || c.typ == schema.Names {
		c.dict.reset()
	}
}

// capacity is the memory that the column keeps.
func (c *Column) capacity() int { return cap(c.data) + cap(c.keys) + cap(c.ends) + c.dict.capacity() }

// uint adds a row of a number.
func (c *Column) uint(v uint64) {
	c.rows++
	switch c.width {
	case 1:
		c.data = append(c.data, byte(v))
	case 2:
		c.data = binary.LittleEndian.AppendUint16(c.data, uint16(v))
	case 4:
		c.data = binary.LittleEndian.AppendUint32(c.data, uint32(v))
	default:
		c.data = binary.LittleEndian.AppendUint64(c.data, v)
	}
}

// text adds a row of text: Text and Bytes.
func (c *Column) text(v []byte) {
	c.rows++
	c.data = appendString(c.data, v)
}

// word adds a row of a Word.
func (c *Column) word(v []byte) {
	c.rows++
	c.number(v)
}

// number adds the value's number in the dictionary to data.
func (c *Column) number(v []byte) {
	n, place, known := c.dict.find(v)
	if !known {
		n = c.dict.add(v, place)
	}
	c.put(n)
}

// numberUTF8 is number of a value that may not be UTF-8, and is not added then.
func (c *Column) numberUTF8(v []byte) bool {
	n, place, known := c.dict.find(v)
	if !known {
		if !utf8.Valid(v) {
			return false
		}
		n = c.dict.add(v, place)
	}
	c.put(n)
	return true
}

func (c *Column) put(n uint32) {
	if c.width == 1 && n < 1<<8 {
		c.data = append(c.data, byte(n))
		return
	}
	if n>>(8*c.width) != 0 {
		c.widen()
	}
	if c.width == 2 {
		c.data = binary.LittleEndian.AppendUint16(c.data, uint16(n))
	} else {
		c.data = binary.LittleEndian.AppendUint32(c.data, n)
	}
}

// widen doubles the width of the numbers in data.
func (c *Column) widen() {
	n := len(c.data) / c.width
	wide := extend(c.data, len(c.data))
	for i := n - 1; i >= 0; i-- { // from the end, so that none is overwritten before it is read
		if c.width == 1 {
			binary.LittleEndian.PutUint16(wide[2*i:], uint16(wide[i]))
		} else {
			binary.LittleEndian.PutUint32(wide[4*i:], uint32(binary.LittleEndian.Uint16(wide[2*i:])))
		}
	}
	c.data, c.width = wide, 2*c.width
}

// entry adds an entry to row, the last one begun. The caller has padded to it. Of IPs
// the value has 16 bytes, 4, or none.
func (c *Column) entry(row int, key, value []byte) {
	c.n++
	switch c.typ {
	case schema.Map:
		c.keys = appendString(c.keys, key)
		c.data = appendString(c.data, value)
	case schema.Texts:
		c.data = appendString(c.data, value)
	case schema.IPs:
		switch len(value) {
		case 0:
			c.data = extend(c.data, 16)
		case 4:
			c.data = append(c.data, mapped[:]...)
			fallthrough
		default:
			c.data = append(c.data, value...)
		}
	default:
		c.number(value)
	}
	c.end(row)
}

// code adds an entry to row of a Codes column, likewise.
func (c *Column) code(row int, v uint16) {
	c.n++
	c.data = binary.LittleEndian.AppendUint16(c.data, v)
	c.end(row)
}

// end notes how many entries there are up to row's end.
func (c *Column) end(row int) {
	binary.LittleEndian.PutUint64(c.ends[8*row:], uint64(c.n))
}

// appendString appends v as ClickHouse writes a string, which is how protobuf writes
// one.
func appendString(dst, v []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(v)))
	return append(dst, v...)
}

// pad fills in defaults up to row n.
func (c *Column) pad(n int) {
	missing := n - c.rows
	if missing <= 0 {
		return
	}
	c.rows = n
	switch {
	case c.typ.Repeated():
		for range missing {
			c.ends = binary.LittleEndian.AppendUint64(c.ends, uint64(c.n))
		}
	default:
		c.data = extend(c.data, missing*max(c.width, 1)) // an empty string is a length of zero
	}
}

// extend appends n zeros.
func extend(s []byte, n int) []byte {
	for cap(s)-len(s) < n {
		s = append(s[:cap(s)], 0)[:len(s)]
	}
	old := len(s)
	s = s[:old+n]
	clear(s[old:])
	return s
}
