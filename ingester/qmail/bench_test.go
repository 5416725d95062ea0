package qmail

import (
	"bytes"
	"os"
	"testing"
	"time"

	"millrace/schema"
)

// benchmarked are logs of lines as they mostly are.
var benchmarked = []struct {
	name  string
	file  string
	build func(Options) Decoder
}{
	{"smtp", "smtp25_seed.log", func(o Options) Decoder { o.Port = 25; return NewSMTP(o) }},
	{"delivery", "delivery_seed.log", func(o Options) Decoder { return NewDelivery(o) }},
	{"delivery_send", "delivery_send.log", func(o Options) Decoder { return NewDelivery(o) }},
	{"spamdyke", "spamdyke_usual.log", func(o Options) Decoder { return NewSpamdyke(o) }},
}

func linesOf(t testing.TB, file string) (lines [][]byte, size int) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		lines = append(lines, bytes.TrimRight(line, "\r\n"))
		size += len(line)
	}
	return lines, size
}

func TestDecoders_Allocs(t *testing.T) {
	for _, b := range benchmarked {
		lines, _ := linesOf(t, b.file)
		zone, err := time.LoadLocation("Europe/Sofia")
		if err != nil {
			t.Fatal(err)
		}
		d := b.build(Options{Zone: zone})
		var record []byte
		emit := func(e *schema.Event) { record = schema.AppendRecord(record[:0], e) }
		offset := int64(0)
		all := func() {
			for _, line := range lines {
				d.Line(Line{Bytes: line, Offset: offset, Received: 1_900_000_000_000}, emit)
				offset++
			}
		}
		for range maxMessages + 1 { // as many messages as it remembers
			all()
		}
		if n := testing.AllocsPerRun(100, all); n != 0 {
			t.Errorf("%s: %v allocations for %d lines", b.name, n, len(lines))
		}
	}
}

// BenchmarkDecoder is from lines to records.
func BenchmarkDecoder(b *testing.B) {
	for _, c := range benchmarked {
		b.Run(c.name, func(b *testing.B) {
			lines, size := linesOf(b, c.file)
			zone, err := time.LoadLocation("Europe/Sofia")
			if err != nil {
				b.Fatal(err)
			}
			d := c.build(Options{Zone: zone})
			var record []byte
			emit := func(e *schema.Event) { record = schema.AppendRecord(record[:0], e) }
			b.SetBytes(int64(size / len(lines)))
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				d.Line(Line{Bytes: lines[n%len(lines)], Offset: int64(n), Received: 1_900_000_000_000}, emit)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}
