package publish_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/ingester/publish"
	"millrace/schema"
)

// notes keeps what a receiver of receipts was told.
type notes struct {
	mu   sync.Mutex
	last uint32
	n    int
	out  bool // of order
}

func (n *notes) Kept(list []uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range list {
		n.out = n.out || r <= n.last
		n.last, n.n = r, n.n+1
	}
}

// Events of a pinned lane are in one partition, in order, whatever the brokers answer;
// those of others are spread, and do not wait for a partition that is away.
func TestPinned(t *testing.T) {
	t.Parallel()
	const partitions, lanes, events = 5, 3, 4000
	c := broker(t, 1, partitions)
	var mu sync.Mutex
	faults := rand.New(rand.NewPCG(1, 2))
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		if faults.IntN(5) > 0 {
			return nil, nil, false
		}
		p := req.(*kmsg.ProduceRequest)
		res := p.ResponseKind().(*kmsg.ProduceResponse)
		res.Topics = []kmsg.ProduceResponseTopic{{Topic: p.Topics[0].Topic, Partitions: []kmsg.ProduceResponseTopicPartition{{
			Partition: p.Topics[0].Partitions[0].Partition, ErrorCode: kerr.NotEnoughReplicas.Code, BaseOffset: -1,
		}}}}
		return res, nil, true
	})
	r := start(t, c.ListenAddrs(), nil)
	r.ready()
	kept := make([]notes, lanes)
	ends := make([]int64, lanes)
	var work sync.WaitGroup
	for i := range lanes {
		l := r.Pinned(uint32(i + 100))
		work.Go(func() {
			var s source
			for n := range events {
				l.Hold()
				e := s.make(schema.SMTP, fmt.Sprintf("lane%d", i), n)
				if err := l.Append(context.Background(), e, 0); err != nil {
					t.Error(err)
				}
				l.Note(schema.SMTP, &kept[i], uint32(n+1))
				l.Release()
			}
			l.Unpin()
		})
	}
	work.Go(func() { r.send(schema.SMTP, "others", 0, events, 1) })
	work.Wait()
	eventually(t, "all are acknowledged", func() bool { return r.acked[0].Load() == lanes*events && r.acked[1].Load() == events })
	for i := range lanes {
		place, end, ok := r.Place(schema.SMTP, uint32(i+100))
		if ends[i] = end; !ok || place != int32((i+100)%partitions) {
			t.Errorf("lane %d: partition %d, %t", i, place, ok)
		}
	}
	r.drain()
	for i := range kept {
		if kept[i].n != events || kept[i].out {
			t.Errorf("lane %d: %d receipts, out of order: %t", i, kept[i].n, kept[i].out)
		}
	}

	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics("t.smtp"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	next, last, others := [lanes]int{}, [lanes]int64{}, map[int32]int{}
	for seen := 0; seen < (lanes+1)*events; {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%d of %d are in Kafka", seen, (lanes+1)*events)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			seen++
			var e schema.Event
			if err := (schema.Reader{}).Read(schema.SMTP, rec.Value, &e); err != nil {
				t.Fatal(err)
			}
			var lane, n int
			if _, err := fmt.Sscanf(string(e.Text(schema.Raw)), "lane%d-%d", &lane, &n); err != nil {
				others[rec.Partition]++
				return
			}
			if n != next[lane] || rec.Partition != int32((lane+100)%partitions) {
				t.Fatalf("event %d of lane %d is in partition %d, where %d should come", n, lane, rec.Partition, next[lane])
			}
			next[lane], last[lane] = n+1, rec.Offset
		})
	}
	for i, end := range ends {
		if end < last[i]+1 {
			t.Errorf("lane %d: what is acknowledged ends at %d, its last event is at %d", i, end, last[i])
		}
	}
	if len(others) < 2 {
		t.Errorf("the others are in partitions %v", others)
	}
}

// A pinned lane whose partition is away takes a few batches and no more: the others go on.
func TestPinned_Away(t *testing.T) {
	t.Parallel()
	c := broker(t, 1, 2)
	away := make(chan struct{})
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		p := req.(*kmsg.ProduceRequest)
		select {
		case <-away:
			return nil, nil, false
		default:
		}
		if p.Topics[0].Partitions[0].Partition != 1 {
			return nil, nil, false
		}
		res := p.ResponseKind().(*kmsg.ProduceResponse)
		res.Topics = []kmsg.ProduceResponseTopic{{Topic: p.Topics[0].Topic, Partitions: []kmsg.ProduceResponseTopicPartition{{
			Partition: 1, ErrorCode: kerr.NotEnoughReplicas.Code, BaseOffset: -1,
		}}}}
		return res, nil, true
	})
	r := start(t, c.ListenAddrs(), func(o *publish.Options) { o.StickyBytes = 1 })
	r.ready()
	l := r.Pinned(1)
	appended := make(chan int, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		var s source
		n := 0
		for {
			l.Hold()
			err := l.Append(ctx, s.make(schema.SMTP, "pinned", n), 0)
			l.Release()
			if err != nil {
				break
			}
			n++
		}
		appended <- n
	}()
	r.send(schema.SMTP, "others", 0, 5000, 1)
	eventually(t, "the others are acknowledged", func() bool { return r.acked[1].Load() == 5000 })
	if n := r.acked[0].Load(); n != 0 {
		t.Errorf("%d events are acknowledged that the broker refuses", n)
	}
	time.Sleep(50 * time.Millisecond) // nothing is expected of it: the lane is full by now or not
	if used, limit := r.Buffered(); used > limit/2 {
		t.Errorf("%d of %d bytes of buffers wait for one partition", used, limit)
	}
	close(away)
	eventually(t, "the lane goes on", func() bool { return r.acked[0].Load() > 5000 })
	cancel()
	n := <-appended
	l.Unpin()
	eventually(t, "what the lane took is acknowledged", func() bool { return r.acked[0].Load() == uint64(n) })
	r.drain()
}
