package publish

import (
	"context"
	"time"

	"millrace/schema"
)

// pinnedBatches is how many batches a pinned lane may have, open and under way: a
// partition that is away for long must not take all buffers from the others.
const pinnedBatches = 4

// Pinned makes a lane for one source whose events go, of each kind, to one partition, in
// the order in which they are appended: whoever comes later finds them there. pin chooses
// the partition. The lane is its maker's alone until Unpin; Acquire does not give it out.
// What waits for its partition waits as long as that is away, and Append with it.
func (p *Publisher) Pinned(pin uint32) *Lane {
	l := &Lane{p: p, open: make([]*batch, len(p.o.Kinds)), pinned: true, pin: pin, slots: make(chan struct{}, pinnedBatches)}
	p.pinnedMu.Lock()
	defer p.pinnedMu.Unlock()
	l.closed = p.pinnedClosed
	p.pinned = append(p.pinned, l)
	return l
}

// Hold takes the lane's lock, Release gives it back: Append wants it held.
func (l *Lane) Hold() { l.mu.Lock() }

// Unpin seals what is open, and ends the lane.
func (l *Lane) Unpin() {
	l.close()
	p := l.p
	p.pinnedMu.Lock()
	defer p.pinnedMu.Unlock()
	for i, x := range p.pinned {
		if x == l {
			p.pinned = append(p.pinned[:i:i], p.pinned[i+1:]...)
			return
		}
	}
}

// Note is Confirm without haste: the batch is not sent any sooner.
func (l *Lane) Note(k *schema.Kind, to Receipts, receipt uint32) {
	if b := l.open[l.p.kind(k)]; b != nil {
		b.receipts.add(to, receipt)
	}
}

// everyLane is those of Acquire and the pinned ones.
func (p *Publisher) everyLane() []*Lane {
	p.pinnedMu.Lock()
	defer p.pinnedMu.Unlock()
	return append(p.lanes[:len(p.lanes):len(p.lanes)], p.pinned...)
}

// closeLanes seals what is open, of lanes to come too.
func (p *Publisher) closeLanes() {
	p.pinnedMu.Lock()
	p.pinnedClosed = true
	p.pinnedMu.Unlock()
	for _, l := range p.everyLane() {
		l.close()
	}
}

// waitPinned opens a batch of a pinned lane. The lane's lock is free while it waits.
func (l *Lane) waitPinned(ctx context.Context, k int) error {
	l.mu.Unlock()
	err := func() error {
		select {
		case l.slots <- struct{}{}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-l.p.pool.stopped:
			return ErrStopped
		}
	}()
	var b *batch
	if err == nil {
		if b, err = l.p.pool.get(ctx); err != nil {
			<-l.slots
		}
	}
	l.mu.Lock()
	switch {
	case err != nil:
		return err
	case l.closed:
		b.slots = l.slots
		l.p.pool.put(b)
		return ErrStopped
	}
	l.begin(k, b)
	return nil
}

// Place is the partition of kind k's topic that pin chooses, and an offset of it: what
// Kafka has acknowledged stands before that. end is -1 until it has acknowledged
// something, ok false until the partitions are known.
func (p *Publisher) Place(k *schema.Kind, pin uint32) (partition int32, end int64, ok bool) {
	t := p.topics[p.kind(k)]
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.pinned(pin)
	if q == nil {
		return 0, -1, false
	}
	return q.id, q.end - 1, true
}

// pinned is the partition that pin chooses; nil: there is none.
func (t *topic) pinned(pin uint32) *partition {
	n := len(t.partitions)
	for i := range n {
		if q := t.partitions[(int(pin%uint32(n))+i)%n]; !q.gone {
			return q
		}
	}
	return nil
}

// next is the position in the queue of a batch that can leave now, and where to; -1:
// there is none, and after which time there may be one (0: something else will wake us).
func (t *topic) next(now time.Time) (at int, part *partition, wait time.Duration) {
	others := false // a batch that any partition may have has been looked at
	for i, b := range t.queue {
		var d time.Duration
		switch {
		case b.pinned:
			// Of two for one partition the first one finds it as the second one does.
			q := t.pinned(b.pin)
			if q == nil {
				continue
			}
			if q.usable(now) {
				return i, q, 0
			}
			if d = q.notUntil.Sub(now); q.busy || q.leader < 0 {
				d = 0
			}
		case others:
			continue
		default:
			others = true
			if part, d = t.pick(now); part != nil {
				return i, part, 0
			}
		}
		if d > 0 && (wait == 0 || d < wait) {
			wait = d
		}
	}
	return -1, nil, wait
}
