package recordbatch_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/klauspost/compress/gzip"

	"millrace/internal/recordbatch"
)

// Tests of allocations do not run in parallel: the count is the process's.

func TestAllocs_Write(t *testing.T) {
	records := mail(2000)
	var b recordbatch.Builder
	buf, out := make([]byte, 0, 1<<20), make([]byte, 0, 1<<20)
	for _, codec := range codecs {
		c, err := recordbatch.NewCompressor(codec)
		if err != nil {
			t.Fatal(err)
		}
		once := func() {
			b.Reset(buf, cap(buf))
			for _, r := range records {
				if err := b.End(append(b.Begin(r.time), r.value...)); err != nil {
					t.Fatal(err)
				}
			}
			batch := b.Seal()
			if o, ok := c.Compress(out, batch); ok {
				batch = o
			}
			recordbatch.Stamp(batch, 1, 2, 3)
		}
		once() // tables are made on first use
		if n := testing.AllocsPerRun(20, once); n > poolAllocs {
			t.Errorf("%s: a batch costs %v allocations", codec, n)
		}
	}
}

func TestAllocs_Read(t *testing.T) {
	for codec, batch := range allCodecs(t, 2000) {
		d := recordbatch.NewDecompressor(limit)
		var set recordbatch.Set
		var rec recordbatch.Record
		var buf []byte
		once := func() {
			n := 0
			for set.Reset(batch, 0); set.Next(); {
				rs, grown, err := d.Records(set.Batch(), buf)
				if buf = grown; err != nil {
					t.Fatal(err)
				}
				for rs.Next(&rec) {
					n++
				}
			}
			if n != 2000 {
				t.Fatalf("%s: %d records, %v", codec, n, set.Err())
			}
		}
		once()
		if n := testing.AllocsPerRun(20, once); n > poolAllocs {
			t.Errorf("%s: reading a batch costs %v allocations", codec, n)
		}
	}
}

// allCodecs is one batch in every codec, gzip included.
func allCodecs(t testing.TB, n int) map[recordbatch.Codec][]byte {
	all := map[recordbatch.Codec][]byte{}
	for _, codec := range codecs {
		all[codec] = build(t, codec, mail(n))
	}
	plain := all[recordbatch.None]
	buf := bytes.NewBuffer(bytes.Clone(plain[:61]))
	w := gzip.NewWriter(buf)
	if _, err := w.Write(plain[61:]); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	all[recordbatch.Gzip] = edit(buf.Bytes(), func(b []byte) {
		binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
		b[22] = byte(recordbatch.Gzip)
	})
	return all
}

func BenchmarkBuilder(b *testing.B) {
	records := mail(2000)
	var builder recordbatch.Builder
	buf := make([]byte, 0, 1<<20)
	size := 0
	for _, r := range records {
		size += len(r.value)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		builder.Reset(buf, cap(buf))
		for _, r := range records {
			if err := builder.End(append(builder.Begin(r.time), r.value...)); err != nil {
				b.Fatal(err)
			}
		}
		recordbatch.Stamp(builder.Seal(), 1, 2, 3)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/record")
}

func BenchmarkCompress(b *testing.B) {
	plain := build(b, recordbatch.None, mail(5000))
	out := make([]byte, 0, 2*len(plain))
	for _, codec := range codecs[1:] {
		b.Run("codec="+codec.String(), func(b *testing.B) {
			c, err := recordbatch.NewCompressor(codec)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(plain)))
			b.ReportAllocs()
			var o []byte
			for b.Loop() {
				o, _ = c.Compress(out, plain)
			}
			b.ReportMetric(float64(len(plain))/float64(len(o)), "ratio")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/5000, "ns/record")
		})
	}
}

func BenchmarkRead(b *testing.B) {
	for codec, batch := range allCodecs(b, 5000) {
		b.Run("codec="+codec.String(), func(b *testing.B) {
			d := recordbatch.NewDecompressor(limit)
			var set recordbatch.Set
			var rec recordbatch.Record
			var buf []byte
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				for set.Reset(batch, 0); set.Next(); {
					rs, grown, err := d.Records(set.Batch(), buf)
					if buf = grown; err != nil {
						b.Fatal(err)
					}
					for rs.Next(&rec) {
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/5000, "ns/record")
		})
	}
}
