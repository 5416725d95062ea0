package recordbatch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// HeaderSize is the length of a batch's header, record count included.
const HeaderSize = 61

// Positions in a batch's header. The checksum covers everything from the
// attributes on, so that a broker may set base offset and leader epoch.
const (
	atBaseOffset    = 0
	atLength        = 8
	atLeaderEpoch   = 12
	atMagic         = 16
	atCRC           = 17
	atAttributes    = 21
	atLastDelta     = 23
	atFirstTime     = 27
	atMaxTime       = 35
	atProducerID    = 43
	atProducerEpoch = 51
	atSequence      = 53
	atCount         = 57

	lengthFrom = atLeaderEpoch // the length counts the bytes behind itself
	magic      = 2
)

// Attributes of a batch.
const (
	attrCodec         = 0x07
	attrLogAppendTime = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20
)

// What can be wrong with a record set. Errors that this package returns wrap
// one of these.
var (
	// ErrMagic: a batch of the formats before Kafka 0.11, or no batch at all.
	ErrMagic = errors.New("record batch has an unknown format version")
	// ErrCRC: the bytes are not those that were written.
	ErrCRC = errors.New("record batch has a wrong CRC-32C")
	// ErrCorrupt: a length or count contradicts the bytes.
	ErrCorrupt = errors.New("record batch is corrupt")
	// ErrCodec: a compression that is unknown, or whose data cannot be read.
	ErrCodec = errors.New("record batch cannot be decompressed")
	// ErrTooLarge: the records would exceed the limit that the caller set.
	ErrTooLarge = errors.New("record batch is larger than the limit")
	// ErrFull: the record does not fit in what is left of the batch.
	ErrFull = errors.New("record batch is full")
	// ErrRecordTooLarge: the record does not fit in an empty batch either.
	ErrRecordTooLarge = errors.New("record is larger than a batch may be")
)

// Codec is a batch's compression, with the numbers of the format.
type Codec uint8

// The codecs of Kafka. Gzip is only read.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

var codecNames = [...]string{None: "none", Gzip: "gzip", Snappy: "snappy", LZ4: "lz4", Zstd: "zstd"}

func (c Codec) String() string {
	if int(c) < len(codecNames) {
		return codecNames[c]
	}
	return fmt.Sprintf("codec %d", uint8(c))
}

// ParseCodec reads the name of a codec that Compressor can write.
func ParseCodec(name string) (Codec, error) {
	for _, c := range []Codec{None, Snappy, LZ4, Zstd} {
		if codecNames[c] == name {
			return c, nil
		}
	}
	return None, fmt.Errorf("cannot use compression %q: want none, snappy, lz4 or zstd", name)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is the CRC-32C of a whole batch.
func checksum(batch []byte) uint32 { return crc32.Checksum(batch[atAttributes:], castagnoli) }

// Stamp sets who produced a sealed batch and recomputes its checksum. The same
// stamp on every attempt to send a batch is what lets a broker see a repetition.
func Stamp(batch []byte, producerID int64, producerEpoch int16, sequence int32) {
	binary.BigEndian.PutUint64(batch[atProducerID:], uint64(producerID))
	binary.BigEndian.PutUint16(batch[atProducerEpoch:], uint16(producerEpoch))
	binary.BigEndian.PutUint32(batch[atSequence:], uint32(sequence))
	binary.BigEndian.PutUint32(batch[atCRC:], checksum(batch))
}

// NextSequence is the sequence of the batch that follows one of count records.
// Sequences wrap from the largest int32 to 0.
func NextSequence(sequence, count int32) int32 {
	return int32((int64(sequence) + int64(count)) & math.MaxInt32)
}

// Varints of the format are zigzag coded.

func zigzag(v int64) uint64   { return uint64(v<<1) ^ uint64(v>>63) }
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

func varintLen(v int64) int {
	u, n := zigzag(v), 1
	for ; u >= 0x80; u >>= 7 {
		n++
	}
	return n
}

func appendVarint(dst []byte, v int64) []byte { return binary.AppendUvarint(dst, zigzag(v)) }

// varint reads a varint from the front of b; n is 0 when there is none.
func varint(b []byte) (v int64, n int) {
	if len(b) != 0 && b[0] < 0x80 {
		return unzigzag(uint64(b[0])), 1
	}
	u, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, 0
	}
	return unzigzag(u), n
}
