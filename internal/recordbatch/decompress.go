package recordbatch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Decompressor reads the records of batches of any codec. It keeps its tables.
type Decompressor struct {
	limit int
	src   bytes.Reader
	zstd  *zstd.Decoder
	lz4   *lz4.Reader
	gzip  *gzip.Reader
}

// NewDecompressor makes a decompressor that refuses batches whose records
// exceed limit bytes.
func NewDecompressor(limit int) *Decompressor { return &Decompressor{limit: limit} }

// Records returns the records of b. Those of an uncompressed batch are views of
// b.Payload. Those of a compressed one are written to buf from its start, and
// are valid until the caller uses that again; buf is returned because it may
// have grown, to the limit at most (and a block's length beyond for zstd).
func (d *Decompressor) Records(b *Batch, buf []byte) (Records, []byte, error) {
	if b.Codec == None {
		if len(b.Payload) > d.limit {
			return Records{}, buf, fmt.Errorf("cannot read record batch at offset %d: %w: over %d bytes", b.BaseOffset, ErrTooLarge, d.limit)
		}
		return NewRecords(b, b.Payload), buf, nil
	}
	out, err := d.decompress(buf[:0], b.Codec, b.Payload)
	if err != nil {
		return Records{}, out[:0], fmt.Errorf("cannot read record batch at offset %d, compression %s: %w", b.BaseOffset, b.Codec, err)
	}
	return NewRecords(b, out), out, nil
}

// decompress appends to dst, which is empty. What it returns is never shorter
// in capacity than dst, so that the caller keeps its buffer.
func (d *Decompressor) decompress(dst []byte, codec Codec, payload []byte) ([]byte, error) {
	switch codec {
	case Snappy:
		return d.snappy(dst, payload)
	case LZ4:
		if d.lz4 == nil {
			d.lz4 = lz4.NewReader(nil)
		}
		d.src.Reset(payload)
		d.lz4.Reset(&d.src)
		return d.readAll(dst, d.lz4)
	case Gzip:
		d.src.Reset(payload)
		if d.gzip == nil {
			d.gzip = new(gzip.Reader)
		}
		if err := d.gzip.Reset(&d.src); err != nil {
			return dst, fmt.Errorf("%w: %w", ErrCodec, err)
		}
		return d.readAll(dst, d.gzip)
	case Zstd:
		if d.zstd == nil {
			z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
				zstd.WithDecoderMaxMemory(uint64(max(d.limit, 1))))
			if err != nil {
				return dst, fmt.Errorf("%w: %w", ErrCodec, err)
			}
			d.zstd = z
		}
		out, err := d.zstd.DecodeAll(payload, dst)
		if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
			return dst, d.tooLarge()
		}
		if err != nil {
			return dst, fmt.Errorf("%w: %w", ErrCodec, err)
		}
		return out, nil
	}
	return dst, fmt.Errorf("%w: %s is unknown", ErrCodec, codec)
}

func (d *Decompressor) tooLarge() error {
	return fmt.Errorf("%w: over %d bytes uncompressed", ErrTooLarge, d.limit)
}

// snappy reads both the Java client's framing and one bare block, which is what
// other clients write.
func (d *Decompressor) snappy(dst, payload []byte) ([]byte, error) {
	if len(payload) < len(xerialHeader) || string(payload[:8]) != xerialHeader[:8] {
		return d.snappyBlock(dst, payload)
	}
	payload = payload[len(xerialHeader):]
	for len(payload) > 0 {
		if len(payload) < 4 {
			return dst, fmt.Errorf("%w: snappy block length cut off", ErrCodec)
		}
		n := binary.BigEndian.Uint32(payload)
		payload = payload[4:]
		if uint64(n) > uint64(len(payload)) {
			return dst, fmt.Errorf("%w: snappy block of %d bytes in the last %d", ErrCodec, n, len(payload))
		}
		var err error
		if dst, err = d.snappyBlock(dst, payload[:n]); err != nil {
			return dst, err
		}
		payload = payload[n:]
	}
	return dst, nil
}

func (d *Decompressor) snappyBlock(dst, block []byte) ([]byte, error) {
	n, err := s2.DecodedLen(block)
	if err != nil {
		return dst, fmt.Errorf("%w: %w", ErrCodec, err)
	}
	if n > d.limit-len(dst) {
		return dst, d.tooLarge()
	}
	at := len(dst)
	dst = slices.Grow(dst, n)
	if _, err := s2.Decode(dst[at:at+n], block); err != nil {
		return dst, fmt.Errorf("%w: %w", ErrCodec, err)
	}
	return dst[:at+n], nil
}

// readAll appends what r yields to dst.
func (d *Decompressor) readAll(dst []byte, r io.Reader) ([]byte, error) {
	for idle := 0; ; {
		if len(dst) == cap(dst) {
			// One byte over the limit shows that there is more.
			dst = slices.Grow(dst, min(max(len(dst), 64<<10), d.limit+1-len(dst)))
		}
		n, err := r.Read(dst[len(dst):min(cap(dst), d.limit+1)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst) > d.limit:
			return dst, d.tooLarge()
		case err == io.EOF:
			return dst, nil
		case err != nil:
			return dst, fmt.Errorf("%w: %w", ErrCodec, err)
		case n > 0:
			idle = 0
		case idle == 100:
			return dst, fmt.Errorf("%w: %w", ErrCodec, io.ErrNoProgress)
		default:
			idle++
		}
	}
}
