package transformer

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"millrace/internal/fetch"
	"millrace/internal/recordbatch"
)

// reconcile inserts what ClickHouse lacks of [inserted, to), where nobody knows
// how that was cut into blocks. since is when the last insert of it may have been
// announced: an insert that still runs would not be seen.
func (p *partition) reconcile(ctx context.Context, to int64, since time.Time) error {
	wait := max(min(p.t.o.ReconcileAfter-time.Since(since), p.t.o.ReconcileAfter), 0)
	p.log().Warn("asking ClickHouse which records are missing", "from", p.inserted, "to", to, "after", wait.Round(time.Second))
	p.doing(doingZombies)
	if !sleep(ctx, wait) {
		return errStopped
	}
	for p.inserted < to {
		if err := p.reconcileOne(ctx, to); err != nil {
			return err
		}
		if p.inserted < to {
			p.step("between")
		}
	}
	p.log().Info("nothing is missing any more", "to", to)
	return nil
}

var errEnough = errors.New("enough for one block")

// reconcileOne does so for as many record batches as make one block.
func (p *partition) reconcileOne(ctx context.Context, to int64) error {
	var end int64
	sum, last, records := uint32(0), p.anchor, 0
	// First the cut, then what is there of it, then the rows.
	err := p.read(ctx, p.inserted, to, func(b *recordbatch.Batch) error {
		end = min(b.NextOffset(), to)
		sum, last = fingerprint(sum, b), anchor{true, b.BaseOffset, b.CRC}
		if records += b.Count; records >= p.t.o.BlockRows/4 {
			return errEnough
		}
		return nil
	})
	switch {
	case errors.Is(err, fetch.ErrOutOfRange): // retention came meanwhile: what it took is to be counted
		return fmt.Errorf("%w: %w", errRestart, err)
	case err == nil, errors.Is(err, errOtherLog): // all of it, or nothing more in the log
		end = to
	case !errors.Is(err, errEnough):
		return err
	}
	p.waitForMemory(ctx)
	p.doing(doingReconcile)
	p.trusted = time.Now()
	present, found, err := p.present(ctx, p.inserted, end)
	if err != nil {
		return err
	}
	p.drop()
	p.ensureRows()
	next := p.inserted
	err = p.read(ctx, p.inserted, end, func(b *recordbatch.Batch) error {
		cut, err := p.decode(b, next, end, present.has)
		next = cut
		if err == nil && cut < min(b.NextOffset(), end) {
			return errEnough
		}
		return err
	})
	if errors.Is(err, errEnough) {
		end = next
	} else if errors.Is(err, fetch.ErrOutOfRange) {
		return fmt.Errorf("%w: %w", errRestart, err)
	} else if err != nil && !errors.Is(err, errOtherLog) {
		return err
	}
	missing := p.rows.count()
	if missing > 0 {
		// What is missing is part of the token: another member that saw another state
		// of the table inserts another block.
		p.rows.offsets(func(o int64) { sum = crc32.Update(sum, castagnoli, fmt.Appendf(nil, ",%d", o)) })
		m := mark{epoch: p.epoch, end: end, fingerprint: sum, query: true}
		if err := p.announce(m); err != nil {
			return err
		}
		p.step("reconciling")
		if err := p.insert(m, p.token(p.inserted, m)+"/q"); err != nil {
			return err
		}
	}
	p.t.stats.ReconciledRows.Add(uint64(missing))
	p.t.stats.FoundRows.Add(uint64(found))
	p.advance(end, last)
	p.drop()
	p.step("reconciled")
	return p.announce(mark{epoch: p.epoch})
}

// read calls each with the batches that hold offsets of [from, to). It returns
// errOtherLog when the log has no such offsets any more.
func (p *partition) read(ctx context.Context, from, to int64, each func(*recordbatch.Batch) error) error {
	o := p.t.fetchOptions()
	var set recordbatch.Set
	for from < to {
		c, err := fetch.Once(ctx, o, p.topic, int32(p.id), from)
		if err != nil {
			if errors.Is(err, fetch.ErrOutOfRange) {
				return p.outOfRange(ctx, from, err)
			}
			return fmt.Errorf("%w: %w", errRestart, err)
		}
		set.Reset(c.Records(), from)
		for err == nil && from < to && set.Next() {
			b := set.Batch()
			if b.NextOffset() <= from {
				continue
			}
			if b.BaseOffset >= to {
				from = to
				break
			}
			err = each(b)
			from = b.NextOffset()
		}
		if err == nil {
			err = set.Err()
		}
		next := max(from, set.NextOffset())
		stuck, partial, end := next == c.Offset, set.Partial() > 0, c.HighWatermark
		c.Release()
		switch {
		case err != nil:
			return err
		case !stuck:
			from = next
		case partial && o.PartitionBytes < 1<<28:
			o.PartitionBytes *= 2
			o.ResponseBytes = max(o.ResponseBytes, o.PartitionBytes)
		case end < to:
			return p.endsBefore(ctx, to)
		case ctx.Err() != nil:
			return errStopped
		default:
			return fmt.Errorf("%w: nothing at offset %d", errRestart, from)
		}
	}
	return nil
}

// outOfRange is for a fetch from an offset that the log does not have. One that
// retention has removed since the log's bounds were asked for says nothing about
// which log it is.
func (p *partition) outOfRange(ctx context.Context, from int64, cause error) error {
	first, _, err := p.t.bounds(ctx, p.topic, p.id)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errRestart, err)
	case from < first:
		return fmt.Errorf("%w: retention has removed offset %d of %s/%d meanwhile: %w", errRestart, from, p.topic, p.id, cause)
	}
	return fmt.Errorf("%w: %w", errOtherLog, cause)
}

// endsBefore is for a fetch that showed the log to end before to. A new leader may
// show less than it has for a moment; its answer to the question for its end does
// not (KIP-207). So that decides whether the log is another one.
func (p *partition) endsBefore(ctx context.Context, to int64) error {
	_, end, err := p.t.bounds(ctx, p.topic, p.id)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errRestart, err)
	case end < to:
		return errOtherLog
	}
	return fmt.Errorf("%w: the leader of %s/%d does not show the records before offset %d yet", errRestart, p.topic, p.id, to)
}
