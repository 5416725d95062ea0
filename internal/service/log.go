package service

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// NewLogger writes lines of the given format ("text" or "json") to w.
func NewLogger(w io.Writer, level slog.Leveler, format string) (*slog.Logger, error) {
	o := &slog.HandlerOptions{Level: level}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, fmt.Errorf("cannot log in format %q: allowed text, json", format)
}

func orDiscard(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}

// maxThrottled bounds a Throttle's memory when keys come from outside.
const maxThrottled = 1024

// Throttle logs one line for each key and interval, and with the next one says
// how many it kept to itself. It is for what a sender or a broken network can
// cause thousands of times a second.
type Throttle struct {
	log      *slog.Logger
	interval time.Duration
	now      func() time.Time

	mu   sync.Mutex
	keys map[string]*throttled
}

type throttled struct {
	next       time.Time
	suppressed uint64
}

// NewThrottle logs to log, nil to nowhere.
func NewThrottle(log *slog.Logger, interval time.Duration) *Throttle {
	return &Throttle{log: orDiscard(log), interval: interval, now: time.Now, keys: map[string]*throttled{}}
}

// Log writes a line unless one with that key was written less than an interval
// ago. It reports whether it did.
func (t *Throttle) Log(level slog.Level, key, message string, attrs ...slog.Attr) bool {
	if !t.log.Enabled(context.Background(), level) {
		return false
	}
	suppressed, ok := t.admit(key)
	if !ok {
		return false
	}
	if suppressed > 0 {
		attrs = append(attrs[:len(attrs):len(attrs)], slog.Uint64("suppressed", suppressed))
	}
	t.log.LogAttrs(context.Background(), level, message, attrs...)
	return true
}

func (t *Throttle) admit(key string) (suppressed uint64, ok bool) {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.keys[key]
	if k == nil {
		if len(t.keys) >= maxThrottled {
			t.forget(now)
		}
		if len(t.keys) >= maxThrottled {
			key = "" // all further keys share one line
			k = t.keys[key]
		}
		if k == nil {
			k = &throttled{}
			t.keys[key] = k
		}
	}
	if now.Before(k.next) {
		k.suppressed++
		return 0, false
	}
	suppressed, k.suppressed = k.suppressed, 0
	k.next = now.Add(t.interval)
	return suppressed, true
}

// forget drops the keys that have nothing to say any more.
func (t *Throttle) forget(now time.Time) {
	for key, k := range t.keys {
		if k.suppressed == 0 && !now.Before(k.next) {
			delete(t.keys, key)
		}
	}
}
