package recordbatch

import (
	"encoding/binary"
	"fmt"
	"unsafe"
)

// Builder appends records to one batch, in place. Its zero value is full; Reset
// gives it a buffer.
type Builder struct {
	buf   []byte // the batch so far, header included
	limit int
	count int32

	firstTime, maxTime int64

	// Between Begin and End.
	time    int64
	valueAt int
}

// RecordOverhead is the most that the format adds to a value.
const RecordOverhead = 32

// Reset begins an empty batch in buf, which the builder owns until Sealed
// bytes are taken out and Reset is called again. The batch never grows over
// limit bytes. A capacity some KiB beyond the limit lets the record that turns
// out not to fit be written without an allocation.
func (b *Builder) Reset(buf []byte, limit int) {
	if cap(buf) < HeaderSize || limit < HeaderSize {
		panic(fmt.Sprintf("BUG: a record batch buffer of %d bytes with limit %d", cap(buf), limit))
	}
	*b = Builder{buf: buf[:HeaderSize], limit: limit}
}

// Len is the length of the batch as it stands, header included.
func (b *Builder) Len() int { return len(b.buf) }

// Count is the number of records in the batch.
func (b *Builder) Count() int { return int(b.count) }

// Begin returns an empty slice at the place where the next record's value goes.
// The caller appends the value to it and hands the result to End at once.
//
// The length of a record stands before its value and is not known yet: room is
// left for the usual two bytes, and End moves the value where it is not two.
func (b *Builder) Begin(timestamp int64) []byte {
	if b.count == 0 {
		b.firstTime, b.maxTime = timestamp, timestamp
	}
	b.time = timestamp
	b.valueAt = len(b.buf) + b.headLen(2, 2)
	if b.valueAt >= cap(b.buf) {
		return nil
	}
	return b.buf[b.valueAt:b.valueAt]
}

// headLen is the length of what stands before a record's value: length,
// attributes, timestamp delta, offset delta, key length (-1), value length.
func (b *Builder) headLen(recordLen, valueLen int) int {
	return recordLen + 1 + varintLen(b.time-b.firstTime) + varintLen(int64(b.count)) + 1 + valueLen
}

// End closes the record that Begin opened around value, which is what the
// caller's append returned: in place, or elsewhere when it outgrew the buffer.
// It returns ErrFull when the record does not fit any more, ErrRecordTooLarge
// when it never will; the batch is then as it was before Begin.
func (b *Builder) End(value []byte) error {
	deltaTime := b.time - b.firstTime
	valueLen := int64(len(value))
	body := 1 + varintLen(deltaTime) + varintLen(int64(b.count)) + 1 + varintLen(valueLen) + len(value) + 1
	head := b.headLen(varintLen(int64(body)), varintLen(valueLen))
	at := len(b.buf)
	end := at + varintLen(int64(body)) + body
	if end > b.limit || end > cap(b.buf) {
		if b.count == 0 {
			return fmt.Errorf("%w: %d bytes, limit %d", ErrRecordTooLarge, len(value), b.limit-HeaderSize-RecordOverhead)
		}
		return ErrFull
	}
	if at+head != b.valueAt || !sameStart(value, b.buf[:cap(b.buf)], b.valueAt) {
		copy(b.buf[at+head:cap(b.buf)], value)
	}
	buf := appendVarint(b.buf, int64(body))
	buf = append(buf, 0)
	buf = appendVarint(buf, deltaTime)
	buf = appendVarint(buf, int64(b.count))
	buf = appendVarint(buf, -1)
	buf = appendVarint(buf, valueLen)
	buf = buf[:end]
	buf[end-1] = 0 // no headers
	b.buf = buf
	b.count++
	b.maxTime = max(b.maxTime, b.time)
	return nil
}

// sameStart says whether value lies in buf at position at.
func sameStart(value, buf []byte, at int) bool {
	return len(value) == 0 || at < len(buf) && unsafe.SliceData(value) == &buf[at]
}

// Append adds a record with a copy of value.
func (b *Builder) Append(timestamp int64, value []byte) error {
	return b.End(append(b.Begin(timestamp), value...))
}

// Seal back-fills the header and returns the batch, uncompressed and not yet
// stamped. It lies in the buffer that was given to Reset and is valid as long as
// that is. A batch without records must not be sent.
func (b *Builder) Seal() []byte {
	h := b.buf[:HeaderSize]
	binary.BigEndian.PutUint64(h[atBaseOffset:], 0)
	binary.BigEndian.PutUint32(h[atLength:], uint32(len(b.buf)-lengthFrom))
	binary.BigEndian.PutUint32(h[atLeaderEpoch:], 0xffffffff)
	h[atMagic] = magic
	binary.BigEndian.PutUint32(h[atCRC:], 0)
	binary.BigEndian.PutUint16(h[atAttributes:], 0)
	binary.BigEndian.PutUint32(h[atLastDelta:], uint32(b.count-1))
	binary.BigEndian.PutUint64(h[atFirstTime:], uint64(b.firstTime))
	binary.BigEndian.PutUint64(h[atMaxTime:], uint64(b.maxTime))
	binary.BigEndian.PutUint64(h[atProducerID:], 0xffffffffffffffff)
	binary.BigEndian.PutUint16(h[atProducerEpoch:], 0xffff)
	binary.BigEndian.PutUint32(h[atSequence:], 0xffffffff)
	binary.BigEndian.PutUint32(h[atCount:], uint32(b.count))
	return b.buf
}
