package transport

import (
	"sync"
	"sync/atomic"
)

// stopper tells readers to stop, whether they wait in a read or are busy. A reader sets
// its deadline first and looks at stopping then; stopOnce sets stopping first and the
// deadlines then: so none sleeps on. Who has seen stopping waits for woken before it
// sets a deadline again, or that one could be overwritten and its last read be lost.
type stopper struct {
	stopping atomic.Bool
	once     *sync.Once
	woken    chan struct{}
}

func newStopper() stopper { return stopper{once: new(sync.Once), woken: make(chan struct{})} }

// stopOnce calls wake, which has to end the waits of all readers, once.
func (s *stopper) stopOnce(wake func()) {
	s.once.Do(func() {
		s.stopping.Store(true)
		wake()
		close(s.woken)
	})
}
