package transport

import (
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// noticeInterval is the least time between two lines about the same thing.
const noticeInterval = 30 * time.Second

// notices are the lines that a stranger could cause by the thousand: about each thing
// one at once, and then one in an interval at most, with the number since the last.
type notices struct {
	mu    sync.Mutex
	about map[string]*notice
}

type notice struct {
	held uint64 // since the last line
	next time.Time
}

// due counts what has happened. It returns how often that was since the last line, when
// the time for one has come, and 0 before.
func (n *notices) due(what string) (count uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	of := n.about[what]
	if of == nil {
		if n.about == nil {
			n.about = map[string]*notice{}
		}
		of = new(notice)
		n.about[what] = of
	}
	of.held++
	now := time.Now()
	if now.Before(of.next) {
		return 0
	}
	count, of.held, of.next = of.held, 0, now.Add(noticeInterval)
	return count
}

// watch says what was held back once its interval is over, whether or not more happens,
// until the function that it returns is called, which says the rest.
func (n *notices) watch(log *slog.Logger) (end func()) {
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(noticeInterval / 10)
		defer tick.Stop()
		for {
			select {
			case now := <-tick.C:
				n.overdue(log, now)
			case <-ended:
				return
			}
		}
	}()
	return func() {
		close(ended)
		<-done
		n.overdue(log, time.Time{})
	}
}

// overdue says what is to be said at a time, or all with the zero time.
func (n *notices) overdue(log *slog.Logger, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(n.about)) {
		of := n.about[what]
		if of.held == 0 || !now.IsZero() && now.Before(of.next) {
			continue
		}
		log.Warn(what, "count", of.held)
		of.held, of.next = 0, now.Add(noticeInterval)
	}
}

// stranger is one of those that were refused since somebody asked.
type stranger struct {
	known atomic.Bool // all others stop here
	mu    sync.Mutex
	peer  netip.Addr
}

func (s *stranger) see(peer netip.Addr) {
	if s.known.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peer = peer
	s.known.Store(true)
}

// Refuse counts one that may not send.
func (s *Stats) Refuse(peer netip.Addr) {
	s.NotAllowed.Add(1)
	s.stranger.see(peer)
}

// Stranger is one of those refused since the last call, or the zero address.
func (s *Stats) Stranger() netip.Addr {
	s.stranger.mu.Lock()
	defer s.stranger.mu.Unlock()
	defer s.stranger.known.Store(false)
	peer := s.stranger.peer
	s.stranger.peer = netip.Addr{}
	return peer
}
