package recordbatch_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"runtime"
	"testing"

	"millrace/internal/recordbatch"
)

// known says whether an error is one of those that the package promises.
func known(err error) bool {
	return errors.Is(err, recordbatch.ErrMagic) || errors.Is(err, recordbatch.ErrCRC) || errors.Is(err, recordbatch.ErrCorrupt) ||
		errors.Is(err, recordbatch.ErrCodec) || errors.Is(err, recordbatch.ErrTooLarge)
}

// seeds are batches of every codec and some that are broken.
func seeds(f *testing.F) {
	var all []byte
	for _, batch := range allCodecs(f, 5) {
		f.Add(batch, false)
		f.Add(batch[:len(batch)-2], true)
		all = append(all, batch...)
	}
	f.Add(all, false)
	f.Add([]byte{}, true)
	f.Add(byHand(2, 0x08, "\x04\x02k\x02v\x02l\x01", []handRecord{{5, 0, "a"}, {6, 9, ""}}), true)
	f.Add(edit(byHand(1, 0, "", []handRecord{{0, 0, "marker"}}), func(b []byte) { b[22] |= 0x30 }), true)
}

// FuzzSet reads any bytes as a record set. With repair the checksums are made
// right first, or nothing would ever come past them.
func FuzzSet(f *testing.F) {
	seeds(f)
	const most = 1 << 20
	f.Fuzz(func(t *testing.T, data []byte, repair bool) {
		data = bytes.Clone(data)
		if repair {
			for rest := data; len(rest) >= 61; {
				size := int64(int32(binary.BigEndian.Uint32(rest[8:]))) + 12
				if size < 61 || size > int64(len(rest)) {
					break
				}
				binary.BigEndian.PutUint32(rest[17:], crc32.Checksum(rest[21:size], crc32.MakeTable(crc32.Castagnoli)))
				rest = rest[size:]
			}
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var set recordbatch.Set
		var rec recordbatch.Record
		d := recordbatch.NewDecompressor(most)
		var buf []byte
		next := int64(5)
		batches := 0
		for set.Reset(data, next); set.Next(); batches++ {
			b := set.Batch()
			if b.NextOffset() <= b.BaseOffset || set.NextOffset() < next {
				t.Fatalf("offsets do not rise: %+v", b)
			}
			next = set.NextOffset()
			rs, grown, err := d.Records(b, buf)
			buf = grown
			if err != nil {
				if !known(err) {
					t.Fatalf("unknown error: %s", err)
				}
				continue
			}
			n, last := 0, b.BaseOffset-1
			for rs.Next(&rec) {
				if rec.Offset <= last || rec.Offset > b.LastOffset {
					t.Fatalf("offset %d after %d in %+v", rec.Offset, last, b)
				}
				last = rec.Offset
				n++
			}
			if rs.Err() == nil && n != b.Count || rs.Err() != nil && !known(rs.Err()) {
				t.Fatalf("%d records of %d, %v", n, b.Count, rs.Err())
			}
			if len(grown) > most {
				t.Fatalf("%d bytes, limit %d", len(grown), most)
			}
		}
		if set.Err() != nil && !known(set.Err()) {
			t.Fatalf("unknown error: %s", set.Err())
		}
		runtime.ReadMemStats(&after)
		// Codec tables, and the limit with what growing leaves behind.
		if used := after.TotalAlloc - before.TotalAlloc; used > uint64(batches+1)*8*most+32<<20 {
			t.Fatalf("%d bytes of input made it allocate %d", len(data), used)
		}
	})
}

// FuzzRoundTrip cuts any bytes into records, writes them and reads them back.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("some records of some length"), uint8(5), uint8(0), int64(1000))
	f.Add(bytes.Repeat([]byte("mail "), 5000), uint8(63), uint8(1), int64(-1))
	f.Add(bytes.Repeat([]byte{0}, 20_000), uint8(255), uint8(2), int64(1)<<62)
	f.Add([]byte{}, uint8(0), uint8(3), int64(-1)<<63)
	f.Fuzz(func(t *testing.T, data []byte, cut, codec uint8, time int64) {
		var records []record
		for i := 0; len(data) > 0; i++ {
			n := min(len(data), (int(cut)+1)*(1+i%5*i%40))
			records = append(records, record{time + int64(i*int(cut)), data[:n]})
			data = data[n:]
		}
		records = append(records, record{time - 1, nil})
		got, next, err := readAll(build(t, codecs[int(codec)%len(codecs)], records), 0)
		if err != nil || next != int64(len(records)) || len(got) != len(records) {
			t.Fatalf("%d records of %d, next %d, %v", len(got), len(records), next, err)
		}
		for i, r := range got {
			if !bytes.Equal(r.Value, records[i].value) || r.Time != records[i].time || r.Offset != int64(i) {
				t.Fatalf("record %d is %+v, want %+v", i, r, records[i])
			}
		}
	})
}
