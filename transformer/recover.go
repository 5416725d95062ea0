package transformer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/internal/recordbatch"
)

// errOtherLog: the log does not hold what was announced.
var errOtherLog = errors.New("the log does not hold the announced range")

// found is what a partition looks like when it is assigned.
type found struct {
	offset     int64 // committed, -1: none
	mark       mark
	marked     bool  // mark is ours
	first, end int64 // of the log
}

// recover brings the partition to a point from which consume can go on: epoch,
// inserted and anchor are set, and no intent is open.
func (p *partition) recover() error {
	ctx := p.g.active
	p.doing(doingLook)
	f, err := p.look(ctx)
	if err != nil {
		return err
	}
	p.stats.end.Store(f.end)
	if err := p.chooseShards(&f); err != nil {
		return err
	}
	p.doing(doingCompare)
	start, same, err := p.identify(ctx, &f)
	if err != nil {
		return err
	}
	p.inserted, p.anchor, p.unconfirmed = start, anchor{}, true
	if !same {
		return p.settle()
	}
	if f.marked {
		p.anchor = f.mark.anchor
		p.unconfirmed = f.mark.end > f.offset
		p.stats.confirmed.Store(f.offset)
	}
	if p.unconfirmed && f.marked {
		err := p.redo(ctx, f)
		if errors.Is(err, errOtherLog) {
			return p.rewritten(ctx, f)
		}
		if err != nil {
			return err
		}
	}
	p.home = p.t.shardOf(p.id)
	if p.inserted < f.first {
		if err := p.lost(ctx, f.first); err != nil {
			return err
		}
	}
	p.doing(doingCompare)
	// Ask always: an offset may have been reset, expired with its group, or set back
	// by a commit that came late.
	last, err := p.lastFrom(ctx, p.inserted)
	if err != nil {
		return err
	}
	if last >= p.inserted {
		if err := p.reconcile(ctx, last+1, time.Now()); err != nil {
			return err
		}
	}
	return p.settle()
}

// look reads what Kafka knows.
func (p *partition) look(ctx context.Context) (f found, err error) {
	var metadata string
	if f.offset, metadata, err = p.t.committed(ctx, p.topic, p.id); err != nil {
		return f, fmt.Errorf("%w: %w", errRestart, err)
	}
	if f.first, f.end, err = p.t.bounds(ctx, p.topic, p.id); err != nil {
		return f, fmt.Errorf("%w: %w", errRestart, err)
	}
	if f.offset >= 0 {
		f.mark, f.marked = parseMark(metadata)
		if !f.marked && metadata != "" {
			p.log().Warn("the committed offset has metadata that is not ours; asking ClickHouse instead", "metadata", metadata)
		}
	}
	p.step("looked")
	return f, nil
}

// settle makes the recovered place known to Kafka before anything new is fetched.
func (p *partition) settle() error {
	p.settleShards()
	p.stats.inserted.Store(p.inserted)
	p.end, p.last = p.inserted, p.anchor
	p.step("recovered")
	if err := p.confirm(); err != nil {
		return err
	}
	p.step("settled")
	return nil
}

// asked notes whether a shard answered a question; an error is one to try again after.
func (p *partition) asked(s *shard, err error) error {
	if err == nil {
		s.health.set(nil)
		return nil
	}
	if p.g.active.Err() != nil {
		return errStopped
	}
	s.health.set(err)
	return fmt.Errorf("%w: %w", errRestart, err)
}

// identify finds the epoch and the offset to begin at. same is false when the log
// is not the one whose rows are in ClickHouse: the epoch is then a new one.
func (p *partition) identify(ctx context.Context, f *found) (start int64, same bool, err error) {
	start = f.offset
	if f.marked {
		p.epoch = f.mark.epoch
		if f.offset <= f.end {
			same, err = p.hasAnchor(ctx, f)
			if err != nil {
				return 0, false, err
			}
			if same {
				return start, true, nil
			}
			return p.remade(ctx, f.first)
		}
		// The log ends before the offset: cut short, or made again.
		return p.cutOrRemade(ctx, f)
	}
	epoch, last, any, err := p.newestRow(ctx)
	if err != nil {
		return 0, false, err
	}
	if start < 0 {
		start = f.first
	}
	if !any {
		p.epoch = 1
		if start > f.end {
			start = f.first
		}
		return start, true, nil
	}
	p.epoch = epoch
	if last >= f.end || start > f.end {
		return p.cutOrRemade(ctx, f)
	}
	if last < f.first {
		// Nothing of what is in ClickHouse is left in Kafka to compare; what lies
		// between was lost.
		if f.offset < 0 {
			start = last + 1
		}
		return start, true, nil
	}
	same, err = p.sameRows(ctx, last)
	if err != nil || same {
		return start, same, err
	}
	return p.remade(ctx, f.first)
}

// cutOrRemade is for a log that ends before what is in ClickHouse. When its last
// record is the one that ClickHouse has under that offset, it was cut short (by an
// unclean leader election) and goes on from its end; else it was made again.
func (p *partition) cutOrRemade(ctx context.Context, f *found) (int64, bool, error) {
	if f.end > f.first {
		same, err := p.sameRows(ctx, f.end-1)
		if err != nil {
			return 0, false, err
		}
		if same {
			p.log().Error("the log was cut short: Kafka lost records that are in ClickHouse; what follows gets the next epoch", "end", f.end, "epoch", p.epoch+1)
			return f.end, false, p.nextEpoch(ctx)
		}
	}
	return p.remade(ctx, f.first)
}

// remade is for a topic that was deleted and made again.
func (p *partition) remade(ctx context.Context, first int64) (int64, bool, error) {
	p.log().Warn("the topic was made again; its rows get the next epoch", "epoch", p.epoch+1)
	return first, false, p.nextEpoch(ctx)
}

// rewritten is for a log whose announced records are gone, with others in their
// place. When what stands before them is what is in ClickHouse, the log was cut
// and goes on differently from there; else the topic was made again.
func (p *partition) rewritten(ctx context.Context, f found) error {
	p.drop()
	start, same := f.offset, f.mark.anchor.known && f.mark.anchor.base >= f.first
	if !same && f.offset > f.first {
		var err error
		if same, err = p.sameRows(ctx, f.offset-1); err != nil {
			return err
		}
	}
	if !same {
		start = f.first
	}
	p.log().Error("the log does not hold what was announced; what it holds gets the next epoch", "from", start, "epoch", p.epoch+1)
	p.inserted, p.anchor, p.unconfirmed = start, anchor{}, true
	if err := p.nextEpoch(ctx); err != nil {
		return err
	}
	return p.settle()
}

// nextEpoch finds an epoch that no row has.
func (p *partition) nextEpoch(ctx context.Context) error {
	newest, _, any, err := p.newestRow(ctx)
	if err != nil {
		return err
	}
	if any && newest > p.epoch {
		p.epoch = newest
	}
	p.epoch++
	p.t.stats.NewEpochs.Add(1)
	return nil
}

// hasAnchor tells whether the log holds the last confirmed batch. One that
// retention has removed, or that there never was, proves nothing and passes.
func (p *partition) hasAnchor(ctx context.Context, f *found) (bool, error) {
	a := f.mark.anchor
	if !a.known || a.base < f.first {
		return true, nil
	}
	same := false
	err := p.read(ctx, a.base, a.base+1, func(b *recordbatch.Batch) error {
		same = b.BaseOffset == a.base && b.CRC == a.crc
		return nil
	})
	if errors.Is(err, errOtherLog) {
		return false, nil
	}
	return same, err
}

// sameRows tells whether the batch that holds offset gives the rows that ClickHouse
// has under its offsets, by when they were received.
func (p *partition) sameRows(ctx context.Context, offset int64) (bool, error) {
	same := false
	err := p.read(ctx, offset, offset+1, func(b *recordbatch.Batch) error {
		p.ensureRows()
		defer p.drop()
		received := map[int64]int64{}
		if _, err := p.decode(b, b.BaseOffset, b.NextOffset(), nil); err != nil {
			return err
		}
		p.rows.times(func(offset, ms int64) { received[offset] = ms })
		compared, different := 0, 0
		// Rows that are confirmed can be at any shard: the list may have been another.
		err := p.rowsAt(ctx, p.t.shards, b.BaseOffset, b.NextOffset(), func(o, ms int64) {
			if want, ok := received[o]; ok {
				if compared++; want != ms {
					different++
				}
			}
		})
		if err != nil {
			return err
		}
		same = compared > 0 && different == 0
		return nil
	})
	if errors.Is(err, errOtherLog) {
		return false, nil
	}
	return same, err
}

// decode appends a batch's records to the open rows.
func (p *partition) decode(b *recordbatch.Batch, from, to int64, skip func(int64) bool) (int64, error) {
	d := <-p.t.decoders
	end, _, _, err := d.append(p.rows, b, from, to, skip)
	p.t.decoders <- d
	p.stream.Hold(int64(p.rows.bytes()))
	if err != nil {
		return end, fmt.Errorf("cannot read %s/%d: %w", p.topic, p.id, err)
	}
	return end, nil
}

// redo finishes an open intent.
//
// While the server surely remembers the token, the whole block is inserted again.
// Else its rows that are there are left out: each part of the block (one for each
// of the table's partitions) is there as a whole or not at all, so that the rest
// under the same token is what the token would have let through. That holds when
// another member's attempt is under way, too.
func (p *partition) redo(ctx context.Context, f found) error {
	m := f.mark
	if f.end < m.end {
		return errOtherLog
	}
	if p.inserted < f.first {
		if err := p.lost(ctx, min(f.first, m.end)); err != nil {
			return err
		}
		if p.inserted >= m.end {
			return nil
		}
	}
	if m.query || m.reader != rowsOf(p.kind, p.t.version) {
		// Or another version announced it: its block may have had other rows, and
		// one half of it may be there.
		if !m.query && p.inserted == f.offset {
			if err := p.isAnnounced(ctx, m); err != nil {
				return err
			}
		}
		return p.reconcile(ctx, m.end, time.UnixMilli(m.time))
	}
	p.waitForMemory(ctx)
	p.doing(doingRedo)
	p.trusted = time.Now()
	present, found := new(offsets), 0
	remembered, err := p.tokenRemembered(ctx, m)
	if err == nil && !remembered {
		present, found, err = p.present(ctx, p.inserted, m.end)
	}
	if err != nil {
		return err
	}
	p.step("found")
	p.drop()
	p.ensureRows()
	sum, last := uint32(0), p.anchor
	err = p.read(ctx, p.inserted, m.end, func(b *recordbatch.Batch) error {
		sum, last = fingerprint(sum, b), anchor{true, b.BaseOffset, b.CRC}
		end, err := p.decode(b, p.inserted, m.end, present.has)
		if err == nil && end < min(b.NextOffset(), m.end) {
			err = errEnough
		}
		return err
	})
	if errors.Is(err, errEnough) {
		// Announced by a version whose blocks hold more: it cannot be made again whole.
		p.log().Warn("an announced range does not fit one block", "from", p.inserted, "to", m.end)
		return p.reconcile(ctx, m.end, time.UnixMilli(m.time))
	}
	if err != nil {
		return err
	}
	if sum != m.fingerprint && p.inserted == f.offset {
		return errOtherLog
	}
	p.step("reread")
	p.log().Info("finishing an announced range", "from", f.offset, "to", m.end, "rows_found", found, "rows", p.rows.count())
	// The offset stays what the token was made with, though some of it may be lost.
	p.inserted = f.offset
	if p.rows.count() > 0 {
		m.first = m.since().UnixMilli() // its token is as old as that
		if err := p.announce(m); err != nil {
			return err
		}
		p.step("reannounced")
		if err := p.insert(m, p.token(f.offset, m)); err != nil {
			return err
		}
	}
	p.t.stats.RecoveredIntents.Add(1)
	p.t.stats.FoundRows.Add(uint64(found))
	p.step("redone")
	p.advance(m.end, last)
	p.drop()
	return p.announce(mark{epoch: p.epoch})
}

// isAnnounced returns errOtherLog when the log does not hold the record batches of
// the announced range any more, but others.
func (p *partition) isAnnounced(ctx context.Context, m mark) error {
	p.doing(doingCompare)
	sum := uint32(0)
	err := p.read(ctx, p.inserted, m.end, func(b *recordbatch.Batch) error {
		sum = fingerprint(sum, b)
		return nil
	})
	if err == nil && sum != m.fingerprint {
		err = errOtherLog
	}
	return err
}

// tokenRemembered tells whether ClickHouse still knows the tokens of when m was
// first announced: it has not been restarted since (a power failure may cost it the
// newest ones), and not so much was inserted since that they fell out of the window.
func (p *partition) tokenRemembered(ctx context.Context, m mark) (bool, error) {
	age := time.Since(m.since())
	if age < 0 || age > p.t.o.ReconcileAfter {
		return false, nil
	}
	uptime, err := p.home.server.Uptime(ctx)
	if err := p.asked(p.home, err); err != nil {
		return false, err
	}
	return uptime > age+time.Second, nil
}

// waitForMemory lets partitions that are further on insert first; not for long,
// because those may be stuck.
func (p *partition) waitForMemory(ctx context.Context) {
	p.doing(doingMemory)
	for n := 0; n < 100 && p.fetcher.Pressed() && sleep(ctx, 50*time.Millisecond); n++ {
	}
}

// lost counts what retention removed before it was inserted, and goes on at first.
func (p *partition) lost(ctx context.Context, first int64) error {
	found := 0
	for from := p.inserted; from < first; from += maxRange {
		_, n, err := p.present(ctx, from, min(first, from+maxRange))
		if err != nil {
			return err
		}
		found += n
	}
	// A recovery that came no further is begun again, and finds the same lost, or more of it.
	if n := first - p.inserted - int64(found) - p.losses[lossAt{p.epoch, p.inserted}]; n > 0 {
		p.t.stats.LostRecords.Add(uint64(n))
		p.log().Error("RECORDS LOST: Kafka's retention removed them before they were inserted; lengthen the topic's retention", "from", p.inserted, "to", first, "offsets", n)
		p.losses[lossAt{p.epoch, p.inserted}] += n
	}
	p.inserted, p.unconfirmed = first, true
	return nil
}

// lossAt is where something was lost.
type lossAt struct {
	epoch uint16
	from  int64
}
