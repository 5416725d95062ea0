package main

import (
	"fmt"
	"net"
	"os"
	"time"

	"millrace/benchmarks/discard"
	"millrace/benchmarks/frames"
	"millrace/benchmarks/process"
	"millrace/benchmarks/report"
)

// trial is one peer, started afresh, between the load generator and a broker of its own.
type trial struct {
	peer   *peerProgram
	dir    string
	port   int
	broker *discard.Broker
	proc   *process.Process
	conns  []net.Conn // of warm
	sent   uint64     // frames, from the beginning
}

// begin starts broker and peer.
func begin(p *peerProgram, s setup, o discard.Options) (*trial, error) {
	if o.Partitions == 0 {
		o.Partitions = partitions
	}
	broker, err := discard.Listen(o)
	if err != nil {
		return nil, err
	}
	t := &trial{peer: p, broker: broker}
	if t.dir, err = os.MkdirTemp("", "bench-ingest-"); err == nil {
		t.port, err = freePort(s.network)
	}
	if err == nil {
		s.port, s.broker = t.port, broker.Addr()
		t.proc, err = p.run(t.dir, s)
	}
	if err != nil {
		t.end()
		return nil, err
	}
	return t, nil
}

func (t *trial) end() {
	disconnect(t.conns)
	if t.proc != nil {
		t.proc.Stop()
	}
	t.broker.Close()
	os.RemoveAll(t.dir)
}

// arrived is how many records the broker has acknowledged.
func (t *trial) arrived() uint64 { return t.broker.Counts(t.peer.topic).Records }

// settle waits until the broker has all that was sent. Too few after patience without a
// new one, or too many, make the trial void.
func (t *trial) settle(patience time.Duration) error {
	last, since := t.arrived(), time.Now()
	for last < t.sent {
		time.Sleep(500 * time.Microsecond)
		if now := t.arrived(); now != last {
			last, since = now, time.Now()
		} else if time.Since(since) > patience {
			return t.proc.Failed(fmt.Errorf("%d of %d frames are missing at the broker", t.sent-last, t.sent))
		}
	}
	if last > t.sent {
		return t.proc.Failed(fmt.Errorf("the broker has %d records of %d frames", last, t.sent))
	}
	return nil
}

// patience is how long a peer may be silent before what is missing counts as lost.
const patience = 15 * time.Second

// warmUp floods for a moment, so that connections, threads and buffers are there.
func (t *trial) warmUp(in *frames.Input, conns []net.Conn, span time.Duration) error {
	n, err := floodFor(in, conns, min(span, 500*time.Millisecond))
	t.sent += n
	if err == nil {
		err = t.settle(patience)
	}
	return err
}

// span measures what the peer needs for the frames that send sends, until the last one
// is acknowledged.
func (t *trial) span(send func() (uint64, error)) (report.Metrics, error) {
	if err := t.proc.ResetPeak(); err != nil {
		return nil, err
	}
	before, err := t.proc.CPU()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	n, err := send()
	t.sent += n
	if err != nil {
		return nil, t.proc.Failed(err)
	}
	if err := t.settle(patience); err != nil {
		return nil, err
	}
	took := time.Since(began)
	after, err := t.proc.CPU()
	if err != nil {
		return nil, err
	}
	peak, err := t.proc.PeakRSS()
	if err != nil {
		return nil, err
	}
	used := after - before
	return report.Metrics{
		mFrames:       float64(n),
		mSeconds:      took.Seconds(),
		mCPU:          used.Seconds(),
		mCPUPerM:      used.Seconds() / float64(n) * 1e6,
		mFramesPerSec: float64(n) / took.Seconds(),
		mFramesPerCPU: float64(n) / used.Seconds(),
		mPeakRSS:      float64(peak) / (1 << 20),
	}, nil
}
