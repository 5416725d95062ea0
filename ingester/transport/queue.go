package transport

import (
	"log/slog"
	"sync"
)

// queue is one socket, its account, and who reads it: a goroutine that waits for
// datagrams, and others that read along when a batch was a full one, so that more is
// waiting than one takes.
type queue struct {
	datagramSocket
	stats *Stats
	alone func() bool   // whether nobody else has the socket
	more  chan struct{} // wakes one of the others
	ended chan struct{} // closed when nobody waits for datagrams any more

	mu     sync.Mutex
	seen   uint32 // the kernel's count of drops up to which stats has them
	handed bool   // another counts from there on
}

// call asks one of the others for help. They may all be at it.
func (q *queue) call() {
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// countDrops takes into account what the kernel has dropped. It drops while the queue is
// full, so that nothing is missed by who asks whenever the queue was emptied. (The counts
// that come with datagrams, SO_RXQ_OVFL, do not tell of the last ones.)
func (q *queue) countDrops() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.handed {
		// alone waits for the share, and who holds that for us (hand).
		q.mu.Unlock()
		alone := q.alone()
		q.mu.Lock()
		if !alone {
			return
		}
		q.handed = false // the other has died
	}
	now := kernelDrops(q)
	q.stats.Kernel.Add(uint64(now - q.seen)) // it may pass zero
	q.seen = now
}

// hand counts for the last time, and returns up to where.
func (q *queue) hand() uint32 {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.handed {
		now := kernelDrops(q)
		q.stats.Kernel.Add(uint64(now - q.seen))
		q.seen, q.handed = now, true
	}
	return q.seen
}

// inherit begins the account of socket i of a share where the one before has ended his,
// or, where nobody tells, with what is to come.
func (q *queue) inherit(s *share, i int, log *slog.Logger) {
	if i < len(s.counts) {
		q.seen = s.counts[i]
		return
	}
	if q.seen = kernelDrops(q); q.seen > 0 {
		log.Warn("the sockets that were passed to us have lost datagrams before, which no metric of ours counts", "datagrams", q.seen)
	}
}
