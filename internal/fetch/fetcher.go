package fetch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// Options say where to fetch and how much at a time. All are needed.
type Options struct {
	Transport      kafka.RoundTripper
	Addr           net.Addr
	MaxWait        time.Duration // how long the broker may hold a request that has nothing to answer
	Timeout        time.Duration // of a request, above MaxWait
	ResponseBytes  int           // of one response over all partitions
	PartitionBytes int           // of one response for one partition; a bigger batch comes whole all the same
	QueueBytes     int           // what a stream may have queued before it is left out of requests
	LimitBytes     int64         // what all streams may hold together
	Used           *atomic.Int64 // counts what all streams hold; nil: the fetcher's own
	OnState        func(error)   // told of every change: nil, or why Kafka does not answer; may be called by several goroutines
}

// Errors of a Chunk.
var (
	// ErrOutOfRange: the partition has no such offset (any more).
	ErrOutOfRange = errors.New("offset is out of the partition's range")
	// ErrGone: the topic or the partition does not exist (at the moment).
	ErrGone = errors.New("topic or partition does not exist")
)

// Fetcher reads many partitions, with one request at a time to each broker.
type Fetcher struct {
	o       Options
	mutex   sync.Mutex
	streams []*Stream
	loops   map[int32]*loop
	failing atomic.Int32 // loops, and route, whose last request failed
	routing bool         // route's last request failed
}

// New makes a fetcher without streams.
func New(o Options) *Fetcher {
	if o.Used == nil {
		o.Used = new(atomic.Int64)
	}
	return &Fetcher{o: o, loops: map[int32]*loop{}}
}

// Used is how many bytes all streams hold.
func (f *Fetcher) Used() int64 { return f.o.Used.Load() }

// Pressed tells whether memory is short: readers should finish what they have.
func (f *Fetcher) Pressed() bool { return f.o.Used.Load() > f.o.LimitBytes/4*3 }

// Add makes a stream, which delivers nothing before Start. All are added before Run.
func (f *Fetcher) Add(topic string, partition int32) *Stream {
	s := &Stream{f: f, topic: topic, partition: partition, ready: make(chan struct{}, 1), maxBytes: int32(f.o.PartitionBytes)}
	s.leader.Store(-1)
	f.streams = append(f.streams, s)
	slices.SortStableFunc(f.streams, func(a, b *Stream) int { return strings.Compare(a.topic, b.topic) })
	return s
}

// Run fetches until ctx ends, then returns when no request is open.
func (f *Fetcher) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		f.route(ctx, &wg)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// route looks up every stream's leader, from the metadata that the transport
// keeps fresh, and starts a loop for a broker that has none yet.
func (f *Fetcher) route(ctx context.Context, wg *sync.WaitGroup) {
	var topics []string
	for _, s := range f.streams {
		if len(topics) == 0 || topics[len(topics)-1] != s.topic {
			topics = append(topics, s.topic)
		}
	}
	if len(topics) == 0 {
		return
	}
	ask, cancel := context.WithTimeout(ctx, f.o.Timeout)
	defer cancel()
	r, err := f.o.Transport.RoundTrip(ask, f.o.Addr, &metadata.Request{TopicNames: topics})
	if err != nil {
		if ctx.Err() == nil {
			f.state(&f.routing, err)
		}
		return
	}
	f.state(&f.routing, nil)
	for _, t := range r.(*metadata.Response).Topics {
		for _, s := range f.streams {
			if s.topic != t.Name {
				continue
			}
			leader := int32(-1)
			for _, p := range t.Partitions {
				if p.PartitionIndex == s.partition && p.LeaderID >= 0 {
					leader = p.LeaderID
				}
			}
			s.leader.Store(leader)
			if kafka.Error(t.ErrorCode) == kafka.UnknownTopicOrPartition {
				s.fail(ErrGone)
			}
			if leader >= 0 && f.loops[leader] == nil {
				l := &loop{f: f, broker: leader, wake: make(chan struct{}, 1), x: newExchange()}
				f.mutex.Lock()
				f.loops[leader] = l
				f.mutex.Unlock()
				wg.Go(func() { l.run(ctx) })
			}
		}
	}
}

// wakeLoops lets loops that have nothing to ask for look again.
func (f *Fetcher) wakeLoops() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for _, l := range f.loops {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// state notes the outcome of a request; failed is whether the one before it, of
// the same goroutine, failed.
func (f *Fetcher) state(failed *bool, err error) {
	switch {
	case err != nil && !*failed:
		if *failed = true; f.failing.Add(1) == 1 {
			f.o.OnState(err)
		}
	case err == nil && *failed:
		if *failed = false; f.failing.Add(-1) == 0 {
			f.o.OnState(nil)
		}
	}
}

// loop fetches from one broker.
type loop struct {
	f      *Fetcher
	broker int32
	wake   chan struct{}
	x      *exchange
	wants  []want
	asked  []asked
	first  int
	failed bool
}

type asked struct {
	s       *Stream
	session uint64
}

// heldPoll is how long a request may wait while a stream is left out of it for
// want of room: its reader may make room any moment.
const heldPoll = 20 * time.Millisecond

func (l *loop) run(ctx context.Context) {
	var failures int
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		held := l.collect()
		pause := time.Duration(0)
		if len(l.wants) == 0 {
			pause = 50 * time.Millisecond
			l.f.state(&l.failed, nil) // nothing is led by this broker any more
		} else if err := l.exchange(ctx, held); err != nil {
			if ctx.Err() != nil {
				return
			}
			l.f.state(&l.failed, fmt.Errorf("cannot fetch from broker %d: %w", l.broker, err))
			failures++
			pause = backoff(failures)
		} else {
			failures = 0
			l.f.state(&l.failed, nil)
		}
		if pause > 0 {
			timer.Reset(pause)
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			case <-l.wake:
				if failures > 0 { // a wake-up is no reason to hurry after an error
					select {
					case <-ctx.Done():
						return
					case <-timer.C:
					}
				}
			}
		}
	}
}

// backoff grows to about two seconds.
func backoff(failures int) time.Duration {
	d := 50 * time.Millisecond << min(failures, 6)
	return d/2 + rand.N(d/2)
}

// collect gathers what to ask for; held says that a stream has no room.
func (l *loop) collect() (held bool) {
	l.wants, l.asked = l.wants[:0], l.asked[:0]
	now := time.Now()
	for _, s := range l.f.streams {
		if s.leader.Load() != l.broker {
			continue
		}
		w, session, state := s.want(now)
		switch state {
		case wanted:
			l.wants = append(l.wants, w)
			l.asked = append(l.asked, asked{s, session})
		case full:
			held = true
		}
	}
	// A response is filled in the order asked: take turns at being the first.
	if n := len(l.wants); n > 1 {
		l.first = (l.first + 1) % n
		rotate(l.wants, l.first)
		rotate(l.asked, l.first)
	}
	return held
}

func rotate[T any](s []T, n int) {
	slices.Reverse(s[:n])
	slices.Reverse(s[n:])
	slices.Reverse(s)
}

func (l *loop) exchange(ctx context.Context, held bool) error {
	wait := l.f.o.MaxWait
	if held {
		wait = heldPoll
	}
	l.x.prepare(l.broker, l.wants, int32(wait/time.Millisecond), 1, int32(l.f.o.ResponseBytes))
	if err := do(ctx, l.f.o, l.x); err != nil {
		l.x = newExchange()
		return err
	}
	parts := l.x.parts
	for i := range parts {
		p := &parts[i]
		for _, a := range l.asked {
			if a.s.topic == p.topic && a.s.partition == p.partition {
				a.s.deliver(a.session, p)
				break
			}
		}
		*p = part{}
	}
	return nil
}

// do sends the prepared exchange. After an error x must not be used again.
func do(ctx context.Context, o Options, x *exchange) error {
	ctx, cancel := context.WithTimeout(ctx, o.MaxWait+o.Timeout)
	defer cancel()
	if _, err := o.Transport.RoundTrip(ctx, o.Addr, x); err != nil {
		return err
	}
	if x.code != 0 {
		return kafka.Error(x.code)
	}
	return nil
}

// Once fetches from one partition's leader, waiting at most MaxWait for records
// to be there. The chunk has no records when there are none at or after offset.
func Once(ctx context.Context, o Options, topic string, partition int32, offset int64) (Chunk, error) {
	x := newExchange()
	x.prepare(-1, []want{{topic, partition, offset, int32(o.PartitionBytes)}}, int32(o.MaxWait/time.Millisecond), 1, int32(o.ResponseBytes))
	err := do(ctx, o, x)
	if err == nil && len(x.parts) == 1 {
		p := x.parts[0]
		if p.code == 0 {
			return Chunk{Offset: offset, HighWatermark: p.highWatermark, LogStart: p.logStart, buffer: p.records}, nil
		}
		switch err = kafka.Error(p.code); err {
		case kafka.OffsetOutOfRange:
			err = ErrOutOfRange
		case kafka.UnknownTopicOrPartition:
			err = ErrGone
		}
	} else if err == nil {
		err = fmt.Errorf("response has %d partitions, not 1", len(x.parts))
	}
	return Chunk{}, fmt.Errorf("cannot fetch %s/%d at offset %d: %w", topic, partition, offset, err)
}
