package publish_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/ingester/publish"
	"millrace/schema"
)

// TestFault_Property: on every course of faults, no record is lost, and none is
// doubled unless brokers forgot the producer, and then no more than are counted as
// possible duplicates. MILLRACE_FAULT_MINUTES makes it long. Each round has a seed,
// which a failure names; MILLRACE_FAULT_SEED repeats the round.
func TestFault_Property(t *testing.T) {
	t.Parallel()
	if text := os.Getenv("MILLRACE_FAULT_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("MILLRACE_FAULT_SEED: %s", err)
		}
		faultRound(t, seed)
		return
	}
	rounds, end := 16, time.Time{}
	if text := os.Getenv("MILLRACE_FAULT_MINUTES"); text != "" {
		minutes, err := strconv.ParseFloat(text, 64)
		if err != nil || minutes <= 0 {
			t.Fatalf("MILLRACE_FAULT_MINUTES=%q is not a number of minutes", text)
		}
		rounds, end = 0, time.Now().Add(time.Duration(minutes*float64(time.Minute)))
	}
	// A round waits most of its time, for timeouts and back-offs: eight at a time.
	var mu sync.Mutex
	seeds := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	total, n := map[string]int{}, 0
	next := func() (seed uint64, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		n++
		return seeds.Uint64(), !t.Failed() && (n <= rounds || time.Now().Before(end))
	}
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for seed, ok := next(); ok; seed, ok = next() {
				t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
					did := faultRound(t, seed)
					mu.Lock()
					defer mu.Unlock()
					total["rounds"]++
					for what, n := range did {
						total[what] += n
					}
				})
			}
		})
	}
	workers.Wait()
	t.Log(total)
}

// faultRound publishes under one course of faults and looks into the log. It
// returns how often what happened.
func faultRound(t *testing.T, seed uint64) map[string]int {
	r := rand.New(rand.NewPCG(seed, 0))
	partitions := int32(1 + r.IntN(6))
	topics := publish.Topics("t.", schema.Kinds())
	c, err := kfake.NewCluster(kfake.NumBrokers(1+r.IntN(4)), kfake.SeedTopics(partitions, topics...))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	x := newChaos(c, seed, topics, 200*time.Millisecond)
	x.forget = r.IntN(3) == 0
	run := start(t, c.ListenAddrs(), func(o *publish.Options) {
		o.Transport, o.Timeout, o.Metadata = x, x.net.timeout, 50*time.Millisecond
		o.Compression = oneOf(r, []string{"none", "snappy", "lz4", "zstd"})
		o.BatchBytes = 4<<10 + r.IntN(12<<10)
		o.BufferBytes = 500_000 + r.IntN(2_000_000)
		o.Lanes = 1 + r.IntN(4)
		o.Linger = time.Duration(1+r.IntN(10)) * time.Millisecond
	})
	hard := r.IntN(4) == 0 // the process ends in the midst of it
	const count = 1200
	var taken [16]atomic.Uint64
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var senders sync.WaitGroup
	for tag := range taken {
		senders.Go(func() {
			var s source
			for n := range count {
				l := run.Acquire()
				err := l.Append(ctx, s.make(three[(n+tag)%3], fmt.Sprintf("%d.%d", seed, tag), n), tag)
				l.Release()
				if hard && (errors.Is(err, publish.ErrStopped) || ctx.Err() != nil) {
					return
				}
				if err != nil {
					t.Errorf("cannot append event %d: %s", n, err)
					return
				}
				taken[tag].Add(1)
			}
		})
	}
	if hard {
		at := uint64(r.IntN(3 * count))
		eventually(t, "records are acknowledged", func() bool { return sum(&run.acked) >= at })
		run.hard()
		err := <-run.ended
		run.ended <- nil
		if err != nil && !errors.Is(err, publish.ErrLost) {
			t.Errorf("Run: %s", err)
		}
		stop()
		senders.Wait()
	} else {
		senders.Wait()
		x.calm.Store(r.IntN(2) == 0)
		run.drain()
	}
	x.calm.Store(true)

	s := run.Stats()
	log := contents(t, c, topics)
	records, doubled := 0, 0
	for _, times := range log {
		records += times
		doubled += times - 1
	}
	possible := int(s.PossibleDuplicates.Load())
	if doubled > possible {
		t.Errorf("%d records are doubled and %d counted as possible duplicates", doubled, possible)
	}
	if possible > 0 && !x.forget {
		t.Errorf("%d possible duplicates, and no broker forgot the producer", possible)
	}
	for tag := range taken {
		acked, lost := run.acked[tag].Load(), run.lost[tag].Load()
		if acked+lost != taken[tag].Load() || lost != 0 && !hard {
			t.Errorf("sender %d: %d records taken, %d acknowledged and %d lost", tag, taken[tag].Load(), acked, lost)
		}
		there := uint64(0)
		for n := range count {
			if log[fmt.Sprintf("%d.%d-%d", seed, tag, n)] > 0 {
				there++
			}
		}
		// A hard stop leaves open what became of the last attempts.
		if there < acked || there > taken[tag].Load() {
			t.Errorf("sender %d: %d records taken, %d acknowledged, %d in the log", tag, taken[tag].Load(), acked, there)
		}
	}
	if got := s.Records.Load(); got != sum(&run.acked) || s.Lost.Load() != sum(&run.lost) {
		t.Errorf("stats say %d records and %d lost, the callbacks %d and %d", got, s.Lost.Load(), sum(&run.acked), sum(&run.lost))
	}
	if used, _ := run.Buffered(); used != 0 {
		t.Errorf("%d bytes of buffers are not back", used)
	}
	if t.Failed() {
		t.Logf("again: MILLRACE_FAULT_SEED=%d; %v", seed, x.did)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.did["records"], x.did["doubled"], x.did["possible duplicates"], x.did["retries"] = records, doubled, possible, int(s.Retries.Load())
	if hard {
		x.did["hard stops"] = 1
	}
	x.did["requests late or torn"] = int(x.net.held.Load())
	return x.did
}

// contents is how often each id is in the log, read to its end by an independent
// client.
func contents(t *testing.T, c *kfake.Cluster, topics []string) map[string]int {
	t.Helper()
	want := int64(0)
	for _, topic := range topics {
		for _, p := range c.PartitionInfos(topic) {
			want += p.HighWatermark
		}
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics(topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(50*time.Millisecond), kgo.MetadataMinAge(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	seen := map[string]int{}
	var event schema.Event
	for n := int64(0); n < want; {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("read %d of %d records in time", n, want)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			n++
			kind := schema.KindByName(rec.Topic[len("t."):])
			if err := (schema.Reader{}).Read(kind, rec.Value, &event); err != nil {
				t.Errorf("cannot read record %s/%d/%d: %s", rec.Topic, rec.Partition, rec.Offset, err)
				return
			}
			seen[string(event.Text(schema.Raw))]++
		})
	}
	return seen
}
