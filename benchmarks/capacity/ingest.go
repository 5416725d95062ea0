package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"millrace/benchmarks/frames"
	"millrace/benchmarks/process"
	"millrace/benchmarks/quota"
	"millrace/benchmarks/report"
)

// connections are those of each ingester.
const connections = 2

// warmUp is for connections, buffers and the brokers' code of a new topic.
const warmUp = 2 * time.Second

// crew is some instances of our program, each with its share.
type crew struct {
	all  []*process.Process
	held []quota.Held
}

// add takes an instance in, held to the share; 0 leaves it free.
func (c *crew) add(b *bench, p *process.Process, share float64) error {
	c.all = append(c.all, p)
	if share == 0 {
		return nil
	}
	h, err := b.limiter.Hold(int(p.ID), share)
	if err == nil {
		c.held = append(c.held, h)
	}
	return err
}

// free lets all have what they want.
func (c *crew) free() error {
	var errs []error
	for _, h := range c.held {
		errs = append(errs, h.Free())
	}
	return errors.Join(errs...)
}

// end stops all, which takes them no time when they are free.
func (c *crew) end() {
	_ = c.free()
	for _, p := range c.all {
		p.Stop()
	}
	for _, h := range c.held {
		_ = h.Close()
	}
	c.held = nil
}

func (c *crew) cpu() (sum time.Duration, err error) {
	for _, p := range c.all {
		d, err := p.CPU()
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

// failed shows what each of them said.
func (c *crew) failed(err error) error {
	for _, p := range c.all {
		err = p.Failed(err)
	}
	return err
}

// reading is what the clocks show at one moment.
type reading struct {
	at         time.Time
	events     float64
	own, kafka time.Duration
}

func (b *bench) read(c *crew, events func() (float64, error)) (r reading, err error) {
	if r.events, err = events(); err == nil {
		r.at = time.Now()
		r.own, err = c.cpu()
	}
	if err == nil {
		r.kafka, err = b.site.kafkaCPU()
	}
	return r, err
}

// step returns when the count has changed: a reading between two batches would be of a part of
// one.
func (b *bench) step(ctx context.Context, events func() (float64, error)) error {
	n, err := events()
	if err == nil {
		_, err = b.awaitAt(ctx, n+1, 10*time.Millisecond, events)
	}
	return err
}

// span reads the clocks, waits, and reads them again, each time when something has come.
func (b *bench) span(ctx context.Context, c *crew, lasts time.Duration, events func() (float64, error)) (report.Metrics, error) {
	if err := b.step(ctx, events); err != nil {
		return nil, err
	}
	before, err := b.read(c, events)
	if err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(lasts):
	}
	if err := b.step(ctx, events); err != nil {
		return nil, err
	}
	after, err := b.read(c, events)
	if err != nil {
		return nil, err
	}
	if after.events <= before.events {
		return nil, c.failed(errors.New("nothing got through"))
	}
	return b.between(c, before, after), nil
}

// between is what was needed from one reading to another.
func (b *bench) between(c *crew, before, after reading) report.Metrics {
	n, took, own := after.events-before.events, after.at.Sub(before.at).Seconds(), (after.own - before.own).Seconds()
	m := report.Metrics{mSeconds: took, mPerSecond: n / took, mOwn: own / n * 1e6, mKafka: (after.kafka - before.kafka - b.idle.kafka(took)).Seconds() / n * 1e6, mCores: own / took}
	if len(c.held) > 0 {
		m[mUsed] = own / took / (b.o.share * float64(len(c.all)))
	}
	return m
}

// startIngester starts one over topics and returns its connections.
func (b *bench) startIngester(prefix, more string) (p *process.Process, conns []net.Conn, err error) {
	port, err := process.FreePort()
	if err != nil {
		return nil, nil, err
	}
	config := fmt.Sprintf("listeners: [{name: bench, address: 'tcp://127.0.0.1:%d', framing: lf, formats: [m1, s1]}]\n", port) + b.site.kafkaConfig(prefix, more)
	if p, _, err = b.start(config, "ingest"); err != nil {
		return nil, nil, err
	}
	for range connections {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			p.Stop()
			return nil, nil, p.Failed(err)
		}
		conns = append(conns, c)
	}
	return p, conns, nil
}

// ingest measures n ingesters, each of which gets as much as it takes.
func (b *bench) ingest(ctx context.Context, round, n int) (report.Metrics, error) {
	return b.flood(ctx, fmt.Sprintf("in%d.%d.", round, n), partitions, n, b.o.share, b.o.span())
}

// flood lets n ingesters take what they can, each with its share of a core.
func (b *bench) flood(ctx context.Context, prefix string, partitions, n int, share float64, lasts time.Duration) (m report.Metrics, err error) {
	b.site.topics(prefix, partitions)
	c := &crew{}
	defer c.end()
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range n {
		p, own, err := b.startIngester(prefix, "")
		if err != nil {
			return nil, err
		}
		conns = append(conns, own...)
		if err := c.add(b, p, share); err != nil {
			return nil, err
		}
	}
	var sent atomic.Int64
	var senders sync.WaitGroup
	sending, stop := context.WithCancel(ctx)
	defer stop()
	errs := make([]error, len(conns))
	for i, c := range conns {
		senders.Go(func() {
			for at := i * len(b.in.Pieces) / len(conns); sending.Err() == nil && errs[i] == nil; at++ {
				p := b.in.Pieces[at%len(b.in.Pieces)]
				if _, errs[i] = c.Write(p.Bytes); errs[i] == nil {
					sent.Add(int64(p.Frames))
				}
			}
		})
	}
	arrived := func() (float64, error) {
		n, err := b.site.records(ctx, prefix, partitions)
		return float64(n), err
	}
	time.Sleep(warmUp)
	m, err = b.span(ctx, c, lasts, arrived)
	stop()
	if free := c.free(); err == nil {
		err = free
	}
	senders.Wait()
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, c.failed(err)
	}
	last, err := b.await(ctx, float64(sent.Load()), arrived)
	if err != nil {
		return nil, err
	}
	m[mLost] = float64(sent.Load()) - last
	if m[mLost] != 0 {
		return nil, c.failed(fmt.Errorf("%.0f of %d frames are missing in Kafka", m[mLost], sent.Load()))
	}
	return m, nil
}

// await returns when so many are there, or none has come for patience. It asks seldom
// enough to be no load.
func (b *bench) await(ctx context.Context, want float64, count func() (float64, error)) (float64, error) {
	return b.awaitAt(ctx, want, 100*time.Millisecond, count)
}

func (b *bench) awaitAt(ctx context.Context, want float64, every time.Duration, count func() (float64, error)) (float64, error) {
	for last, since := -1.0, time.Now(); ; time.Sleep(every) {
		n, err := count()
		if err != nil || n >= want || time.Since(since) > patience {
			return n, err
		}
		if n != last {
			last, since = n, time.Now()
		}
		if ctx.Err() != nil {
			return n, ctx.Err()
		}
	}
}

// fill makes topics and lets a free ingester put so many records into them.
func (b *bench) fill(ctx context.Context, prefix string, partitions int, more string, in *frames.Input, records int) error {
	b.site.topics(prefix, partitions)
	p, conns, err := b.startIngester(prefix, more)
	if err != nil {
		return err
	}
	defer p.Stop()
	for _, c := range conns {
		defer c.Close()
	}
	for n := 0; n < records && ctx.Err() == nil; {
		for i, piece := range in.Pieces {
			if n+piece.Frames > records {
				piece.Bytes, piece.Frames = bytes.Join(in.Frames[:records-n], nil), records-n
			}
			if _, err := conns[i%len(conns)].Write(piece.Bytes); err != nil {
				return p.Failed(err)
			}
			if n += piece.Frames; n == records {
				break
			}
		}
	}
	n, err := b.await(ctx, float64(records), func() (float64, error) {
		n, err := b.site.records(ctx, prefix, partitions)
		return float64(n), err
	})
	if err == nil && int(n) != records {
		err = p.Failed(fmt.Errorf("%d records of %d frames are in Kafka", int(n), records))
	}
	return err
}
