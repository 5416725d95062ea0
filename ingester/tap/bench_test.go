package tap

import (
	"net/netip"
	"testing"

	"millrace/ingester/framing"
	"millrace/ingester/header"
	"millrace/schema"
)

// BenchmarkShow is what a frame costs by itself: while nobody looks, and with taps.
func BenchmarkShow(b *testing.B) {
	var e schema.Event
	e.Reset(schema.Message)
	e.SetText(schema.Listener, []byte("filter-tcp"))
	e.SetText(schema.Message.Index("domain"), []byte("example.com"))
	frame, peer := framing.Whole(make([]byte, 409)), netip.MustParseAddrPort("192.0.2.7:40000")
	frame.Bytes = make([]byte, 409)
	var h header.Header
	f := func(name string, requests ...Request) {
		b.Run(name, func(b *testing.B) {
			var hub Hub
			for _, r := range requests {
				t, err := hub.Open(Options{Request: r, Events: true, Buffer: 1 << 20})
				if err != nil {
					b.Fatal(err)
				}
				defer t.Close()
			}
			b.ReportAllocs()
			for range b.N { // b.Loop would keep Watched from being inlined
				if hub.Watched() {
					hub.Show(&e, &h, &frame, peer, "")
				}
			}
		})
	}
	f("nobody looks")
	f("another kind", Request{Filter: Filter{Kinds: []*schema.Kind{schema.Reject}}})
	f("another domain", Request{Filter: Filter{Domains: []string{".example.org"}}})
	f("over the rate", Request{Rate: 1e-9})
	f("the buffer is full", Request{})
}
