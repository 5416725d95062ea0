package transformer

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// health is whether something outside works; every change is one line in the log.
type health struct {
	mutex sync.Mutex
	log   *slog.Logger
	name  string
	err   error
	since time.Time
	said  bool // the log has the failure that lasts
}

// patience is how long something may be on its way at the start before its
// failure is worth a line.
const patience = 3 * time.Second

// init begins with err, which is not logged: nothing has been tried yet.
func (h *health) init(log *slog.Logger, name string, err error) {
	h.log, h.name, h.err, h.since = log, name, err, time.Now()
}

func (h *health) get() error {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return h.err
}

// set notes the outcome of an attempt. Failing differently is no change.
func (h *health) set(err error) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	switch {
	case err != nil && h.err == nil:
		h.since, h.said = time.Now(), true
		h.log.Warn(h.name+" does not work; trying on", "error", err)
	case err != nil && !h.said && time.Since(h.since) >= patience:
		h.said = true
		h.log.Warn(h.name+" does not work; trying on", "error", err)
	case err == nil && h.err != nil:
		h.log.Info(h.name+" works", "after", time.Since(h.since).Round(time.Millisecond))
	}
	h.err = err
}

// backoff is how long to wait after the nth failure in a row, from 0: about
// 100 ms to 5 s, with jitter.
func backoff(n int) time.Duration {
	d := min(100*time.Millisecond<<min(n, 6), 5*time.Second)
	return d/2 + rand.N(d/2)
}

// sleep returns false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
