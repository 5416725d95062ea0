package main

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"millrace/benchmarks/report"
	"millrace/query"
	"millrace/query/access"
	"millrace/query/search"
)

// Metrics of an export.
const (
	mSeconds = "seconds"
	mSize    = "megabytes"
	mOwn     = "own_mebibytes"
	mServer  = "server_mebibytes"
)

// export is the newest messages as CSV, all columns that the command prints.
type export struct {
	name string
	rows uint64
}

// exports are two of which the second is ten times the first: the memory tells whether it
// grows with the rows.
func (b *bench) exports() []export {
	var all []export
	for _, rows := range []uint64{1_000_000, 10_000_000} {
		rows = min(rows, b.o.messages*rows/100_000_000)
		all = append(all, export{report.Number(float64(rows)) + " messages as CSV", rows})
	}
	return all
}

// exported is how one goes, and the most memory that it takes: of the heap that writes it,
// and of one statement of the server.
func (b *bench) exported(ctx context.Context, e export) (report.Metrics, error) {
	runtime.GC()
	var own, server atomic.Uint64
	watching, done := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for watching.Err() == nil {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			own.Store(max(own.Load(), m.HeapInuse))
			var peak int64
			if b.conn.QueryRow(watching, "SELECT max(peak_memory_usage) FROM system.processes WHERE user = ?", b.reader.User).Scan(&peak) == nil {
				server.Store(max(server.Load(), uint64(max(peak, 0))))
			}
			select {
			case <-watching.Done():
			case <-tick.C:
			}
		}
	}()
	period := time.Duration(float64(b.o.days) * 24 * float64(time.Hour) * float64(e.rows) / float64(b.o.messages))
	var size counter
	begin := time.Now()
	sum, err := search.Export(ctx, b.reader, access.Everything(), search.Query{From: b.end.Add(-period)}, query.Limits{}, query.Output{To: &size, Format: query.CSV})
	took := time.Since(begin)
	done()
	<-watched
	if err != nil {
		return nil, err
	}
	if want := float64(e.rows); float64(sum.Rows) < 0.99*want || float64(sum.Rows) > 1.01*want {
		return nil, fmt.Errorf("cannot export about %d messages: there are %d since %v", e.rows, sum.Rows, b.end.Add(-period))
	}
	const mebi = 1 << 20
	return report.Metrics{
		mRows: float64(sum.Rows), mSeconds: took.Seconds(), mSize: float64(size) / 1e6,
		mOwn: float64(own.Load()) / mebi, mServer: float64(server.Load()) / mebi,
	}, nil
}

// counter counts what is written to it.
type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

func (b *bench) exportSheet() *report.Sheet {
	s := &report.Sheet{Title: "Exports: one run each", Header: []any{"export", "rows", "s", "MB", "MiB of who writes, at most", "MiB of a statement in the server, at most"}, Numbers: 1}
	for _, e := range b.exports() {
		r := b.report.Find("query", ours, e.name)
		s.Add(e.name, r.Cell(mRows), r.Cell(mSeconds), r.Cell(mSize), r.Cell(mOwn), r.Cell(mServer))
	}
	return s
}
