package format

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"millrace/schema"
)

// BenchmarkDecode is one clean frame of each built-in format, of about the size
// that a message of real traffic has.
func BenchmarkDecode(b *testing.B) {
	for _, name := range []string{"m1", "m2", "m3", "s1", "s2", "s3"} {
		body := frame(b, name)
		last := "subject_header"
		if name[0] == 's' {
			last = "delivery_data"
		}
		// The traffic's mean frame has 409 bytes.
		body = frame(b, name, last, strings.Repeat("Re: offer, 50% off. ", 40)[:max(0, 409-len(body))])
		b.Run("format="+name, func(b *testing.B) { benchDecode(b, newSet(b, Options{}), body) })
	}
}

// BenchmarkDecodeVaried is many m1 frames whose values differ in length, so that
// the processor cannot learn where the separators are.
func BenchmarkDecodeVaried(b *testing.B) {
	rng := rand.New(rand.NewPCG(13, 14))
	var bodies [1024][]byte
	size := 0
	for i := range bodies {
		text := func(most int) string { return strings.Repeat("x", rng.IntN(most)) }
		bodies[i] = frame(b, "m1", "sender", text(50)+"@example.org", "recipient", text(20)+"@example.com", "domain", text(20)+".example", "sender_host", text(40),
			"helo", text(30), "incoming_size", fmt.Sprint(rng.IntN(1e7)), "from_header", text(60), "to_header", text(60), "cc_header", text(30), "subject_header", text(120))
		size += len(bodies[i])
	}
	s := newSet(b, Options{})
	var d Decoder
	var e schema.Event
	b.SetBytes(int64(size / len(bodies)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d.Decode(s, bodies[i%len(bodies)], &e, Context{Received: testReceived})
	}
}

// BenchmarkDecodeHostile are frames of 64 KiB, made to cost as much as they can.
func BenchmarkDecodeHostile(b *testing.B) {
	s := newSet(b, Options{})
	for _, h := range hostileFrames(b) {
		b.Run("frame="+h.name, func(b *testing.B) { benchDecode(b, s, h.body) })
	}
}

func benchDecode(b *testing.B, s *Set, body []byte) {
	var d Decoder
	var e schema.Event
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		d.Decode(s, body, &e, Context{Received: testReceived})
	}
}

// hostile is a frame of 64 KiB that makes a decoder look twice.
type hostile struct {
	name string
	body []byte
}

func hostileFrames(t testing.TB) []hostile {
	const size = 64 << 10
	sep := `","`
	full := func(name, field, unit string) []byte {
		empty := len(frame(t, name, field, ""))
		return frame(t, name, field, strings.Repeat(unit, (size-empty)/len(unit)))
	}
	return []hostile{
		{"separators", append(append([]byte(`"`), bytes.Repeat([]byte(sep), size/3-1)...), '"')},
		{"overlaps", append(append([]byte(`"`), bytes.Repeat([]byte(`,"`), size/2-1)...), '"')},
		{"quotes", bytes.Repeat([]byte(`"`), size)},
		{"subject_m1", full("m1", "subject_header", sep)},
		{"subject_m3", full("m3", "subject_header", sep)},
		{"helo_m1", full("m1", "helo", sep)},
		{"sender_m1", full("m1", "sender", `"`+sep)},
		{"numbers_m1", full("m1", "helo", strings.Repeat("0", 900)+sep)},
		{"blanks_m1", full("m1", "helo", strings.Repeat(" ", 900)+sep)},
		{"open_lists_m1", full("m1", "from_header", `"a`+sep+`a`+sep+`a`)},
		{"unterminated_m3", full("m3", "subject_header", sep)[:size-20]},
		{"percent", append([]byte(`"`), bytes.Repeat([]byte(`%(`), size/2)...)},
		{"dashes", append([]byte(`"`), bytes.Repeat([]byte(` - - - `), size/7)...)},
		{"blanks", bytes.Repeat([]byte(" "), size)},
		{"data_s1", full("s1", "delivery_data", `1`+sep)},
		{"bad_m1", frame(t, "m1", "sender_ip", strings.Repeat("x", size-500), "timestamp", "x", "incoming_size", "x", "id", "x")},
	}
}
