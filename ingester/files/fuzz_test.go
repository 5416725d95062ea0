package files

import (
	"bytes"
	"compress/gzip"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// checked is a Taker that checks lines against the text that they are of.
type checked struct {
	t     *testing.T
	text  []byte
	most  int   // Options.MaxLine
	next  int64 // of the line that has to come
	open  bool
	final bool
}

func (c *checked) Line(l Line) error {
	rest := c.text[c.next:]
	size := bytes.IndexByte(rest, '\n')
	if size < 0 {
		size = len(rest)
	}
	switch {
	case l.Offset != c.next || l.Size != size || c.open:
		c.t.Fatalf("a line of %d bytes at %d; want %d at %d", l.Size, l.Offset, size, c.next)
	case l.Open != (size == len(rest)):
		c.t.Fatalf("the line at %d is open: %v", l.Offset, l.Open)
	case l.TooLong() != (size > c.most), !bytes.HasPrefix(rest, l.Bytes), l.TooLong() && len(l.Bytes) != min(c.most, tooLongKept):
		c.t.Fatalf("the line at %d has %d of %d bytes", l.Offset, len(l.Bytes), size)
	}
	c.open = l.Open
	c.next += int64(size)
	if !l.Open {
		c.next++
	}
	return nil
}

func (c *checked) Read(next int64) {
	if next != c.next {
		c.t.Fatalf("the next line is at %d; want %d", next, c.next)
	}
}

func (c *checked) Silent(int64, time.Duration) error { return nil }

func (c *checked) End(next int64, final bool) error {
	c.Read(next)
	c.final = final
	return nil
}

// FuzzRead reads a text, from somewhere on, plain and compressed: each line comes once and
// where it is, whatever the bytes are. A file that only looks like a compressed one is an
// error.
func FuzzRead(f *testing.F) {
	f.Add([]byte("one\ntwo\n"), uint32(1), []byte("three"), uint16(0), uint16(64))
	f.Add([]byte("x"), uint32(300_000), []byte("\nshort\n\n"), uint16(5), uint16(1))
	f.Add([]byte("ab\n"), uint32(100_000), []byte{}, uint16(7), uint16(2))
	f.Add([]byte("0123456789"), uint32(26_000), []byte("\n"), uint16(0), uint16(4096))
	f.Add([]byte{0x1f, 0x8b, 8}, uint32(1), []byte("no gzip\n"), uint16(0), uint16(64))
	f.Add([]byte("BZh9"), uint32(1), []byte{0}, uint16(0), uint16(64))
	f.Fuzz(func(t *testing.T, pattern []byte, times uint32, rest []byte, start, most uint16) {
		text := append(bytes.Repeat(pattern, int(times)%(400_000/(len(pattern)+1)+1)), rest...)
		for _, c := range compressed {
			if bytes.HasPrefix(text, c.magic) { // it may be broken anywhere, and its lines are others
				readAny(t, text)
				return
			}
		}
		at := int64(start) % int64(len(text)+1)
		begin := at // of the line that is at start, or behind it
		if at > 0 {
			end := bytes.IndexByte(text[at-1:], '\n')
			if end < 0 {
				return // no line begins there
			}
			begin = at + int64(end)
		}
		read := func(name string, b []byte) error {
			path := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			c := &checked{t: t, text: text, most: int(most), next: begin}
			o := Options{MaxLine: int(most), Open: func(Source) (Taker, int64, error) { return c, at, nil }}
			if err := Read(context.Background(), path, o, nil); err != nil {
				return err
			}
			if int(c.next) != len(text) || !c.final {
				t.Errorf("%s: it ended at %d of %d", name, c.next, len(text))
			}
			return nil
		}
		if err := read("plain", text); err != nil {
			t.Error(err)
		}
		var packed bytes.Buffer
		z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := z.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		if err := read("gzip", packed.Bytes()); err != nil {
			t.Error(err)
		}
		if err := read("zstd", zstdOf(t).EncodeAll(text, nil)); err != nil {
			t.Error(err)
		}
	})
}

// readAny reads a file of which nothing is known.
func readAny(t *testing.T, text []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "any")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	all := &taken{next: map[string]int64{}}
	if err := Read(context.Background(), path, Options{MaxLine: 64, Open: all.open}, nil); err != nil {
		t.Log(err)
	}
}

func zstdOf(t *testing.T) *zstd.Encoder {
	t.Helper()
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		t.Fatal(err)
	}
	return e
}
