package main

import (
	"context"
	"fmt"
	"time"

	"millrace/benchmarks/frames"
	"millrace/benchmarks/process"
	"millrace/benchmarks/report"
	"millrace/schema"
)

// The topics' prefixes.
const (
	oneTopics     = "one."
	storageTopics = "storage."
	fullTopics    = "full."
)

// heldBlocks are those of a transformer with a small share: as many rows whatever the rate
// is. By age, a slow one would make inserts of a few rows, and the price of an insert would
// be what is compared.
const heldBlocks = "transform: {block_rows: 30000, block_age: 30s}\n"

// startTransformer starts one over topics, as a member of a group, into a database.
func (b *bench) startTransformer(prefix, group, database, blocks string) (*process.Process, error) {
	s := b.site
	config := fmt.Sprintf("listeners: [{name: none, address: 'tcp://127.0.0.1:0'}]\nclickhouse: {addresses: ['%s'], database: %s, username: %s, password: '%s'}\n",
		s.server.NativeAddr, database, s.server.Admin.User, s.server.Admin.Password) + s.kafkaConfig(prefix, "group: "+group)
	p, _, err := b.start(config+blocks, "transform")
	return p, err
}

// transform measures n transformers over a topic that has more than they take in that time.
func (b *bench) transform(ctx context.Context, n int) (report.Metrics, error) {
	return b.drain(ctx, fullTopics, fullPartitions, n, b.o.share, b.o.rows)
}

// drain lets n transformers take what they can of a topic, each with its share of a core; a
// free one takes all of it.
func (b *bench) drain(ctx context.Context, prefix string, partitions, n int, share float64, records int) (m report.Metrics, err error) {
	s := b.site
	database, err := s.database(ctx)
	if err != nil {
		return nil, err
	}
	defer s.drop(database)
	began := time.Now()
	serverBefore, err := s.serverCPU()
	if err != nil {
		return nil, err
	}
	group, blocks := "of-"+database, ""
	if share > 0 {
		blocks = heldBlocks
	}
	c := &crew{}
	defer c.end()
	for range n {
		p, err := b.startTransformer(prefix, group, database, blocks)
		if err != nil {
			return nil, err
		}
		if err := c.add(b, p, share); err != nil {
			return nil, err
		}
	}
	rows := func() (float64, error) {
		n, err := s.rows(ctx, database)
		return float64(n), err
	}
	if err := b.joined(ctx, c, group); err != nil {
		return nil, err
	}
	if err := b.step(ctx, rows); err != nil {
		return nil, err
	}
	if share > 0 {
		time.Sleep(warmUp)
		m, err = b.blocks(ctx, c, partitions, func() ([]float64, error) { return s.confirmed(ctx, group, prefix, partitions) })
	} else {
		m, err = b.toLast(ctx, c, records, rows)
	}
	if err != nil {
		return nil, err
	}
	if now, err := rows(); err != nil || share > 0 && now >= float64(records) {
		return nil, fmt.Errorf("all %d records were taken before the measurement was over: more of them (-rows), or a smaller -share (%v)", records, err)
	}
	c.end() // what they have taken is confirmed
	taken, err := b.account(ctx, database, group, prefix, partitions, m)
	if err != nil {
		return nil, c.failed(err)
	}
	if err := s.settle(ctx, database); err != nil {
		return nil, err
	}
	serverAfter, err := s.serverCPU()
	m[mServer] = (serverAfter - serverBefore - b.idle.server(time.Since(began).Seconds())).Seconds() / taken * 1e6
	return m, err
}

// leastBlocks is how many of each partition are in a measurement.
const leastBlocks = 3

// blocks reads the clocks as span does. Records are confirmed block by block, and the
// partitions' blocks are full at about the same time, so that a reading at any time would be
// off by some of them: a partition's rate is from one of its blocks to a later one, and the
// rate is the sum.
func (b *bench) blocks(ctx context.Context, c *crew, partitions int, confirmed func() ([]float64, error)) (report.Metrics, error) {
	type mark struct {
		at time.Time
		n  float64
	}
	marks := make([][]mark, partitions)
	before, err := b.read(c, func() (float64, error) { return 0, nil })
	if err != nil {
		return nil, err
	}
	last, err := confirmed()
	if err != nil {
		return nil, err
	}
	for complete := false; !complete || time.Since(before.at) < b.o.span(); time.Sleep(20 * time.Millisecond) {
		now, err := confirmed()
		if err != nil {
			return nil, err
		}
		complete = true
		for i, n := range now {
			if n != last[i] {
				marks[i] = append(marks[i], mark{time.Now(), n})
			}
			complete = complete && len(marks[i]) > leastBlocks
		}
		last = now
		if time.Since(before.at) > b.o.span()+patience {
			return nil, c.failed(fmt.Errorf("a partition had fewer than %d blocks in %v", leastBlocks, b.o.span()+patience))
		}
	}
	after, err := b.read(c, func() (float64, error) { return 0, nil })
	if err != nil {
		return nil, err
	}
	rate := 0.0
	for _, of := range marks {
		first, last := of[0], of[len(of)-1]
		rate += (last.n - first.n) / last.at.Sub(first.at).Seconds()
	}
	after.events = rate * after.at.Sub(before.at).Seconds()
	return b.between(c, before, after), nil
}

// joined returns when the group has given out its partitions to all.
func (b *bench) joined(ctx context.Context, c *crew, group string) error {
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		n, err := b.site.members(ctx, group)
		if err != nil || n == len(c.all) {
			return err
		}
		if time.Since(began) > patience {
			return c.failed(fmt.Errorf("%d of %d transformers are in the group after %v", n, len(c.all), patience))
		}
	}
}

// toLast measures a free transformer from its first rows to its last.
func (b *bench) toLast(ctx context.Context, c *crew, records int, rows func() (float64, error)) (report.Metrics, error) {
	before, err := b.read(c, rows)
	if err != nil {
		return nil, err
	}
	if _, err := b.await(ctx, float64(records), rows); err != nil {
		return nil, err
	}
	after, err := b.read(c, rows)
	if err != nil {
		return nil, err
	}
	n, took := after.events-before.events, after.at.Sub(before.at).Seconds()
	return report.Metrics{mSeconds: took, mPerSecond: n / took, mOwn: (after.own - before.own).Seconds() / n * 1e6}, nil
}

// account looks for the row of each record that the group has confirmed, by its place in
// Kafka, and says how many these are.
func (b *bench) account(ctx context.Context, database, group, prefix string, partitions int, m report.Metrics) (confirmed float64, err error) {
	each, err := b.site.confirmed(ctx, group, prefix, partitions)
	if err != nil {
		return 0, err
	}
	for _, n := range each {
		confirmed += n
	}
	var rows, places uint64
	err = b.site.conn.QueryRow(ctx, "SELECT count(), uniqExact(k_epoch, k_part, k_off) FROM "+database+"."+schema.Message.Table).Scan(&rows, &places)
	if err != nil {
		return 0, err
	}
	m[mLost], m[mDoubled] = confirmed-float64(places), float64(rows)-float64(places)
	if m[mLost] != 0 || m[mDoubled] != 0 || confirmed == 0 {
		return 0, fmt.Errorf("of %.0f confirmed records %.0f have no row, and %.0f rows are there twice", confirmed, m[mLost], m[mDoubled])
	}
	return confirmed, nil
}

// partition measures what one partition takes: from one free ingester, and then to one
// free transformer.
func (b *bench) partition(ctx context.Context) (report.Metrics, error) {
	in, err := b.flood(ctx, oneTopics, 1, 1, 0, b.o.span()/2)
	if err != nil {
		return nil, err
	}
	records, err := b.site.records(ctx, oneTopics, 1)
	if err != nil {
		return nil, err
	}
	out, err := b.drain(ctx, oneTopics, 1, 1, 0, int(records))
	if err != nil {
		return nil, err
	}
	return report.Metrics{mPerSecond: min(in[mPerSecond], out[mPerSecond]), mIn: in[mPerSecond], mOut: out[mPerSecond], mFreeIn: in[mOwn], mFreeOut: out[mOwn], mServer: out[mServer]}, nil
}

// storage measures what an event takes on the disks, of frames none of which comes twice.
func (b *bench) storage(ctx context.Context) (report.Metrics, error) {
	in, err := frames.New(b.o.storage)
	if err != nil {
		return nil, err
	}
	if err := b.fill(ctx, storageTopics, partitions, "", in, b.o.storage); err != nil {
		return nil, err
	}
	s, records := b.site, float64(b.o.storage)
	logs, err := s.bytes(ctx, storageTopics, partitions)
	if err != nil {
		return nil, err
	}
	database, err := s.database(ctx)
	if err != nil {
		return nil, err
	}
	defer s.drop(database)
	t, err := b.startTransformer(storageTopics, "of-"+database, database, "")
	if err != nil {
		return nil, err
	}
	defer t.Stop()
	n, err := b.await(ctx, records, func() (float64, error) {
		n, err := s.rows(ctx, database)
		return float64(n), err
	})
	if err == nil && n != records {
		err = t.Failed(fmt.Errorf("%.0f rows of %.0f records", n, records))
	}
	if err != nil {
		return nil, err
	}
	m := report.Metrics{mFrame: in.MeanBytes(), mRecord: float64(logs) / brokers / records}
	table := database + "." + schema.Message.Table
	// What two weeks do, at once: the codec of the table's own rule.
	for _, as := range []struct{ metric, before string }{
		{mRow, "SELECT 1"},
		{mOldRow, "ALTER TABLE " + table + " MODIFY TTL toDateTime(received_at) + toIntervalSecond(1) RECOMPRESS CODEC(ZSTD(3)) SETTINGS materialize_ttl_after_modify = 1, mutations_sync = 2"},
	} {
		for _, statement := range []string{as.before, "OPTIMIZE TABLE " + table + " FINAL"} {
			if err := s.conn.Exec(ctx, statement); err != nil {
				return nil, err
			}
		}
		var disk uint64
		if err := s.conn.QueryRow(ctx, "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = ?", database).Scan(&disk); err != nil {
			return nil, err
		}
		m[as.metric] = float64(disk) / records
	}
	return m, nil
}
