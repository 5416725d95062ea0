package recordbatch

import (
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

const (
	// xerialBlock is the block size of snappy's Java framing. 32 KiB was the
	// fastest: the block and the encoder's table stay in the first cache.
	xerialBlock = 32 << 10
	// lz4Block is the smallest block size of an LZ4 frame and the one that
	// Kafka's own clients use.
	lz4Block = 64 << 10
)

// xerialHeader begins snappy data as Kafka's Java client frames it: magic,
// version 1, compatible with version 1. Blocks follow, each with its length.
const xerialHeader = "\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01"

// lz4Header begins an LZ4 frame: magic, independent blocks without checksums,
// 64 KiB at most, checksum of these flags. Blocks follow, and a length of 0.
const lz4Header = "\x04\x22\x4d\x18\x60\x40\x82"

// Compressor compresses sealed batches with one codec. It keeps its tables.
type Compressor struct {
	codec Codec
	zstd  *zstd.Encoder
	lz4   lz4.Compressor
}

// NewCompressor makes a compressor for a codec of ParseCodec.
func NewCompressor(codec Codec) (*Compressor, error) {
	c := &Compressor{codec: codec}
	switch codec {
	case None, Snappy, LZ4:
	case Zstd:
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return nil, fmt.Errorf("cannot make a zstd encoder: %w", err)
		}
		c.zstd = e
	default:
		return nil, fmt.Errorf("cannot compress with %s: want none, snappy, lz4 or zstd", codec)
	}
	return c, nil
}

// Compress writes the compressed form of a sealed batch into dst, from its
// start, and returns it. ok is false when there is nothing to gain: the codec is
// none, or the result would not be smaller than batch or not fit the capacity
// of dst; batch is then to be sent as it is. batch is not changed.
func (c *Compressor) Compress(dst, batch []byte) (out []byte, ok bool) {
	room := min(cap(dst), len(batch)-1)
	if c.codec == None || room < HeaderSize {
		return nil, false
	}
	payload := batch[HeaderSize:]
	dst = append(dst[:0], batch[:HeaderSize]...)
	switch c.codec {
	case Snappy:
		out, ok = compressSnappy(dst, payload, room)
	case LZ4:
		out, ok = c.compressLZ4(dst, payload, room)
	case Zstd:
		out = c.zstd.EncodeAll(payload, dst)
		ok = len(out) <= room
	}
	if !ok {
		return nil, false
	}
	binary.BigEndian.PutUint32(out[atLength:], uint32(len(out)-lengthFrom))
	attributes := binary.BigEndian.Uint16(batch[atAttributes:])&^attrCodec | uint16(c.codec)
	binary.BigEndian.PutUint16(out[atAttributes:], attributes)
	return out, true
}

func compressSnappy(dst, payload []byte, room int) ([]byte, bool) {
	dst = append(dst, xerialHeader...)
	for len(payload) > 0 {
		block := payload[:min(len(payload), xerialBlock)]
		payload = payload[len(block):]
		at := len(dst) + 4
		if at+s2.MaxEncodedLen(len(block)) > cap(dst) {
			return nil, false
		}
		n := len(s2.EncodeSnappy(dst[at:cap(dst)], block))
		dst = binary.BigEndian.AppendUint32(dst, uint32(n))[:at+n]
	}
	return dst, len(dst) <= room
}

func (c *Compressor) compressLZ4(dst, payload []byte, room int) ([]byte, bool) {
	const stored = 1 << 31 // this block is not compressed
	dst = append(dst, lz4Header...)
	for len(payload) > 0 {
		block := payload[:min(len(payload), lz4Block)]
		payload = payload[len(block):]
		at := len(dst) + 4
		if at+len(block)+4 > cap(dst) {
			return nil, false
		}
		n, err := c.lz4.CompressBlock(block, dst[at:at+len(block)])
		if err != nil || n == 0 || n >= len(block) {
			n = copy(dst[at:at+len(block)], block)
			dst = binary.LittleEndian.AppendUint32(dst, uint32(n)|stored)[:at+n]
			continue
		}
		dst = binary.LittleEndian.AppendUint32(dst, uint32(n))[:at+n]
	}
	dst = append(dst, 0, 0, 0, 0)
	return dst, len(dst) <= room
}
