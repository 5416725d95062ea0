package quota

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"millrace/benchmarks/process"
)

// look is how often a process's clock is read: a tenth of the share of one that has a
// fifth of a core.
const look = 2 * time.Millisecond

// Signals is the way that needs no permission but that of sending signals.
func Signals() *Limiter {
	return &Limiter{How: "SIGSTOP and SIGCONT", open: func(pid int, cores float64) (Held, error) {
		began, err := process.ID(pid).CPU()
		if err != nil {
			return nil, err
		}
		s := &signals{pid: pid, cores: cores, used: began, end: make(chan struct{})}
		s.running.Go(s.run)
		return s, nil
	}}
}

// signals stops and continues a process.
type signals struct {
	pid     int
	cores   float64
	used    time.Duration // before it was held
	end     chan struct{}
	ended   sync.Once
	running sync.WaitGroup
}

func (s *signals) run() {
	began, stopped := time.Now(), false
	t := time.NewTicker(look)
	defer t.Stop()
	for {
		select {
		case <-s.end:
			return
		case <-t.C:
		}
		now, err := process.ID(s.pid).CPU()
		if err != nil {
			return // it has ended
		}
		used, since := now-s.used, time.Since(began)
		may := time.Duration(s.cores * float64(since))
		switch {
		case !stopped && used > may:
			stopped = syscall.Kill(s.pid, syscall.SIGSTOP) == nil
		case stopped && used <= may:
			stopped = syscall.Kill(s.pid, syscall.SIGCONT) != nil
		}
		// What it did not use it has lost: else it could take a second's worth at once.
		if spare := may - used; spare > time.Duration(s.cores*float64(period)) {
			began, s.used = time.Now(), now
		}
	}
}

func (s *signals) Free() error {
	_ = s.Close()
	if err := syscall.Kill(s.pid, syscall.SIGCONT); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("cannot let process %d go on: %w", s.pid, err)
	}
	return nil
}

func (s *signals) Close() error {
	s.ended.Do(func() { close(s.end) })
	s.running.Wait()
	return nil
}
