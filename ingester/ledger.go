package ingester

import (
	"sync/atomic"

	"millrace/ingester/transport"
	"millrace/schema"
)

// outcomes are what can become of a frame that was taken: published as an event,
// or rejected for one of the reasons. Their indexes are the publisher's tags.
var (
	rejectReasons = reasons(schema.RejectReasons())
	dropReasons   = reasons(schema.DropReasons())
	outcomes      = 1 + len(rejectReasons)
)

func reasons(rows []schema.ReasonDoc) []schema.Reason {
	list := make([]schema.Reason, len(rows))
	for i, r := range rows {
		list[i] = r.Reason
	}
	return list
}

func indexOf(list []schema.Reason, r schema.Reason) int {
	for i, known := range list {
		if known == r {
			return i
		}
	}
	panic("BUG: reason " + string(r) + " is not listed in package schema")
}

// ledger is the account of one listener's frames. At every moment
//
//	received = published + joined + rejected + dropped + in flight
//
// where each side is counted on its own: received when a frame is taken, in
// flight when it joins a Kafka batch, or an event of several lines whose others are still
// to come, published and rejected when Kafka acknowledges the batch. Joined are the lines
// of an event beyond its first, and lines that only tell of later ones. What the transport drops before a frame comes this far
// (datagrams that the kernel or the allow-list refused) counts as received and
// dropped there; read adds it.
type ledger struct {
	transport *transport.Stats
	received  atomic.Uint64
	inFlight  atomic.Int64
	acked     []atomic.Uint64 // by outcome: 0 published, 1+i rejected for rejectReasons[i]
	dropped   []atomic.Uint64 // by dropReasons
	joined    atomic.Uint64
	lastTook  atomic.Int64 // Unix milliseconds of the last frame
}

func newLedger(t *transport.Stats) *ledger {
	return &ledger{
		transport: t,
		acked:     make([]atomic.Uint64, outcomes),
		dropped:   make([]atomic.Uint64, len(dropReasons)),
	}
}

// enter takes a frame into account that is about to join a batch.
func (l *ledger) enter() {
	l.received.Add(1)
	l.inFlight.Add(1)
}

// leave undoes enter for a frame that the transport counts, as it ends the
// connection with it.
func (l *ledger) leave() {
	l.inFlight.Add(-1)
	l.received.Add(^uint64(0))
}

// drop takes a frame into account that ends here, as a drop.
func (l *ledger) drop(r schema.Reason) {
	l.received.Add(1)
	l.dropped[indexOf(dropReasons, r)].Add(1)
}

// A frame leaves flight before it is counted elsewhere: see read.

// acknowledge moves n frames of an outcome out of flight.
func (l *ledger) acknowledge(outcome int, n uint32) {
	l.inFlight.Add(-int64(n))
	l.acked[outcome].Add(uint64(n))
}

// join moves n lines out of flight that are in an event with another one.
func (l *ledger) join(n int) {
	l.inFlight.Add(-int64(n))
	l.joined.Add(uint64(n))
}

// again takes a line into account that is in an event of an earlier run.
func (l *ledger) again() {
	l.received.Add(1)
	l.joined.Add(1)
}

// unread takes n lines out of the account that are in flight, and will be read again.
func (l *ledger) unread(n int) {
	l.inFlight.Add(-int64(n))
	l.received.Add(^uint64(n - 1))
}

// lose makes drops of n frames that are in flight.
func (l *ledger) lose(r schema.Reason, n uint32) {
	l.inFlight.Add(-int64(n))
	l.dropped[indexOf(dropReasons, r)].Add(uint64(n))
}

// Account is a reading of a listener's ledger.
type Account struct {
	Received, Published uint64
	Joined              uint64                   // lines in an event that another line counts for
	Rejected, Dropped   map[schema.Reason]uint64 // reasons that occurred
	InFlight            int64
}

// RejectedTotal and DroppedTotal are the sums over all reasons.
func (a Account) RejectedTotal() uint64 { return sum(a.Rejected) }

// DroppedTotal see RejectedTotal.
func (a Account) DroppedTotal() uint64 { return sum(a.Dropped) }

// Closes tells whether the account adds up: it does at any moment at which no
// frame is being handed from one count to the next.
func (a Account) Closes() bool {
	return int64(a.Received) == int64(a.Published+a.Joined+sum(a.Rejected)+sum(a.Dropped))+a.InFlight
}

func sum(counts map[schema.Reason]uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

func (l *ledger) read() Account {
	a := Account{Rejected: map[schema.Reason]uint64{}, Dropped: map[schema.Reason]uint64{}}
	// The order matters to who scrapes during traffic: a frame is counted
	// received, in flight, not in flight, ended, and read in the reverse order.
	// So no reading has a frame twice, and what it misses of received is no more
	// than was in hand.
	a.Published = l.acked[0].Load()
	a.Joined = l.joined.Load()
	for i, r := range rejectReasons {
		if n := l.acked[1+i].Load(); n != 0 {
			a.Rejected[r] = n
		}
	}
	for i, r := range dropReasons {
		if n := l.dropped[i].Load(); n != 0 {
			a.Dropped[r] = n
		}
	}
	a.InFlight = l.inFlight.Load()
	a.Received = l.received.Load()
	l.transport.Drops(func(r schema.Reason, n uint64) {
		if n != 0 {
			a.Dropped[r] += n
			a.Received += n
		}
	})
	return a
}
