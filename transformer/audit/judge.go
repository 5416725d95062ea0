package audit

import (
	"math"
	"slices"
)

// What Kafka has of a place.
const (
	Current = "current"  // its log
	OldLog  = "replaced" // the log of another epoch: the topic was made again, or cut short
	NewLog  = "new"      // a log that it has not confirmed anything of yet
	NoLog   = "absent"   // nothing, or it was not asked
)

// Why rows are not there that once may have been, or never had to be.
const (
	CauseKafka   = "before the log's start: Kafka's retention"
	CauseTTL     = "in weeks that the table's TTL has deleted"
	CauseErasure = "among rows of before a DELETE on the table"
)

// Shown bounds the lists of a place.
const Shown = 10

const forever = math.MaxInt64

// evidence is all that is known of a place.
type evidence struct {
	place
	held   *held
	state  string
	log    *log   // when it is current
	before ranges // what the epoch before has of the same log

	since   int64 // the first offset that is looked at; -1: all are
	expired int64 // see explanations
	erased  int64
}

// judge tells gaps from what explains them.
func (c *evidence) judge() Place {
	union, again := join(slices.Clone(c.held.ranges))
	replayed, more := join(slices.Clone(c.held.replayed))
	again = append(again, more...)
	p := Place{
		Topic: c.topic, Epoch: c.epoch, Partition: c.part, Log: c.state,
		Refused: int64(c.held.refused), Doubled: int64(c.held.twice) + again.count(), Superseded: int64(c.held.old),
	}
	for _, r := range again {
		for o := r.From; o < r.To && len(p.DoubledOffsets) < Shown; o++ {
			p.DoubledOffsets = append(p.DoubledOffsets, o)
		}
	}
	first, end := int64(forever), int64(0)
	if len(union) > 0 {
		first, end = union[0].From, union[len(union)-1].To
	}

	confirmed := end
	switch {
	case c.log != nil && c.log.committed >= 0:
		confirmed = c.log.committed
	case c.log != nil: // nothing is, but what the log has no more can only be here
		confirmed = c.log.start
	case c.state == NewLog:
		confirmed = 0
	}
	from := int64(0)
	switch {
	case c.since >= 0:
		from = c.since
	case c.log == nil && first < forever:
		from = first // nobody knows where an old log began
	}
	p.From, p.To = from, max(confirmed, end, from)
	p.Offsets = union.within(from, forever).count()
	p.Replayed = replayed.within(from, forever).count()
	p.Rows = p.Offsets + p.Replayed + p.Doubled + p.Superseded

	for _, gap := range union.gaps(from, confirmed).without(c.before) {
		c.classify(&p, gap, first)
	}
	if c.before != nil {
		p.Before = union.gaps(from, confirmed).count() - union.gaps(from, confirmed).without(c.before).count()
	}
	if l := c.log; l != nil {
		p.Committed, p.LogStart, p.LogEnd = &l.committed, &l.start, &l.end
		p.Lag = union.gaps(max(confirmed, l.start), l.end).count()
	}
	return p
}

// classify takes from the front of a gap what is explained; the rest is missing.
func (c *evidence) classify(p *Place, gap Range, first int64) {
	removed := func(to int64, why string) {
		part := Range{gap.From, min(gap.To, to)}
		if part.Len() == 0 {
			return
		}
		p.Removed += part.Len()
		if len(p.RemovedRanges) < Shown {
			p.RemovedRanges = append(p.RemovedRanges, Removal{part, why})
		}
		gap.From = part.To
	}
	if c.log != nil && gap.To <= first {
		removed(c.log.start, CauseKafka)
	}
	removed(c.expired, CauseTTL)
	if gap.From < c.erased {
		removed(forever, CauseErasure)
	}
	if gap.Len() == 0 {
		return
	}
	p.Missing += gap.Len()
	if len(p.MissingRanges) < Shown {
		p.MissingRanges = append(p.MissingRanges, gap)
	}
}
