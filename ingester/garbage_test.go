package ingester

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/schema"
)

// TestAccountUnderGarbage: any bytes on any listener, with readers of the account
// beside them. It closes at the end, Kafka holds what it says, and no reading in
// between shows a frame twice or a negative number.
func TestAccountUnderGarbage(t *testing.T) {
	t.Parallel()
	listeners := "  - {name: udp, address: 'udp://127.0.0.1:0', receive_buffer: 64MiB}\n"
	for _, framing := range []string{"auto", "nul", "lf", "octet"} {
		listeners += fmt.Sprintf("  - {name: %s, address: 'tcp://127.0.0.1:0', framing: %s, frame_idle: 10ms, max_frame: 8KiB}\n", framing, framing)
	}
	r := newRig(t, listeners, "  buffer_bytes: 8MiB\n")
	registry := prometheus.NewRegistry()
	registry.MustRegister(r.Ingester)

	done := make(chan struct{})
	var readers sync.WaitGroup
	for _, in := range r.inputs {
		readers.Go(func() {
			before := in.ledger.read()
			for {
				select {
				case <-done:
					return
				default:
				}
				a := in.ledger.read()
				ended := a.Published + a.RejectedTotal() + a.DroppedTotal()
				// What is missing from a reading is in hand: never more, never less than none.
				if missing := int64(a.Received) - int64(ended) - a.InFlight; a.InFlight < 0 || missing < 0 {
					t.Errorf("%s: %+v: %d frames are missing", in.name, a, missing)
					return
				}
				if a.Received < before.Received || a.Published < before.Published || a.RejectedTotal() < before.RejectedTotal() || a.DroppedTotal() < before.DroppedTotal() {
					t.Errorf("%s: went backwards from %+v to %+v", in.name, before, a)
					return
				}
				before = a
				time.Sleep(20 * time.Microsecond)
			}
		})
	}
	readers.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			for listener, a := range scrape(t, registry) {
				if a["in_flight"] < 0 || a["received"] < a["published"]+a["rejected"]+a["dropped"]+a["in_flight"] {
					t.Errorf("%s: a scrape shows %v", listener, a)
				}
			}
			time.Sleep(time.Millisecond)
		}
	})

	var senders sync.WaitGroup
	datagrams := make([]int, 2)
	for i := range 2 {
		senders.Go(func() { datagrams[i] = sprayUDP(t, r.dial("udp"), uint64(i)) })
	}
	for _, framing := range []string{"auto", "nul", "lf", "octet"} {
		for i := range 2 {
			senders.Go(func() { sprayTCP(t, r.addr[framing], framing, uint64(i)) })
		}
	}
	senders.Wait()
	// Each framing still takes a good frame.
	frame := "<22>" + m1(testID(1), "good after all")
	for name, text := range map[string]string{"udp": frame, "auto": frame + "\x00", "nul": frame + "\x00", "lf": frame + "\n", "octet": fmt.Sprintf("%d %s", len(frame), frame)} {
		r.send(name, text)
	}
	// A datagram that waits in the socket is nobody's yet: a stop need not take it.
	within(t, "all datagrams are taken", func() bool {
		n := uint64(0)
		for _, in := range r.inputs {
			if string(in.name) == "udp" {
				n = in.ledger.read().Received
			}
		}
		return n == uint64(datagrams[0]+datagrams[1]+1)
	}, func() string { return fmt.Sprintf("%+v", r.Account()) })
	a := r.drained()
	close(done)
	readers.Wait()

	for name, m := range scrape(t, registry) {
		if m["received"] != m["published"]+m["rejected"]+m["dropped"] || m["in_flight"] != 0 || m["received"] < 100 {
			t.Errorf("%s: at the end %v", name, m)
		}
	}
	// Who sent it adds up to what the sinks have taken, too.
	for _, in := range r.inputs {
		var frames, rejects, dropped uint64
		for _, peer := range in.peers.Read(0).Senders {
			frames, rejects, dropped = frames+peer.Frames, rejects+peer.Rejects, dropped+peer.Dropped
		}
		a, taken := in.ledger.read(), in.ledger.received.Load()
		if ended := a.DroppedTotal() - (a.Received - taken); frames != taken || dropped != ended || rejects < a.RejectedTotal() || rejects > a.RejectedTotal()+dropped {
			t.Errorf("%s: the peers have sent %d frames, %d rejects, %d dropped; the sinks took %d, and dropped %d: %+v", in.name, frames, rejects, dropped, taken, ended, a)
		}
	}
	var overUDP Account
	for _, in := range r.inputs {
		if string(in.name) == "udp" {
			overUDP = in.ledger.read()
		}
	}
	if sent := datagrams[0] + datagrams[1] + 1; overUDP.Received != uint64(sent) {
		t.Errorf("%d datagrams were sent, %d are in the account", sent, overUDP.Received)
	}
	published, rejected, survivors := uint64(0), map[schema.Reason]uint64{}, 0
	for _, e := range r.read(int(a.Published + a.RejectedTotal())) {
		if e["kind"] == "reject" {
			rejected[schema.Reason(e["reason"])]++
			if e["raw"] == "" {
				t.Errorf("a reject without its bytes: %q", e)
			}
			continue
		}
		published++
		if e["subject_header"] == "good after all" {
			survivors++
		}
	}
	if published != a.Published || fmt.Sprint(rejected) != fmt.Sprint(a.Rejected) {
		t.Errorf("Kafka has %d events and the rejects %v; the account is %+v", published, rejected, a)
	}
	if survivors != len(r.inputs) {
		t.Errorf("%d of %d good frames behind the garbage came through", survivors, len(r.inputs))
	}
}

// damage is random bytes, or a frame with something wrong in it.
func damage(r *rand.Rand) []byte {
	b := []byte("<22>" + m1(testID(r.IntN(1000)), "damaged") + "\x00")
	switch r.IntN(8) {
	case 0:
		b = make([]byte, r.IntN(3000)+1)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
	case 1:
		for range 1 + r.IntN(20) {
			b[r.IntN(len(b))] = byte(r.Uint32())
		}
	case 2:
		b = b[:r.IntN(len(b))+1]
	case 3:
		b = append([]byte(fmt.Sprintf("%d ", r.IntN(600))), b...)
	case 4:
		b = append(b[:20:20], b[10:200]...)
	case 5:
		b = []byte(strings.Repeat("A", r.IntN(20_000)) + "\n\x00\n<999>")
	case 6:
		b = []byte(strings.Repeat("\x00\n\r", r.IntN(20)) + "<14>")
	}
	return b
}

func sprayTCP(t *testing.T, to net.Addr, framing string, seed uint64) {
	r := rand.New(rand.NewPCG(seed, uint64(len(framing))))
	for range 60 {
		c, err := net.Dial(to.Network(), to.String())
		if err != nil {
			t.Error(err)
			return
		}
		for range 1 + r.IntN(20) {
			b := damage(r)
			if framing == "octet" && r.IntN(3) > 0 {
				b = append([]byte(fmt.Sprintf("%d ", len(b))), b...)
			}
			// The listener may close the connection on us: that is its right.
			if _, err := c.Write(b); err != nil {
				break
			}
		}
		c.Close()
	}
}

func sprayUDP(t *testing.T, c net.Conn, seed uint64) (sent int) {
	r := rand.New(rand.NewPCG(seed, 0))
	for range 1500 {
		b := damage(r)
		if r.IntN(50) == 0 {
			b = nil
		}
		if _, err := c.Write(b); err != nil {
			t.Error(err)
			return sent
		}
		sent++
	}
	return sent
}

// scrape reads the account of each listener from the metrics.
func scrape(t *testing.T, registry prometheus.Gatherer) map[string]map[string]float64 {
	families, err := registry.Gather()
	if err != nil {
		t.Error(err)
		return nil
	}
	accounts := map[string]map[string]float64{}
	for _, f := range families {
		name, ok := strings.CutPrefix(f.GetName(), "millrace_frames_")
		if !ok {
			continue
		}
		name = strings.TrimSuffix(name, "_total")
		for _, m := range f.GetMetric() {
			listener := ""
			for _, l := range m.GetLabel() {
				if l.GetName() == "listener" {
					listener = l.GetValue()
				}
			}
			if accounts[listener] == nil {
				accounts[listener] = map[string]float64{}
			}
			accounts[listener][name] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return accounts
}
