package recordbatch_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/recordbatch"
)

const limit = 8 << 20

// at moves a batch to a base offset, as a broker does.
func at(offset int64, batch []byte) []byte {
	batch = bytes.Clone(batch)
	binary.BigEndian.PutUint64(batch, uint64(offset))
	return batch
}

// edit changes a batch and makes its checksum right again.
func edit(batch []byte, change func(b []byte)) []byte {
	batch = bytes.Clone(batch)
	change(batch)
	binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[21:], crc32.MakeTable(crc32.Castagnoli)))
	return batch
}

// readAll reads a record set to its end or first error.
func readAll(data []byte, offset int64) (records []recordbatch.Record, next int64, err error) {
	var set recordbatch.Set
	var rec recordbatch.Record
	d := recordbatch.NewDecompressor(limit)
	set.Reset(data, offset)
	for set.Next() {
		rs, _, err := d.Records(set.Batch(), nil)
		if err != nil {
			return records, set.NextOffset(), err
		}
		for rs.Next(&rec) {
			records = append(records, rec)
		}
		if rs.Err() != nil {
			return records, set.NextOffset(), rs.Err()
		}
	}
	return records, set.NextOffset(), set.Err()
}

func TestSet_Success(t *testing.T) {
	t.Parallel()
	want := mail(1000)
	f := func(name string, data []byte, offset int64, offsets []int64, next int64) {
		t.Helper()
		got, n, err := readAll(data, offset)
		if err != nil || n != next || len(got) != len(offsets) {
			t.Errorf("%s: %d records, next offset %d, %v; want %d, %d", name, len(got), n, err, len(offsets), next)
			return
		}
		for i, r := range got {
			if r.Offset != offsets[i] {
				t.Fatalf("%s: record %d is %+v, want offset %d", name, i, r, offsets[i])
			}
		}
	}
	from := func(offset int64, n int) (offsets []int64) {
		for i := range n {
			offsets = append(offsets, offset+int64(i))
		}
		return offsets
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

	var set []byte
	for i, codec := range codecs {
		set = append(set, at(int64(1000*i), build(t, codec, want))...)
	}
	f("all codecs", set, 0, from(0, 4000), 4000)
	f("empty", nil, 17, nil, 17)
	f("from the middle of a batch", at(100, build(t, recordbatch.Snappy, want)), 500, from(100, 1000), 1100)

	one, two := at(10, build(t, recordbatch.LZ4, want[:5])), at(15, build(t, recordbatch.None, want[:5]))
	for cut := 1; cut < len(two); cut += 7 {
		f(fmt.Sprintf("cut off %d bytes", cut), join(one, two[:len(two)-cut]), 10, from(10, 5), 15)
	}
	f("only a part", two[:len(two)-1], 15, nil, 15)

	control := edit(at(15, build(t, recordbatch.None, []record{{1, []byte("marker")}})), func(b []byte) { b[22] |= 0x30 })
	f("control batch between", join(one, control, at(16, two)), 10, append(from(10, 5), from(16, 5)...), 21)
	f("control batch last", join(one, control), 10, from(10, 5), 16)
	f("control batch alone", control, 15, nil, 16)
	f("transaction", edit(one, func(b []byte) { b[22] |= 0x10 }), 10, from(10, 5), 15)

	// Compaction removes records and keeps the last offset.
	f("batch emptied by compaction", edit(one[:61], func(b []byte) {
		binary.BigEndian.PutUint32(b[8:], 61-12)
		binary.BigEndian.PutUint32(b[57:], 0)
		b[22] = 0
	}), 10, nil, 15)
	gap := edit(at(100, byHand(2, 0, "", []handRecord{{0, 2, "a"}, {5, 7, "b"}})), func(b []byte) { binary.BigEndian.PutUint32(b[23:], 9) })
	f("gaps", gap, 100, []int64{102, 107}, 110)
}

type handRecord struct {
	deltaTime, deltaOffset int64
	value                  string
}

// byHand writes a batch with freedoms that Builder does not have.
func byHand(count int, attributes byte, headers string, records []handRecord) []byte {
	b := make([]byte, 61)
	b[16], b[22] = 2, attributes
	binary.BigEndian.PutUint64(b[27:], 1000)
	binary.BigEndian.PutUint64(b[35:], 7777)
	last := int64(0)
	for _, r := range records {
		body := []byte{0}
		body = binary.AppendVarint(body, r.deltaTime)
		body = binary.AppendVarint(body, r.deltaOffset)
		body = binary.AppendVarint(body, 3)
		body = append(body, "key"...)
		body = binary.AppendVarint(body, int64(len(r.value)))
		body = append(body, r.value...)
		if headers == "" {
			headers = "\x00"
		}
		body = append(body, headers...)
		b = binary.AppendVarint(b, int64(len(body)))
		b = append(b, body...)
		last = max(last, r.deltaOffset)
	}
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	binary.BigEndian.PutUint32(b[23:], uint32(last))
	binary.BigEndian.PutUint32(b[57:], uint32(count))
	return edit(b, func([]byte) {})
}

func TestRecords_Views(t *testing.T) {
	t.Parallel()
	// Key, headers, null value and log append time of other producers.
	got, _, err := readAll(byHand(1, 0x08, "\x04\x02k\x02v\x02l\x01", []handRecord{{5, 0, "value"}}), 0)
	if err != nil || len(got) != 1 || string(got[0].Key) != "key" || string(got[0].Value) != "value" || got[0].Time != 7777 {
		t.Errorf("%+v, %v", got, err)
	}
	got, _, err = readAll(byHand(1, 0, "", []handRecord{{5, 0, "value"}}), 0)
	if err != nil || got[0].Time != 1005 {
		t.Errorf("%+v, %v", got, err)
	}
	if cap(got[0].Value) != len(got[0].Value) {
		t.Error("an append to a value would write into the next record")
	}
}

func TestSet_Failure(t *testing.T) {
	t.Parallel()
	good := build(t, recordbatch.None, mail(5))
	f := func(name string, data []byte, want error) {
		t.Helper()
		if _, _, err := readAll(data, 0); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
	put32 := func(at int, v uint32) func([]byte) {
		return func(b []byte) { binary.BigEndian.PutUint32(b[at:], v) }
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)-3] ^= 1
	f("a bit flipped", flipped, recordbatch.ErrCRC)
	f("message set of old", edit(good, func(b []byte) { b[16] = 1 }), recordbatch.ErrMagic)
	f("text", []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), recordbatch.ErrMagic)
	f("length negative", edit(good, put32(8, 0xffffffff)), recordbatch.ErrCorrupt)
	f("length within the header", edit(good, put32(8, 48)), recordbatch.ErrCorrupt)
	f("offset negative", at(-1, good), recordbatch.ErrCorrupt)
	f("offset overflows", at(1<<63-3, good), recordbatch.ErrCorrupt)
	f("more records than offsets", edit(good, put32(23, 3)), recordbatch.ErrCorrupt)
	f("count negative", edit(good, put32(57, 0x80000000)), recordbatch.ErrCorrupt)
	f("fewer records than said", edit(good, func(b []byte) { put32(57, 6)(b); put32(23, 5)(b) }), recordbatch.ErrCorrupt)
	f("more records than said", edit(good, put32(57, 4)), recordbatch.ErrCorrupt)
	f("same offset twice", byHand(2, 0, "", []handRecord{{0, 1, "a"}, {0, 1, "b"}}), recordbatch.ErrCorrupt)
	f("offsets fall", byHand(2, 0, "", []handRecord{{0, 1, "a"}, {0, 0, "b"}}), recordbatch.ErrCorrupt)
	f("offset behind the last", edit(byHand(1, 0, "", []handRecord{{0, 4, "a"}}), put32(23, 3)), recordbatch.ErrCorrupt)
	f("header count", byHand(1, 0, "\x03", []handRecord{{0, 0, "a"}}), recordbatch.ErrCorrupt)
	f("header without key", byHand(1, 0, "\x02\x01\x01", []handRecord{{0, 0, "a"}}), recordbatch.ErrCorrupt)
	f("codec 5", edit(good, func(b []byte) { b[22] = 5 }), recordbatch.ErrCodec)
	for _, codec := range []recordbatch.Codec{recordbatch.Gzip, recordbatch.Snappy, recordbatch.LZ4, recordbatch.Zstd} {
		f("not "+codec.String(), edit(good, func(b []byte) { b[22] = byte(codec) }), recordbatch.ErrCodec)
	}
	f("snappy block cut off", edit(good, func(b []byte) {
		copy(b[61:], "\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01\x7f\xff\xff\xff")
		b[22] = byte(recordbatch.Snappy)
	}), recordbatch.ErrCodec)
}

func TestDecompressor_Limit(t *testing.T) {
	t.Parallel()
	zeros := []record{{1, make([]byte, 1<<20)}}
	want := len(build(t, recordbatch.None, zeros)) - recordbatch.HeaderSize
	for _, codec := range codecs {
		batch := build(t, codec, zeros)
		var set recordbatch.Set
		read := func(limit int) error {
			set.Reset(batch, 0)
			if !set.Next() {
				t.Fatal(set.Err())
			}
			_, _, err := recordbatch.NewDecompressor(limit).Records(set.Batch(), nil)
			return err
		}
		if err := read(want); err != nil {
			t.Errorf("%s: %d bytes with that limit: %s", codec, want, err)
		}
		for _, limit := range []int{1, 1000, want - 1} {
			if err := read(limit); !errors.Is(err, recordbatch.ErrTooLarge) {
				t.Errorf("%s: %d bytes with limit %d: %v", codec, want, limit, err)
			}
		}
	}
	// What is claimed is not believed: a few bytes that say a gigabyte.
	bomb := edit(build(t, recordbatch.None, []record{{1, binary.AppendUvarint(nil, 1<<30)}}), func(b []byte) {
		b[22] = byte(recordbatch.Snappy)
		copy(b[61:], binary.AppendUvarint(nil, 1<<30))
	})
	if _, _, err := readAll(bomb, 0); !errors.Is(err, recordbatch.ErrTooLarge) {
		t.Errorf("snappy claim: %v", err)
	}
}

// TestSet_OfFranzGo reads what franz-go's client wrote to a broker, in every
// codec, with keys and headers, fetched as raw bytes.
func TestSet_OfFranzGo(t *testing.T) {
	t.Parallel()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "topic"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var want []*kgo.Record
	for _, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		producer, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ProducerBatchCompression(codec), kgo.DefaultProduceTopic("topic"), kgo.ProducerLinger(20*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		var records []*kgo.Record
		for i, m := range mail(400) {
			r := &kgo.Record{Timestamp: time.UnixMilli(m.time), Value: m.value}
			if i%3 == 0 {
				r.Key, r.Headers = []byte("key"), []kgo.RecordHeader{{Key: "k", Value: m.value}, {Key: ""}}
			}
			records = append(records, r)
		}
		if err := producer.ProduceSync(ctx, records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		producer.Close()
		want = append(want, records...)
	}
	data := fetchRaw(ctx, t, c, "topic")
	got, next, err := readAll(data, 0)
	if err != nil || len(got) != len(want) || next != int64(len(want)) {
		t.Fatalf("%d records of %d, next %d, %v", len(got), len(want), next, err)
	}
	for i, r := range got {
		w := want[i]
		if r.Offset != w.Offset || r.Time != w.Timestamp.UnixMilli() || !bytes.Equal(r.Value, w.Value) || !bytes.Equal(r.Key, w.Key) {
			t.Fatalf("record %d is %+v, want %+v", i, r, w)
		}
	}
}

func fetchRaw(ctx context.Context, t *testing.T, c *kfake.Cluster, topic string) []byte {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	info := c.TopicInfo(topic)
	part := kmsg.NewFetchRequestTopicPartition()
	part.PartitionMaxBytes = 16 << 20
	ft := kmsg.NewFetchRequestTopic()
	ft.Topic, ft.TopicID, ft.Partitions = topic, info.TopicID, []kmsg.FetchRequestTopicPartition{part}
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.MaxWaitMillis, req.MinBytes, req.Topics = 16<<20, 1000, 1, []kmsg.FetchRequestTopic{ft}
	res, err := req.RequestWith(ctx, client)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Topics) != 1 || res.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatalf("fetch: %+v", res)
	}
	return res.Topics[0].Partitions[0].RecordBatches
}

func TestSnappy_Bare(t *testing.T) {
	t.Parallel()
	// As librdkafka and Go clients write it: one block without the Java framing.
	plain := build(t, recordbatch.None, mail(300))
	batch := append(bytes.Clone(plain[:61]), s2.EncodeSnappy(nil, plain[61:])...)
	batch = edit(batch, func(b []byte) {
		binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
		b[22] = byte(recordbatch.Snappy)
	})
	if got, _, err := readAll(batch, 0); err != nil || len(got) != 300 {
		t.Errorf("%d records, %v", len(got), err)
	}
}

// TestZstd_Stream reads a frame without its size, as Java's stream writes it.
func TestZstd_Stream(t *testing.T) {
	t.Parallel()
	plain := build(t, recordbatch.None, mail(3000))
	var buf bytes.Buffer
	w, err := zstd.NewWriter(&buf)
	if err != nil {
		t.Fatal(err)
	}
	for rest := plain[61:]; len(rest) > 0; {
		n := min(len(rest), 10_000)
		if _, err := w.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	batch := append(bytes.Clone(plain[:61]), buf.Bytes()...)
	batch = edit(batch, func(b []byte) {
		binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
		b[22] = byte(recordbatch.Zstd)
	})
	if got, _, err := readAll(batch, 0); err != nil || len(got) != 3000 {
		t.Errorf("%d records, %v", len(got), err)
	}
}

func TestErrors_Say(t *testing.T) {
	t.Parallel()
	bad := at(42, build(t, recordbatch.None, mail(2)))
	bad[len(bad)-1] ^= 1
	_, _, err := readAll(bad, 0)
	if err == nil || !strings.Contains(err.Error(), "cannot read record batch at offset 42: ") {
		t.Errorf("%v", err)
	}
}
