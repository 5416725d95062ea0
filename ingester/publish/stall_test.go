package publish_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"millrace/ingester/publish"
	"millrace/schema"
)

// silence is a transport over which some partitions never answer: the request
// goes out, and nothing comes back until the caller gives up.
type silence struct {
	*kafka.Transport
	is    func(topic string, partition int32) bool
	over  atomic.Bool
	tried atomic.Int64
}

func newSilence(is func(topic string, partition int32) bool) *silence {
	return &silence{Transport: new(network).transport(), is: is}
}

func (s *silence) RoundTrip(ctx context.Context, addr net.Addr, req kafka.Request) (kafka.Response, error) {
	m, err := s.Transport.RoundTrip(ctx, addr, req)
	if p, ok := req.(interface{ Place() (string, int32) }); ok && s.is(p.Place()) && !s.over.Load() {
		s.tried.Add(1)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return m, err
}

// TestPartitionStalls_Others: of many partitions one never answers. It keeps the
// one batch that was sent to it; traffic of many times the bound goes on over the
// others, within the bound, and in the end all is there once.
func TestPartitionStalls_Others(t *testing.T) {
	t.Parallel()
	c := broker(t, 3, 12)
	s := newSilence(func(topic string, partition int32) bool { return topic == "t.message" && partition == 5 })
	const buffers, buffer = 40, (8 << 10) + (16 << 10)
	r := start(t, c.ListenAddrs(), func(o *publish.Options) {
		o.Transport, o.Timeout, o.BufferBytes, o.Compression = s, time.Second, buffers*buffer, "none"
	})
	const count = 30_000 // each kind's is several times the bound
	var senders sync.WaitGroup
	for i, k := range three {
		senders.Go(func() { r.send(k, k.Name, 0, count, i) })
	}
	senders.Wait() // would not return if the silent partition stopped the others
	eventually(t, "all but the silent partition's batch is acknowledged", func() bool {
		used, limit := r.Buffered()
		if used > limit || limit > buffers*buffer {
			t.Fatalf("%d bytes are in use of %d; the bound is %d", used, limit, buffers*buffer)
		}
		return used == buffer
	})
	if s.tried.Load() == 0 {
		t.Error("the silent partition was never tried")
	}
	if left := 3*count - sum(&r.acked); left == 0 || left > 100 || r.acked[1].Load() != count || r.acked[2].Load() != count {
		t.Errorf("acknowledged %d, %d and %d records of %d each", r.acked[0].Load(), r.acked[1].Load(), r.acked[2].Load(), count)
	}
	if err := r.State(); err != nil {
		t.Errorf("eleven of twelve partitions answer, and the state is: %s", err)
	}
	s.over.Store(true)
	r.drain()
	exactlyOnce(t, consume(t, c.ListenAddrs(), 3*count), count, "message", "status", "reject")
	if n := r.Stats().PossibleDuplicates.Load(); n != 0 {
		t.Errorf("%d possible duplicates", n)
	}
}

// TestPartitionStalls_Bound: a topic that never answers may fill the buffers, not
// more. Until then the other topics go on; then Append waits and TryAppend fails,
// for all. Once it answers again all is there, once.
func TestPartitionStalls_Bound(t *testing.T) {
	t.Parallel()
	c := broker(t, 2, 3)
	s := newSilence(func(topic string, _ int32) bool { return topic == "t.status" })
	const buffers, buffer = 40, (8 << 10) + (16 << 10)
	r := start(t, c.ListenAddrs(), func(o *publish.Options) {
		o.Transport, o.Timeout, o.BufferBytes, o.Compression = s, time.Second, buffers*buffer, "none"
	})
	r.send(schema.Status, "status", 0, 500, 1) // some batches, far from the bound
	eventually(t, "it is tried", func() bool { return s.tried.Load() > 0 })
	const count = 20_000
	r.send(schema.Message, "message", 0, count, 0)
	eventually(t, "the other topic goes on", func() bool { return r.acked[0].Load() == count })

	var src source
	taken := 500
	full := func() bool {
		used, limit := r.Buffered()
		if used > limit || limit != buffers*buffer {
			t.Fatalf("%d bytes are in use of %d; the bound is %d", used, limit, buffers*buffer)
		}
		l := r.Acquire()
		defer l.Release()
		switch err := l.TryAppend(src.make(schema.Status, "status", taken), 1); {
		case err == nil:
			taken++
		case errors.Is(err, publish.ErrNoBuffer):
			return used == limit
		default:
			t.Fatalf("TryAppend: %v", err)
		}
		return false
	}
	eventually(t, "the buffers are full", func() bool {
		for range 1000 {
			if full() {
				return true
			}
		}
		return false
	})
	if r.acked[1].Load() != 0 {
		t.Error("the silent topic has acknowledged something")
	}
	// What blocks now is not lost: it waits in Append.
	var blocked sync.WaitGroup
	blocked.Go(func() { r.send(schema.Reject, "reject", 0, 300, 2) })
	s.over.Store(true)
	blocked.Wait()
	r.drain()
	seen := consume(t, c.ListenAddrs(), count+taken+300)
	for id, times := range seen {
		if times != 1 {
			t.Errorf("%s is there %d times", id, times)
		}
	}
	if len(seen) != count+taken+300 {
		t.Errorf("%d ids, want %d", len(seen), count+taken+300)
	}
}
