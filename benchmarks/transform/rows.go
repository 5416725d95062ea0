package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kfake"

	"millrace/benchmarks/process"
	"millrace/benchmarks/report"
)

// partitions of the topics: the default of our configuration.
const partitions = 6

// transform takes all ways from the topics to the table, by turns.
func (b *bench) transform(ctx context.Context) error {
	broker, err := b.newTopics(ctx, b.in, partitions, b.o.rows)
	if err != nil {
		return err
	}
	defer broker.Close()
	if err := fillCSV(ctx, broker, b.in, b.o.rows); err != nil {
		return fmt.Errorf("cannot fill the topic of CSV: %w", err)
	}
	for range b.o.rounds {
		for _, j := range []struct {
			peer, name string
			measure    func() (report.Metrics, error)
		}{
			{ours, caseNone, func() (report.Metrics, error) { return b.millrace(ctx, broker, "none") }},
			{engine, caseCSV, func() (report.Metrics, error) { return b.kafkaEngine(ctx, broker, csvEngine) }},
			{ours, caseLZ4, func() (report.Metrics, error) { return b.millrace(ctx, broker, "lz4") }},
			{blocks, caseNone, func() (report.Metrics, error) { return b.blocks(ctx, broker, clickhouse.CompressionNone) }},
			{blocks, caseLZ4, func() (report.Metrics, error) { return b.blocks(ctx, broker, clickhouse.CompressionLZ4) }},
		} {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			m, err := j.measure()
			b.report.Record(b.progress, "transform", j.peer, j.name, m, err)
		}
	}
	return nil
}

// memory is ours alone, with many partitions.
func (b *bench) memory(ctx context.Context) error {
	broker, err := b.newTopics(ctx, b.in, 64, b.o.rows)
	if err != nil {
		return err
	}
	defer broker.Close()
	for range b.o.rounds {
		m, err := b.millrace(ctx, broker, "none")
		b.report.Record(b.progress, "memory", ours, casePartitions, m, err)
	}
	return nil
}

// span is one way of the topic's records into a table: begin makes them move, and the
// time is until the last row is there. own is the processor time of whoever moves them,
// nil where that is ClickHouse.
func (b *bench) span(ctx context.Context, database string, begin func() error, own func() (time.Duration, error)) (report.Metrics, error) {
	if own == nil {
		own = func() (time.Duration, error) { return 0, nil }
	}
	if err := b.server.process().ResetPeak(); err != nil {
		return nil, err
	}
	before, err := b.server.process().CPU()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := begin(); err != nil {
		return nil, err
	}
	if err := b.server.awaitRows(ctx, database, uint64(b.o.rows)); err != nil {
		return nil, err
	}
	took := time.Since(began)
	used, err := own()
	if err != nil {
		return nil, err
	}
	there, err := b.server.process().CPU()
	if err != nil {
		return nil, err
	}
	if err := b.server.settle(ctx, database); err != nil {
		return nil, err
	}
	merged, err := b.server.process().CPU()
	if err != nil {
		return nil, err
	}
	peak, err := b.server.process().PeakRSS()
	if err != nil {
		return nil, err
	}
	inserted, err := b.server.rowsPerInsert(ctx, database)
	if err != nil {
		return nil, err
	}
	millions := float64(b.o.rows) / 1e6
	return report.Metrics{
		mRows: float64(b.o.rows), mSeconds: took.Seconds(), mRowsPerSec: float64(b.o.rows) / took.Seconds(),
		mOwn: used.Seconds() / millions, mServer: (there - before).Seconds() / millions, mMerges: (merged - there).Seconds() / millions,
		mAll: (used + merged - before).Seconds() / millions, mServerRSS: float64(peak) / (1 << 20), mInserted: inserted,
	}, nil
}

// millrace is `millrace transform`, a process started for this: its start and its joining
// of the group are in its figures.
func (b *bench) millrace(ctx context.Context, broker *kfake.Cluster, compression string) (report.Metrics, error) {
	database, drop, err := b.server.database(ctx)
	if err != nil {
		return nil, err
	}
	defer drop()
	var t *transform
	defer func() {
		if t != nil {
			t.stop()
		}
	}()
	m, err := b.span(ctx, database, func() (err error) {
		t, err = b.startTransform(broker, database, compression)
		return err
	}, func() (time.Duration, error) { return t.CPU() })
	if err != nil {
		if t != nil {
			err = t.Failed(err)
		}
		return nil, err
	}
	allocations, err := process.Metric(t.metrics, "go_memstats_mallocs_total")
	if err != nil {
		return nil, err
	}
	peak, err := t.PeakRSS()
	if err != nil {
		return nil, err
	}
	m[mAllocs], m[mPeakRSS] = allocations/float64(b.o.rows), float64(peak)/(1<<20)
	return m, nil
}

// transform is a running `millrace transform`.
type transform struct {
	*process.Process
	dir     string
	metrics string // URL
}

func (b *bench) startTransform(broker *kfake.Cluster, database, compression string) (*transform, error) {
	dir, err := os.MkdirTemp("", "bench-transform-")
	if err != nil {
		return nil, err
	}
	port, err := process.FreePort()
	if err != nil {
		return nil, err
	}
	p, err := b.start(dir, b.transformConfig(broker, database, compression, port), "transform")
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return &transform{p, dir, fmt.Sprintf("http://127.0.0.1:%d/metrics", port)}, nil
}

// transformConfig is how a transformer finds broker and server. port: of its metrics.
func (b *bench) transformConfig(broker *kfake.Cluster, database, compression string, port int) string {
	return fmt.Sprintf(`listeners: [{name: none, address: "tcp://127.0.0.1:0"}]
kafka: {brokers: ["%[1]s"], topic_prefix: "%[2]s", group: "%[3]s"}
clickhouse: {addresses: ["%[4]s"], database: %[3]s, username: %[5]s, password: "%[6]s", compression: %[7]s, reader: {username: %[5]s, password: "%[6]s"}}
http: {transform: "127.0.0.1:%[8]d"}
`, broker.ListenAddrs()[0], topicPrefix, database, b.server.NativeAddr, b.server.Admin.User, b.server.Admin.Password, compression, port)
}

func (t *transform) stop() {
	t.Stop()
	os.RemoveAll(t.dir)
}

// insertInto lets our transformer take the topic into a database.
func (b *bench) insertInto(ctx context.Context, broker *kfake.Cluster, database string, rows int) error {
	t, err := b.startTransform(broker, database, "none")
	if err != nil {
		return err
	}
	defer t.stop()
	if err := b.server.awaitRows(ctx, database, uint64(rows)); err != nil {
		return t.Failed(err)
	}
	return nil
}
