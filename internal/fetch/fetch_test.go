package fetch

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/recordbatch"
)

const topic = "events"

type broker struct {
	*kfake.Cluster
	client *kgo.Client
}

func start(t testing.TB, brokers int) broker {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(brokers), kfake.SeedTopics(4, topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return broker{c, client}
}

func (b broker) produce(t testing.TB, partition int32, values ...string) {
	t.Helper()
	for _, v := range values { // one batch each
		if err := b.client.ProduceSync(context.Background(), &kgo.Record{Partition: partition, Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func (b broker) options(t testing.TB) Options {
	transport := &kafka.Transport{MetadataTTL: 100 * time.Millisecond}
	t.Cleanup(transport.CloseIdleConnections)
	return Options{
		Transport: transport, Addr: kafka.TCP(b.ListenAddrs()...),
		MaxWait: 100 * time.Millisecond, Timeout: 5 * time.Second,
		ResponseBytes: 1 << 20, PartitionBytes: 64 << 10, QueueBytes: 128 << 10, LimitBytes: 1 << 20,
		OnState: func(error) {},
	}
}

func run(t testing.TB, f *Fetcher) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { f.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
}

// values reads from the stream until n records were there.
func values(t testing.TB, s *Stream, n int) []string {
	t.Helper()
	var got []string
	timeout := time.After(20 * time.Second)
	for len(got) < n {
		select {
		case <-s.Ready():
		case <-timeout:
			t.Fatalf("%d records of %d", len(got), n)
		}
		for c, ok := s.Next(); ok; c, ok = s.Next() {
			if c.Err != nil {
				t.Fatal(c.Err)
			}
			got = append(got, records(t, &c)...)
			c.Release()
		}
	}
	return got
}

func records(t testing.TB, c *Chunk) []string {
	t.Helper()
	var got []string
	var set recordbatch.Set
	d := recordbatch.NewDecompressor(1 << 20)
	set.Reset(c.Records(), c.Offset)
	for set.Next() {
		rs, _, err := d.Records(set.Batch(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for r := (recordbatch.Record{}); rs.Next(&r); {
			got = append(got, string(r.Value))
		}
	}
	if err := set.Err(); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestFetcher_ReadsAllPartitions(t *testing.T) {
	t.Parallel()
	b := start(t, 3)
	f := New(b.options(t))
	var streams []*Stream
	for p := range int32(4) {
		streams = append(streams, f.Add(topic, p))
		b.produce(t, p, fmt.Sprint("a", p), fmt.Sprint("b", p))
	}
	run(t, f)
	for p, s := range streams {
		s.Start(0)
		if got := values(t, s, 2); got[0] != fmt.Sprint("a", p) || got[1] != fmt.Sprint("b", p) {
			t.Errorf("partition %d: %q", p, got)
		}
		if s.HighWatermark() != 2 {
			t.Errorf("partition %d: high watermark %d, want 2", p, s.HighWatermark())
		}
	}
	b.produce(t, 2, "later")
	if got := values(t, streams[2], 1); got[0] != "later" {
		t.Errorf("%q", got)
	}
	streams[2].Start(1)
	if got := values(t, streams[2], 2); got[0] != "b2" || got[1] != "later" {
		t.Errorf("from offset 1: %q", got)
	}
	if n := f.Used(); n != 0 {
		t.Errorf("%d bytes held, all were released", n)
	}
}

// A leader that moves is followed: the request must not carry epoch 0, which is
// refused for ever after the first move.
func TestFetcher_LeaderMoves(t *testing.T) {
	t.Parallel()
	b := start(t, 3)
	f := New(b.options(t))
	s := f.Add(topic, 0)
	run(t, f)
	s.Start(0)
	for i := range 4 {
		b.produce(t, 0, fmt.Sprint(i))
		if got := values(t, s, 1); got[0] != fmt.Sprint(i) {
			t.Fatalf("%q, want %d", got, i)
		}
		leader := b.LeaderFor(topic, 0)
		if err := b.MoveTopicPartition(topic, 0, (leader+1)%3); err != nil {
			t.Fatal(err)
		}
	}
}

// Nothing is fetched for a stream that holds its share, but for others.
func TestFetcher_Limits(t *testing.T) {
	t.Parallel()
	b := start(t, 1)
	o := b.options(t)
	o.LimitBytes = 300 << 10
	f := New(o)
	var streams []*Stream
	big := string(make([]byte, 50<<10))
	for p := range int32(4) {
		streams = append(streams, f.Add(topic, p))
		for range 8 {
			b.produce(t, p, big)
		}
	}
	run(t, f)
	for _, s := range streams[:3] {
		s.Start(0)
	}
	deadline := time.Now().Add(20 * time.Second)
	for f.Used() < o.LimitBytes && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	streams[3].Start(0)
	values(t, streams[3], 8) // goes through, though memory is full
	bound := o.LimitBytes + 4*int64(o.PartitionBytes)
	if n := f.Used(); n < o.LimitBytes || n > bound {
		t.Errorf("%d bytes held, want between %d and %d", n, o.LimitBytes, bound)
	}
	if !f.Pressed() {
		t.Error("memory is full and Pressed is false")
	}
	for _, s := range streams[:3] {
		values(t, s, 8)
	}
	if n := f.Used(); n != 0 {
		t.Errorf("%d bytes held after the end", n)
	}
}

// A batch over the limit of a request comes all the same.
func TestFetcher_BigBatch(t *testing.T) {
	t.Parallel()
	b := start(t, 1)
	b.produce(t, 1, "small", string(make([]byte, 700<<10)), "last")
	f := New(b.options(t))
	s := f.Add(topic, 1)
	run(t, f)
	s.Start(0)
	if got := values(t, s, 3); len(got[1]) != 700<<10 || got[2] != "last" {
		t.Errorf("lengths %d %d %d", len(got[0]), len(got[1]), len(got[2]))
	}
}

func TestFetcher_Errors(t *testing.T) {
	t.Parallel()
	b := start(t, 1)
	o := b.options(t)
	f := New(o)
	known, gone := f.Add(topic, 0), f.Add("nowhere", 0)
	run(t, f)
	known.Start(1000)
	gone.Start(0)
	for s, want := range map[*Stream]error{known: ErrOutOfRange, gone: ErrGone} {
		<-s.Ready()
		if c, ok := s.Next(); !ok || !errors.Is(c.Err, want) {
			t.Errorf("%v, want %v", c.Err, want)
		}
	}
	if _, err := Once(context.Background(), o, topic, 0, 1000); !errors.Is(err, ErrOutOfRange) {
		t.Errorf("Once = %v, want %v", err, ErrOutOfRange)
	}
	b.produce(t, 0, "x")
	c, err := Once(context.Background(), o, topic, 0, 0)
	if err != nil || c.HighWatermark != 1 || records(t, &c)[0] != "x" {
		t.Errorf("Once = %+v, %v", c, err)
	}
	c.Release()
}

// pipe answers a request with fixed bytes.
type pipe struct{ io.Reader }

func (pipe) Write(b []byte) (int, error) { return len(b), nil }

func response(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// goodBody is a version 11 answer for one partition with a record set.
func goodBody(set []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, correlationID)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) // throttle, code, session
	b = append(b, 0, 0, 0, 1, 0, byte(len(topic)))
	b = append(b, topic...)
	b = append(b, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) // one partition: 0, no error
	b = binary.BigEndian.AppendUint64(b, 7)
	b = binary.BigEndian.AppendUint64(b, 7)
	b = binary.BigEndian.AppendUint64(b, 2)
	b = append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) // no aborted, no replica
	b = binary.BigEndian.AppendUint32(b, uint32(len(set)))
	return append(b, set...)
}

func newRequest() *exchange {
	x := newExchange()
	x.prepare(-1, []want{{topic, 0, 5, 1 << 20}}, 100, 1, 1<<20)
	x.Required(map[protocol.ApiKey]int16{protocol.Fetch: maxVersion})
	return x
}

func TestExchange(t *testing.T) {
	t.Parallel()
	x := newRequest()
	good := goodBody([]byte("record set"))
	if _, err := x.RawExchange(pipe{bytes.NewReader(response(good))}); err != nil {
		t.Fatal(err)
	}
	if p := x.parts[0]; len(x.parts) != 1 || p.topic != topic || p.highWatermark != 7 || p.logStart != 2 || string(p.records.b) != "record set" {
		t.Errorf("%+v", x.parts)
	}
	for n := range good { // cut anywhere: an error, not a hang or a panic
		if _, err := newRequest().RawExchange(pipe{bytes.NewReader(response(good[:n]))}); err == nil {
			t.Errorf("cut at %d of %d: no error", n, len(good))
		}
	}
}

func FuzzExchange(f *testing.F) {
	f.Add(goodBody([]byte("record set")))
	f.Add(goodBody(nil))
	f.Add([]byte{0, 0, 0, 1, 0xff})
	f.Fuzz(func(t *testing.T, body []byte) {
		x := newRequest()
		if _, err := x.RawExchange(pipe{bytes.NewReader(response(body))}); err != nil && len(x.parts) != 0 {
			t.Error("parts of a response that does not parse")
		}
	})
}
