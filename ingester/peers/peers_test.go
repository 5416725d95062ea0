package peers

import (
	"fmt"
	"math"
	"net/netip"
	"testing"
)

const start = int64(1_800_000_000_000)

func addr(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}

func key(a netip.Addr) string { b := a.As16(); return string(b[:]) }

func find(t *testing.T, r Reading, key string) Sender {
	t.Helper()
	for _, s := range r.Senders {
		if s.Key == key {
			return s
		}
	}
	t.Fatalf("%q is not in the table", key)
	return Sender{}
}

func TestTally(t *testing.T) {
	t.Parallel()
	hosts, listener := New(Max), New(Max)
	var tally Tally
	tally.Begin(listener, hosts, start)
	event := func(peer int, host string) {
		tally.Frame(addr(peer), 100)
		tally.Event([]byte(host), nil, 100, 0, start-2000)
	}
	for range 3 {
		event(1, "mx1")
	}
	event(2, "mx1")
	event(2, "mx2") // a relay
	tally.Frame(addr(1), 50)
	tally.Reject(nil)
	tally.Frame(addr(1), 50)
	tally.Reject([]byte("mx2")) // the header knows better than the peer
	tally.Frame(addr(2), 50)
	tally.Reject(nil) // nobody's
	tally.Frame(addr(2), 50)
	tally.Reject([]byte("elsewhere"))
	tally.Drop()
	tally.End()

	r := listener.Read(start)
	one, two := find(t, r, key(addr(1))), find(t, r, key(addr(2)))
	if want := (Counts{Frames: 5, Rejects: 2, Bytes: 400}); one.Counts != want || one.Host != "mx1" || one.Several {
		t.Errorf("%+v, want %+v of mx1", one, want)
	}
	if want := (Counts{Frames: 4, Rejects: 2, Dropped: 1, Bytes: 300}); two.Counts != want || !two.Several {
		t.Errorf("%+v, want %+v of several", two, want)
	}
	h := hosts.Read(start)
	if len(h.Senders) != 2 {
		t.Errorf("a header made a filtering host: %+v", h.Senders)
	}
	mx1, mx2 := find(t, h, "mx1"), find(t, h, "mx2")
	if mx1.Frames != 4 || mx1.Rejects != 1 || mx2.Frames != 1 || mx2.Rejects != 1 {
		t.Errorf("%+v, %+v", mx1, mx2)
	}
	if mx1.Skew != -2 || mx1.Samples != 1 || one.Skew != -2 {
		t.Errorf("skew %v of %d samples, the peer's %v", mx1.Skew, mx1.Samples, one.Skew)
	}
}

// TestTally_Crowd: more senders than a tally has slots lose nothing.
func TestTally_Crowd(t *testing.T) {
	t.Parallel()
	hosts, listener := New(Max), New(Max)
	var tally Tally
	const senders, rounds = 300, 20
	for range 2 {
		tally.Begin(listener, hosts, start)
		for i := range senders * rounds {
			tally.Frame(addr(i%senders), 10)
			tally.Event(fmt.Appendf(nil, "mx%d", i%senders), nil, 10, start, start)
		}
		tally.End()
	}
	for _, table := range []*Table{hosts, listener} {
		r := table.Read(start)
		if len(r.Senders) != senders || r.Evicted != 0 {
			t.Fatalf("%d senders, %d evicted", len(r.Senders), r.Evicted)
		}
		for _, s := range r.Senders {
			if want := (Counts{Frames: 2 * rounds, Bytes: 20 * rounds}); s.Counts != want || s.Skew != 0 || s.Samples == 0 {
				t.Fatalf("%+v, want %+v", s, want)
			}
		}
	}
	for _, s := range listener.Read(start).Senders {
		a := netip.AddrFrom16([16]byte([]byte(s.Key))).Unmap().As4()
		if want := fmt.Sprintf("mx%d", int(a[2])<<8|int(a[3])); s.Host != want || s.Several {
			t.Fatalf("%v stands for %q, want %q", a, s.Host, want)
		}
	}
}

// TestTable_Bound: a flood from made-up addresses takes no more memory than the bound,
// keeps who is heard, and loses no count.
func TestTable_Bound(t *testing.T) {
	t.Parallel()
	listener := New(100)
	var tally Tally
	for i := range 5000 {
		tally.Begin(listener, New(1), start+int64(i))
		tally.Frame(addr(i), 7)
		tally.Frame(addr(1_000_000), 7) // one true sender
		tally.End()
	}
	r := listener.Read(start + 5000)
	if len(r.Senders) != 100 || len(listener.entries) != 100 || listener.order.Len() != 100 {
		t.Fatalf("%d senders, the bound is 100", len(r.Senders))
	}
	if r.Senders[0].Last < r.Senders[99].Last || r.Evicted != 5001-100 {
		t.Errorf("%d evicted, in the order %d ... %d", r.Evicted, r.Senders[0].Last, r.Senders[99].Last)
	}
	if s := find(t, r, key(addr(1_000_000))); s.Frames != 5000 {
		t.Errorf("who is heard all the time was forgotten: %+v", s)
	}
	sum := r.Gone
	for _, s := range r.Senders {
		sum.add(s.Counts)
	}
	if want := (Counts{Frames: 10_000, Bytes: 70_000}); sum != want {
		t.Errorf("all senders and those gone have %+v, want %+v", sum, want)
	}
}

func TestTable_Rate(t *testing.T) {
	t.Parallel()
	table := New(Max)
	var tally Tally
	now := start
	send := func(seconds, perSecond int) {
		for range seconds {
			now += 1000
			tally.Begin(table, table, now)
			for range perSecond {
				tally.Frame(addr(1), 1)
			}
			tally.End()
		}
	}
	rate := func() float64 { return find(t, table.Read(now), key(addr(1))).Rate }
	near := func(want float64) {
		t.Helper()
		if got := rate(); math.Abs(got-want) > 0.03*want {
			t.Errorf("rate %.1f, want about %.1f", got, want)
		}
	}
	send(20, 100) // younger than the window
	near(105)     // its first second is counted and not lived
	send(600, 100)
	near(100)
	send(600, 10)
	near(10)
	now += 60_000
	near(10 / math.E)
}

// TestSkew: the median is not moved by some queued mail, and follows a clock.
func TestSkew(t *testing.T) {
	t.Parallel()
	table := New(Max)
	var tally Tally
	for i := range 40 {
		own := start + 3000
		if i%3 == 0 {
			own = start - 3_600_000 // was in a queue for an hour
		}
		tally.Begin(New(1), table, start)
		tally.Frame(addr(1), 1)
		tally.Event([]byte("mx1"), nil, 1, 0, own)
		tally.End()
	}
	if s := find(t, table.Read(start), "mx1"); s.Skew != 3 || s.Samples != 40 {
		t.Errorf("skew %v of %d samples", s.Skew, s.Samples)
	}
}

func TestTally_Allocs(t *testing.T) {
	hosts, listener := New(Max), New(Max)
	var tally Tally
	names := [][]byte{[]byte("mx1.example.net"), []byte("mx2.example.net"), []byte("mx3.example.net")}
	read := func() {
		tally.Begin(listener, hosts, start)
		for i := range 30 {
			tally.Frame(addr(i%5), 100)
			if i%7 == 0 {
				tally.Reject(names[i%3])
			} else {
				tally.Event(names[i%3], names[0], 100, start, start)
			}
		}
		tally.End()
	}
	for range 10 {
		read()
	}
	if n := testing.AllocsPerRun(100, read); n != 0 {
		t.Errorf("%v allocations a read", n)
	}
}

func BenchmarkTally(b *testing.B) {
	for name, senders := range map[string]int{"one": 1, "four": 4, "relay": 100} {
		b.Run(name, func(b *testing.B) {
			hosts, listener := New(Max), New(Max)
			var tally Tally
			host := make([][]byte, senders)
			for i := range host {
				host[i] = fmt.Appendf(nil, "filter%d.example.net", i)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%150 == 0 {
					tally.End()
					tally.Begin(listener, hosts, start)
				}
				tally.Frame(addr(1), 100)
				tally.Event(host[i%senders], nil, 100, start, start)
			}
		})
	}
}
