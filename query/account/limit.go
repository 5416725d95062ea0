package account

import (
	"container/list"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// LimitedError is that there were too many failures.
type LimitedError struct{ Retry time.Duration }

func (e *LimitedError) Error() string {
	return fmt.Sprintf("too many failed logins; try again in %v", e.Retry.Round(time.Second))
}

// allowance is how many failures there may be: burst at once, and one more each interval.
type allowance struct {
	burst    float64
	interval time.Duration
}

// limiter counts failures of names or of addresses. Of more than size it forgets the one
// that was asked about longest ago.
type limiter struct {
	allow allowance
	size  int

	mutex sync.Mutex
	all   map[string]*list.Element
	order *list.List // of *failures, the latest in front
}

type failures struct {
	key  string
	left float64
	at   time.Time
}

func newLimiter(a allowance, size int) *limiter {
	return &limiter{allow: a, size: size, all: map[string]*list.Element{}, order: list.New()}
}

// take counts an attempt as a failure, before it is known what it is: attempts at the same
// time must not all be let in. It returns how long the key has to wait; 0: it may try.
func (l *limiter) take(key string, now time.Time) time.Duration {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	e := l.all[key]
	if e == nil {
		if len(l.all) >= l.size {
			oldest := l.order.Back()
			delete(l.all, oldest.Value.(*failures).key)
			l.order.Remove(oldest)
		}
		e = l.order.PushFront(&failures{key: key, left: l.allow.burst, at: now})
		l.all[key] = e
	}
	l.order.MoveToFront(e)
	f := e.Value.(*failures)
	if d := now.Sub(f.at); d > 0 {
		f.left = min(f.left+float64(d)/float64(l.allow.interval), l.allow.burst)
		f.at = now
	}
	if f.left < 1 {
		return time.Duration((1 - f.left) * float64(l.allow.interval))
	}
	f.left--
	return 0
}

// give takes an attempt back that was no failure.
func (l *limiter) give(key string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if e := l.all[key]; e != nil {
		f := e.Value.(*failures)
		f.left = min(f.left+1, l.allow.burst)
	}
}

// succeed forgets the failures of the key.
func (l *limiter) succeed(key string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if e := l.all[key]; e != nil {
		delete(l.all, key)
		l.order.Remove(e)
	}
}

// network is what failures from an address are counted for: one host has a whole /64.
func network(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a.String()
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a.String()
	}
	return p.String()
}
