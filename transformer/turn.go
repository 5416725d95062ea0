package transformer

import (
	"time"
)

// A turn is the right of a partition with much behind it to gather a large block, for
// longer than BlockAge. There are few: when all partitions of a catch-up gather at once,
// each has but its part of BufferBytes, and what many small blocks cost ClickHouse, in
// inserts and in merges, is more than twice what few large ones do (docs/performance.md).
// So partitions take turns, in the order in which they ask, and those that keep up need none.

// turnAges bounds how long a turn's block gathers, in BlockAges: a slow Kafka delays no row
// for longer.
const turnAges = 5

// turnsOf is how many turns fit: as many as are inserted at a time and one that gathers
// meanwhile, within half of the memory. The other half is for those that keep up.
func turnsOf(o *Options, shards int) int {
	return max(1, min(o.Inserters*shards+1, int(o.BufferBytes/2/int64(o.BlockBytes))))
}

// late tells whether there is enough behind the partition to wait for a turn.
func (p *partition) late() bool {
	return p.stream.HighWatermark()-p.end > int64(p.t.o.BlockRows/4)
}

// awaitTurn is called before the first records of a block. What is inserted is confirmed
// meanwhile. It returns without a turn when none is needed, and at a stop.
func (p *partition) awaitTurn() error {
	if p.turn || p.rows.count() > 0 || !p.late() {
		return nil
	}
	p.doing(doingTurn)
	defer p.doing(doingDecode)
	for {
		select {
		case p.t.turns <- struct{}{}:
			p.turn = true
			return nil
		case <-p.g.active.Done():
			return nil
		case <-p.timer.C:
			if err := p.due(); err != nil {
				return err
			}
			p.schedule()
		}
	}
}

// endTurn lets another have it: the block is in ClickHouse, or cannot go there at present.
func (p *partition) endTurn() {
	if p.turn {
		<-p.t.turns
		p.turn = false
	}
}

// ripe tells whether the open range is to be sealed for its age. A turn's is not while
// more waits behind it than is in it: it is late already, and sooner there in one piece.
func (p *partition) ripe() bool {
	age := time.Since(p.since)
	return age >= p.t.o.BlockAge &&
		(!p.turn || p.stream.HighWatermark()-p.end <= int64(p.rows.count()) || age >= turnAges*p.t.o.BlockAge)
}
