package block

import (
	"math/bits"

	"millrace/schema"
)

// MaxRows and MaxBytes bound a block: ClickHouse splits a bigger one in two
// (min_insert_block_size_rows and _bytes), and a token protects only one.
const (
	MaxRows  = 1_000_000
	MaxBytes = 240 << 20
)

// Block is rows of one kind from one partition of a topic.
type Block struct {
	kind    *schema.Kind
	place   Place
	rows    int
	bytes   int
	columns []Column // by the field's position
}

// Place is what all rows of a block have in common of their Kafka place.
type Place struct {
	Topic     string // without the prefix
	Epoch     uint16
	Partition uint16
}

// New makes an empty block.
func New(k *schema.Kind) *Block {
	b := &Block{kind: k, columns: make([]Column, len(k.Fields))}
	for i := range b.columns {
		b.columns[i].field = &k.Fields[i]
	}
	return b
}

// Reset empties the block for rows from p. It keeps its memory.
func (b *Block) Reset(p Place) {
	b.place, b.rows, b.bytes = p, 0, 0
	for i := range b.columns {
		b.columns[i].reset()
	}
}

// Kind is the kind of all rows.
func (b *Block) Kind() *schema.Kind { return b.kind }

// Place is where all rows are from.
func (b *Block) Place() Place { return b.place }

// Rows is how many rows there are.
func (b *Block) Rows() int { return b.rows }

// Bytes is about how long the block is in ClickHouse's native format.
func (b *Block) Bytes() int { return b.bytes }

// Capacity is the memory that the block keeps over Reset.
func (b *Block) Capacity() int {
	n := 0
	for i := range b.columns {
		n += b.columns[i].capacity()
	}
	return n
}

// Columns are the columns by the position of their field, each padded to Rows
// unless it is Empty. Those of the rows' Kafka place other than k_off are always
// Empty: Place holds them.
func (b *Block) Columns() []Column {
	for i := range b.columns {
		if c := &b.columns[i]; !c.Empty() {
			c.pad(b.rows)
		}
	}
	return b.columns
}

// Append adds the event, an event of the block's kind, as the row of the record
// at offset. It copies everything.
func (b *Block) Append(e *schema.Event, offset int64) {
	row := b.rows
	b.rows++
	size := b.fixed()
	for s := e.Set(); s != 0; s &= s - 1 {
		i := bits.TrailingZeros64(s)
		c := &b.columns[i]
		if i >= schema.KTopic && i <= schema.KOff {
			continue // ours to say, not the record's
		}
		c.pad(row)
		c.rows++
		switch c.field.Type {
		case schema.UInt8:
			c.u8 = append(c.u8, uint8(e.Uint(i)))
		case schema.UInt16:
			c.u16 = append(c.u16, uint16(e.Uint(i)))
		case schema.UInt64:
			c.u64 = append(c.u64, e.Uint(i))
		case schema.Seconds:
			c.i64 = append(c.i64, int64(e.Uint(i)))
		case schema.Millis:
			c.i64 = append(c.i64, e.Millis(i))
		case schema.IP:
			c.ip = append(c.ip, e.IP(i))
		default:
			v := e.Text(i)
			c.text = append(c.text, v...)
			c.ends = append(c.ends, uint32(len(c.text)))
			size += len(v)
		}
	}
	for _, n := range e.Names() {
		c := b.entry(n.Field, row)
		c.values.add(n.Name)
		c.ends[row] = uint32(len(c.values.ends))
		size += len(n.Name) + 1
	}
	for _, p := range e.Pairs() {
		c := b.entry(p.Field, row)
		c.keys.add(p.Key)
		c.values.add(p.Value)
		c.ends[row] = uint32(len(c.values.ends))
		size += len(p.Key) + len(p.Value) + 2
	}
	off := &b.columns[schema.KOff]
	off.u64 = append(off.u64, uint64(offset))
	off.rows++
	b.bytes += size
}

// entry is the column of a Names or Map field with a place for row.
func (b *Block) entry(i, row int) *Column {
	c := &b.columns[i]
	c.pad(row + 1)
	return c
}

// fixed is about what a row takes whatever its values: a length byte for each
// string and the width of the rest.
func (b *Block) fixed() int { return 4 * len(b.columns) }

// AppendBadRecord adds the row of a record that is no event of its topic's kind
// to a block of rejects. Everything in it is a pure function of the record and
// the cause, so that reading the record again gives the same row.
func (b *Block) AppendBadRecord(e *schema.Event, record []byte, timestamp, offset int64, cause string) {
	e.Reset(schema.Reject)
	taken := min(max(timestamp, 0), schema.MaxMillis)
	e.SetMillis(schema.ReceivedAt, taken)
	e.SetMillis(schema.EventTime, taken)
	e.SetUint(schema.IDTime, uint64(min(taken/1000, schema.MaxSeconds)))
	e.SetText(schema.EventTimeSource, received)
	e.SetText(schema.Raw, record)
	e.SetText(rejectReason, badRecord)
	e.SetText(rejectDetail, []byte(cause))
	e.SetUint(rejectBytes, uint64(len(record)))
	b.Append(e, offset)
}

var (
	received     = []byte("received")
	badRecord    = []byte(schema.ReasonBadRecord)
	rejectReason = schema.Reject.Index("reason")
	rejectDetail = schema.Reject.Index("detail")
	rejectBytes  = schema.Reject.Index("frame_bytes")
)
