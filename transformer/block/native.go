package block

import (
	"encoding/binary"

	"millrace/schema"
)

// Native is a block in ClickHouse's native format, in pieces to be written one after
// the other. Its memory is reused by the next Encode.
type Native struct {
	pieces [][]byte
	small  []byte    // what stands between the columns' memory
	open   int       // where the piece of small that is not yet in pieces begins
	fill   [3][]byte // the columns of the rows' Kafka place, or as much of each as fits
}

// Size bounds of small: what a block and a column take there besides their names.
const (
	blockRoom  = 32
	columnRoom = 64
)

// fillBytes is how much of a constant column is written down.
const fillBytes = 16 << 10

// Encode returns the block as the payload of a Data packet of a protocol revision with
// custom serialization, or, when information is false, without the block's information,
// as HTTP and files have it. Most pieces are the block's own memory: they are valid
// until it is changed or Encode is called again.
func (n *Native) Encode(b *Block, columns []int, information bool) [][]byte {
	room := blockRoom
	for _, i := range columns {
		f := &b.kind.Fields[i]
		room += columnRoom + len(f.Name) + len(f.Type.ClickHouse()) + len(b.place.Topic)
	}
	if cap(n.small) < room { // never to grow while there are pieces of it
		n.small = make([]byte, 0, room)
	}
	n.pieces, n.small, n.open = n.pieces[:0], n.small[:0], 0
	if information {
		// Field 1, is_overflows: no; field 2, bucket_num: -1; end.
		n.small = append(n.small, 1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0)
	}
	n.small = binary.AppendUvarint(n.small, uint64(len(columns)))
	n.small = binary.AppendUvarint(n.small, uint64(b.rows))
	for _, i := range columns {
		c := &b.columns[i]
		n.string(c.field.Name)
		n.string(c.typ.ClickHouse())
		if information {
			n.small = append(n.small, 0) // no custom serialization
		}
		switch i {
		case schema.KTopic:
			n.dictionaryVersion()
			n.dictionaryHead(1, 1)
			n.string(b.place.Topic)
			n.uint64(b.rows)
			n.repeat(0, 0, b.rows)
		case schema.KEpoch:
			n.repeat(1, b.place.Epoch, 2*b.rows)
		case schema.KPart:
			n.repeat(2, b.place.Partition, 2*b.rows)
		default:
			n.column(c)
		}
	}
	n.cut()
	return n.pieces
}

// Sent forgets the pieces, so that n does not keep a block's memory.
func (n *Native) Sent() { clear(n.pieces[:cap(n.pieces)]) }

func (n *Native) column(c *Column) {
	switch c.typ {
	case schema.Word:
		n.dictionaryVersion()
		n.dictionary(c, c.rows)
	case schema.Names:
		n.dictionaryVersion()
		n.piece(c.ends)
		if c.n > 0 {
			n.dictionary(c, c.n)
		}
	case schema.Map:
		n.piece(c.ends)
		n.piece(c.keys)
		n.piece(c.data)
	case schema.Texts, schema.Codes, schema.IPs:
		n.piece(c.ends)
		n.piece(c.data)
	default:
		n.piece(c.data)
	}
}

// dictionaryVersion begins a LowCardinality column: SharedDictionariesWithAdditionalKeys.
func (n *Native) dictionaryVersion() { n.uint64(1) }

// dictionary is a LowCardinality's dictionary and the numbers of rows values.
func (n *Native) dictionary(c *Column, rows int) {
	n.dictionaryHead(c.width, len(c.dict.spans))
	n.piece(c.dict.keys)
	n.uint64(rows)
	n.piece(c.data)
}

// dictionaryHead says how wide the numbers are, that the keys follow here, and how many.
func (n *Native) dictionaryHead(width, keys int) {
	const additionalKeys, update = 1 << 9, 1 << 10
	n.uint64(width>>1 | additionalKeys | update) // 1, 2, 4 bytes are types 0, 1, 2
	n.uint64(keys)
}

func (n *Native) uint64(v int) { n.small = binary.LittleEndian.AppendUint64(n.small, uint64(v)) }

func (n *Native) string(s string) {
	n.small = binary.AppendUvarint(n.small, uint64(len(s)))
	n.small = append(n.small, s...)
}

// repeat adds v again and again, up to so many bytes.
func (n *Native) repeat(fill int, v uint16, bytes int) {
	f := n.fill[fill]
	if f == nil {
		f = make([]byte, fillBytes)
		n.fill[fill] = f
	}
	for i := 0; i < min(len(f), bytes); i += 2 {
		binary.LittleEndian.PutUint16(f[i:], v)
	}
	for ; bytes > 0; bytes -= len(f) {
		n.piece(f[:min(len(f), bytes)])
	}
}

// cut makes a piece of what is in small since the last one.
func (n *Native) cut() {
	if n.open < len(n.small) {
		n.pieces = append(n.pieces, n.small[n.open:len(n.small):len(n.small)])
		n.open = len(n.small)
	}
}

func (n *Native) piece(b []byte) {
	n.cut()
	if len(b) > 0 {
		n.pieces = append(n.pieces, b)
	}
}
