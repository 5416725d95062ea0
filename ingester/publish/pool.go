package publish

import (
	"context"
	"sync"
	"time"

	"millrace/internal/recordbatch"
	"millrace/schema"
)

// batch is one record batch and what belongs to it. It has one owner at a time:
// a lane while it is open, its topic's queue, a sender, the pool.
type batch struct {
	buf     []byte // its memory, cap BatchBytes+slack
	builder recordbatch.Builder
	counts  []uint32 // records per tag
	opened  time.Time

	receipts receipts

	pinned bool // to one partition, which pin chooses
	pin    uint32
	slots  chan struct{} // one place of which is the batch's; may be nil

	// Since it was sealed.
	bytes     []byte // the batch as it will be sent, in buf
	size      int    // uncompressed
	records   int32
	packed    bool
	stamp     identity
	sequence  int32
	uncertain bool // an attempt may have reached a log
}

func (b *batch) begin(now time.Time, limit int) {
	b.builder.Reset(b.buf[:0], limit)
	clear(b.counts)
	b.opened = now
	b.bytes, b.packed, b.uncertain = nil, false, false
	b.stamp = noIdentity
}

func (b *batch) append(e *schema.Event, tag int) error {
	value := b.builder.Begin(e.Millis(schema.ReceivedAt))
	if err := b.builder.End(schema.AppendRecord(value, e)); err != nil {
		return err
	}
	b.counts[tag]++
	return nil
}

func (b *batch) seal() {
	b.bytes = b.builder.Seal()
	b.size = len(b.bytes)
	b.records = int32(b.builder.Count())
}

// pool holds the batches of one publisher: a fixed number, made when first
// needed. The one used last is used next, so that little traffic touches little
// memory.
type pool struct {
	tokens  chan struct{} // one for each batch that may be taken
	reserve chan struct{} // further ones that only try takes
	stopped chan struct{} // closed when the publisher takes no more

	mu    sync.Mutex
	free  []*batch
	bytes int
	tags  int
}

// newPool keeps some of its batches for try: senders that cannot wait must not
// be starved by those that do, which take each buffer as soon as it is free.
func newPool(batches, bytes, tags int) *pool {
	reserve := batches / 8
	p := &pool{
		tokens:  make(chan struct{}, batches-reserve),
		reserve: make(chan struct{}, reserve),
		stopped: make(chan struct{}),
		free:    make([]*batch, 0, batches),
		bytes:   bytes,
		tags:    tags,
	}
	for range cap(p.tokens) {
		p.tokens <- struct{}{}
	}
	for range cap(p.reserve) {
		p.reserve <- struct{}{}
	}
	return p
}

// get waits for a batch.
func (p *pool) get(ctx context.Context) (*batch, error) {
	select {
	case <-p.tokens:
		return p.take(), nil
	case <-p.stopped:
		return nil, ErrStopped
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// try takes a batch if there is one; from the reserve too when asked.
func (p *pool) try(reserve bool) *batch {
	select {
	case <-p.tokens:
		return p.take()
	default:
	}
	if reserve {
		select {
		case <-p.reserve:
			return p.take()
		default:
		}
	}
	return nil
}

func (p *pool) take() *batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free = p.free[:n-1]
		return b
	}
	return &batch{buf: make([]byte, 0, p.bytes), counts: make([]uint32, p.tags)}
}

func (p *pool) put(b *batch) {
	if b.slots != nil {
		<-b.slots
		b.slots = nil
	}
	p.mu.Lock()
	p.free = append(p.free, b)
	p.mu.Unlock()
	select {
	case p.reserve <- struct{}{}:
	default:
		p.tokens <- struct{}{} // never blocks: tokens and batches are as many
	}
}

// used is how many batches are out of the pool, and of how many.
func (p *pool) used() (used, all int) {
	all = cap(p.tokens) + cap(p.reserve)
	return all - len(p.tokens) - len(p.reserve), all
}
