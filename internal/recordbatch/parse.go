package recordbatch

import (
	"encoding/binary"
	"fmt"
)

// Batch is one batch of a record set. Payload is a view into the set.
type Batch struct {
	BaseOffset    int64
	LastOffset    int64 // of the batch as it was written: compaction may have removed that record
	LeaderEpoch   int32
	CRC           uint32
	Codec         Codec
	Transactional bool
	FirstTime     int64 // milliseconds
	MaxTime       int64
	ProducerID    int64
	ProducerEpoch int16
	Sequence      int32
	Count         int
	Size          int    // of the whole batch
	Payload       []byte // the records, compressed by Codec

	logAppendTime bool
}

// NextOffset is the offset to read from after this batch.
func (b *Batch) NextOffset() int64 { return b.LastOffset + 1 }

// Set iterates the batches of a record set as a fetch response carries it. Set
// and every Batch are views of the bytes given to Reset and valid as long as those.
type Set struct {
	rest  []byte
	next  int64
	batch Batch
	err   error
}

// Reset begins at the first batch of data, which was fetched from offset.
func (s *Set) Reset(data []byte, offset int64) { *s = Set{rest: data, next: offset} }

// Next moves to the next batch of records and says whether there is one. Control
// batches (markers of transactions) are passed over. The last batch may be cut
// off by the limit of the fetch: the set ends before it, without an error.
func (s *Set) Next() bool {
	for s.err == nil && len(s.rest) >= atCRC {
		control, whole := s.read()
		if !whole {
			return false
		}
		s.next = max(s.next, s.batch.NextOffset())
		if !control {
			return true
		}
	}
	return false
}

// Batch is the current batch, valid until the next call of Next.
func (s *Set) Batch() *Batch { return &s.batch }

// NextOffset is where to fetch from after what Next has passed, control batches
// included. When Next has ended with no batch and this has not moved, the fetch's
// limit was smaller than one batch.
func (s *Set) NextOffset() int64 { return s.next }

// Partial is how many bytes of a batch that was cut off are left.
func (s *Set) Partial() int { return len(s.rest) }

// Err is why Next ended, nil at the end of the set.
func (s *Set) Err() error { return s.err }

// read takes one batch off the front of rest; whole is false when it is cut
// off or wrong.
func (s *Set) read() (control, whole bool) {
	d := s.rest
	offset := int64(binary.BigEndian.Uint64(d[atBaseOffset:]))
	length := int64(int32(binary.BigEndian.Uint32(d[atLength:])))
	if d[atMagic] != magic {
		return s.fail(offset, fmt.Errorf("%w: magic %d, want %d", ErrMagic, d[atMagic], magic))
	}
	if length < HeaderSize-lengthFrom {
		return s.fail(offset, fmt.Errorf("%w: length %d", ErrCorrupt, length))
	}
	size := length + lengthFrom
	if size > int64(len(d)) {
		return false, false
	}
	d = d[:size:size]
	crc := binary.BigEndian.Uint32(d[atCRC:])
	if got := checksum(d); got != crc {
		return s.fail(offset, fmt.Errorf("%w: %#08x, header says %#08x", ErrCRC, got, crc))
	}
	attributes := binary.BigEndian.Uint16(d[atAttributes:])
	lastDelta := int32(binary.BigEndian.Uint32(d[atLastDelta:]))
	count := int32(binary.BigEndian.Uint32(d[atCount:]))
	if offset < 0 || lastDelta < 0 || offset+int64(lastDelta) < 0 {
		return s.fail(offset, fmt.Errorf("%w: last offset delta %d", ErrCorrupt, lastDelta))
	}
	// Compaction removes records and never adds any.
	if count < 0 || int64(count) > int64(lastDelta)+1 {
		return s.fail(offset, fmt.Errorf("%w: %d records in %d offsets", ErrCorrupt, count, int64(lastDelta)+1))
	}
	s.batch = Batch{
		BaseOffset:    offset,
		LastOffset:    offset + int64(lastDelta),
		LeaderEpoch:   int32(binary.BigEndian.Uint32(d[atLeaderEpoch:])),
		CRC:           crc,
		Codec:         Codec(attributes & attrCodec),
		Transactional: attributes&attrTransactional != 0,
		FirstTime:     int64(binary.BigEndian.Uint64(d[atFirstTime:])),
		MaxTime:       int64(binary.BigEndian.Uint64(d[atMaxTime:])),
		ProducerID:    int64(binary.BigEndian.Uint64(d[atProducerID:])),
		ProducerEpoch: int16(binary.BigEndian.Uint16(d[atProducerEpoch:])),
		Sequence:      int32(binary.BigEndian.Uint32(d[atSequence:])),
		Count:         int(count),
		Size:          int(size),
		Payload:       d[HeaderSize:],
		logAppendTime: attributes&attrLogAppendTime != 0,
	}
	s.rest = s.rest[size:]
	return attributes&attrControl != 0, true
}

func (s *Set) fail(offset int64, err error) (control, whole bool) {
	s.err = fmt.Errorf("cannot read record batch at offset %d: %w", offset, err)
	return false, false
}

// Record is one record. Key and Value are views, nil when null.
type Record struct {
	Offset int64
	Time   int64 // milliseconds
	Key    []byte
	Value  []byte
}

// Records iterates the records of one batch.
type Records struct {
	rest     []byte
	left     int
	offset   int64
	last     int64
	previous int64
	time     int64
	fixed    bool // the broker's append time holds for all
	err      error
}

// NewRecords iterates the uncompressed records of b. They are views of payload.
// Most callers use Decompressor.Records.
func NewRecords(b *Batch, payload []byte) Records {
	r := Records{rest: payload, left: b.Count, offset: b.BaseOffset, last: b.LastOffset, previous: b.BaseOffset - 1, time: b.FirstTime}
	if b.logAppendTime {
		r.time, r.fixed = b.MaxTime, true
	}
	return r
}

// Err is why Next ended, nil when all records have been read.
func (r *Records) Err() error { return r.err }

// Next reads the next record into rec and says whether there was one. Offsets
// rise within a batch; compaction leaves gaps.
func (r *Records) Next(rec *Record) bool {
	if r.err != nil {
		return false
	}
	if r.left == 0 {
		if len(r.rest) != 0 {
			r.fail("bytes behind the last record")
		}
		return false
	}
	length, n := varint(r.rest)
	if n == 0 || length < 0 || length > int64(len(r.rest)-n) {
		return r.fail("record length")
	}
	d := r.rest[n : n+int(length) : n+int(length)]
	r.rest = r.rest[n+int(length):]
	r.left--
	if len(d) == 0 {
		return r.fail("record attributes")
	}
	d = d[1:] // attributes: none are defined
	deltaTime, n := varint(d)
	if n == 0 {
		return r.fail("timestamp")
	}
	d = d[n:]
	deltaOffset, n := varint(d)
	if n == 0 || deltaOffset < 0 || deltaOffset > r.last-r.offset || r.offset+deltaOffset <= r.previous {
		return r.fail("offset")
	}
	d = d[n:]
	key, d, ok := nullable(d)
	if !ok {
		return r.fail("key")
	}
	value, d, ok := nullable(d)
	if !ok {
		return r.fail("value")
	}
	if len(d) != 1 || d[0] != 0 {
		if !skipHeaders(d) {
			return r.fail("headers")
		}
	}
	rec.Offset = r.offset + deltaOffset
	rec.Time = r.time
	if !r.fixed {
		rec.Time += deltaTime
	}
	rec.Key, rec.Value = key, value
	r.previous = rec.Offset
	return true
}

func (r *Records) fail(what string) bool {
	r.err = fmt.Errorf("cannot read record after offset %d: %w: bad %s", r.previous, ErrCorrupt, what)
	return false
}

// nullable takes a value with its length off the front of d; -1 is null.
func nullable(d []byte) (v, rest []byte, ok bool) {
	length, n := varint(d)
	if n == 0 || length < -1 || length > int64(len(d)-n) {
		return nil, nil, false
	}
	d = d[n:]
	if length < 0 {
		return nil, d, true
	}
	return d[:length:length], d[length:], true
}

// skipHeaders says whether d is a list of headers and nothing else.
func skipHeaders(d []byte) bool {
	count, n := varint(d)
	if n == 0 || count < 0 || count > int64(len(d)) {
		return false
	}
	d = d[n:]
	for range count {
		var ok bool
		var key []byte
		if key, d, ok = nullable(d); !ok || key == nil {
			return false
		}
		if _, d, ok = nullable(d); !ok {
			return false
		}
	}
	return len(d) == 0
}
