package publish

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"

	"millrace/schema"
)

// stub is a cluster in a function call, for what a broker cannot be made to do
// and for counting allocations without a broker's.
type stub struct {
	mu         sync.Mutex
	leaders    []int32 // of each topic's partitions; -1: none
	throttle   int32
	ids        atomic.Int64
	produced   atomic.Int64
	onProduce  func(*produceRequest) error
	onTopicErr int16
}

func (s *stub) RoundTrip(ctx context.Context, _ net.Addr, req kafka.Request) (kafka.Response, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	switch r := req.(type) {
	case *leadersRequest:
		s.mu.Lock()
		defer s.mu.Unlock()
		res := &leadersResponse{}
		res.Brokers = []metadata.ResponseBroker{{NodeID: 1}, {NodeID: 2}}
		for _, name := range r.Topics {
			t := metadata.ResponseTopic{Name: name, ErrorCode: s.onTopicErr}
			for i, leader := range s.leaders {
				t.Partitions = append(t.Partitions, metadata.ResponsePartition{PartitionIndex: int32(i), LeaderID: leader})
			}
			res.Topics = append(res.Topics, t)
		}
		return res, nil
	case *producerIDRequest:
		return &initproducerid.Response{ProducerID: s.ids.Add(1)}, nil
	case *produceRequest:
		if s.onProduce != nil {
			if err := s.onProduce(r); err != nil {
				return nil, err
			}
		}
		if _, err := r.Topics[0].Partitions[0].RecordSet.WriteTo(io.Discard); err != nil {
			return nil, err
		}
		s.produced.Add(1)
		s.mu.Lock()
		defer s.mu.Unlock()
		return &produce.Response{ThrottleTimeMs: s.throttle, Topics: []produce.ResponseTopic{{
			Topic: r.Topics[0].Topic, Partitions: []produce.ResponsePartition{{Partition: r.Topics[0].Partitions[0].Partition}},
		}}}, nil
	}
	return nil, fmt.Errorf("unexpected request %T", req)
}

// Place is where a produce request goes, for tests that stand in between.
func (r *produceRequest) Place() (topic string, partition int32) {
	return r.Topics[0].Topic, r.Topics[0].Partitions[0].Partition
}

func runStub(t testing.TB, s *stub, change func(*Options)) (p *Publisher, stop func()) {
	t.Helper()
	o := Options{Brokers: []string{"127.0.0.1:1"}, Transport: s, BatchBytes: 64 << 10, BufferBytes: 8 << 20, Metadata: 20 * time.Millisecond}
	if change != nil {
		change(&o)
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx, context.Background()) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return p, stop
}

func event() *schema.Event {
	e := new(schema.Event)
	e.Reset(schema.Message)
	e.SetMillis(schema.ReceivedAt, 1_700_000_000_000)
	e.SetText(schema.Raw, []byte(strings.Repeat("filter1.example.com user@example.com ", 8)))
	e.SetText(schema.SyslogHost, []byte("filter1"))
	return e
}

func appendN(t testing.TB, p *Publisher, e *schema.Event, n int) {
	l := p.Acquire()
	defer l.Release()
	for range n {
		if err := l.Append(context.Background(), e, 0); err != nil {
			t.Fatal(err)
		}
	}
}

func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("does not come to pass: %s", what)
		}
	}
}

// TestAppend_Allocs: a record costs nothing; a batch some allocations of
// kafka-go's request, which is far less than one in a hundred records.
func TestAppend_Allocs(t *testing.T) {
	for _, codec := range []string{"none", "snappy"} {
		p, stop := runStub(t, &stub{leaders: []int32{1, 2, 1, 2}}, func(o *Options) {
			o.Compression, o.Linger, o.Metadata = codec, time.Hour, time.Hour
			o.BatchBytes, o.BufferBytes = DefaultBatchBytes, DefaultBufferBytes
		})
		e := event()
		appendN(t, p, e, 50_000) // buffers are made on first use
		const records = 10_000
		perRecord := testing.AllocsPerRun(20, func() { appendN(t, p, e, records) }) / records
		if perRecord > 0.005+poolAllocs {
			t.Errorf("%s: %.4f allocations a record", codec, perRecord)
		}
		stop()
	}
}

// TestAppend_AllocsInBatch: not one, as long as the batch has room.
func TestAppend_AllocsInBatch(t *testing.T) {
	p, err := New(Options{Brokers: []string{"127.0.0.1:1"}, Transport: &stub{}, BatchBytes: 4 << 20, BufferBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	e := event()
	appendN(t, p, e, 1)
	if n := testing.AllocsPerRun(100, func() { appendN(t, p, e, 50) }); n != 0 {
		t.Errorf("50 records cost %v allocations", n)
	}
}

func TestLeaderless(t *testing.T) {
	t.Parallel()
	s := &stub{leaders: []int32{-1, 2, 99}} // broker 99 is in no list
	var where sync.Map
	s.onProduce = func(r *produceRequest) error {
		where.Store(r.Topics[0].Partitions[0].Partition, true)
		return nil
	}
	p, stop := runStub(t, s, nil)
	<-p.Ready()
	appendN(t, p, event(), 2000)
	within(t, "all is acknowledged", func() bool { return p.Stats().Records.Load() == 2000 })
	where.Range(func(k, _ any) bool {
		if k != int32(1) {
			t.Errorf("sent to partition %d, which has no leader", k)
		}
		return true
	})

	set := func(leaders ...int32) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.leaders = leaders
	}
	set(-1, -1, -1)
	within(t, "the state tells", func() bool { return p.State() != nil })
	if err := p.State(); !strings.Contains(err.Error(), "has a leader; see kafka-topics.sh") {
		t.Errorf("state: %s", err)
	}
	appendN(t, p, event(), 100)
	set(-1, -1, 2)
	within(t, "the rest is acknowledged", func() bool { return p.Stats().Records.Load() == 2100 })
	within(t, "the state is good", func() bool { return p.State() == nil })
	stop()
}

// TestUnsent: an attempt that ended before anyone read the batch leaves it free
// to go to another partition; one that was read stays.
func TestUnsent(t *testing.T) {
	t.Parallel()
	for _, read := range []bool{false, true} {
		s := &stub{leaders: []int32{1, 1, 1, 1, 1, 1, 1, 1}}
		var partitions []int32
		var sequences []int32
		s.onProduce = func(r *produceRequest) error {
			part := &r.Topics[0].Partitions[0]
			partitions = append(partitions, part.Partition)
			if len(partitions) > 3 {
				return nil
			}
			if read {
				var buf bytes.Buffer
				if _, err := part.RecordSet.WriteTo(&buf); err != nil {
					return err
				}
				sequences = append(sequences, int32(binary.BigEndian.Uint32(buf.Bytes()[4+53:])))
			}
			return io.ErrUnexpectedEOF
		}
		p, stop := runStub(t, s, nil)
		appendN(t, p, event(), 1)
		within(t, "it is acknowledged", func() bool { return p.Stats().Records.Load() == 1 })
		stop()
		same := true
		for _, q := range partitions {
			same = same && q == partitions[0]
		}
		if same != read || len(partitions) != 4 {
			t.Errorf("read %t: sent to partitions %v", read, partitions)
		}
		for _, q := range sequences {
			if q != 0 {
				t.Errorf("sequences %v of one batch", sequences)
			}
		}
	}
}

func TestThrottle(t *testing.T) {
	t.Parallel()
	s := &stub{leaders: []int32{1}, throttle: 30}
	p, stop := runStub(t, s, func(o *Options) { o.Linger = time.Millisecond })
	begin := time.Now()
	for n := range 5 {
		appendN(t, p, event(), 1)
		within(t, "it is acknowledged", func() bool { return p.Stats().Records.Load() == uint64(n+1) })
	}
	if took := time.Since(begin); took < 4*30*time.Millisecond {
		t.Errorf("five batches took %s: the broker asked for 30 ms after each", took)
	}
	if got := p.Stats().ThrottleMillis.Load(); got != 150 {
		t.Errorf("%d ms counted", got)
	}
	stop()
}

// TestBody: after close nobody reads, and close tells whether anyone did.
func TestBody(t *testing.T) {
	t.Parallel()
	batch := []byte("batch")
	b := newBody(batch)
	if b.close() {
		t.Error("read by nobody")
	}
	if n, err := b.WriteTo(io.Discard); n != 0 || !errors.Is(err, errBodyClosed) {
		t.Errorf("after close: %d, %v", n, err)
	}
	b = newBody(batch)
	var buf bytes.Buffer
	n, err := io.Copy(&buf, b)
	if err != nil || n != 9 || buf.String() != "\x00\x00\x00\x05batch" {
		t.Errorf("%d, %v, %q", n, err, buf.String())
	}
	if !b.close() {
		t.Error("read by somebody")
	}
	// close waits for a copy that is under way.
	b = newBody(batch)
	inside, leave := make(chan struct{}), make(chan struct{})
	var left atomic.Bool
	go func() {
		_, _ = b.WriteTo(writerFunc(func(p []byte) (int, error) {
			if string(p) == "batch" {
				close(inside)
				<-leave
				left.Store(true)
			}
			return len(p), nil
		}))
	}()
	<-inside
	go close(leave)
	if !b.close() || !left.Load() {
		t.Error("closed while the batch was being copied")
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestClassify(t *testing.T) {
	t.Parallel()
	for code := kafka.Error(-1); code < 110; code++ {
		got := classify(code)
		if got == acknowledged != (code == 0 || code == 46) {
			t.Errorf("code %d is taken for success: %t", code, got == acknowledged)
		}
		// A leader that steps down, a timeout, a disk: the batch may be there.
		for _, c := range []kafka.Error{3, 5, 6, 7, 13, 20, 56, -1} {
			if code == c && got != unknown {
				t.Errorf("code %d is taken for certain", code)
			}
		}
	}
}

func TestOptions_Failure(t *testing.T) {
	t.Parallel()
	f := func(o Options, words ...string) {
		t.Helper()
		_, err := New(o)
		for _, w := range words {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%+v: %q is not in: %v", o, w, err)
			}
		}
	}
	f(Options{}, "kafka.brokers")
	f(Options{Brokers: []string{"kafka"}}, `"kafka"`, "kafka.brokers")
	f(Options{Brokers: []string{"k:1"}, Compression: "gzip"}, `"gzip"`, "kafka.compression")
	f(Options{Brokers: []string{"k:1"}, BatchBytes: 100}, "100", "kafka.batch_bytes")
	f(Options{Brokers: []string{"k:1"}, BatchBytes: 1 << 30}, "kafka.batch_bytes")
	f(Options{Brokers: []string{"k:1"}, BufferBytes: 1 << 20}, "1048576", "kafka.buffer_bytes must be at least")
}

// TestOptions_Small: the least budget that is accepted works.
func TestOptions_Small(t *testing.T) {
	t.Parallel()
	s := &stub{leaders: []int32{1, 1}}
	p, stop := runStub(t, s, func(o *Options) {
		o.Compression = "lz4"
		o.BufferBytes = 5 * (o.BatchBytes + slack)
		o.Lanes = 8
	})
	if len(p.lanes) != 1 {
		t.Errorf("%d lanes", len(p.lanes))
	}
	appendN(t, p, event(), 20_000)
	within(t, "all is acknowledged", func() bool { return p.Stats().Records.Load() == 20_000 })
	stop()
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for n := range 100 {
		if d := backoff(n); d < firstBackoff/2 || d > lastBackoff*3/2 {
			t.Errorf("after %d failures %s", n, d)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, codec := range []string{"none", "snappy", "lz4", "zstd"} {
		b.Run("codec="+codec, func(b *testing.B) {
			p, stop := runStub(b, &stub{leaders: []int32{1, 2, 1, 2}}, func(o *Options) {
				o.Compression = codec
				o.BatchBytes = DefaultBatchBytes
				o.BufferBytes = DefaultBufferBytes
			})
			e := event()
			b.SetBytes(int64(len(schema.AppendRecord(nil, e))))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					l := p.Acquire()
					for range 100 {
						if err := l.Append(context.Background(), e, 0); err != nil {
							b.Error(err)
						}
						if !pb.Next() {
							break
						}
					}
					l.Release()
				}
			})
			stop()
		})
	}
}
