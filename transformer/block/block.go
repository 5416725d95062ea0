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

	byNumber [256]uint8 // position of the field with that number
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
		b.columns[i].init(&k.Fields[i])
	}
	for i := range b.byNumber {
		b.byNumber[i] = unknown
	}
	for i := range k.Fields {
		if n := k.Fields[i].Number; n != 0 { // the others are not in records
			b.byNumber[n] = uint8(i)
		}
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
	for s := e.Set() &^ placeFields; s != 0; s &= s - 1 {
		i := bits.TrailingZeros64(s)
		c := &b.columns[i]
		c.pad(row)
		switch c.typ {
		case schema.Text, schema.Bytes:
			v := e.Text(i)
			c.text(v)
			size += len(v)
		case schema.Word:
			v := e.Text(i)
			c.word(v)
			size += len(v)
		case schema.IP:
			a := e.IP(i)
			c.rows++
			c.data = append(c.data, a[:]...)
		default:
			c.uint(e.Uint(i))
		}
	}
	for _, n := range e.Names() {
		c := &b.columns[n.Field]
		c.pad(row + 1)
		c.entry(row, nil, n.Name)
		size += len(n.Name) + 1
	}
	for _, n := range e.Codes() {
		c := &b.columns[n.Field]
		c.pad(row + 1)
		c.code(row, n.Code)
		size += 2
	}
	for _, p := range e.Pairs() {
		c := &b.columns[p.Field]
		c.pad(row + 1)
		c.entry(row, p.Key, p.Value)
		size += len(p.Key) + len(p.Value) + 2
	}
	b.columns[schema.KOff].uint(uint64(offset))
	b.bytes += size
}

// placeFields are those of a record's Kafka place: ours to say, not the record's.
const placeFields = 1<<schema.KTopic | 1<<schema.KEpoch | 1<<schema.KPart | 1<<schema.KOff

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
