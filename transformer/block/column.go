package block

import (
	"unsafe"

	"millrace/schema"
)

// Column holds one field of all rows. Which of its slices is used follows from
// the field's type. A row without a value costs nothing until a later row has
// one: rows counts what is filled in, and pad catches up.
type Column struct {
	field *schema.Field
	rows  int

	text   []byte   // Text, Word, Bytes: all values behind one another
	ends   []uint32 // where each row's value ends in text; for Names and Map where its entries end
	u8     []uint8
	u16    []uint16
	u64    []uint64
	i64    []int64 // Millis and Seconds
	ip     [][16]byte
	values strs // Names: the names; Map: the values
	keys   strs // Map
}

// strs is a list of strings in one buffer.
type strs struct {
	text []byte
	ends []uint32
}

func (s *strs) add(v []byte) {
	s.text = append(s.text, v...)
	s.ends = append(s.ends, uint32(len(s.text)))
}

func (s *strs) reset() { s.text, s.ends = s.text[:0], s.ends[:0] }

// strings appends views of the list's values to dst.
func (s *strs) strings(dst []string) []string { return views(dst, s.text, s.ends) }

// views appends the values of text as strings that share its memory.
func views(dst []string, text []byte, ends []uint32) []string {
	start := uint32(0)
	for _, end := range ends {
		dst = append(dst, view(text[start:end]))
		start = end
	}
	return dst
}

// view is b as a string, without a copy: valid until b's memory is reused.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// Field is what the column holds.
func (c *Column) Field() *schema.Field { return c.field }

// Empty tells whether no row has a value.
func (c *Column) Empty() bool { return c.rows == 0 }

// Strings appends the values of a Text, Word or Bytes column to dst.
func (c *Column) Strings(dst []string) []string { return views(dst, c.text, c.ends) }

// Uint8s are the values of a UInt8 column.
func (c *Column) Uint8s() []uint8 { return c.u8 }

// Uint16s are the values of a UInt16 column.
func (c *Column) Uint16s() []uint16 { return c.u16 }

// Uint64s are the values of a UInt64 column.
func (c *Column) Uint64s() []uint64 { return c.u64 }

// Int64s are the values of a Millis column in milliseconds, of a Seconds column
// in seconds since 1970.
func (c *Column) Int64s() []int64 { return c.i64 }

// IPs are the values of an IP column.
func (c *Column) IPs() [][16]byte { return c.ip }

// Ends are, for a Names or Map column, where each row's entries end in what
// Entries returns.
func (c *Column) Ends() []uint32 { return c.ends }

// Entries appends all keys and values of a Map column, or all names of a Names
// column as values, to the given slices.
func (c *Column) Entries(keys, values []string) (k, v []string) {
	return c.keys.strings(keys), c.values.strings(values)
}

func (c *Column) reset() {
	c.rows = 0
	c.text, c.ends = c.text[:0], c.ends[:0]
	c.u8, c.u16, c.u64, c.i64, c.ip = c.u8[:0], c.u16[:0], c.u64[:0], c.i64[:0], c.ip[:0]
	c.values.reset()
	c.keys.reset()
}

// capacity is the memory that the column keeps.
func (c *Column) capacity() int {
	return cap(c.text) + 4*cap(c.ends) + cap(c.u8) + 2*cap(c.u16) + 8*cap(c.u64) + 8*cap(c.i64) + 16*cap(c.ip) +
		cap(c.values.text) + 4*cap(c.values.ends) + cap(c.keys.text) + 4*cap(c.keys.ends)
}

// pad fills in defaults up to row n.
func (c *Column) pad(n int) {
	missing := n - c.rows
	if missing <= 0 {
		return
	}
	c.rows = n
	switch c.field.Type {
	case schema.UInt8:
		c.u8 = extend(c.u8, missing)
	case schema.UInt16:
		c.u16 = extend(c.u16, missing)
	case schema.UInt64:
		c.u64 = extend(c.u64, missing)
	case schema.Millis, schema.Seconds:
		c.i64 = extend(c.i64, missing)
	case schema.IP:
		c.ip = extend(c.ip, missing)
	case schema.Names, schema.Map:
		end := uint32(len(c.values.ends))
		for range missing {
			c.ends = append(c.ends, end)
		}
	default:
		end := uint32(len(c.text))
		for range missing {
			c.ends = append(c.ends, end)
		}
	}
}

// extend appends n zero values.
func extend[T any](s []T, n int) []T {
	for cap(s)-len(s) < n {
		s = append(s[:cap(s)], *new(T))[:len(s)]
	}
	old := len(s)
	s = s[:old+n]
	clear(s[old:])
	return s
}
