package main

import (
	"time"

	"millrace/benchmarks/discard"
	"millrace/benchmarks/report"
)

const manyConnections = 1000

// idleJob holds connections on each of which one frame has come.
func (b *bench) idleJob(peer string) job {
	n := b.o.idle
	return job{section: "memory", peer: peer, name: report.Number(float64(n)) + idleConnections, once: true, measure: func(p *peerProgram) (report.Metrics, error) {
		t, err := begin(p, setup{network: "tcp", connections: n}, discard.Options{})
		if err != nil {
			return nil, err
		}
		defer t.end()
		conns, err := connect(t.port, n)
		if err != nil {
			return nil, t.proc.Failed(err)
		}
		defer disconnect(conns)
		for i, c := range conns {
			if _, err := c.Write(b.in.Frames[i%len(b.in.Frames)]); err != nil {
				return nil, t.proc.Failed(err)
			}
			t.sent++
		}
		if err := t.settle(patience); err != nil {
			return nil, err
		}
		time.Sleep(min(2*time.Second, b.o.span()))
		now, err := t.proc.RSS()
		if err != nil {
			return nil, err
		}
		peak, err := t.proc.PeakRSS()
		return report.Metrics{mRSS: mib(now), mPeakRSS: mib(peak)}, err
	}}
}

// awayJob freezes the broker under full load, and lets it go on after a while. All frames
// must be there in the end.
func (b *bench) awayJob() job {
	return job{section: "memory", peer: ours, name: caseAway, once: true, measure: func(p *peerProgram) (report.Metrics, error) {
		t, conns, err := b.warm(p, setup{connections: connections}, discard.Options{})
		if err != nil {
			return nil, err
		}
		defer t.end()
		stop, flooded := make(chan struct{}), make(chan error, 1)
		go func() {
			n, err := flood(b.in, conns, stop)
			t.sent += n
			flooded <- err
		}()
		m, err := t.away(b.o.span(), b.o.away)
		t.broker.Thaw()
		close(stop)
		if ferr := <-flooded; err == nil {
			err = ferr
		}
		if err == nil {
			err = t.settle(time.Minute)
		}
		if err != nil {
			return nil, err
		}
		c := t.broker.Counts(t.peer.topic)
		m[mDuplicates] = float64(c.Duplicates)
		return m, nil
	}}
}

func (t *trial) away(steady, away time.Duration) (report.Metrics, error) {
	if err := t.proc.ResetPeak(); err != nil {
		return nil, err
	}
	time.Sleep(steady)
	before, err := t.proc.PeakRSS()
	if err != nil {
		return nil, err
	}
	t.broker.Freeze()
	if err := t.proc.ResetPeak(); err != nil {
		return nil, err
	}
	time.Sleep(away)
	peak, err := t.proc.PeakRSS()
	if err != nil {
		return nil, err
	}
	t.broker.Thaw()
	if err := t.proc.ResetPeak(); err != nil {
		return nil, err
	}
	time.Sleep(steady)
	later, err := t.proc.PeakRSS()
	return report.Metrics{
		mSeconds: away.Seconds(), mRSS: mib(before), mPeakRSS: mib(peak), mGrowth: mib(peak - before), mRSSLater: mib(later),
	}, err
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }
