package ingester

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/ingester/publish"
	"millrace/internal/config"
	"millrace/internal/embedded"
	"millrace/schema"
)

// smallBuffers make the bound on memory come soon.
const smallBuffers = "  batch_bytes: 16KiB\n  buffer_bytes: 1MiB\n  compression: none\n"

// flood writes numbered frames until its connection no longer takes any, and
// says so on stalled; then it goes on when that is possible, up to stop.
type flood struct {
	mu      sync.Mutex
	sent    int // frames written whole
	stalled chan struct{}
	stop    chan struct{}
	done    chan error
}

// stallAfter is how long a write may take on a machine where something reads.
const stallAfter = 500 * time.Millisecond

func startFlood(t *testing.T, c net.Conn, first int) *flood {
	f := &flood{stalled: make(chan struct{}), stop: make(chan struct{}), done: make(chan error, 1)}
	stalled := sync.OnceFunc(func() { close(f.stalled) })
	go func() {
		for n := first; ; n++ {
			select {
			case <-f.stop:
				f.done <- nil
				return
			default:
			}
			frame := []byte("<22>" + m1(testID(n), "flood") + "\x00")
			for len(frame) > 0 {
				_ = c.SetWriteDeadline(time.Now().Add(stallAfter))
				n, err := c.Write(frame)
				frame = frame[n:]
				var timeout net.Error
				if errors.As(err, &timeout) && timeout.Timeout() {
					stalled()
					select {
					case <-f.stop:
						f.done <- fmt.Errorf("%d bytes of a frame are not written", len(frame))
						return
					default:
					}
				} else if err != nil {
					f.done <- err
					return
				}
			}
			f.mu.Lock()
			f.sent++
			f.mu.Unlock()
		}
	}()
	return f
}

func (f *flood) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent
}

func (f *flood) waitStalled(t *testing.T) {
	t.Helper()
	select {
	case <-f.stalled:
	case <-time.After(patience):
		t.Fatal("the sender can still write")
	}
}

// TestKafkaAway: TCP is not read, datagrams are counted, State says why, memory
// stays bounded; when Kafka is back all that TCP sent arrives, without a restart.
func TestKafkaAway(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	broker := startBroker(t, embedded.BrokerOptions{DataDir: data})
	r := newRigOn(t, broker, both, smallBuffers)
	within(t, "Kafka takes records", func() bool { return r.State() == nil }, func() string { return fmt.Sprint(r.State()) })
	broker.Close()

	f := startFlood(t, r.dial("tcp"), 0)
	f.waitStalled(t)
	within(t, "State says why", func() bool { err := r.State(); return err != nil && strings.Contains(err.Error(), broker.Addr) },
		func() string { return fmt.Sprint(r.State()) })

	// TCP leaves some of the buffers to datagrams; then those are counted.
	u := r.dial("udp")
	dropped := func() uint64 { return r.Account().Dropped[schema.DropBackpressure] }
	datagrams := 0
	within(t, "datagrams are dropped", func() bool {
		for range 100 {
			if _, err := fmt.Fprintf(u, "<22>%s", m1(testID(1_000_000+datagrams), "datagram")); err != nil {
				t.Fatal(err)
			}
			datagrams++
		}
		return dropped() > 100
	}, func() string { return fmt.Sprint(dropped()) })
	used, limit := r.publisher.Buffered()
	if used != limit || limit > 1<<20 {
		t.Errorf("%d bytes are buffered, of %d; kafka.buffer_bytes is 1 MiB", used, limit)
	}
	stalled := r.Account()
	if stalled.InFlight <= 0 || stalled.Published != 0 {
		t.Errorf("while Kafka is away: %+v", stalled)
	}

	o := embedded.BrokerOptions{DataDir: data, Address: broker.Addr}
	r.broker = startBroker(t, o)
	within(t, "Kafka takes records again", func() bool { return r.State() == nil }, func() string { return fmt.Sprint(r.State()) })
	before := f.count()
	within(t, "the sender can write again", func() bool { return f.count() > before }, func() string { return fmt.Sprint(f.count()) })
	close(f.stop)
	if err := <-f.done; err != nil {
		t.Fatal(err)
	}
	sent := f.count()
	r.within("all is received", func(a Account) bool { return a.Received >= uint64(sent+datagrams) })
	acc := r.drained()
	if got := acc.Received; got != uint64(sent+datagrams) {
		t.Errorf("%d frames were received; sent were %d on TCP and %d datagrams (kernel drops: %d)", got, sent, datagrams, acc.Dropped[schema.DropKernel])
	}
	var overTCP []event
	for _, e := range r.read(int(acc.Published)) {
		if e["transport"] == "tcp" {
			overTCP = append(overTCP, e)
		}
	}
	once(t, overTCP, 0, sent)
	if udp := int(acc.Published) - len(overTCP); udp+int(acc.DroppedTotal()) != datagrams || len(acc.Dropped) > 2 {
		t.Errorf("of %d datagrams %d were published and %v dropped", datagrams, udp, acc.Dropped)
	}
}

// TestHardStop: what Kafka has not acknowledged at the deadline is counted, to
// the frame, and the account closes.
func TestHardStop(t *testing.T) {
	t.Parallel()
	r := newRig(t, both, smallBuffers)
	within(t, "Kafka takes records", func() bool { return r.State() == nil }, func() string { return fmt.Sprint(r.State()) })
	const good = 500
	for n := range good {
		r.send("udp", "<22>"+m1(testID(n), "good"))
	}
	r.within("the first are published", func(a Account) bool { return a.Published == good })
	// From now on Kafka refuses each batch, for certain.
	r.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: 1 << 30})
	f := startFlood(t, r.dial("tcp"), good)
	f.waitStalled(t)
	r.kill()
	err := r.stop()
	if !errors.Is(err, publish.ErrLost) {
		t.Errorf("Run returned %v", err)
	}
	close(f.stop)
	<-f.done
	a := r.Account()
	if a.Published != good || a.InFlight != 0 || !a.Closes() || a.Dropped[schema.DropShutdown] != a.Received-good || len(a.Dropped) != 1 {
		t.Errorf("account %+v", a)
	}
	if lost := r.publisher.Stats().Lost.Load(); a.Dropped[schema.DropShutdown] < lost || lost == 0 {
		t.Errorf("the publisher lost %d, the account has %+v", lost, a)
	}
	if !strings.Contains(r.log.String(), fmt.Sprintf("published=%d rejected=0 dropped=%d in_flight=0", good, a.DroppedTotal())) {
		t.Error("the account is not in the log")
	}
	once(t, r.read(good), 0, good)
}

// TestSoftStop: what is in the sockets when the stop comes is handed over.
func TestSoftStop(t *testing.T) {
	t.Parallel()
	r := newRig(t, both, "")
	const n = 500
	c, u := r.dial("tcp"), r.dial("udp")
	for i := range n {
		if _, err := fmt.Fprintf(c, "<22>%s\x00", m1(testID(i), "tcp")); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			if _, err := fmt.Fprintf(u, "<22>%s", m1(testID(n+i), "udp")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := io.WriteString(c, "<22>"+m1(testID(n-1), "half a fra")[:100]); err != nil {
		t.Fatal(err)
	}
	a := r.drained() // without waiting for anything
	if a.Received != n+n/10+1 || a.Published != n+n/10 || a.Rejected[schema.ReasonTruncatedEOF] != 1 || a.DroppedTotal() != 0 {
		t.Errorf("account %+v", a)
	}
}

// TestOversizeRecord: a record that fits no batch becomes a reject that does,
// whatever part of the frame made it so large; the connection goes on.
func TestOversizeRecord(t *testing.T) {
	t.Parallel()
	// The file allows no batches so small for frames so large: only text that is
	// not UTF-8, which grows when it is made so, comes here otherwise.
	large := strings.ReplaceAll(both, "max_frame: 4KiB", "max_frame: 60KiB")
	r := newRig(t, large, "", func(c *config.Config) { c.Kafka.BatchBytes = 16 << 10 })
	long := strings.Repeat("long ", 8000)
	header := `<165>1 2023-03-30T02:11:05.250+02:00 ` + strings.Repeat("h", 20_000) + ` app 1 - [filter@32473 note="` + strings.Repeat("n", 20_000) + `"] `
	frames := []string{
		"<22>" + m1(testID(1), long),
		"<22>nonsense " + long,
		header + m1(testID(2), "a long header"),
		header + "nonsense",
	}
	for _, l := range []string{"tcp", "udp"} {
		c := r.dial(l)
		for _, f := range append(frames, "<22>"+m1(testID(3), "good")) {
			if _, err := io.WriteString(c, f+"\x00"); err != nil {
				t.Fatal(err)
			}
		}
	}
	n := 2 * len(frames)
	r.within("all are acknowledged", func(a Account) bool { return a.Rejected[schema.ReasonOversize] == uint64(n) && a.Published == 2 })
	for _, e := range r.read(n + 2) {
		if e["kind"] != "reject" {
			e.want(t, "subject_header", "good")
			continue
		}
		of := 0
		for i, f := range frames {
			if e["frame_bytes"] == fmt.Sprint(len(f)) {
				of = i
			}
		}
		e.want(t, "reason", "oversize", "raw", frames[of][:rejectRawMax], "frame_bytes", fmt.Sprint(len(frames[of])), "syslog_host", "", "structured_data", "")
		if !strings.Contains(e["detail"], "kafka.batch_bytes") {
			t.Errorf("the detail does not name the key: %q", e["detail"])
		}
	}
	r.drained()
}

// TestGate: while it is closed TCP waits, datagrams are counted, and a stop is
// not held up.
func TestGate(t *testing.T) {
	t.Parallel()
	r := newRig(t, both, "")
	r.gate.Close()
	r.gate.Close()
	r.send("udp", "<22>"+m1(testID(1), "dropped"))
	r.within("the datagram is counted", func(a Account) bool { return a.Dropped[schema.DropDiskFull] == 1 })
	f := startFlood(t, r.dial("tcp"), 10)
	f.waitStalled(t)
	if a := r.Account(); a.Received != 1 || a.InFlight != 0 {
		t.Errorf("behind the closed gate: %+v", a)
	}
	r.gate.Open()
	r.gate.Open()
	before := f.count()
	within(t, "the sender can write again", func() bool { return f.count() > before }, func() string { return fmt.Sprint(f.count()) })
	close(f.stop)
	if err := <-f.done; err != nil {
		t.Fatal(err)
	}
	r.within("all is published", func(a Account) bool { return a.Published == uint64(f.count()) })
	once(t, r.read(f.count()), 10, 10+f.count())

	// A hard stop ends the wait; what was read is counted.
	r.gate.Close()
	r.send("tcp", "<22>"+m1(testID(1), "waits")+"\x00<22>"+m1(testID(2), "waits")+"\x00")
	within(t, "the frames are read", func() bool { return r.listeners[0].Stats().Open.Load() == 1 || r.listeners[0].Stats().Bytes.Load() > 0 }, func() string { return "" })
	received := r.Account().Received
	r.kill()
	if err := r.stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if a := r.Account(); !a.Closes() || a.InFlight != 0 || a.Dropped[schema.DropShutdown] != a.Received-received {
		t.Errorf("after a hard stop: %+v", a)
	}
}

// TestGate_NilAndContext: without a gate nothing waits, and a wait ends with its
// context.
func TestGate_NilAndContext(t *testing.T) {
	t.Parallel()
	var none *Gate
	if err := none.wait(context.Background()); err != nil {
		t.Error(err)
	}
	var g Gate
	g.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := g.wait(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
