package transformer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"millrace/internal/crashpoint"
	"millrace/internal/fetch"
	"millrace/internal/recordbatch"
	"millrace/schema"
	"millrace/transformer/block"
	"millrace/transformer/insert"
)

var (
	// errStopped: the stop or the generation's end came first.
	errStopped = errors.New("stopped")
	// errRestart: what is known of the partition is out of date; recover again.
	errRestart = errors.New("the partition must be looked at again")
)

// partition works through one assigned partition, in one goroutine.
type partition struct {
	g       *generation
	t       *Transformer
	kind    *schema.Kind
	topic   string
	id      int
	stream  *fetch.Stream
	fetcher *fetch.Fetcher
	stats   *partitionStats

	home *shard   // where rows go: the partition's own, or that of the block that is finished
	asks []*shard // that may have rows which are not confirmed

	epoch uint16
	// Everything before inserted is in ClickHouse; anchor is the last batch of it.
	inserted int64
	anchor   anchor
	// open: Kafka holds an intent, or an offset before inserted.
	unconfirmed bool
	losses      map[lossAt]int64 // offsets that were counted as lost
	announced   time.Time        // when the last acknowledged announcement was sent
	// trusted: when ClickHouse was asked what it has, or remembers, of the range that
	// is inserted; zero for a range that nobody has tried to insert.
	trusted time.Time

	// The open range is [inserted, end).
	end         int64
	fingerprint uint32
	last        anchor
	rows        rows
	since       time.Time // of the first row
	turn        bool      // it gathers a large block

	set   recordbatch.Set
	timer *time.Timer
}

func newPartition(g *generation, k *schema.Kind, topic string, id int, s *fetch.Stream, f *fetch.Fetcher) *partition {
	return &partition{
		g: g, t: g.t, kind: k, topic: topic, id: id, stream: s, fetcher: f,
		stats: g.t.stats.partition(topic, id), losses: map[lossAt]int64{},
	}
}

func (p *partition) place() block.Place {
	return block.Place{Topic: shortTopic(p.kind), Epoch: p.epoch, Partition: uint16(p.id)}
}

func (p *partition) key() topicPartition { return topicPartition{p.topic, p.id} }

// step is where tests stop, and a build for tests dies.
func (p *partition) step(name string) {
	if p.t.step != nil {
		p.t.step(name, p.topic, p.id)
	}
	crashpoint.At(name)
}

// run recovers and then consumes, until stopped. What only a new generation can
// mend fails the generation.
func (p *partition) run() {
	p.stats.assigned.Store(true)
	defer p.stats.assigned.Store(false)
	defer p.t.block(p.key(), nil)
	defer p.drop()
	defer p.stream.Stop()
	p.timer = time.NewTimer(time.Hour)
	defer p.timer.Stop()
	for n := 0; ; n++ {
		err := p.recover()
		if err == nil {
			n = 0
			p.t.block(p.key(), nil) // what was refused may have been there already
			err = p.consume()
		}
		p.stream.Stop()
		p.drop()
		switch {
		case err == nil || errors.Is(err, errStopped):
			return
		case errors.Is(err, errFenced), errors.Is(err, errUnknownCommit):
			p.g.fail(err)
			return
		case errors.Is(err, errRestart):
			p.stats.trouble.Store(err.Error())
		default:
			p.stats.trouble.Store(err.Error())
			p.t.block(p.key(), err)
		}
		p.doing(doingPause)
		if !sleep(p.g.active, backoff(n)) {
			return
		}
	}
}

// drop forgets the open range: it was not announced, or its intent will be
// recovered.
func (p *partition) drop() {
	p.endTurn()
	if p.rows.rejects != p.rows.main {
		p.t.blocks.put(p.rows.rejects)
	}
	p.t.blocks.put(p.rows.main)
	p.rows = rows{}
	p.stream.Hold(0)
}

// begin makes the open range empty, after everything inserted.
func (p *partition) begin() {
	p.drop()
	p.end, p.fingerprint, p.last = p.inserted, 0, p.anchor
}

// ensureRows gets blocks for the open range.
func (p *partition) ensureRows() {
	if p.rows.main != nil {
		return
	}
	p.rows.main = p.t.blocks.get(p.kind, p.place())
	p.rows.rejects = p.rows.main
	p.rows.max = p.t.maxRows
	if p.kind != schema.Reject {
		p.rows.rejects = p.t.blocks.get(schema.Reject, p.place())
	}
}

// consume reads on from inserted until stopped.
func (p *partition) consume() error {
	p.begin()
	p.stream.Start(p.inserted)
	for p.g.active.Err() == nil {
		p.schedule()
		p.doing(doingFetch)
		select {
		case <-p.g.active.Done():
		case <-p.stream.Ready():
			if err := p.take(); err != nil {
				return err
			}
			// The timer is set anew for each chunk, and need not come to its end.
			if p.rows.count() > 0 && p.ripe() {
				if err := p.flush(); err != nil {
					return err
				}
			}
		case <-p.timer.C:
			if err := p.due(); err != nil {
				return err
			}
		}
	}
	return p.finish()
}

// schedule sets the timer for when the open range is old enough to be sealed, or
// an inserted one to be confirmed although nothing follows.
func (p *partition) schedule() {
	wait := time.Hour
	switch {
	case p.rows.count() > 0:
		if wait = time.Until(p.since.Add(p.t.o.BlockAge)); wait <= 0 { // a turn's, which may gather on
			wait = p.t.o.BlockAge / 4
		}
	case p.unconfirmed || p.end > p.inserted:
		wait = p.t.o.BlockAge / 2
	}
	p.timer.Reset(max(wait, 0))
}

// due is called when the timer fires.
func (p *partition) due() error {
	if p.rows.count() == 0 {
		return p.confirm()
	}
	if !p.ripe() {
		return nil
	}
	return p.flush()
}

// finish ends work at the soft stop: what is open is inserted and confirmed. At
// the generation's end nothing new is begun; what is inserted is confirmed if Kafka
// still takes that, which spares the next owner a recovery.
func (p *partition) finish() error {
	p.stream.Stop()
	if p.g.alive.Err() != nil {
		if p.unconfirmed && p.g.hard.Err() == nil && !p.g.broken.Load() {
			p.step("ending")
			return p.g.commit(p.topic, p.id, p.inserted, mark{epoch: p.epoch, time: time.Now().UnixMilli(), anchor: p.anchor, shard: p.home.name})
		}
		return errStopped
	}
	p.step("draining")
	if p.rows.count() > 0 {
		if err := p.flush(); err != nil {
			return err
		}
	}
	if err := p.confirm(); err != nil {
		return err
	}
	p.step("drained")
	return nil
}

// take works through the chunks that are there.
func (p *partition) take() error {
	c, ok := p.stream.Next()
	if !ok {
		return nil
	}
	defer c.Release()
	if c.Err != nil {
		return fmt.Errorf("%w: %w", errRestart, c.Err)
	}
	if c.Offset != p.end { // what lies between would be lost
		return fmt.Errorf("%w: records of offset %d were expected, not of %d", errRestart, p.end, c.Offset)
	}
	p.doing(doingDecode)
	p.stats.saw(c.HighWatermark)
	p.t.stats.FetchedBytes.Add(uint64(len(c.Records())))
	p.set.Reset(c.Records(), c.Offset)
	for p.set.Next() {
		b := p.set.Batch()
		for p.end < b.NextOffset() {
			if err := p.awaitTurn(); err != nil {
				return err
			}
			// A stop is not kept waiting by a chunk of many blocks. The rest of the
			// chunk is given up, so nothing may be taken after it: see consume.
			if p.g.active.Err() != nil {
				return nil
			}
			if err := p.add(b); err != nil {
				return err
			}
		}
	}
	if err := p.set.Err(); err != nil {
		return err
	}
	p.end = max(p.end, p.set.NextOffset())
	return nil
}

// add takes the batch, or as much of it as one block can hold, into the open range
// and seals that when it has enough.
func (p *partition) add(b *recordbatch.Batch) error {
	p.ensureRows()
	if p.rows.count() == 0 {
		p.since = time.Now()
	}
	d := <-p.t.decoders
	end, refused, read, err := d.append(p.rows, b, p.end, math.MaxInt64, nil)
	p.t.decoders <- d
	if err != nil {
		return fmt.Errorf("cannot read %s/%d: %w", p.topic, p.id, err)
	}
	p.t.stats.FetchedRecords.Add(uint64(read))
	p.t.stats.RefusedRecords.Add(uint64(refused))
	if end > p.end {
		p.end, p.fingerprint = end, fingerprint(p.fingerprint, b)
		p.last = anchor{true, b.BaseOffset, b.CRC}
	}
	held := p.rows.bytes()
	p.stream.Hold(int64(held))
	o := &p.t.o
	if p.rows.count() >= o.BlockRows || held >= o.BlockBytes || p.rows.full() || end < b.NextOffset() ||
		held > minPressedBytes && p.fetcher.Pressed() {
		return p.flush()
	}
	return nil
}

// minPressedBytes is how big a block is worth inserting early for its memory.
const minPressedBytes = 4 << 20

// flush seals the open range, announces it, inserts it, and begins the next one.
func (p *partition) flush() error {
	m := mark{epoch: p.epoch, end: p.end, fingerprint: p.fingerprint, first: time.Now().UnixMilli()}
	p.trusted = time.Time{}
	p.step("sealed")
	if err := p.announce(m); err != nil {
		return err
	}
	p.step("announced")
	if err := p.insert(m, p.token(p.inserted, m)); err != nil {
		return err
	}
	p.step("inserted")
	p.advance(p.end, p.last)
	p.begin()
	return nil
}

// advance notes that everything before end is in ClickHouse.
func (p *partition) advance(end int64, last anchor) {
	p.inserted, p.anchor, p.unconfirmed = end, last, true
	p.stats.inserted.Store(end)
}

func (p *partition) token(start int64, m mark) string {
	return token(p.t.o.Group, m.epoch, shortTopic(p.kind), p.id, start, m.end, m.fingerprint)
}

// announce commits inserted as the offset and m as the intent, and waits for the
// acknowledgement.
func (p *partition) announce(m mark) error {
	if p.g.alive.Err() != nil {
		return errStopped
	}
	p.doing(doingCommit)
	m.anchor, m.reader = p.anchor, rowsOf(p.kind, p.t.version)
	m.shard, m.wide = p.home.name, len(p.asks) > 1
	sent := time.Now()
	m.time = sent.UnixMilli()
	if err := p.g.commit(p.topic, p.id, p.inserted, m); err != nil {
		return err
	}
	// Counted from before the request: the broker looked at the generation later.
	p.announced = sent
	p.unconfirmed = m.end > 0
	p.stats.confirmed.Store(p.inserted)
	return nil
}

// confirm commits inserted without an intent, if Kafka does not know it yet.
func (p *partition) confirm() error {
	if p.rows.count() == 0 && p.end > p.inserted { // offsets without records of ours
		p.advance(p.end, p.last)
		p.begin()
	}
	if !p.unconfirmed {
		return nil
	}
	if err := p.announce(mark{epoch: p.epoch}); err != nil {
		return err
	}
	p.step("confirmed")
	return nil
}

// insert writes the rows under the token, as often as it takes.
func (p *partition) insert(m mark, token string) error {
	p.step("insert")
	if err := p.insertBlock(p.rows.main, m, token); err != nil {
		return err
	}
	p.step("half")
	if p.rows.rejects == p.rows.main {
		return nil
	}
	return p.insertBlock(p.rows.rejects, m, token)
}

func (p *partition) insertBlock(b *block.Block, m mark, token string) error {
	if b.Rows() == 0 {
		return nil
	}
	since := p.trusted
	if since.IsZero() {
		since = time.Now()
	}
	for n := 0; ; n++ {
		var err error
		if n > 0 || !p.trusted.IsZero() {
			err = p.remembers(since)
		}
		if err == nil {
			err = p.attempt(b, m, token)
		}
		switch {
		case err == nil:
			p.home.health.set(nil)
			p.t.block(p.key(), nil)
			p.t.stats.Inserts.Add(1)
			p.t.stats.rows[b.Kind().Table].Add(uint64(b.Rows()))
			return nil
		case errors.Is(err, errStopped), errors.Is(err, errFenced), errors.Is(err, errUnknownCommit), errors.Is(err, errRestart):
			return err
		}
		p.endTurn()
		p.t.stats.InsertErrors.Add(1)
		p.stats.trouble.Store(err.Error())
		p.step("failed")
		if insert.Refused(err) {
			p.t.block(p.key(), err)
		} else {
			p.home.health.set(err)
		}
		if !sleep(p.g.alive, backoff(n)) {
			return errStopped
		}
	}
}

// remembers tells, before an attempt that may not be the first, whether the server
// still knows the tokens of since. One that was started again may have lost its
// newest ones with its power, and kept the rows; and others may have inserted so
// much since that they fell out of the window. Then the range is recovered, by
// asking what is there.
func (p *partition) remembers(since time.Time) error {
	if age := time.Since(since); age > p.t.o.ReconcileAfter {
		return fmt.Errorf("%w: ClickHouse may have forgotten the token of %s ago", errRestart, age.Round(time.Second))
	}
	ctx, cancel := context.WithTimeout(p.g.alive, p.t.o.CommitTimeout)
	defer cancel()
	uptime, err := p.home.server.Uptime(ctx)
	if p.g.alive.Err() != nil {
		return errStopped
	}
	if err == nil && uptime < time.Since(since) {
		return fmt.Errorf("%w: ClickHouse was started again during an INSERT", errRestart)
	}
	return err
}

// attempt is one INSERT. It begins only while the announcement is young, so that
// one by a member that was frozen cannot come long after another has taken over.
func (p *partition) attempt(b *block.Block, m mark, token string) error {
	p.doing(doingPlace)
	select {
	case p.home.inserts <- struct{}{}:
	case <-p.g.alive.Done():
		return errStopped
	}
	defer func() { <-p.home.inserts }()
	if p.g.alive.Err() != nil {
		return errStopped
	}
	if time.Since(p.announced) >= p.t.o.Lease {
		p.t.stats.Reannounced.Add(1)
		if err := p.announce(m); err != nil {
			return err
		}
	}
	p.step("attempt")
	p.doing(doingInsert)
	ctx, cancel := context.WithTimeout(p.g.hard, p.t.o.InsertTimeout)
	defer cancel()
	begun := time.Now()
	err := p.home.inserter.Insert(ctx, b, token)
	p.t.stats.seconds.Observe(time.Since(begun).Seconds())
	if err != nil && p.g.hard.Err() != nil {
		p.rows = rows{} // the INSERT may still read them
		return errStopped
	}
	return err
}
