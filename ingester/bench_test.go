package ingester

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"millrace/ingester/framing"
	"millrace/schema"
)

// measured is what the goals are stated for: m1 messages behind an RFC 3164 header,
// 409 bytes in the mean. They are many, and their columns differ in length, so that
// the processor cannot learn where those are; one in eight has a subject that is not
// ASCII.
func measured(n int) []framing.Frame {
	rng := rand.New(rand.NewPCG(1, 2))
	now := time.Now().UTC()
	pick := func(words ...string) string { return words[rng.IntN(len(words))] }
	text := func(least, most int) string {
		b := make([]byte, least+rng.IntN(most-least+1))
		for i := range b {
			b[i] = "abcdefghijklmnopqrstuvwxyz0123456789.-"[rng.IntN(38)]
		}
		return string(b)
	}
	frames := make([]framing.Frame, n)
	for i := range frames {
		host, domain := fmt.Sprintf("mx%d.filter.example", rng.IntN(120)), text(3, 15)+".example"
		sender, recipient := text(4, 12)+"@"+text(3, 15)+".example", text(4, 12)+"@"+domain
		score := pick("Not spam", "Spam", "Unsure", "Combined")
		subject := text(8, 46)
		if i%8 == 0 {
			subject = "Übersicht für " + subject
		}
		columns := []string{
			"1vcf" + pick("A", "V", "b") + "Q-00" + pick("A", "7", "z") + "tFP-Is", host, sender, recipient, domain,
			fmt.Sprintf("%d.%03d", 1767600000+i/100, rng.IntN(1000)), text(6, 24) + ".example", text(6, 22),
			fmt.Sprintf("198.%d.%d.%d", rng.IntN(256), rng.IntN(256), rng.IntN(256)), fmt.Sprint(rng.IntN(1e6)), fmt.Sprint(rng.IntN(1e6)),
			pick("delivered", "queued", "rejected", "quarantined"), score, fmt.Sprintf("%s (%.6f)", score, rng.Float64()),
			pick("Ines Quist", "Emma Bakker", "Lars") + " <" + sender + ">", "<" + recipient + ">", "", subject,
		}
		frames[i] = framing.Whole(fmt.Appendf(nil, `<14>%s %s filter[4711]: "%s"`, now.Add(time.Duration(i/100)*time.Second).Format(time.Stamp), host, strings.Join(columns, `","`)))
	}
	return frames
}

// BenchmarkDecode is a frame's way from the reader's buffer to an event with typed
// and checked values, ready to be appended: header, template, 18 columns, the common
// fields, UTF-8.
func BenchmarkDecode(b *testing.B) {
	frames := measured(1024)
	s := newSink(b, false, nil)
	s.take(benchPeer, frames[0])
	b.SetBytes(int64(sizeOf(frames) / len(frames)))
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		f := frames[n%len(frames)]
		outcome, ok := s.decode(f)
		if !ok || outcome != 0 {
			b.Fatalf("a good frame was not decoded: %q", f.Bytes)
		}
		s.complete(benchPeer, f, outcome)
	}
}

// BenchmarkRecord is the same and the record in a buffer, without a batch.
func BenchmarkRecord(b *testing.B) {
	frames := measured(1024)
	s := newSink(b, false, nil)
	s.take(benchPeer, frames[0])
	b.SetBytes(int64(sizeOf(frames) / len(frames)))
	b.ReportAllocs()
	var record []byte
	for n := 0; b.Loop(); n++ {
		f := frames[n%len(frames)]
		outcome, _ := s.decode(f)
		s.complete(benchPeer, f, outcome)
		record = schema.AppendRecord(record[:0], &s.event)
	}
}

func sizeOf(frames []framing.Frame) (n int) {
	for _, f := range frames {
		n += len(f.Bytes)
	}
	return n
}

// BenchmarkFrame is a frame's way from the reader's buffer to the open batch, with
// sealing and compressing on the way and a cluster that costs nothing.
func BenchmarkFrame(b *testing.B) {
	frames := mixed(b, 10_000)
	s := newSink(b, true, nil)
	b.SetBytes(int64(sizeOf(frames) / len(frames)))
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if err := s.Frame(benchPeer, frames[n%len(frames)]); err != nil {
			b.Fatal(err)
		}
		if n%50 == 49 {
			s.Flush()
		}
	}
	s.Flush()
}

// BenchmarkFrameParallel is the same with as many connections as there are cores.
func BenchmarkFrameParallel(b *testing.B) {
	frames := mixed(b, 10_000)
	in := newSink(b, true, nil).in
	b.SetBytes(int64(sizeOf(frames) / len(frames)))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		s := in.open(nil)
		for n := 0; pb.Next(); n++ {
			if err := s.Frame(benchPeer, frames[n%len(frames)]); err != nil {
				b.Error(err)
				return
			}
			if n%50 == 49 {
				s.Flush()
			}
		}
		s.Flush()
	})
}
