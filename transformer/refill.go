package transformer

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"millrace/internal/recordbatch"
	"millrace/schema"
	"millrace/transformer/block"
	"millrace/transformer/insert"
)

// RefillOptions say which records are looked at again.
type RefillOptions struct {
	Kind      *schema.Kind
	Partition int // -1: all
	From, To  RefillBound
	Insert    bool                   // insert what has no row; else it is counted
	Progress  func(done, all uint64) // told of offsets; nil: nobody is
	step      func(name string) error
}

// RefillResult is what Refill found, and did.
type RefillResult struct {
	Records uint64 // in the range, and still in Kafka
	There   uint64 // of these, have their row
	Events  uint64 // have none, and are events
	Refused uint64 // have none, and are no event: they belong into rejects
	Lost    uint64 // offsets of the range that Kafka has no more, and ClickHouse has not
	Beyond  uint64 // offsets of the range that the group has not confirmed: the members insert them

	Inserted uint64
}

const (
	// refillSpan is how many offsets ClickHouse is asked about at a time.
	refillSpan = 1 << 20
	// presentTimeout bounds that question, which looks at the offsets of whole weeks.
	presentTimeout = 10 * time.Minute
	// refillAttempts to insert a block, before Refill is given up.
	refillAttempts = 5
	// refillTokens begin the tokens of all replays, before the run's number.
	refillTokens = "replay/"
)

// Refill reads confirmed records again and inserts those that have no row any more: for the
// day after somebody has dropped rows, or has restored an older copy of the tables. The
// group and its members are left alone, and may be at work: below the confirmed offset they
// do nothing. It can be run again after an error.
func (t *Transformer) Refill(ctx context.Context, o RefillOptions) (r RefillResult, err error) {
	defer t.closeShards()
	// kafka-go waits so long for its look at the cluster, too, and every request fails with
	// that: a daemon tries again, and notices a moved leader soon, where this would end.
	t.o.Transport.MetadataTTL = max(t.o.Transport.MetadataTTL, t.o.CommitTimeout)
	if !t.isKind(o.Kind) {
		return r, fmt.Errorf("cannot read topic %q again: the transformer has none of the kind %q", o.Kind.Topic, o.Kind.Name)
	}
	if o.Insert {
		for _, s := range t.shards {
			if err := s.server.Check(ctx, []*schema.Kind{o.Kind}); err != nil {
				return r, err
			}
		}
		if err := t.awaitRefills(ctx); err != nil {
			return r, err
		}
	}
	ranges, err := t.refillRanges(ctx, &o)
	if err != nil {
		return r, err
	}
	x := &refill{o: &o, r: &r, number: time.Now().UnixMilli()}
	for i := range ranges {
		x.all += uint64(ranges[i].to - ranges[i].from)
		r.Beyond += uint64(ranges[i].beyond)
	}
	for i := range ranges {
		p := &ranges[i]
		for from := p.from; from < p.to; from += refillSpan {
			if err := ctx.Err(); err != nil {
				return r, context.Cause(ctx)
			}
			to := min(from+refillSpan, p.to)
			if err := x.span(ctx, p, from, to); err != nil {
				return r, fmt.Errorf("cannot read offsets %d to %d of %s/%d again: %w", from, to, p.topic, p.id, err)
			}
			x.done += uint64(to - from)
			if o.Progress != nil {
				o.Progress(x.done, x.all)
			}
		}
	}
	return r, nil
}

// awaitRefills waits for the last INSERT of a run that was killed: it would not be seen.
func (t *Transformer) awaitRefills(ctx context.Context) error {
	for _, s := range t.shards {
		for {
			running, err := s.server.Running(ctx, refillTokens)
			if err != nil {
				return err
			}
			if !running {
				break
			}
			if !sleep(ctx, 100*time.Millisecond) {
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

// refill is one call of Refill.
type refill struct {
	o         *RefillOptions
	r         *RefillResult
	done, all uint64
	// number is the run's own, in its tokens: under those of before ClickHouse would take
	// rows that have been deleted since for a repetition, and keep nothing.
	number int64
}

// rowsThere is what ClickHouse has under the offsets of a span.
type rowsThere struct {
	own    offsets            // of this log
	n      int                // of these
	others map[int64][]int64  // of other epochs: when they were received
	same   map[int64]struct{} // of the others, those of these very records
}

func (s *rowsThere) has(o int64) bool {
	_, same := s.same[o]
	return same || s.own.has(o)
}

func (p *refillRange) there(ctx context.Context, from, to int64) (*rowsThere, error) {
	s := &rowsThere{own: offsets{from: from, bits: make([]uint64, (to-from+63)/64)}, others: map[int64][]int64{}, same: map[int64]struct{}{}}
	ctx, cancel := context.WithTimeout(ctx, presentTimeout)
	defer cancel()
	for _, x := range p.t.shards { // the list may have been another when they were inserted
		err := x.server.PresentEver(ctx, p.kind, shortTopic(p.kind), uint16(p.id), from, to, func(epoch uint16, o, ms int64) {
			if epoch != p.epoch {
				s.others[o] = append(s.others[o], ms)
			} else if s.own.add(o) {
				s.n++
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

// span looks at some offsets.
func (x *refill) span(ctx context.Context, p *refillRange, from, to int64) error {
	s, err := p.there(ctx, from, to)
	if err != nil {
		return err
	}
	x.lost(p, s, from, to)
	if int64(s.n) == to-from {
		x.r.Records, x.r.There = x.r.Records+uint64(s.n), x.r.There+uint64(s.n)
		return nil
	}
	return x.fill(ctx, p, s, max(from, p.first), to)
}

// lost counts what the range asks for and Kafka has no more.
func (x *refill) lost(p *refillRange, s *rowsThere, from, to int64) {
	for o := from; o < min(to, p.first); o++ {
		if len(s.others[o]) == 0 && !s.own.has(o) {
			x.r.Lost++
		}
	}
}

// fill reads the records of a span and inserts those without a row.
func (x *refill) fill(ctx context.Context, p *refillRange, s *rowsThere, from, to int64) error {
	if from >= to {
		return nil
	}
	p.ensureRows()
	defer p.release()
	sum, records, missing := uint32(0), 0, 0
	flush := func() error {
		n := p.rows.count()
		missing += n
		x.r.Events += uint64(n - p.refused())
		x.r.Refused += uint64(p.refused())
		if n == 0 || !x.o.Insert {
			p.release()
			p.ensureRows()
			return nil
		}
		first, last := int64(-1), int64(0)
		p.rows.offsets(func(o int64) {
			sum = crc32.Update(sum, castagnoli, fmt.Appendf(nil, ",%d", o))
			last = max(last, o)
			if first < 0 || o < first {
				first = o
			}
		})
		t := fmt.Sprintf("%s%d/%s", refillTokens, x.number, token(p.t.o.Group, p.epoch, shortTopic(p.kind), p.id, first, last+1, sum))
		if err := x.insert(ctx, p, t); err != nil {
			return err
		}
		x.r.Inserted += uint64(n)
		sum = 0
		p.release()
		p.ensureRows()
		return x.at("inserted")
	}
	err := p.read(ctx, from, to, func(b *recordbatch.Batch) error {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := p.compare(b, s); err != nil {
			return err
		}
		for next := max(from, b.BaseOffset); next < min(b.NextOffset(), to); {
			before := p.rows.count()
			d := <-p.t.decoders
			end, _, read, err := d.append(p.rows, b, next, to, s.has)
			p.t.decoders <- d
			if err != nil {
				return err
			}
			records += read
			if p.rows.count() > before {
				sum = fingerprint(sum, b)
			}
			if end < min(b.NextOffset(), to) || p.rows.count() >= p.t.o.BlockRows || p.rows.bytes() >= p.t.o.BlockBytes {
				if err := flush(); err != nil {
					return err
				}
			}
			next = end
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err == nil {
		x.r.Records += uint64(records)
		x.r.There += uint64(records - missing)
	}
	return err
}

// compare finds the records of a batch that have their row under another epoch: what an
// unclean election has cut off behind them began the next one. A topic that was made again
// has other records under these offsets, received at another time.
func (p *refillRange) compare(b *recordbatch.Batch, s *rowsThere) error {
	any := false
	for o := b.BaseOffset; o < b.NextOffset() && !any; o++ {
		any = len(s.others[o]) > 0
	}
	if !any {
		return nil
	}
	r := rows{main: block.New(p.kind), max: p.t.maxRows}
	r.rejects = r.main
	if p.kind != schema.Reject {
		r.rejects = block.New(schema.Reject)
	}
	r.each(func(b *block.Block) { b.Reset(p.place()) })
	d := <-p.t.decoders
	_, _, _, err := d.append(r, b, b.BaseOffset, b.NextOffset(), nil)
	p.t.decoders <- d
	r.times(func(offset, received int64) {
		for _, ms := range s.others[offset] {
			if ms == received {
				s.same[offset] = struct{}{}
			}
		}
	})
	return err
}

// release is drop without a stream, of which a refill has none.
func (p *refillRange) release() {
	if p.rows.rejects != p.rows.main {
		p.t.blocks.put(p.rows.rejects)
	}
	p.t.blocks.put(p.rows.main)
	p.rows = rows{}
}

// refused is how many of the open rows are no event.
func (p *refillRange) refused() int {
	if p.rows.rejects == p.rows.main {
		return 0
	}
	return p.rows.rejects.Rows()
}

// insert sends the open rows until they are there: the same rows under the same token.
func (x *refill) insert(ctx context.Context, p *refillRange, token string) error {
	blocks := []*block.Block{p.rows.main}
	if p.rows.rejects != p.rows.main {
		blocks = append(blocks, p.rows.rejects)
	}
	for _, b := range blocks {
		var err error
		for n := range refillAttempts {
			if !sleep(ctx, time.Duration(n)*time.Second) {
				return context.Cause(ctx)
			}
			attempt, cancel := context.WithTimeout(ctx, p.t.o.InsertTimeout)
			err = p.home.inserter.Insert(attempt, b, token) // of no rows: nothing
			cancel()
			if err == nil || errors.Is(err, insert.ErrUnfit) {
				break
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (x *refill) at(step string) error {
	if x.o.step == nil {
		return nil
	}
	return x.o.step(step)
}
