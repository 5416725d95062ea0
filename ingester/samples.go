package ingester

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"millrace/schema"
)

// sampleMax is how much of a frame the log shows.
const sampleMax = 200

// samples are the first frame of each reason since the last line of the log about it.
type samples struct{ rejects, drops []sample }

type sample struct {
	taken atomic.Bool // all further frames stop here
	mu    sync.Mutex
	peer  netip.Addr
	size  int
	kept  int
	text  [sampleMax]byte
}

func newSamples() *samples {
	return &samples{make([]sample, len(rejectReasons)), make([]sample, len(dropReasons))}
}

func (s *samples) dropped(r schema.Reason) *sample { return &s.drops[indexOf(dropReasons, r)] }

// take keeps the frame if it is the first.
func (s *sample) take(peer netip.Addr, frame []byte, size int) {
	if s.taken.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.taken.Load() {
		s.peer, s.size, s.kept = peer, max(size, len(frame)), copy(s.text[:], frame)
		s.taken.Store(true)
	}
}

// attrs are the sample's part of a log line; the next frame is the next sample.
func (s *sample) attrs() []any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.taken.Load() {
		return nil
	}
	s.taken.Store(false)
	return []any{"peer", s.peer, "frame_bytes", s.size, "sample", string(s.text[:s.kept])}
}
