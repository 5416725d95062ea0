package main

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"millrace/benchmarks/discard"
	"millrace/benchmarks/report"
)

const (
	firstRate = 150_000 // frames a second: every peer should manage that
	stepUp    = 1.25    // from a rate without loss to the next
	halvings  = 3       // of the last step: the result is good to 1.25^(1/8), 3%
	mostSteps = 24
)

// udpJob looks for the highest rate at which a peer loses nothing.
func (b *bench) udpJob(peer string) job {
	return job{section: "udp", peer: peer, name: caseRate, measure: func(p *peerProgram) (report.Metrics, error) {
		t, err := begin(p, setup{network: "udp"}, discard.Options{})
		if err != nil {
			return nil, err
		}
		defer t.end()
		s, err := newSender(b.in, t.port)
		if err != nil {
			return nil, err
		}
		defer s.close()
		if _, err := t.step(s, 20_000, min(b.o.span(), time.Second/2)); err != nil { // warm-up
			return nil, err
		}

		low, high := 0.0, 0.0 // highest rate without loss, lowest with
		var best report.Metrics
		halved, strikes := 0, 0
		for rate, n := b.udpStart[peer], 0; halved <= halvings && n < mostSteps; n++ {
			if rate == 0 {
				rate = firstRate
			}
			m, err := t.stepTwice(s, rate, b.o.span()/2)
			if err != nil {
				return nil, err
			}
			b.report.Record(b.progress, "udp-steps", peer, fmt.Sprintf("%.0f", rate), m, nil)
			if m[mLost] > 0 {
				high = rate
			} else {
				low = rate
				short := m[mFramesPerSec] < 0.95*rate
				if best == nil || m[mFramesPerSec] > best[mFramesPerSec] {
					best = maps.Clone(m)
					best[mSenderLimited] = 0
					if short {
						best[mSenderLimited] = 1
					}
				}
				// Once or twice it may have been held up; then it cannot do more on these cores.
				if short {
					strikes++
				}
				if strikes == 3 {
					break
				}
			}
			switch {
			case high == 0:
				rate *= stepUp
			case low == 0:
				rate /= stepUp
			default:
				rate = (low + high) / 2
				halved++
			}
		}
		if best == nil {
			return nil, fmt.Errorf("it loses datagrams at %.0f frames/s already", high)
		}
		buffers, err := t.proc.ReceiveBuffers(t.port)
		if err != nil {
			return nil, err
		}
		for _, size := range buffers {
			best[mReceiveBuffer] += float64(size) / (1 << 20)
		}
		best[mSockets] = float64(len(buffers))
		b.udpStart[peer] = low / stepUp // where the next round begins
		return best, nil
	}}
}

// errLate: records came that belong to frames of an earlier step.
var errLate = errors.New("records came after they had been counted as lost")

// stepTwice is one rate. On a machine with other things to do a pause may cost
// datagrams at any rate, so a rate at which some were lost has a second try.
func (t *trial) stepTwice(s *sender, rate float64, d time.Duration) (report.Metrics, error) {
	var best report.Metrics
	var err error
	for tries := 0; tries < 2 && (best == nil || best[mLost] > 0); tries++ {
		var m report.Metrics
		m, err = t.step(s, rate, d)
		if errors.Is(err, errLate) {
			m, err = t.step(s, rate, d)
		}
		if err != nil {
			return nil, err
		}
		if best == nil || m[mLost] < best[mLost] {
			best = m
		}
	}
	return best, nil
}

// step sends at a rate and counts what never arrives.
func (t *trial) step(s *sender, rate float64, d time.Duration) (report.Metrics, error) {
	before, err := t.proc.CPU()
	if err != nil {
		return nil, err
	}
	earlier := t.arrived()
	sent, took, err := s.send(rate, d)
	if err != nil {
		return nil, t.proc.Failed(err)
	}
	const quiet = time.Second // then nothing is on its way any more
	last, since := t.arrived(), time.Now()
	for last-earlier < sent && time.Since(since) < quiet {
		time.Sleep(time.Millisecond)
		if now := t.arrived(); now != last {
			last, since = now, time.Now()
		}
	}
	after, err := t.proc.CPU()
	if err != nil {
		return nil, err
	}
	got := last - earlier
	if got > sent {
		return nil, t.proc.Failed(fmt.Errorf("the broker has %d records of %d frames: %w", got, sent, errLate))
	}
	used := after - before
	return report.Metrics{
		mFrames:       float64(sent),
		mSeconds:      took.Seconds(),
		mFramesPerSec: float64(sent) / took.Seconds(),
		mLost:         float64(sent - got),
		mLostShare:    float64(sent-got) / float64(sent),
		mCPU:          used.Seconds(),
		mCPUPerM:      used.Seconds() / float64(got) * 1e6,
	}, nil
}
