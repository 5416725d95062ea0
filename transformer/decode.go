package transformer

import (
	"encoding/binary"
	"hash/crc32"
	"runtime"

	"millrace/internal/recordbatch"
	"millrace/schema"
	"millrace/transformer/block"
)

// decompressLimit bounds what one record batch may unpack to. With BlockBytes at
// its largest, a block and one batch more stay below what ClickHouse splits.
const decompressLimit = 96 << 20

// decoder turns record batches into rows. There are as many as CPUs; a partition
// borrows one for a batch at a time.
type decoder struct {
	unpack *recordbatch.Decompressor
	buf    []byte
	reader schema.Reader
	event  schema.Event
	reject schema.Event
}

func newDecoders() chan *decoder {
	n := runtime.GOMAXPROCS(0)
	c := make(chan *decoder, n)
	for range n {
		c <- &decoder{unpack: recordbatch.NewDecompressor(decompressLimit)}
	}
	return c
}

// rows are the open block of a partition: the events, and the records that were
// none. For the topic of rejects both are the same block, since a token is good
// for one block per table.
type rows struct {
	main, rejects *block.Block
	max           int // rows of both
}

func (r rows) count() int {
	if r.main == nil {
		return 0
	}
	n := r.main.Rows()
	if r.rejects != r.main {
		n += r.rejects.Rows()
	}
	return n
}

func (r rows) bytes() int {
	if r.main == nil {
		return 0
	}
	n := r.main.Bytes()
	if r.rejects != r.main {
		n += r.rejects.Bytes()
	}
	return n
}

// full tells whether another row must not go in: ClickHouse would split the block.
func (r rows) full() bool { return r.count() >= r.max || r.bytes() >= block.MaxBytes }

// emptyRecord is the cause for a record without a value: it has no field at all,
// not even the time when it was received.
const emptyRecord = "the record is empty"

// append adds the batch's records with offsets in [from, to) that skip (nil: none)
// does not name. end is the offset after the last one it dealt with: short of the
// batch's end when the rows are full.
func (d *decoder) append(r rows, b *recordbatch.Batch, from, to int64, skip func(int64) bool) (end int64, refused, read int, err error) {
	records, buf, err := d.unpack.Records(b, d.buf)
	d.buf = buf
	if err != nil {
		return from, 0, 0, err
	}
	kind := r.main.Kind()
	var rec recordbatch.Record
	for records.Next(&rec) {
		if rec.Offset < from {
			continue
		}
		if rec.Offset >= to {
			return to, refused, read, nil
		}
		if r.full() {
			return rec.Offset, refused, read, nil
		}
		read++
		if skip != nil && skip(rec.Offset) {
			continue
		}
		if len(rec.Value) == 0 {
			r.rejects.AppendBadRecord(&d.reject, rec.Value, rec.Time, rec.Offset, emptyRecord)
			refused++
		} else if r.main.AppendRecord(rec.Value, rec.Offset) {
			continue
		} else if err := d.reader.Read(kind, rec.Value, &d.event); err != nil {
			r.rejects.AppendBadRecord(&d.reject, rec.Value, rec.Time, rec.Offset, err.Error())
			refused++
		} else {
			r.main.Append(&d.event, rec.Offset)
		}
	}
	return min(b.NextOffset(), to), refused, read, records.Err()
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// fingerprint adds a batch to the fingerprint of a range: the CRC of its batches' CRCs.
func fingerprint(sum uint32, b *recordbatch.Batch) uint32 {
	var crc [4]byte
	binary.BigEndian.PutUint32(crc[:], b.CRC)
	return crc32.Update(sum, castagnoli, crc[:])
}
