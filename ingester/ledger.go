package ingester

import (
	"sync/atomic"

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
//	received = published + rejected + dropped + in flight
//
// where each side is counted on its own: received when a frame is taken,
// in flight when it joins a Kafka batch, published and rejected when Kafka
// acknowledges the batch.
type ledger struct {
	received atomic.Uint64
	inFlight atomic.Int64
	acked    []atomic.Uint64 // by outcome: 0 published, 1+i rejected for rejectReasons[i]
	dropped  []atomic.Uint64 // by dropReasons
	lastTook atomic.Int64    // Unix milliseconds of the last frame
}

func newLedger() *ledger {
	return &ledger{
		acked:   make([]atomic.Uint64, outcomes),
		dropped: make([]atomic.Uint64, len(dropReasons)),
	}
}

// drop takes n frames into account that end here.
func (l *ledger) drop(r schema.Reason, n uint64) {
	l.dropped[indexOf(dropReasons, r)].Add(n)
}

// Account is a reading of a listener's ledger.
type Account struct {
	Received, Published uint64
	Rejected, Dropped   map[schema.Reason]uint64 // reasons that occurred
	InFlight            int64
}

// Closes tells whether the account adds up: it does at any moment at which no
// frame is being handed from one count to the next.
func (a Account) Closes() bool {
	return int64(a.Received) == int64(a.Published+sum(a.Rejected)+sum(a.Dropped))+a.InFlight
}

func sum(counts map[schema.Reason]uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

func (l *ledger) read() Account {
	a := Account{Rejected: map[schema.Reason]uint64{}, Dropped: map[schema.Reason]uint64{}}
	// The order matters to who scrapes during traffic: what is counted last is
	// read first, so that an account is never short of received frames.
	a.Published = l.acked[0].Load()
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
	return a
}
