package recordbatch_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/recordbatch"
)

var update = flag.Bool("update", false, "rewrite the golden files")

type record struct {
	time  int64
	value []byte
}

// codecs are those that we write.
var codecs = []recordbatch.Codec{recordbatch.None, recordbatch.Snappy, recordbatch.LZ4, recordbatch.Zstd}

// build makes a sealed, stamped batch.
func build(t testing.TB, codec recordbatch.Codec, records []record) []byte {
	t.Helper()
	size := recordbatch.HeaderSize
	for _, r := range records {
		size += len(r.value) + recordbatch.RecordOverhead
	}
	var b recordbatch.Builder
	b.Reset(make([]byte, 0, size), size)
	for i, r := range records {
		if err := b.Append(r.time, r.value); err != nil {
			t.Fatalf("cannot append record %d of %d bytes: %s", i, len(r.value), err)
		}
	}
	batch := b.Seal()
	c, err := recordbatch.NewCompressor(codec)
	if err != nil {
		t.Fatal(err)
	}
	if out, ok := c.Compress(make([]byte, 0, size+size/4+1024), batch); ok {
		batch = out
	}
	recordbatch.Stamp(batch, -1, -1, -1)
	return batch
}

// mail makes records that compress like log events.
func mail(n int) []record {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	records := make([]record, n)
	for i := range records {
		v := fmt.Appendf(nil, "1tA%05x-0000000001-%04x filter%d.example.com example.com user%d@example.com someone%d@example.org delivered Subject of message %x",
			r.IntN(1<<20), r.IntN(1<<16), r.IntN(4), r.IntN(1000), r.IntN(5000), r.Uint64())
		records[i] = record{time: 1_700_000_000_000 + int64(i/20), value: v}
	}
	return records
}

// byKafkaGo is the batch that kafka-go writes of the records.
func byKafkaGo(t *testing.T, records []record) []byte {
	t.Helper()
	list := make([]protocol.Record, len(records))
	for i, r := range records {
		list[i] = protocol.Record{Offset: int64(i), Time: time.UnixMilli(r.time), Value: protocol.NewBytes(r.value)}
	}
	set := protocol.RecordSet{Version: 2, Records: protocol.NewRecordReader(list...)}
	var buf bytes.Buffer
	if _, err := set.WriteTo(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()[4:]
}

func TestBuilder_EqualsKafkaGo(t *testing.T) {
	t.Parallel()
	f := func(name string, records []record) {
		t.Helper()
		got, want := build(t, recordbatch.None, records), byKafkaGo(t, records)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: got\n%swant\n%s", name, hex.Dump(got[:min(len(got), 200)]), hex.Dump(want[:min(len(want), 200)]))
		}
	}
	f("one", []record{{1_700_000_000_000, []byte("value")}})
	f("mail", mail(500))
	f("times in any order", []record{{1000, []byte("a")}, {999, []byte("b")}, {500_000, []byte("c")}, {1, []byte("d")}})
	// Every length at which a varint before the value changes its own.
	var edges []record
	for _, n := range []int{1, 2, 50, 56, 57, 58, 62, 63, 64, 65, 8180, 8183, 8184, 8185, 8190, 8191, 8192, 70_000, 1_048_576} {
		edges = append(edges, record{int64(1000 + n%7), bytes.Repeat([]byte{'x'}, n)})
	}
	f("edges", edges)
	for i := range edges {
		f(fmt.Sprintf("edge of %d bytes", len(edges[i].value)), edges[i:i+1])
	}
}

func TestBuilder_Golden(t *testing.T) {
	t.Parallel()
	records := []record{
		{1_700_000_000_123, []byte("first")},
		{1_700_000_000_123, []byte{}},
		{1_700_000_000_120, bytes.Repeat([]byte("mail "), 40)},
	}
	for _, codec := range codecs {
		if codec == recordbatch.Zstd {
			continue // its encoder's output changes between versions of the library
		}
		batch := build(t, codec, records)
		recordbatch.Stamp(batch, 4711, 2, 99)
		name := filepath.Join("testdata", codec.String()+".hex")
		if *update {
			if err := os.WriteFile(name, []byte(hex.Dump(batch)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.Dump(batch); got != string(want) {
			t.Errorf("%s: got\n%swant\n%s", codec, got, want)
		}
	}
}

func TestBuilder_Header(t *testing.T) {
	t.Parallel()
	records := mail(300)
	for _, codec := range codecs {
		batch := build(t, codec, records)
		recordbatch.Stamp(batch, 1<<40, 7, 12345)
		var h kmsg.RecordBatch
		if err := h.ReadFrom(batch); err != nil {
			t.Fatalf("%s: %s", codec, err)
		}
		if h.Magic != 2 || h.ProducerID != 1<<40 || h.ProducerEpoch != 7 || h.FirstSequence != 12345 || h.NumRecords != 300 ||
			h.LastOffsetDelta != 299 || h.FirstTimestamp != records[0].time || h.MaxTimestamp != records[299].time ||
			int(h.Length) != len(batch)-12 || h.Attributes != int16(codec) || h.PartitionLeaderEpoch != -1 {
			t.Errorf("%s: %+v", codec, h)
		}
	}
}

// TestBuilder_ReadByKafkaGo reads what we write, in every codec, with kafka-go.
func TestBuilder_ReadByKafkaGo(t *testing.T) {
	t.Parallel()
	for _, codec := range codecs {
		for _, n := range []int{3, 700, 5000} {
			records := mail(n)
			batch := build(t, codec, records)
			if codec != recordbatch.None && n > 3 && recordbatch.Codec(batch[22]&7) != codec {
				t.Errorf("%s: %d records were not compressed", codec, n)
			}
			var set protocol.RecordSet
			framed := append(binary.BigEndian.AppendUint32(nil, uint32(len(batch))), batch...)
			if _, err := set.ReadFrom(bytes.NewReader(framed)); err != nil {
				t.Fatalf("%s: %s", codec, err)
			}
			for i := 0; ; i++ {
				r, err := set.Records.ReadRecord()
				if err == io.EOF {
					if i != n {
						t.Errorf("%s: %d records of %d", codec, i, n)
					}
					break
				}
				if err != nil {
					t.Fatalf("%s: record %d: %s", codec, i, err)
				}
				value, err := protocol.ReadAll(r.Value)
				if err != nil || !bytes.Equal(value, records[i].value) || r.Time.UnixMilli() != records[i].time || r.Offset != int64(i) {
					t.Fatalf("%s: record %d is %q at %s, offset %d (%v)", codec, i, value, r.Time, r.Offset, err)
				}
			}
		}
	}
}

func TestBuilder_Full(t *testing.T) {
	t.Parallel()
	const limit = 200
	var b recordbatch.Builder
	b.Reset(make([]byte, 0, limit+50), limit)
	if err := b.Append(1, make([]byte, limit)); !errors.Is(err, recordbatch.ErrRecordTooLarge) {
		t.Errorf("too large a record: %v", err)
	}
	for b.Append(1, []byte("0123456789")) == nil {
	}
	before, count := append([]byte(nil), b.Seal()...), b.Count()
	f := func(name string, err error) {
		t.Helper()
		if !errors.Is(err, recordbatch.ErrFull) || b.Count() != count || !bytes.Equal(b.Seal(), before) {
			t.Errorf("%s: %v, %d records, bytes equal %t", name, err, b.Count(), bytes.Equal(b.Seal(), before))
		}
	}
	f("in place", b.End(append(b.Begin(2), "0123456789abcdef"...)))
	f("beyond the capacity", b.End(append(b.Begin(2), strings.Repeat("x", 500)...)))
	f("elsewhere", b.End([]byte("0123456789abcdef")))
	if got := len(before); got > limit {
		t.Errorf("%d bytes, limit %d", got, limit)
	}
	// A smaller record may still fit, given in another slice than Begin's.
	room := limit - len(before)
	b.Begin(3)
	if err := b.End(make([]byte, max(0, room-8))); err != nil && room >= 8 {
		t.Errorf("record that fits in %d bytes: %s", room, err)
	}
}

// TestBuilder_Exact fills batches to the last byte.
func TestBuilder_Exact(t *testing.T) {
	t.Parallel()
	for size := range 400 {
		value := make([]byte, size)
		need := len(build(t, recordbatch.None, []record{{5, value}}))
		var b recordbatch.Builder
		b.Reset(make([]byte, 0, need), need)
		if err := b.Append(5, value); err != nil {
			t.Errorf("%d bytes in a batch of %d: %s", size, need, err)
		}
		b.Reset(make([]byte, 0, need), need-1)
		if err := b.Append(5, value); !errors.Is(err, recordbatch.ErrRecordTooLarge) {
			t.Errorf("%d bytes in a batch of %d: %v", size, need-1, err)
		}
	}
}

func TestCompress_NotWorthIt(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 100_000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	batch := build(t, recordbatch.None, []record{{1, noise}})
	small := build(t, recordbatch.None, mail(200))
	for _, codec := range codecs {
		c, err := recordbatch.NewCompressor(codec)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := c.Compress(make([]byte, 0, len(batch)+20_000), batch); ok {
			t.Errorf("%s: noise is said to be smaller", codec)
		}
		for room := range 200 {
			if out, ok := c.Compress(make([]byte, 0, room), small); ok && len(out) > room {
				t.Errorf("%s: %d bytes in a buffer of %d", codec, len(out), room)
			}
		}
	}
	if _, err := recordbatch.NewCompressor(recordbatch.Gzip); err == nil {
		t.Error("gzip is not for writing")
	}
}

func TestParseCodec(t *testing.T) {
	t.Parallel()
	for _, c := range codecs {
		if got, err := recordbatch.ParseCodec(c.String()); got != c || err != nil {
			t.Errorf("%s: %s, %v", c, got, err)
		}
	}
	for _, name := range []string{"", "gzip", "ZSTD", "codec 9"} {
		if _, err := recordbatch.ParseCodec(name); err == nil {
			t.Errorf("%q is taken for a codec", name)
		}
	}
}

func TestNextSequence(t *testing.T) {
	t.Parallel()
	f := func(sequence, count, want int32) {
		t.Helper()
		if got := recordbatch.NextSequence(sequence, count); got != want {
			t.Errorf("after %d records from %d: %d, want %d", count, sequence, got, want)
		}
	}
	f(0, 1, 1)
	f(100, 50, 150)
	f(1<<31-1, 1, 0)
	f(1<<31-2, 1, 1<<31-1)
	f(1<<31-10, 20, 10)
}
