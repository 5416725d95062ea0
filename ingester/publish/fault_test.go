package publish_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/ingester/publish"
	"millrace/schema"
)

var produceKey = []kmsg.Key{kmsg.Produce}

// TestFaults: whatever a broker answers, each record is in the log once.
func TestFaults(t *testing.T) {
	t.Parallel()
	f := func(err *kerr.Error, newIDs bool) {
		t.Run(err.Message, func(t *testing.T) {
			t.Parallel()
			c := broker(t, 2, 3)
			fault := c.Fault(kfake.Fault{Keys: produceKey, Err: err, Count: 12})
			r := start(t, c.ListenAddrs(), nil)
			const count = 1500
			r.send(schema.Message, "a", 0, count, 1)
			r.drain()
			exactlyOnce(t, consume(t, c.ListenAddrs(), count), count, "a")
			s := r.Stats()
			if fault.Hits() != 12 || s.Retries.Load() < 12 || s.PossibleDuplicates.Load() != 0 {
				t.Errorf("%d faults, %d retries, %d possible duplicates", fault.Hits(), s.Retries.Load(), s.PossibleDuplicates.Load())
			}
			if got := s.ProducerIDs.Load(); newIDs != (got > 1) {
				t.Errorf("%d producer ids", got)
			}
			if r.acked[1].Load() != count {
				t.Errorf("%d records acknowledged of %d", r.acked[1].Load(), count)
			}
		})
	}
	f(kerr.NotEnoughReplicasAfterAppend, false)
	f(kerr.RequestTimedOut, false) // kfake appends all the same
	f(kerr.NotEnoughReplicas, false)
	f(kerr.NotLeaderForPartition, false)
	f(kerr.UnknownTopicOrPartition, false)
	f(kerr.LeaderNotAvailable, false)
	f(kerr.KafkaStorageError, false)
	f(kerr.NetworkException, false)
	f(kerr.FencedLeaderEpoch, false)
	f(kerr.ThrottlingQuotaExceeded, false)
	f(kerr.CorruptMessage, false)
	f(kerr.UnknownServerError, false)
	f(kerr.OutOfOrderSequenceNumber, true)
	f(kerr.InvalidProducerEpoch, true)
	f(kerr.UnknownProducerID, true)
	f(kerr.InvalidProducerIDMapping, true)
	f(kerr.ProducerFenced, true)
}

// TestFault_PossibleDuplicate: appended, answered with an error, and then the
// producer forgotten. No client can know; it must be counted.
func TestFault_PossibleDuplicate(t *testing.T) {
	t.Parallel()
	c := broker(t, 1, 1)
	c.Fault(kfake.Fault{Keys: produceKey, Err: kerr.RequestTimedOut}, kfake.Fault{Keys: produceKey, Err: kerr.UnknownProducerID})
	r := start(t, c.ListenAddrs(), nil)
	const count = 20
	r.send(schema.Message, "a", 0, count, 0)
	r.drain()
	seen := consume(t, c.ListenAddrs(), count)
	doubled := 0
	for _, n := range seen {
		doubled += n - 1
	}
	if len(seen) != count || doubled == 0 || uint64(doubled) != r.Stats().PossibleDuplicates.Load() {
		t.Errorf("%d ids, %d doubled, %d counted", len(seen), doubled, r.Stats().PossibleDuplicates.Load())
	}
}

// TestFault_ProducerID: no producer id at first.
func TestFault_ProducerID(t *testing.T) {
	t.Parallel()
	c := broker(t, 1, 2)
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.CoordinatorLoadInProgress, Count: 3})
	r := start(t, c.ListenAddrs(), nil)
	r.send(schema.Message, "a", 0, 300, 0)
	r.drain()
	exactlyOnce(t, consume(t, c.ListenAddrs(), 300), 300, "a")
}

func TestLeaderMoves(t *testing.T) {
	t.Parallel()
	c := broker(t, 3, 4)
	r := start(t, c.ListenAddrs(), nil)
	const count = 6000
	stop := make(chan struct{})
	var mover sync.WaitGroup
	mover.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				c.ShufflePartitionLeaders()
			}
		}
	})
	r.send(schema.Message, "a", 0, count, 0)
	close(stop)
	mover.Wait()
	r.drain()
	exactlyOnce(t, consume(t, c.ListenAddrs(), count), count, "a")
	if n := r.Stats().PossibleDuplicates.Load(); n != 0 {
		t.Errorf("%d possible duplicates", n)
	}
}

// network is a dialer that can be cut.
type network struct {
	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

func (n *network) dial(ctx context.Context, nw, address string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut {
		return nil, &net.OpError{Op: "dial", Net: nw, Err: errors.New("network is cut")}
	}
	c, err := new(net.Dialer).DialContext(ctx, nw, address)
	if err == nil {
		if n.conns == nil {
			n.conns = map[net.Conn]bool{}
		}
		n.conns[c] = true
	}
	return c, err
}

// set cuts all connections, in the middle of what they do, or lets new ones be.
func (n *network) set(cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
	if cut {
		for c := range n.conns {
			c.Close()
		}
		n.conns = nil
	}
}

func (n *network) transport() *kafka.Transport {
	return &kafka.Transport{Dial: n.dial, MetadataTTL: 200 * time.Millisecond, MetadataTopics: publish.Topics("t.", schema.Kinds())}
}

// lines counts log lines by their message.
type lines struct {
	slog.Handler
	mu sync.Mutex
	n  map[string]int
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n[r.Message]++
	return nil
}

// TestAway: Kafka goes away and comes back. Memory stays bounded, Append waits,
// TryAppend fails, State says why, and nothing is lost or doubled.
func TestAway(t *testing.T) {
	t.Parallel()
	c := broker(t, 2, 3)
	var n network
	log := &lines{n: map[string]int{}}
	r := start(t, c.ListenAddrs(), func(o *publish.Options) {
		o.Transport, o.BufferBytes, o.Log = n.transport(), 500_000, slog.New(log)
	})
	r.ready()
	const count = 20_000
	var done atomic.Bool
	var sender sync.WaitGroup
	sender.Go(func() { r.send(schema.Message, "a", 0, count, 0); done.Store(true) })

	eventually(t, "some records are acknowledged", func() bool { return sum(&r.acked) > 100 })
	n.set(true)
	eventually(t, "the state tells", func() bool { return r.State() != nil })
	var s source
	try := func(n int) error {
		l := r.Acquire()
		defer l.Release()
		return l.TryAppend(s.make(schema.Message, "b", n), 1)
	}
	tried := 0
	eventually(t, "TryAppend fails", func() bool {
		err := try(tried)
		if err == nil {
			tried++
		} else if !errors.Is(err, publish.ErrNoBuffer) {
			t.Errorf("TryAppend: %v", err)
		}
		return err != nil
	})
	if used, limit := r.Buffered(); used != limit || limit > 500_000 {
		t.Errorf("%d bytes in use of %d", used, limit)
	}
	if done.Load() {
		t.Error("Append took everything while Kafka was away: this test sends too little")
	}
	if err := r.State(); err == nil || !strings.Contains(err.Error(), "cut") {
		t.Errorf("state: %v", err)
	}
	n.set(false)
	eventually(t, "the state is good again", func() bool { return r.State() == nil })
	sender.Wait()
	r.drain()
	seen := consume(t, c.ListenAddrs(), count+tried)
	for id, times := range seen {
		if times != 1 {
			t.Errorf("%s is there %d times", id, times)
		}
	}
	if len(seen) != count+tried || r.acked[0].Load() != count || r.acked[1].Load() != uint64(tried) {
		t.Errorf("%d ids, acknowledged %d and %d, appended %d and %d", len(seen), r.acked[0].Load(), r.acked[1].Load(), count, tried)
	}
	eventually(t, "the log says so", func() bool {
		log.mu.Lock()
		defer log.mu.Unlock()
		return log.n["Kafka takes records again"] == 1
	})
	log.mu.Lock()
	defer log.mu.Unlock()
	// The class of the trouble may change once: first sends fail, then metadata.
	if log.n["Kafka takes records"] != 1 || log.n["Kafka takes records again"] != 1 || log.n["Kafka does not take records"] > 2 {
		t.Errorf("log lines: %v", log.n)
	}
}

// TestCut: the network is cut again and again, requests and answers with it.
func TestCut(t *testing.T) {
	t.Parallel()
	c := broker(t, 2, 3)
	var n network
	r := start(t, c.ListenAddrs(), func(o *publish.Options) { o.Transport = n.transport() })
	stop := make(chan struct{})
	var cutter sync.WaitGroup
	cutter.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(5+i%30) * time.Millisecond):
				n.set(true)
				n.set(false)
			}
		}
	})
	const count = 10_000
	var senders sync.WaitGroup
	for i, k := range three {
		senders.Go(func() { r.send(k, k.Name, 0, count, i) })
	}
	senders.Wait()
	close(stop)
	cutter.Wait()
	r.drain()
	exactlyOnce(t, consume(t, c.ListenAddrs(), 3*count), count, "message", "status", "reject")
	if n := r.Stats().PossibleDuplicates.Load(); n != 0 {
		t.Errorf("%d possible duplicates", n)
	}
}

// TestRestart: a broker that keeps its data is restarted.
func TestRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(dir), kfake.SeedTopics(2, publish.Topics("t.", schema.Kinds())...))
	if err != nil {
		t.Fatal(err)
	}
	addresses := first.ListenAddrs()
	r := start(t, addresses, nil)
	r.ready()
	r.send(schema.Message, "a", 0, 500, 0)
	eventually(t, "records are acknowledged", func() bool { return sum(&r.acked) == 500 })
	first.Close()
	eventually(t, "the state tells", func() bool { return r.State() != nil })
	if err := r.State(); !strings.Contains(err.Error(), "cannot reach Kafka at "+addresses[0]) || !strings.Contains(err.Error(), "kafka.brokers") {
		t.Errorf("state: %s", err)
	}
	r.send(schema.Message, "a", 500, 700, 0)
	var port int
	if _, err := fmt.Sscanf(addresses[0][strings.LastIndex(addresses[0], ":"):], ":%d", &port); err != nil {
		t.Fatal(err)
	}
	second, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(dir), kfake.Ports(port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Close)
	r.send(schema.Message, "a", 700, 1000, 0)
	eventually(t, "the state is good again", func() bool { return r.State() == nil })
	r.drain()
	exactlyOnce(t, consume(t, addresses, 1000), 1000, "a")
}

// TestPartitionRefuses: a partition whose batches are certainly not in its log
// gives them to others.
func TestPartitionRefuses(t *testing.T) {
	t.Parallel()
	c := broker(t, 2, 3)
	c.Fault(kfake.Fault{Keys: produceKey, Topic: "t.message", Partitions: []int32{1}, Err: kerr.NotEnoughReplicas, Count: -1})
	r := start(t, c.ListenAddrs(), nil)
	r.send(schema.Message, "a", 0, 3000, 0)
	r.drain()
	exactlyOnce(t, consume(t, c.ListenAddrs(), 3000), 3000, "a")
	if n := c.PartitionInfo("t.message", 1).HighWatermark; n != 0 {
		t.Errorf("%d records in the partition that refuses", n)
	}
	if err := r.State(); err != nil {
		t.Errorf("one partition of three refuses, and the state is: %s", err)
	}
}

// TestPartitionStalls: one partition never acknowledges. What may be in its log
// stays there; all else goes on.
func TestPartitionStalls(t *testing.T) {
	t.Parallel()
	c := broker(t, 2, 3)
	fault := c.Fault(kfake.Fault{Keys: produceKey, Topic: "t.message", Partitions: []int32{2}, Err: kerr.RequestTimedOut, Count: -1})
	r := start(t, c.ListenAddrs(), nil)
	const count = 4000
	r.send(schema.Message, "a", 0, count, 0)
	eventually(t, "the partition is tried", func() bool { return fault.Hits() > 0 })
	eventually(t, "all but one batch is acknowledged", func() bool {
		used, _ := r.Buffered()
		return used == (8<<10)+(16<<10)
	})
	if got := sum(&r.acked); got >= count || got < count-100 {
		t.Errorf("%d records of %d acknowledged", got, count)
	}
	fault.Remove()
	r.drain()
	exactlyOnce(t, consume(t, c.ListenAddrs(), count), count, "a")
}

func TestHardStop(t *testing.T) {
	t.Parallel()
	c := broker(t, 1, 2)
	fault := c.Fault(kfake.Fault{Keys: produceKey, Err: kerr.NotEnoughReplicas, Count: -1})
	r := start(t, c.ListenAddrs(), nil)
	r.send(schema.Message, "a", 0, 70, 1)
	r.send(schema.Reject, "b", 0, 30, 2)
	eventually(t, "sends fail", func() bool { return fault.Hits() > 0 })
	r.soft()
	eventually(t, "it takes no more", func() bool {
		l := r.Acquire()
		defer l.Release()
		var s source
		err := l.TryAppend(s.make(schema.Message, "a", 70), 3)
		return errors.Is(err, publish.ErrStopped)
	})
	late := 0 // what was taken until then is under tag 3
	r.hard()
	err := <-r.ended
	r.ended <- nil
	if !errors.Is(err, publish.ErrLost) {
		t.Errorf("Run: %v", err)
	}
	late = int(r.lost[3].Load())
	if r.lost[1].Load() != 70 || r.lost[2].Load() != 30 || sum(&r.acked) != 0 || r.Stats().Lost.Load() != uint64(100+late) {
		t.Errorf("lost %d and %d, acknowledged %d, Lost %d", r.lost[1].Load(), r.lost[2].Load(), sum(&r.acked), r.Stats().Lost.Load())
	}
	if used, _ := r.Buffered(); used != 0 {
		t.Errorf("%d bytes are not back", used)
	}
}

// TestHardStop_Exact: what is acknowledged and what is lost make up what was
// taken, wherever the stop falls.
func TestHardStop_Exact(t *testing.T) {
	t.Parallel()
	c := broker(t, 2, 3)
	for i := range 8 {
		r := start(t, c.ListenAddrs(), func(o *publish.Options) { o.BufferBytes = 600_000; o.Lanes = 2 })
		ctx, cancel := context.WithCancel(context.Background())
		var taken [2]uint64
		var senders sync.WaitGroup
		for tag := range taken {
			senders.Go(func() {
				var s source
				for n := 0; ; n++ {
					l := r.Acquire()
					err := l.Append(ctx, s.make(three[n%3], "a", n), tag)
					l.Release()
					if err != nil {
						return
					}
					taken[tag]++
				}
			})
		}
		eventually(t, "records are acknowledged", func() bool { return sum(&r.acked) > uint64(100*i) })
		r.hard()
		<-r.ended
		r.ended <- nil
		cancel()
		senders.Wait()
		for tag := range taken {
			if got := r.acked[tag].Load() + r.lost[tag].Load(); got != taken[tag] {
				t.Errorf("tag %d: taken %d, acknowledged %d + lost %d", tag, taken[tag], r.acked[tag].Load(), r.lost[tag].Load())
			}
		}
	}
}

func TestTopicMissing(t *testing.T) {
	t.Parallel()
	c := broker(t, 1, 2)
	if err := c.DeleteTopic("t.status"); err != nil {
		t.Fatal(err)
	}
	r := start(t, c.ListenAddrs(), nil)
	r.send(schema.Status, "a", 0, 100, 0)
	r.send(schema.Message, "b", 0, 100, 1)
	eventually(t, "the other topics go on", func() bool { return r.acked[1].Load() == 100 })
	err := r.State()
	if err == nil || !strings.Contains(err.Error(), `"t.status"`) || !strings.Contains(err.Error(), "kafka-topics.sh --bootstrap-server "+c.ListenAddrs()[0]+" --create --topic t.status") {
		t.Errorf("state: %v", err)
	}
	select {
	case <-r.Ready():
		t.Error("ready without a topic")
	default:
	}
	if err := c.CreateTopic("t.status", 2, nil); err != nil {
		t.Fatal(err)
	}
	r.ready()
	r.drain()
	exactlyOnce(t, consume(t, c.ListenAddrs(), 200), 100, "a", "b")
}

// TestTopicAnew: the topic is deleted and made again with fewer partitions while
// the publisher knows the old one.
func TestTopicAnew(t *testing.T) {
	t.Parallel()
	c := broker(t, 1, 4)
	r := start(t, c.ListenAddrs(), nil)
	r.send(schema.Message, "a", 0, 1000, 0)
	eventually(t, "the first are acknowledged", func() bool { return sum(&r.acked) == 1000 })
	if err := c.DeleteTopic("t.message"); err != nil {
		t.Fatal(err)
	}
	r.send(schema.Message, "b", 0, 1000, 1)
	if err := c.CreateTopic("t.message", 2, nil); err != nil {
		t.Fatal(err)
	}
	r.send(schema.Message, "b", 1000, 2000, 1)
	r.drain()
	seen := consume(t, c.ListenAddrs(), 2000)
	for id := range seen {
		if strings.HasPrefix(id, "a") {
			delete(seen, id)
		}
	}
	exactlyOnce(t, seen, 2000, "b")
}

func TestMessageTooLarge(t *testing.T) {
	t.Parallel()
	c := broker(t, 1, 1)
	if err := c.DeleteTopic("t.message"); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateTopic("t.message", 1, map[string]string{"max.message.bytes": "1000"}); err != nil {
		t.Fatal(err)
	}
	r := start(t, c.ListenAddrs(), func(o *publish.Options) { o.Compression = "none" })
	r.ready()
	r.send(schema.Message, "a", 0, 20, 0)
	eventually(t, "the state tells", func() bool { return r.State() != nil })
	for _, w := range []string{"t.message", "kafka.batch_bytes is 8192", "kafka-configs.sh", "max.message.bytes="} {
		if err := r.State(); err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("%q is not in the state: %v", w, err)
		}
	}
	r.send(schema.Status, "b", 0, 20, 1)
	eventually(t, "other topics go on", func() bool { return r.acked[1].Load() == 20 })
}

func TestRecordTooLarge(t *testing.T) {
	t.Parallel()
	c := broker(t, 1, 1)
	r := start(t, c.ListenAddrs(), nil)
	l := r.Acquire()
	var s source
	huge := make([]byte, 9000)
	for _, before := range []int{0, 1} {
		for n := range before {
			if err := l.Append(context.Background(), s.make(schema.Message, "a", n), 0); err != nil {
				t.Fatal(err)
			}
		}
		e := s.make(schema.Message, "huge", 0)
		e.SetText(schema.Raw, huge)
		if err := l.Append(context.Background(), e, 1); !errors.Is(err, publish.ErrRecordTooLarge) || !strings.Contains(err.Error(), "kafka.batch_bytes") {
			t.Errorf("Append: %v", err)
		}
		if err := l.TryAppend(e, 1); !errors.Is(err, publish.ErrRecordTooLarge) {
			t.Errorf("TryAppend: %v", err)
		}
	}
	l.Release()
	r.drain()
	exactlyOnce(t, consume(t, c.ListenAddrs(), 1), 1, "a")
}

// TestSticky: traffic that one partition takes fills one after another, each with
// StickyBytes; a flood fills all.
func TestSticky(t *testing.T) {
	t.Parallel()
	c := broker(t, 1, 6)
	r := start(t, c.ListenAddrs(), func(o *publish.Options) { o.Linger, o.StickyBytes = time.Millisecond, 10<<10 })
	filled := func(topic string) (n int) {
		for _, p := range c.PartitionInfos(topic) {
			if p.HighWatermark > 0 {
				n++
			}
		}
		return n
	}
	for n := range 15 { // about 5 KB in all
		r.send(schema.Message, "a", n, n+1, 0)
		eventually(t, "it is acknowledged, though nothing follows", func() bool { return sum(&r.acked) == uint64(n+1) })
	}
	if n := filled("t.message"); n != 1 {
		t.Errorf("15 events are in %d partitions", n)
	}
	for n := 15; filled("t.message") < 3; n++ {
		r.send(schema.Message, "a", n, n+1, 0)
		eventually(t, "it is acknowledged", func() bool { return sum(&r.acked) == uint64(n+1) })
	}
	full := 0
	for _, p := range c.PartitionInfos("t.message") {
		if p.HighWatermark > 15 {
			full++
		}
	}
	if full != 2 {
		t.Errorf("%d partitions are full when a third begins", full)
	}
	before := sum(&r.acked)
	r.send(schema.Status, "b", 0, 5000, 1)
	eventually(t, "all is acknowledged", func() bool { return sum(&r.acked) == before+5000 })
	r.drain()
	if n := filled("t.status"); n != 6 {
		t.Errorf("5000 events are in %d partitions", n)
	}
}
