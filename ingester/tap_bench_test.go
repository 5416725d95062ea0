package ingester

import (
	"testing"

	"millrace/ingester/tap"
	"millrace/schema"
)

// BenchmarkFrameTap is BenchmarkFrame with taps of which none matches, and with one
// that matches all and shows ten a second.
func BenchmarkFrameTap(b *testing.B) {
	frames := mixed(b, 10_000)
	f := func(name string, requests ...tap.Request) {
		b.Run(name, func(b *testing.B) {
			s := newSink(b, true, nil)
			for _, r := range requests {
				t, err := s.in.taps.Open(tap.Options{Request: r, Events: true, Buffer: 1 << 20})
				if err != nil {
					b.Fatal(err)
				}
				defer t.Close()
			}
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
		})
	}
	rejects := tap.Request{Filter: tap.Filter{Kinds: []*schema.Kind{schema.Reject}}}
	f("none")
	f("one that matches nothing", rejects)
	f("eight that match nothing", rejects, rejects, rejects, rejects, rejects, rejects, rejects, rejects)
	f("all at 10 a second", tap.Request{Rate: 10})
}

// TestFrame_AllocsTapped: a tap that shows nothing allocates nothing either.
func TestFrame_AllocsTapped(t *testing.T) {
	s := newSink(t, false, nil)
	for _, r := range []tap.Request{
		{Filter: tap.Filter{Kinds: []*schema.Kind{schema.Reject}}},
		{Filter: tap.Filter{Listeners: []string{"other"}}},
		{Filter: tap.Filter{Domains: []string{"none.example", ".none.example"}}},
		{Filter: tap.Filter{Contains: [][]byte{[]byte("what no frame of these holds, and longer than what fits on a stack")}}},
		{Rate: 1e-9},
	} {
		opened, err := s.in.taps.Open(tap.Options{Request: r, Buffer: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer opened.Close()
	}
	frames := mixed(t, 100)
	if n := testing.AllocsPerRun(100, func() {
		for _, f := range frames {
			if err := s.Frame(benchPeer, f); err != nil {
				t.Fatal(err)
			}
		}
	}) / 100; n > poolAllocs {
		t.Errorf("%v allocations a frame", n)
	}
	s.Flush()
}
