package publish

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"millrace/internal/recordbatch"
	"millrace/schema"
)

// Publisher publishes events. Make it with New; Run does the work.
type Publisher struct {
	o            Options
	address      net.Addr
	topics       []*topic // by position of the kind in Options.Kinds
	topicNames   []string
	pool         *pool
	lanes        []*Lane
	pinnedMu     sync.Mutex
	pinned       []*Lane
	pinnedClosed bool
	turn         atomic.Uint32
	packers      chan *packer // nil without compression
	stats        Stats
	state        state

	hard    context.Context // of Run: ends the attempts
	opened  chan struct{}   // a batch has been opened
	awaited chan struct{}   // a topic is free whose open batches somebody waits for
	stale   chan struct{}   // leaders should be asked for
	idle    chan struct{}   // a topic may have become idle

	wakeMu sync.Mutex
	wake   chan struct{} // closed and replaced when leaders change

	identityMu sync.Mutex
	current    identity
}

// New makes a publisher. It connects to nothing before Run.
func New(o Options) (*Publisher, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	p := &Publisher{
		o:          o,
		address:    o.address(),
		topicNames: Topics(o.TopicPrefix, o.Kinds),
		pool:       newPool(o.buffers(), o.BatchBytes+slack, o.Tags),
		opened:     make(chan struct{}, 1),
		awaited:    make(chan struct{}, 1),
		stale:      make(chan struct{}, 1),
		idle:       make(chan struct{}, 1),
		wake:       make(chan struct{}),
		current:    noIdentity,
	}
	p.state.told, p.state.ready = classStart, make(chan struct{})
	p.state.err = fmt.Errorf("cannot publish yet: no answer from Kafka at %s so far", o.where())
	for _, name := range p.topicNames {
		p.topics = append(p.topics, &topic{p: p, name: name, sticky: -1})
	}
	for range o.Lanes {
		p.lanes = append(p.lanes, &Lane{p: p, open: make([]*batch, len(o.Kinds))})
	}
	if n := o.packers(); n > 0 {
		p.packers = make(chan *packer, n)
		for range n {
			c, err := recordbatch.NewCompressor(o.codec)
			if err != nil {
				return nil, err
			}
			p.packers <- &packer{compressor: c, spare: make([]byte, 0, o.BatchBytes+slack)}
		}
	}
	return p, nil
}

// Stats are the publisher's counters.
func (p *Publisher) Stats() *Stats { return &p.stats }

// Buffered is how many bytes of buffers are in use, open and under way, and how
// many there may be.
func (p *Publisher) Buffered() (used, limit int) {
	u, all := p.pool.used()
	return u * (p.o.BatchBytes + slack), all * (p.o.BatchBytes + slack)
}

// kind is the position of a kind in Options.Kinds.
func (p *Publisher) kind(k *schema.Kind) int {
	for i, x := range p.o.Kinds {
		if x == k {
			return i
		}
	}
	panic(fmt.Sprintf("BUG: event of kind %q, which this publisher was not given", k.Name))
}

// ErrLost is what Run returns when the hard context ended before Kafka had
// acknowledged everything.
var ErrLost = errors.New("records were not acknowledged by Kafka")

// Run publishes until ctx ends. Then it seals what is open, takes no more events
// (Append returns ErrStopped: end the sources first, and wait for them), and
// sends until all is acknowledged or hard ends. What is left then goes to
// Options.OnLost; a batch whose last attempt was under way counts as lost even
// though Kafka may have it. Call Run once.
func (p *Publisher) Run(ctx, hard context.Context) error {
	hard, cancel := context.WithCancel(hard)
	defer cancel()
	p.hard = hard
	var work sync.WaitGroup
	work.Go(p.followLeaders)
	work.Go(p.linger)
	for _, t := range p.topics {
		t.begin()
	}

	select {
	case <-ctx.Done():
	case <-hard.Done():
	}
	close(p.pool.stopped)
	p.closeLanes()
	for !p.allIdle() && hard.Err() == nil {
		select {
		case <-p.idle:
		case <-hard.Done():
		}
	}

	cancel()
	lost := p.stats.Lost.Load
	for _, t := range p.topics {
		for {
			queue, flying := t.stop()
			for _, b := range queue {
				p.lose(b)
			}
			if !flying {
				break
			}
			<-p.idle // each sender that ends says so
		}
	}
	work.Wait()
	if c, ok := p.o.Transport.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
	if n := lost(); n > 0 {
		return fmt.Errorf("%w: %d records, Kafka at %s", ErrLost, n, p.o.where())
	}
	return nil
}

func (p *Publisher) allIdle() bool {
	for _, t := range p.topics {
		if !t.idle() {
			return false
		}
	}
	return true
}

// signalIdle wakes Run to look whether all is done.
func (p *Publisher) signalIdle() {
	select {
	case p.idle <- struct{}{}:
	default:
	}
}

// linger seals batches that have been open for the time of Options.Linger, or are
// awaited and could not leave before. With no batch open it sleeps.
func (p *Publisher) linger() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	opened := p.opened // nil while a batch is open: the timer is set
	for {
		select {
		case <-p.hard.Done():
			return
		case <-opened:
		case <-p.awaited:
		case <-timer.C:
		}
		oldest := time.Time{}
		limit := time.Now().Add(-p.o.Linger)
		for _, l := range p.everyLane() {
			if t := l.sealOlder(limit); !t.IsZero() && (oldest.IsZero() || t.Before(oldest)) {
				oldest = t
			}
		}
		if opened = p.opened; !oldest.IsZero() {
			opened = nil
			timer.Reset(time.Until(oldest.Add(p.o.Linger)))
		}
	}
}
