package ingester

import (
	"strings"
	"testing"
	"time"

	"millrace/ingester/framing"
	"millrace/ingester/publish"
	"millrace/internal/traffic"
	"millrace/schema"
)

// mixed is made-up traffic of all built-in formats, cut into frames.
func mixed(t testing.TB, n int) []framing.Frame {
	t.Helper()
	g, err := traffic.New(traffic.Options{Seed: 1, Format: "mixed", Framing: "nul"})
	if err != nil {
		t.Fatal(err)
	}
	frames := make([]framing.Frame, n)
	for i := range frames {
		b, _ := g.Next(nil)
		frames[i] = framing.Whole(b)
	}
	return frames
}

// TestFrame_Allocs: from the frame to the open batch, not one allocation, with
// every kind of thing that a good frame can hold or be forgiven. Text that has to
// be made UTF-8 is copied once more.
func TestFrame_Allocs(t *testing.T) {
	s := newSink(t, false, func(o *publish.Options) { o.BatchBytes, o.BufferBytes = 16<<20, 256<<20 })
	plain := m1(testID(1), "Re: offer, 50% off")
	cases := map[string]string{
		"m1":                 "<22>" + plain,
		"s1":                 "<22>" + s1(testID(1), "delivered", "250 ok"),
		"no PRI, raw kept":   plain,
		"RFC 3164":           "<22>Nov 20 15:30:53 relay1 app[12]: " + plain,
		"RFC 5424":           "<22>1 2026-11-20T15:30:53.1Z host app 12 - - " + plain,
		"not UTF-8":          "<22>" + m1(testID(1), "caf\xe9"),
		"NUL":                "<22>" + m1(testID(1), "a\x00b"),
		"surplus separators": "<22>" + m1With(testID(1), `a","b`, `"a@x","b@y"`),
		"bad values":         "<22>" + strings.NewReplacer("192.0.2.1", "nowhere", "23533", "many", "1680135061", "yesterday").Replace(plain),
	}
	allowed := map[string]float64{"not UTF-8": 1, "NUL": 1}
	for name, text := range cases {
		f := framing.Whole([]byte(text))
		frame := func() {
			if err := s.Frame(benchPeer, f); err != nil {
				t.Fatal(err)
			}
		}
		before := s.in.ledger.read()
		if n := testing.AllocsPerRun(200, frame); n > allowed[name]+poolAllocs {
			t.Errorf("%s: %v allocations a frame, allowed are %v", name, n, allowed[name])
		}
		if a := s.in.ledger.read(); a.Received-before.Received != 201 || s.event.Kind == schema.Reject {
			t.Errorf("%s: %d of 201 frames were taken, as %s", name, a.Received-before.Received, s.event.Kind.Name)
		}
	}
	s.Flush()
}

// TestFrame_AllocsSteady: with batches sealed, compressed, sent and acknowledged
// on the way, a frame costs nothing; a batch costs some of kafka-go's requests.
func TestFrame_AllocsSteady(t *testing.T) {
	s := newSink(t, true, func(o *publish.Options) { o.Linger = time.Hour })
	frames := mixed(t, 5000)
	round := func() {
		for i, f := range frames {
			if err := s.Frame(benchPeer, f); err != nil {
				t.Fatal(err)
			}
			if i%50 == 49 {
				s.Flush()
			}
		}
		s.Flush()
	}
	for range 20 {
		round() // buffers are made on first use
	}
	if n := testing.AllocsPerRun(10, round) / float64(len(frames)); n > 0.02+poolAllocs {
		t.Errorf("%.4f allocations a frame", n)
	}
}

// TestDecode_Allocs: header, template, 18 typed columns and the look at UTF-8 take no
// memory, and the record none but its own.
func TestDecode_Allocs(t *testing.T) {
	frames := measured(64)
	s := newSink(t, false, nil)
	s.take(benchPeer, frames[0])
	record := make([]byte, 0, 4<<10)
	n := testing.AllocsPerRun(20, func() {
		for _, f := range frames {
			outcome, ok := s.decode(f)
			if !ok || outcome != 0 {
				t.Fatalf("a good frame was not decoded: %q", f.Bytes)
			}
			s.complete(benchPeer, f, outcome)
			record = schema.AppendRecord(record[:0], &s.event)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations for %d frames", n, len(frames))
	}
	s.Flush()
}
