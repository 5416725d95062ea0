package ingester

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/ingester/publish"
	"millrace/ingester/relp/relptest"
	"millrace/ingester/transport"
	"millrace/schema"
)

const relay = "  - {name: relay, address: 'relp://127.0.0.1:0', max_frame: 4KiB}\n"

func (r *rig) dialRELP() *relptest.Client { return relptest.New(r.dial("relay")) }

// withhold keeps the broker from answering, and from taking, produce requests until it
// is released. asked is closed when one has come.
func (r *rig) withhold() (asked <-chan struct{}, release func()) {
	came, released := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(came) })
	cluster := r.broker.Cluster()
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		once()
		cluster.SleepControl(func() { <-released })
		return nil, nil, false
	})
	release = sync.OnceFunc(func() { close(released) })
	r.t.Cleanup(release)
	return came, release
}

func answered(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%d rsp 6 200 OK", 2+i)
	}
	return list
}

// TestRELP_AckAfterKafka: while Kafka's acknowledgement is withheld no frame is answered,
// whatever became of it: an event, a reject, a reject for its length. Then all are, in
// order, and all are there.
func TestRELP_AckAfterKafka(t *testing.T) {
	t.Parallel()
	r := newRig(t, relay, "")
	asked, release := r.withhold()
	c := r.dialRELP()
	var frames []string
	for i := range 30 {
		switch i % 3 {
		case 0:
			frames = append(frames, "<22>"+m1(testID(i), "by RELP"))
		case 1:
			frames = append(frames, "<22>no template")
		case 2:
			frames = append(frames, "<22>"+m1(testID(i), strings.Repeat("long ", 1000)))
		}
	}
	if _, err := c.Write([]byte(strings.Join(frames, "\x00"))); err != nil {
		t.Fatal(err)
	}
	<-asked
	r.within("all frames are in flight", func(a Account) bool { return a.InFlight == 30 })
	if have := c.Said(t, 1); len(have) != 1 {
		t.Errorf("answers before Kafka's: %q", have[1:])
	}
	release()
	if have := c.Said(t, 31); !slices.Equal(have[1:], answered(30)) {
		t.Errorf("%q", have[1:])
	}
	if a := r.drained(); a.Published != 10 || a.Rejected[schema.ReasonNoTemplate] != 10 || a.Rejected[schema.ReasonOversize] != 10 {
		t.Errorf("%+v", a)
	}
	events := r.read(30)
	for i, e := range events {
		if e["transport"] != "relp" || e["listener"] != "relay" {
			t.Fatalf("event %d: %q", i, e)
		}
	}
	if said := c.Wait(t, "the end", func(_ []string, closed bool) bool { return closed }); said[len(said)-1] != "0 serverclose 0" {
		t.Errorf("the last word is %q", said[len(said)-1])
	}
}

// TestRELP_Dropped: frames of which nothing is kept are answered too, or their sender
// would send them for ever.
func TestRELP_Dropped(t *testing.T) {
	t.Parallel()
	r := newRig(t, "  - {name: relay, address: 'relp://127.0.0.1:0', reject_limit: {rows: 2}}\n", "")
	c := r.dialRELP()
	send := "<22>\x00<22> \x00" + strings.Repeat("<22>garbage\x00", 20) + "<22>" + m1(testID(1), "good")
	if _, err := c.Write([]byte(send)); err != nil {
		t.Fatal(err)
	}
	if have := c.Said(t, 24); !slices.Equal(have[1:], answered(23)) {
		t.Errorf("%q", have[1:])
	}
	a := r.drained()
	if a.Published != 1 || a.DroppedTotal() == 0 || a.Received != 23 {
		t.Errorf("%+v", a)
	}
}

// TestRELP_Resend: a sender whose connection breaks before it has its answers sends
// again. Everything is there at least once, and the account says how much may be there
// twice.
func TestRELP_Resend(t *testing.T) {
	t.Parallel()
	const frames = 100
	r := newRig(t, relay, "")
	asked, release := r.withhold()
	var all []string
	for i := range frames {
		all = append(all, "<22>"+m1(testID(i), "again"))
	}
	send := []byte(strings.Join(all, "\x00"))
	first := r.dialRELP()
	if _, err := first.Write(send); err != nil {
		t.Fatal(err)
	}
	<-asked
	r.within("all frames are in flight", func(a Account) bool { return a.InFlight == frames })
	first.Close()
	owed := func() uint64 { return r.listeners[0].Stats().Unanswered.Load() }
	within(t, "the frames without an answer are counted", func() bool { return owed() == frames }, func() string { return fmt.Sprint(owed()) })

	second := r.dialRELP()
	if _, err := second.Write(send); err != nil {
		t.Fatal(err)
	}
	release()
	if have := second.Said(t, 1+frames); !slices.Equal(have[1:], answered(frames)) {
		t.Errorf("%q", have[1:])
	}
	if a := r.drained(); a.Published != 2*frames {
		t.Errorf("%+v", a)
	}
	seen := map[string]int{}
	for _, e := range r.read(2 * frames) {
		seen[e["id"]]++
	}
	for i := range frames {
		if seen[testID(i)] != 2 {
			t.Errorf("message %d is there %d times", i, seen[testID(i)])
		}
	}
}

// TestRELP_DiskFull: while the gate is closed nothing is answered, and the sender waits.
func TestRELP_DiskFull(t *testing.T) {
	t.Parallel()
	r := newRig(t, relay, "")
	c := r.dialRELP()
	r.gate.Close()
	if _, err := c.Write([]byte("<22>" + m1(testID(1), "waits"))); err != nil {
		t.Fatal(err)
	}
	within(t, "the frame is read", func() bool { return r.listeners[0].Stats().Bytes.Load() > 300 }, func() string { return "" })
	if have := c.Said(t, 1); len(have) != 1 {
		t.Errorf("%q", have)
	}
	r.gate.Open()
	c.Said(t, 2)
	if a := r.drained(); a.Published != 1 {
		t.Errorf("%+v", a)
	}
}

// TestRELP_HardStop: what Kafka has not acknowledged at the stop's deadline gets no
// answer, and is counted on both sides.
func TestRELP_HardStop(t *testing.T) {
	t.Parallel()
	r := newRig(t, relay, "")
	asked, _ := r.withhold()
	c := r.dialRELP()
	if _, err := c.Write([]byte("<22>" + m1(testID(1), "one") + "\x00<22>" + m1(testID(2), "two"))); err != nil {
		t.Fatal(err)
	}
	<-asked
	r.within("both are in flight", func(a Account) bool { return a.InFlight == 2 })
	r.kill()
	if err := r.stop(); err == nil {
		t.Error("Run does not say that records were lost")
	}
	if have := c.Wait(t, "the end", func(_ []string, closed bool) bool { return closed }); len(have) != 1 {
		t.Errorf("%q", have[1:])
	}
	if a := r.Account(); a.Dropped[schema.DropShutdown] != 2 || !a.Closes() || r.listeners[0].Stats().Unanswered.Load() != 2 {
		t.Errorf("%+v, %d unanswered", a, r.listeners[0].Stats().Unanswered.Load())
	}
}

// stallPartition keeps the broker from answering requests for one partition of the message
// topic until it is released; the others go on. asked is closed when one has come.
func (r *rig) stallPartition(partition int32) (asked <-chan struct{}, release func()) {
	came, released := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(came) })
	cluster := r.broker.Cluster()
	cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		for _, topic := range req.(*kmsg.ProduceRequest).Topics {
			for _, p := range topic.Partitions {
				if topic.Topic == "millrace.message" && p.Partition == partition {
					once()
					cluster.SleepControl(func() { <-released })
				}
			}
		}
		return nil, nil, false
	})
	release = sync.OnceFunc(func() { close(released) })
	r.t.Cleanup(release)
	return came, release
}

// TestRELP_PartitionStalls: one partition of three does not answer. The connection one of
// whose frames it has hears nothing of that frame and of those behind it, though they are in
// Kafka: answers come in order. Other connections go on, for several times what the buffers
// hold, and within their bound. When the partition answers, what is owed comes.
func TestRELP_PartitionStalls(t *testing.T) {
	t.Parallel()
	r := newRig(t, relay, "  buffer_bytes: 4MiB\n  batch_bytes: 64KiB\n  sticky_bytes: 64KiB\n  compression: none\n")
	asked, release := r.stallPartition(1)
	waits, goes := r.dialRELP(), r.dialRELP()
	answers := func(c *relptest.Client) []string {
		return c.Wait(t, "what has been said", func([]string, bool) bool { return true })
	}
	sent := 0
	send := func(c *relptest.Client, frames int, subject string) {
		t.Helper()
		var text []string
		for range frames {
			text = append(text, "<22>"+m1(testID(sent), subject))
			sent++
		}
		if _, err := c.Write([]byte(strings.Join(text, "\x00"))); err != nil {
			t.Fatal(err)
		}
	}
	// Frame by frame, each answered, until one comes to the partition that stalls.
	for stalled := false; !stalled; {
		send(waits, 1, "in turn")
		within(t, "the frame is answered, or stays", func() bool {
			select {
			case <-asked:
				stalled = true
			default:
			}
			return stalled || len(answers(waits)) == 1+sent
		}, func() string { return fmt.Sprint(answers(waits)) })
	}
	told := sent // the session's first answer included, the last frame's not
	const behind = 50
	send(waits, behind, "behind it")
	r.within("those behind it are in Kafka", func(a Account) bool { return a.Published == uint64(sent-1) && a.InFlight == 1 })
	if have := answers(waits); !slices.Equal(have[1:], answered(told-1)) {
		t.Errorf("answers out of order: %q", have)
	}

	_, limit := r.publisher.Buffered()
	const wave, waves = 100, 50
	for n := range waves {
		send(goes, wave, strings.Repeat("long ", 700))
		if have := goes.Said(t, 1+wave*(n+1)); !slices.Equal(have[1:], answered(wave*(n+1))) {
			t.Fatalf("wave %d: the other connection hears %.500q", n, have[1:])
		}
		if used, _ := r.publisher.Buffered(); used > limit {
			t.Errorf("%d bytes are buffered, and %d is the bound", used, limit)
		}
	}
	if bytes := r.publisher.Stats().RecordBytes.Load(); bytes < 3*uint64(limit) {
		t.Errorf("%d bytes are no test of the bound, %d", bytes, limit)
	}
	if have := answers(waits); len(have) != told {
		t.Errorf("answers before Kafka's: %q", have[told:])
	}
	release()
	if have := waits.Said(t, told+1+behind); !slices.Equal(have[1:], answered(told+behind)) {
		t.Errorf("%q", have[1:])
	}
	if a := r.drained(); a.Published != uint64(sent) {
		t.Errorf("%+v; %d were sent", a, sent)
	}
	once(t, r.read(sent), 0, sent)
}

// slow is the stub as a cluster that takes its time to answer.
type slow struct {
	stub
	takes time.Duration
}

func (s slow) RoundTrip(ctx context.Context, a net.Addr, req kafka.Request) (kafka.Response, error) {
	if req.ApiKey() == protocol.Produce {
		time.Sleep(s.takes)
	}
	return s.stub.RoundTrip(ctx, a, req)
}

// BenchmarkRELP: what a sender with a window of 128, rsyslog's, gets through, with a
// Kafka that acknowledges after 2 ms and a linger of 50 ms.
func BenchmarkRELP(b *testing.B) {
	for _, connections := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("window=128/connections=%d", connections), func(b *testing.B) {
			s := newSink(b, true, func(o *publish.Options) { o.Transport = slow{takes: 2 * time.Millisecond} })
			l, err := transport.Listen(transport.Options{Network: "relp", Address: "127.0.0.1:0"})
			if err != nil {
				b.Fatal(err)
			}
			ctx, stop := context.WithCancel(context.Background())
			served := make(chan error, 1)
			go func() {
				served <- l.Serve(ctx, ctx, func(r transport.Receipts) transport.Sink { return s.in.open(r) })
			}()
			message := "<22>" + m1(testID(1), "by RELP")
			b.SetBytes(int64(len(message)))
			b.ResetTimer()
			var senders sync.WaitGroup
			for i := range connections {
				n := b.N / connections
				if i == 0 {
					n += b.N % connections
				}
				senders.Go(func() { window(b, l.Addr().String(), message, n) })
			}
			senders.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "frames/s")
			b.ReportMetric(float64(b.N)/float64(s.in.publisher.Stats().Batches.Load()), "frames/batch")
			stop()
			if err := <-served; err != nil {
				b.Fatal(err)
			}
		})
	}
}

// window sends n messages of which at most 128 have no answer.
func window(b *testing.B, to, message string, n int) {
	c, err := net.Dial("tcp", to)
	if err != nil {
		b.Error(err)
		return
	}
	defer c.Close()
	out, in := bufio.NewWriter(c), bufio.NewReader(c)
	fmt.Fprint(out, relptest.Frame(1, "open", relptest.Offers))
	out.Flush()
	for range 4 { // the lines of what is offered in turn
		if _, err := in.ReadSlice('\n'); err != nil {
			b.Error(err)
			return
		}
	}
	for sent, told := 0, 0; told < n; {
		for ; sent < n && sent-told < 128; sent++ {
			fmt.Fprint(out, relptest.Frame(2+sent%900_000_000, "syslog", message))
		}
		out.Flush()
		for more := true; more; more = in.Buffered() > 0 {
			if _, err := in.ReadSlice('\n'); err != nil {
				b.Error(err)
				return
			}
			told++
		}
	}
}
