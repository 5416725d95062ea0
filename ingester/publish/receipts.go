package publish

import "millrace/schema"

// Receipts is told which records Kafka has acknowledged.
type Receipts interface {
	// Kept has the receipts of records of one batch, in the order in which they were
	// appended. It is called from many goroutines, never with a lock held, and must not
	// block; list is valid until it returns.
	Kept(list []uint32)
}

// Confirm wants a receipt for the event of kind k that was appended last, since which
// the lane has not been released: to is told when Kafka has acknowledged its batch, and
// never if the batch is given up. Somebody waits for such an event, so its batch is not
// left open for Options.Linger, but sealed when the lane is released, or, while batches
// of its kind are under way, when they are acknowledged.
func (l *Lane) Confirm(k *schema.Kind, to Receipts, receipt uint32) {
	l.open[l.p.kind(k)].receipts.add(to, receipt)
	l.awaited = true
}

// receipts are those of one batch. Their memory stays with it: 4 bytes for a record,
// and 24 for each run of records with the same receiver.
type receipts struct {
	list []uint32
	runs []run
}

// run is a number of records in a row whose receipts go to one receiver.
type run struct {
	to Receipts
	n  int
}

func (r *receipts) add(to Receipts, receipt uint32) {
	r.list = append(r.list, receipt)
	if last := len(r.runs) - 1; last >= 0 && r.runs[last].to == to {
		r.runs[last].n++
		return
	}
	r.runs = append(r.runs, run{to, 1})
}

func (r *receipts) wanted() bool { return len(r.list) > 0 }

// give tells all receivers.
func (r *receipts) give() {
	list := r.list
	for _, run := range r.runs {
		run.to.Kept(list[:run.n])
		list = list[run.n:]
	}
	r.forget()
}

// forget makes room for the next batch, and lets the receivers go.
func (r *receipts) forget() {
	clear(r.runs)
	r.list, r.runs = r.list[:0], r.runs[:0]
}

// sealAwaited seals the open batches that somebody waits for and that can leave at once.
// A batch behind others of its kind stays open, takes what comes, and leaves after them.
func (l *Lane) sealAwaited() {
	for k, b := range l.open {
		if b != nil && b.receipts.wanted() && l.p.topics[k].freeForAwaited() {
			l.seal(k)
		}
	}
}

// freeForAwaited says whether nothing of the topic waits or is under way. If something
// does, its end wakes the publisher to seal what is awaited. To let two or more batches
// be under way makes them smaller and the sum slower (BenchmarkRELP).
func (t *topic) freeForAwaited() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.awaited = len(t.queue) > 0 || t.inFlight > 0
	return !t.awaited
}

// wakeAwaited tells the publisher that a topic is free whose batches are awaited. The
// caller holds the topic's lock.
func (t *topic) wakeAwaited() {
	if t.awaited && t.inFlight == 0 && len(t.queue) == 0 {
		t.awaited = false
		select {
		case t.p.awaited <- struct{}{}:
		default:
		}
	}
}
