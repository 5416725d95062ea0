package ingester

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"millrace/schema"
)

// TestUDPFlood: senders write many times more datagrams than the sockets hold, some
// of them too long and some empty. Each datagram that was sent is in the account,
// as published, rejected, or dropped: those that the kernel threw away too, which
// it tells with the next datagram that it takes on the same socket. Hence the few
// at the end.
func TestUDPFlood(t *testing.T) {
	t.Parallel()
	r := newRig(t, "  - {name: udp, address: 'udp://127.0.0.1:0', sockets: 2, receive_buffer: 64KiB, max_frame: 1KiB}\n", "")
	within(t, "Kafka takes records", func() bool { return r.State() == nil }, func() string { return fmt.Sprint(r.State()) })
	const senders, each = 4, 10_000
	var sent, long, empty atomic.Int64
	tooLong := "<22>" + m1(testID(0), strings.Repeat("long ", 400))
	var wg sync.WaitGroup
	for s := range senders {
		c := r.dial("udp")
		wg.Go(func() {
			for n := range each {
				text := "<22>" + m1(testID(1+s*each+n), "flood")
				switch n % 100 {
				case 50:
					text = tooLong
					long.Add(1)
				case 99:
					text = ""
					empty.Add(1)
				}
				if _, err := c.Write([]byte(text)); err != nil {
					t.Error(err)
					return
				}
				sent.Add(1)
			}
		})
	}
	wg.Wait()
	// One at a time from many ports: each of the two sockets gets some.
	extra := 0
	within(t, "all are in the account", func() bool {
		a := r.Account()
		if a.Received == uint64(sent.Load()) && a.Dropped[schema.DropKernel] > 0 {
			return true
		}
		for range 8 {
			r.send("udp", "<22>"+m1(testID(senders*each+1+extra), "afterwards"))
			extra++
			sent.Add(1)
		}
		time.Sleep(time.Millisecond) // they find room in the socket
		return false
	}, func() string { return fmt.Sprintf("%+v of %d", r.Account(), sent.Load()) })
	a := r.drained()
	if a.Received != uint64(sent.Load()) {
		t.Errorf("%d datagrams were sent: %+v", sent.Load(), a)
	}
	cut, blank := a.Rejected[schema.ReasonTruncatedDatagram], a.Dropped[schema.DropEmpty]
	if cut == 0 || cut > uint64(long.Load()) || blank == 0 || blank > uint64(empty.Load()) || a.RejectedTotal() != cut || a.Dropped[schema.DropKernel] == 0 {
		t.Errorf("of %d datagrams %d were too long and %d empty: %+v", sent.Load(), long.Load(), empty.Load(), a)
	}
	t.Logf("%d datagrams: %+v", sent.Load(), a)
	seen := map[string]int{}
	for _, e := range r.read(int(a.Published + a.RejectedTotal())) {
		if e["kind"] == "message" {
			if seen[e["id"]]++; seen[e["id"]] > 1 {
				t.Errorf("%s is there %d times", e["id"], seen[e["id"]])
			}
		}
	}
	if len(seen) != int(a.Published) {
		t.Errorf("%d events, published were %d", len(seen), a.Published)
	}
}
