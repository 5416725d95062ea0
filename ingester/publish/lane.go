package publish

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"millrace/internal/recordbatch"
	"millrace/schema"
)

// ErrStopped is what Append returns once the context of Run has ended.
var ErrStopped = errors.New("cannot publish: the publisher has stopped")

// ErrNoBuffer is what TryAppend returns when all buffers are in use.
var ErrNoBuffer = errors.New("cannot publish: all buffers (kafka.buffer_bytes) wait for Kafka")

// ErrRecordTooLarge is what Append and TryAppend return for an event whose record
// does not fit in a batch by itself: it will never be taken.
var ErrRecordTooLarge = recordbatch.ErrRecordTooLarge

// Lane holds one open batch of each kind. It belongs to one goroutine between
// Acquire and Release, which should be short: what has been read, not the life
// of a connection.
type Lane struct {
	p      *Publisher
	mu     sync.Mutex // held between Acquire and Release
	open   []*batch   // by position of the kind in Options.Kinds
	closed bool

	awaited bool // receipts are wanted of what was appended since Acquire

	// Of a pinned lane.
	pinned bool
	pin    uint32
	slots  chan struct{} // one for each of its batches; nil: no bound of its own
}

// Acquire takes a lane, the first free one: with little traffic that is always
// the same, so that batches are few. It waits for other goroutines' work on
// events at most, never for Kafka.
func (p *Publisher) Acquire() *Lane {
	for _, l := range p.lanes {
		if l.mu.TryLock() {
			return l
		}
	}
	l := p.lanes[int(p.turn.Add(1))%len(p.lanes)]
	l.mu.Lock()
	return l
}

// Release gives the lane back.
func (l *Lane) Release() {
	if l.awaited {
		l.awaited = false
		l.sealAwaited()
	}
	l.mu.Unlock()
}

// Append adds an event, counted under tag. It blocks while all buffers are in
// use, until ctx ends; others may use the lane during that time. An event is
// taken exactly when the result is nil. The event's slices are free again on
// return.
func (l *Lane) Append(ctx context.Context, e *schema.Event, tag int) error {
	k := l.p.kind(e.Kind)
	for {
		if l.open[k] == nil {
			if err := l.wait(ctx, k); err != nil {
				return err
			}
		}
		taken, err := l.add(k, e, tag)
		if taken || err != nil {
			return err
		}
	}
}

// TryAppend is Append that fails with ErrNoBuffer instead of blocking.
func (l *Lane) TryAppend(e *schema.Event, tag int) error {
	k := l.p.kind(e.Kind)
	for {
		if l.closed {
			return ErrStopped
		}
		if l.open[k] == nil {
			b := l.p.pool.try(true)
			if b == nil {
				return ErrNoBuffer
			}
			l.begin(k, b)
		}
		taken, err := l.add(k, e, tag)
		if taken || err != nil {
			return err
		}
	}
}

// wait opens a batch of kind k. It gives the lane to others while it waits.
func (l *Lane) wait(ctx context.Context, k int) error {
	if l.closed {
		return ErrStopped
	}
	if l.slots != nil {
		return l.waitPinned(ctx, k)
	}
	b := l.p.pool.try(false)
	if b == nil {
		l.mu.Unlock()
		var err error
		b, err = l.p.pool.get(ctx)
		l.mu.Lock()
		if err != nil {
			return err
		}
		if l.closed || l.open[k] != nil {
			l.p.pool.put(b)
			return nil // look again
		}
	}
	l.begin(k, b)
	return nil
}

func (l *Lane) begin(k int, b *batch) {
	b.begin(time.Now(), l.p.o.BatchBytes)
	b.pinned, b.pin, b.slots = l.pinned, l.pin, l.slots
	l.open[k] = b
	select {
	case l.p.opened <- struct{}{}:
	default:
	}
}

// add writes the event into the open batch. taken is false, without an error,
// when the batch was full and has been sealed.
func (l *Lane) add(k int, e *schema.Event, tag int) (taken bool, err error) {
	b := l.open[k]
	if b == nil {
		return false, nil // another goroutine has sealed it: look again
	}
	err = b.append(e, tag)
	if err == nil {
		return true, nil
	}
	if errors.Is(err, recordbatch.ErrFull) {
		l.seal(k)
		return false, nil
	}
	if b.builder.Count() == 0 {
		l.open[k] = nil
		l.p.pool.put(b)
	}
	return false, fmt.Errorf("cannot publish %s event: %w (kafka.batch_bytes)", e.Kind.Name, err)
}

// seal hands the open batch of kind k to its topic.
func (l *Lane) seal(k int) {
	b := l.open[k]
	l.open[k] = nil
	if b == nil {
		return
	}
	if b.builder.Count() == 0 {
		l.p.pool.put(b)
		return
	}
	b.seal()
	l.p.topics[k].enqueue(b)
}

// sealOlder seals the batches that were opened at or before a time, and those that are
// awaited and can leave, and returns when the oldest of the others was opened.
func (l *Lane) sealOlder(opened time.Time) (oldest time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.pinned {
		l.sealAwaited()
	}
	for k, b := range l.open {
		switch {
		case b == nil:
		case !b.opened.After(opened):
			l.seal(k)
		case oldest.IsZero() || b.opened.Before(oldest):
			oldest = b.opened
		}
	}
	return oldest
}

// close seals what is open and takes no more.
func (l *Lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for k := range l.open {
		l.seal(k)
	}
}
