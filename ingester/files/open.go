package files

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
)

// fingerprintBytes is how much of a file makes its fingerprint, where there is so much.
const fingerprintBytes = 1 << 10

// compressed are the compressions, by what a file begins with.
var compressed = []struct {
	magic []byte
	open  func(io.Reader) (io.Reader, error)
}{
	{[]byte{0x1f, 0x8b}, func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
	{[]byte{0x28, 0xb5, 0x2f, 0xfd}, func(r io.Reader) (io.Reader, error) {
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}},
	{[]byte("BZh"), func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }},
}

// text is a file that is open, as the text that it holds.
type text struct {
	f      *os.File
	r      io.Reader // of compressed text; nil: f itself
	at     int64     // of the text
	packed bool
	raw    atomic.Int64 // bytes of the file that have been read
}

// counted counts what is read of a file.
type counted struct {
	r io.Reader
	n *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// openText opens a file. Plain ones are read anywhere, compressed ones from their beginning.
func openText(path string) (*text, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	t := &text{f: f}
	head := make([]byte, 4)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		f.Close()
		return nil, err
	}
	for _, c := range compressed {
		if bytes.HasPrefix(head[:n], c.magic) {
			t.packed = true
			if t.r, err = c.open(bufio.NewReaderSize(counted{f, &t.raw}, 64<<10)); err != nil {
				f.Close()
				return nil, fmt.Errorf("cannot read %q: %w", path, err)
			}
		}
	}
	return t, nil
}

func (t *text) Close() error {
	if c, ok := t.r.(io.Closer); ok {
		c.Close()
	}
	return t.f.Close()
}

// Read reads on.
func (t *text) Read(b []byte) (n int, err error) {
	if t.packed {
		n, err = t.r.Read(b)
	} else {
		n, err = t.f.ReadAt(b, t.at)
		t.raw.Store(t.at + int64(n))
	}
	t.at += int64(n)
	return n, err
}

// seek goes to an offset of the text, which is not behind the one that it is at.
func (t *text) seek(offset int64) error {
	if !t.packed {
		t.at = offset
		return nil
	}
	n, err := io.CopyN(io.Discard, t.r, offset-t.at)
	t.at += n
	return err
}

// head is the first bytes of the text, as many as make a fingerprint or as there are.
func head(path string) ([]byte, error) {
	t, err := openText(path)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	b := make([]byte, fingerprintBytes)
	n, err := io.ReadFull(t, b)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("cannot read the beginning of %q: %w", path, err)
	}
	return b[:n], nil
}

// fingerprint names a source by its first bytes.
func fingerprint(head []byte) string {
	sum := sha256.Sum256(head)
	return hex.EncodeToString(sum[:8])
}

// lastLine is the offset behind the last line of a file that is whole.
func lastLine(path string) (int64, error) {
	t, err := openText(path)
	if err != nil {
		return 0, err
	}
	defer t.Close()
	b := make([]byte, 64<<10)
	var at, end int64
	if !t.packed {
		// The last line is near the end; what is before it need not be read.
		if info, err := t.f.Stat(); err == nil && info.Size() > 4<<20 {
			at = info.Size() - 4<<20
			t.at = at
		}
	}
	for {
		n, err := t.Read(b)
		if i := bytes.LastIndexByte(b[:n], '\n'); i >= 0 {
			end = at + int64(i) + 1
		}
		at += int64(n)
		switch {
		case errors.Is(err, io.EOF):
			return end, nil
		case err != nil:
			return 0, fmt.Errorf("cannot read %q: %w", path, err)
		}
	}
}
