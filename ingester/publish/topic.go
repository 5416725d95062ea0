package publish

import (
	"math/rand/v2"
	"sync"
	"time"
)

// topic is where the batches of one kind go: those that wait, and the partitions.
type topic struct {
	p    *Publisher
	name string

	mu         sync.Mutex
	open       bool // Run has begun and not ended
	queue      []*batch
	queued     int // bytes in queue, uncompressed
	inFlight   int
	partitions []*partition
	sticky     int // position of the partition that gets the next batch, if it can; -1: none yet
	stuck      int // bytes sent since it was chosen
	err        error
	timer      *time.Timer
	awaited    bool // open batches wait for those under way to end
}

// partition is one partition of a topic. A sender owns identity and sequence
// while the partition is busy; the topic's lock guards the rest.
type partition struct {
	id       int32
	leader   int32 // -1: none
	gone     bool  // the topic has no such partition any more
	busy     bool
	since    time.Time // when it became busy
	failures int       // attempts that failed since the last acknowledgement
	err      error     // of the last of them
	notUntil time.Time // back-off

	end int64 // behind what it has acknowledged of ours, plus 1; 0: nothing so far

	identity identity
	refused  int64 // producer id that the broker did not accept here
	sequence int32
}

// enqueue takes a sealed batch. The queue is bounded by the pool: each batch in
// it is one of the pool's.
func (t *topic) enqueue(b *batch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue = append(t.queue, b)
	t.queued += b.size
	t.dispatch()
}

// kick looks whether a waiting batch can be sent now.
func (t *topic) kick() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dispatch()
}

// dispatch gives waiting batches to partitions. The caller holds the lock.
func (t *topic) dispatch() {
	for t.open && len(t.queue) > 0 {
		at, part, wait := t.next(time.Now())
		if part == nil {
			if wait > 0 {
				t.wakeAfter(wait)
			}
			return
		}
		b := t.queue[at]
		copy(t.queue[at:], t.queue[at+1:])
		t.queue[len(t.queue)-1] = nil
		t.queue = t.queue[:len(t.queue)-1]
		t.queued -= b.size
		if !b.pinned {
			t.stuck += b.size
		}
		t.inFlight++
		part.busy, part.since = true, time.Now()
		go t.p.send(t, part, b)
	}
}

func (t *topic) wakeAfter(d time.Duration) {
	if t.timer == nil {
		t.timer = time.AfterFunc(d, t.kick)
		return
	}
	t.timer.Reset(d)
}

func (q *partition) usable(now time.Time) bool {
	return !q.busy && !q.gone && q.leader >= 0 && !now.Before(q.notUntil)
}

// pick chooses the partition for the next batch; nil when none can take it now,
// with the time after which one may (0: something else will wake us).
func (t *topic) pick(now time.Time) (*partition, time.Duration) {
	n := len(t.partitions)
	if n == 0 {
		return nil, 0
	}
	if t.sticky < 0 { // ingesters that start together do not all begin at the same one
		t.sticky = rand.IntN(n)
	}
	if t.stuck >= t.p.o.StickyBytes {
		t.sticky, t.stuck = t.sticky+1, 0
	}
	t.sticky %= n
	s := t.partitions[t.sticky]
	// A little more for a partition that is about to acknowledge: to pass it over
	// now would spread little traffic over two.
	if patience := t.p.o.Linger - now.Sub(s.since); s.busy && s.failures == 0 && patience > 0 && t.queued <= t.p.o.BatchBytes/2 {
		return nil, patience
	}
	var wait time.Duration
	for i := range n {
		q := t.partitions[(t.sticky+i)%n]
		if q.usable(now) {
			return q, 0
		}
		if d := q.notUntil.Sub(now); d > 0 && !q.busy && !q.gone && q.leader >= 0 && (wait == 0 || d < wait) {
			wait = d
		}
	}
	return nil, wait
}

// Outcomes of a batch's stay at a partition. Each frees the partition.

// acknowledged: Kafka has the batch.
func (t *topic) acknowledged(q *partition, end int64) (recovered bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	q.end = max(q.end, end+1)
	recovered = q.failures > 0
	q.failures, q.err = 0, nil
	t.release(q)
	return recovered
}

// giveBack returns a batch to the head of the queue, for any partition.
func (t *topic) giveBack(q *partition, b *batch, err error) {
	b.stamp = noIdentity
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fail(q, err)
	t.queue = append(t.queue, nil)
	copy(t.queue[1:], t.queue)
	t.queue[0] = b
	t.queued += b.size
	t.release(q)
}

// abandon: the hard context has ended.
func (t *topic) abandon(q *partition) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.release(q)
}

func (t *topic) release(q *partition) {
	q.busy = false
	t.inFlight--
	t.dispatch()
	t.wakeAwaited()
	if t.inFlight == 0 && len(t.queue) == 0 || !t.open {
		t.p.signalIdle()
	}
}

// failed notes a failed attempt whose batch stays at the partition, and returns
// how long to wait before the next.
func (t *topic) failed(q *partition, err error) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fail(q, err)
}

func (t *topic) fail(q *partition, err error) time.Duration {
	d := backoff(q.failures)
	q.failures++
	q.err = err
	q.notUntil = time.Now().Add(d)
	return d
}

const (
	firstBackoff = 50 * time.Millisecond
	lastBackoff  = 2 * time.Second
)

// backoff is the wait after so many failures in a row, with jitter.
func backoff(failures int) time.Duration {
	d := min(firstBackoff<<min(failures, 10), lastBackoff)
	return d/2 + rand.N(d)
}

// throttle keeps all partitions of a broker waiting, as it asked.
func (t *topic) throttle(leader int32, d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	until := time.Now().Add(d)
	for _, q := range t.partitions {
		if q.leader == leader && q.notUntil.Before(until) {
			q.notUntil = until
		}
	}
}

// leaderOf is the current leader of q, and whether q still exists.
func (t *topic) leaderOf(q *partition) (leader int32, exists bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return q.leader, !q.gone
}

// begin lets batches leave.
func (t *topic) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open = true
	t.dispatch()
}

// idle says whether nothing waits and nothing is under way.
func (t *topic) idle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.queue) == 0 && t.inFlight == 0
}

// stop lets no further batch leave and hands out those that wait. flying says
// whether senders are still at work.
func (t *topic) stop() (queue []*batch, flying bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open = false
	if t.timer != nil {
		t.timer.Stop()
	}
	queue, t.queue, t.queued = t.queue, nil, 0
	return queue, t.inFlight > 0
}
