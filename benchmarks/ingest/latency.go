package main

import (
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"millrace/benchmarks/discard"
	"millrace/benchmarks/frames"
	"millrace/benchmarks/report"
	"millrace/internal/recordbatch"
)

const (
	busyRate  = 50_000 // frames a second, over all connections
	quietRate = 20     // so few that each waits alone for its batch to be sent
	tick      = time.Millisecond
)

// stopwatch knows when each frame was due to be written and when it was acknowledged.
type stopwatch struct {
	due   []int64        // Unix nanoseconds, by number; written before the frame is
	acked []atomic.Int64 // the first acknowledgement
	bad   atomic.Uint64  // records without a number that was sent
}

// see reads the numbers in acknowledged batches.
func (w *stopwatch) see(records []byte, at time.Time) {
	var set recordbatch.Set
	d := recordbatch.NewDecompressor(64 << 20)
	set.Reset(records, 0)
	for set.Next() {
		list, _, err := d.Records(set.Batch(), nil)
		if err != nil {
			w.bad.Add(1)
			return
		}
		var r recordbatch.Record
		for list.Next(&r) {
			n, ok := frames.Mark(r.Value)
			if !ok || n >= uint64(len(w.acked)) {
				w.bad.Add(1)
				continue
			}
			w.acked[n].CompareAndSwap(0, at.UnixNano())
		}
	}
}

// latencyJob writes marked frames at a rate and measures the time from when each was due
// until Kafka's answer to its batch had been written. A write that has to wait delays the
// ones behind it, and that counts: they are due all the same.
func (b *bench) latencyJob(peer, name string, rate float64, connections int) job {
	return job{section: "latency", peer: peer, name: name, measure: func(p *peerProgram) (report.Metrics, error) {
		span := b.o.span()
		total := int(rate*span.Seconds()) / connections * connections
		w := &stopwatch{due: make([]int64, total), acked: make([]atomic.Int64, total)}
		var armed atomic.Bool // not during the warm-up
		t, conns, err := b.warm(p, setup{connections: connections}, discard.Options{Acked: func(topic string, records []byte, at time.Time) {
			if armed.Load() && topic == p.topic {
				w.see(records, at)
			}
		}})
		if err != nil {
			return nil, err
		}
		defer t.end()
		armed.Store(true)
		m, err := t.span(func() (uint64, error) { return pace(b.in, conns, rate, w.due) })
		if err != nil {
			return nil, err
		}
		return m, w.percentiles(m)
	}}
}

// pace writes a frame for each entry of due, spread evenly over the connections, and
// notes when it was due.
func pace(in *frames.Input, conns []net.Conn, rate float64, due []int64) (uint64, error) {
	errs := make([]error, len(conns))
	var writing sync.WaitGroup
	began := time.Now().Add(tick)
	for i, c := range conns {
		writing.Go(func() {
			var buf []byte
			for next, now := i, began; next < len(due); now = now.Add(tick) {
				time.Sleep(time.Until(now))
				buf = buf[:0]
				for ; next < len(due) && float64(next) <= now.Sub(began).Seconds()*rate; next += len(conns) {
					due[next] = now.UnixNano()
					buf = frames.AppendMarked(buf, in.Frames[next%len(in.Frames)], uint64(next))
				}
				if len(buf) == 0 {
					continue
				}
				if _, err := c.Write(buf); err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	writing.Wait()
	for _, err := range errs {
		if err != nil {
			return 0, err
		}
	}
	return uint64(len(due)), nil
}

// percentiles adds the times to the metrics.
func (w *stopwatch) percentiles(m report.Metrics) error {
	took := make([]float64, len(w.due))
	for end := time.Now().Add(time.Second); ; time.Sleep(time.Millisecond) {
		missing := 0
		for i := range took {
			at := w.acked[i].Load()
			if at == 0 {
				missing++
			}
			took[i] = float64(at-w.due[i]) / 1e6
		}
		if missing == 0 {
			break
		}
		if time.Now().After(end) { // records are counted before they are looked at
			return fmt.Errorf("%d of %d frames were not seen at the broker, and %d records without a number", missing, len(took), w.bad.Load())
		}
	}
	slices.Sort(took)
	at := func(share float64) float64 { return took[min(len(took)-1, int(share*float64(len(took))))] }
	m[mP50], m[mP99], m[mP999], m[mMax] = at(0.5), at(0.99), at(0.999), took[len(took)-1]
	return nil
}
