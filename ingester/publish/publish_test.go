package publish_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/ingester/publish"
	"millrace/schema"
)

// three are the kinds that these tests publish.
var three = []*schema.Kind{schema.Message, schema.Status, schema.Reject}

const deadline = 60 * time.Second // of anything that must come to pass

// broker starts a kfake cluster with the topics of all kinds.
func broker(t *testing.T, brokers int, partitions int32, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	opts = append([]kfake.Opt{kfake.NumBrokers(brokers), kfake.SeedTopics(partitions, publish.Topics("t.", schema.Kinds())...)}, opts...)
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatalf("cannot start a broker: %s", err)
	}
	t.Cleanup(c.Close)
	return c
}

// tally counts what the callbacks say, per tag.
type tally struct{ acked, lost [16]atomic.Uint64 }

func (y *tally) options(brokers []string) publish.Options {
	add := func(to *[16]atomic.Uint64) func([]uint32) {
		return func(counts []uint32) {
			for tag, n := range counts {
				to[tag].Add(uint64(n))
			}
		}
	}
	return publish.Options{
		Brokers: brokers, TopicPrefix: "t.", BatchBytes: 8 << 10, BufferBytes: 2 << 20,
		Compression: "snappy", Metadata: 200 * time.Millisecond, Timeout: 3 * time.Second,
		Tags: 16, OnAck: add(&y.acked), OnLost: add(&y.lost),
	}
}

func sum(a *[16]atomic.Uint64) (n uint64) {
	for i := range a {
		n += a[i].Load()
	}
	return n
}

// running is a publisher at work.
type running struct {
	*publish.Publisher
	tally
	t          *testing.T
	soft, hard context.CancelFunc
	ended      chan error
}

func start(t *testing.T, brokers []string, change func(*publish.Options)) *running {
	t.Helper()
	r := &running{t: t, ended: make(chan error, 1)}
	o := r.options(brokers)
	if change != nil {
		change(&o)
	}
	p, err := publish.New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Publisher = p
	soft, endSoft := context.WithCancel(context.Background())
	hard, endHard := context.WithCancel(context.Background())
	r.soft, r.hard = endSoft, endHard
	go func() { r.ended <- p.Run(soft, hard) }()
	t.Cleanup(func() { endSoft(); endHard(); <-r.ended })
	return r
}

// drain stops softly and expects that nothing is lost.
func (r *running) drain() {
	r.t.Helper()
	r.soft()
	select {
	case err := <-r.ended:
		r.ended <- nil
		if err != nil {
			r.t.Fatalf("the publisher ended with: %s", err)
		}
	case <-time.After(deadline):
		r.t.Fatalf("the publisher does not drain: %v", r.State())
	}
}

func (r *running) ready() {
	r.t.Helper()
	select {
	case <-r.Ready():
	case <-time.After(deadline):
		r.t.Fatalf("the publisher does not become ready: %v", r.State())
	}
}

// eventually waits until ok is true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("does not come to pass: %s", what)
		}
	}
}

// source makes events with unique ids.
type source struct {
	event schema.Event
	id    []byte
	text  []byte
}

// firstReceived is of today: Apache Kafka keeps records, and remembers producers,
// by the records' times.
var firstReceived = time.Now().UnixMilli()

func (s *source) make(k *schema.Kind, name string, n int) *schema.Event {
	s.event.Reset(k)
	s.event.SetMillis(schema.ReceivedAt, firstReceived+int64(n))
	s.id = fmt.Appendf(s.id[:0], "%s-%d", name, n)
	s.event.SetText(schema.Raw, s.id)
	if s.text == nil {
		s.text = []byte(strings.Repeat("mail.example.com ", 16))
	}
	s.event.SetText(schema.SyslogHost, s.text[:len(s.text)-n%200])
	return &s.event
}

// send appends events from to to-1 of a kind under one name and tag.
func (r *running) send(k *schema.Kind, name string, from, to, tag int) {
	var s source
	for n := from; n < to; {
		l := r.Acquire()
		for stop := min(n+50, to); n < stop; n++ {
			if err := l.Append(context.Background(), s.make(k, name, n), tag); err != nil {
				l.Release()
				r.t.Errorf("cannot append event %d: %s", n, err)
				return
			}
		}
		l.Release()
	}
}

// consume reads want records of all topics with an independent client and
// returns how often each id was seen.
func consume(t *testing.T, brokers []string, want int) map[string]int {
	t.Helper()
	return consumeFrom(t, brokers, "t.", want)
}

func consumeFrom(t *testing.T, brokers []string, prefix string, want int) map[string]int {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(publish.Topics(prefix, schema.Kinds())...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	seen := make(map[string]int, want)
	quiet := 0
	var event schema.Event
	// Some empty polls after the last record would show one too many.
	for n := 0; n < want || quiet < 5; {
		poll, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		fetches := c.PollFetches(poll)
		cancel()
		if ctx.Err() != nil {
			t.Fatalf("read %d of %d records in time", n, want)
		}
		quiet++
		fetches.EachError(func(topic string, p int32, err error) {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("cannot read %s/%d: %s", topic, p, err)
			}
		})
		fetches.EachRecord(func(rec *kgo.Record) {
			quiet = 0
			n++
			kind := schema.KindByName(strings.TrimPrefix(rec.Topic, prefix))
			if err := (schema.Reader{}).Read(kind, rec.Value, &event); err != nil {
				t.Errorf("cannot read record %s/%d/%d: %s", rec.Topic, rec.Partition, rec.Offset, err)
				return
			}
			if got := event.Millis(schema.ReceivedAt); got != rec.Timestamp.UnixMilli() {
				t.Errorf("timestamp of %s is %d, the event says %d", event.Text(schema.Raw), rec.Timestamp.UnixMilli(), got)
			}
			seen[string(event.Text(schema.Raw))]++
		})
	}
	return seen
}

// exactlyOnce checks that each of the named runs of count events is there once.
func exactlyOnce(t *testing.T, seen map[string]int, count int, names ...string) {
	t.Helper()
	lost, doubled := 0, 0
	for _, name := range names {
		for n := range count {
			switch seen[fmt.Sprintf("%s-%d", name, n)] {
			case 0:
				lost++
			case 1:
			default:
				doubled++
			}
		}
	}
	if lost != 0 || doubled != 0 || len(seen) != count*len(names) {
		t.Fatalf("of %d records %d are lost and %d doubled; %d ids", count*len(names), lost, doubled, len(seen))
	}
}

func TestPublish(t *testing.T) {
	t.Parallel()
	for _, codec := range []string{"none", "snappy", "lz4", "zstd"} {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			c := broker(t, 2, 3)
			r := start(t, c.ListenAddrs(), func(o *publish.Options) { o.Compression = codec; o.Lanes = 3 })
			const count = 2000
			var wg sync.WaitGroup
			names := []string{"a", "b", "c"}
			for i, k := range three {
				wg.Go(func() { r.send(k, names[i], 0, count, i) })
			}
			wg.Wait()
			r.drain()
			exactlyOnce(t, consume(t, c.ListenAddrs(), 3*count), count, names...)
			for tag := range names {
				if got := r.acked[tag].Load(); got != count {
					t.Errorf("%d records of tag %d were acknowledged, %d appended", got, tag, count)
				}
			}
			if got := r.Stats().Records.Load(); got != 3*count || sum(&r.lost) != 0 {
				t.Errorf("stats say %d records, lost %d", got, sum(&r.lost))
			}
			if used, _ := r.Buffered(); used != 0 {
				t.Errorf("%d bytes of buffers are not back", used)
			}
			lane := r.Acquire()
			defer lane.Release()
			var s source
			if err := lane.Append(context.Background(), s.make(schema.Message, "late", 1), 0); !errors.Is(err, publish.ErrStopped) {
				t.Errorf("Append after the end: %v", err)
			}
		})
	}
}

// BenchmarkPublish sends over real sockets to a broker that keeps nothing.
func BenchmarkPublish(b *testing.B) {
	for _, codec := range []string{"none", "snappy", "lz4", "zstd"} {
		b.Run("codec="+codec, func(b *testing.B) {
			c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(6, publish.Topics("t.", schema.Kinds())...), kfake.BlackholeProduce())
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			p, err := publish.New(publish.Options{Brokers: c.ListenAddrs(), TopicPrefix: "t.", Compression: codec})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() { ended <- p.Run(ctx, context.Background()) }()
			<-p.Ready()
			events := make([]source, 64)
			size := 0
			for i := range events {
				size += len(schema.AppendRecord(nil, events[i].make(schema.Message, fmt.Sprintf("benchmark-%d", i*7919), i*37)))
			}
			b.SetBytes(int64(size / len(events)))
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; {
				l := p.Acquire()
				for stop := min(n+600, b.N); n < stop; n++ {
					if err := l.Append(context.Background(), &events[n%len(events)].event, 0); err != nil {
						b.Fatal(err)
					}
				}
				l.Release()
			}
			cancel()
			if err := <-ended; err != nil {
				b.Fatal(err)
			}
		})
	}
}
