package tap

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"millrace/ingester/framing"
	"millrace/ingester/header"
	"millrace/schema"
)

// Most is how many taps may be open at a time.
const Most = 8

// ErrFull refuses one more.
var ErrFull = fmt.Errorf("cannot open another tap: %d are open; end one of them", Most)

// Hub shows the frames of an ingester to its taps. The zero value has none.
type Hub struct {
	taps atomic.Pointer[[]*Tap] // nil while nobody looks

	mu     sync.Mutex // of opening and closing
	closed bool
}

// Watched tells whether anybody looks: an atomic load, where it is called.
func (h *Hub) Watched() bool { return h.taps.Load() != nil }

// Show offers a frame and what became of it to all taps: an event or reject on its
// way to Kafka, or dropped for the reason drop. Everything is borrowed.
func (h *Hub) Show(e *schema.Event, hd *header.Header, f *framing.Frame, peer netip.AddrPort, drop schema.Reason) {
	if taps := h.taps.Load(); taps != nil {
		show(*taps, e, hd, f, peer, drop)
	}
}

func show(taps []*Tap, e *schema.Event, h *header.Header, f *framing.Frame, peer netip.AddrPort, drop schema.Reason) {
	for _, t := range taps {
		if t.request.match(e, f, peer) {
			t.put(e, h, f, peer, drop)
		} else {
			t.unmatched.Add(1)
		}
	}
}

// Options of a tap.
type Options struct {
	Request
	Events bool // with the event, not the frame alone
	Buffer int  // bytes that wait for the reader; as many are in its hands
}

// Open begins to show frames to a new tap, until its Close.
func (h *Hub) Open(o Options) (*Tap, error) {
	t := &Tap{request: o.Request, events: o.Events, limit: o.Buffer, filled: make(chan struct{}, 1), tokens: burst(o.Rate)}
	t.buffer, t.spare = make([]byte, 0, o.Buffer), make([]byte, 0, o.Buffer)
	h.mu.Lock()
	defer h.mu.Unlock()
	var open []*Tap
	if taps := h.taps.Load(); taps != nil {
		open = slices.Clone(*taps)
	}
	switch {
	case h.closed:
		return nil, errors.New("cannot open a tap: " + endStopped)
	case len(open) >= Most:
		return nil, ErrFull
	}
	t.hub = h
	open = append(open, t)
	h.taps.Store(&open)
	return t, nil
}

// Close ends all taps.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	taps := h.taps.Swap(nil)
	h.mu.Unlock()
	if taps != nil {
		for _, t := range *taps {
			t.finish(endStopped)
		}
	}
}

func (h *Hub) remove(t *Tap) {
	h.mu.Lock()
	defer h.mu.Unlock()
	taps := h.taps.Load()
	if taps == nil {
		return
	}
	left := slices.DeleteFunc(slices.Clone(*taps), func(other *Tap) bool { return other == t })
	if len(left) == 0 {
		h.taps.Store(nil)
		return
	}
	h.taps.Store(&left)
}

// Why a tap ended.
const (
	endStopped = "the ingester has stopped"
	endCount   = "count"
	endFor     = "for"
	endBytes   = "max_bytes"
)

// Tap is one reader's view. Its lock is held for a copy of a frame at most, never
// while anything is written to the reader.
type Tap struct {
	hub       *Hub
	request   Request
	events    bool
	limit     int
	unmatched atomic.Uint64
	filled    chan struct{}

	mu     sync.Mutex
	buffer []byte // items, whole
	spare  []byte // the reader's, given back by Next
	tokens float64
	last   int64 // when tokens were added, Unix milliseconds
	bytes  uint64
	counts Counts
	end    string
}

// burst is how much may come at once: a second's worth.
func burst(rate float64) float64 { return max(rate, 1) }

func (t *Tap) put(e *schema.Event, h *header.Header, f *framing.Frame, peer netip.AddrPort, drop schema.Reason) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.end != "" {
		return
	}
	if r := t.request.Rate; r > 0 {
		if now := e.Millis(schema.ReceivedAt); now > t.last {
			if t.last > 0 {
				t.tokens = min(burst(r), t.tokens+float64(now-t.last)*r/1000)
			}
			t.last = now
		}
		if t.tokens < 1 {
			t.counts.OverRate++
			return
		}
	}
	need := len(f.Bytes) + 128
	if t.events {
		need += len(f.Bytes) + 256
	}
	if len(t.buffer) > 0 && len(t.buffer)+need > t.limit {
		t.counts.Missed++
		return
	}
	if t.request.MaxBytes > 0 && f.Size <= len(f.Bytes) {
		size := uint64(octetCounted(len(f.Bytes)))
		if t.bytes+size > t.request.MaxBytes {
			t.ends(endBytes)
			return
		}
		t.bytes += size
	}
	t.tokens--
	t.buffer = appendFrame(t.buffer, e, h, f, peer, drop, t.events)
	t.counts.Shown++
	if t.counts.Shown == t.request.Count {
		t.ends(endCount)
		return
	}
	t.wake()
}

// octetCounted is the length of "LEN SP FRAME".
func octetCounted(n int) int { return len(strconv.Itoa(n)) + 1 + n }

func (t *Tap) wake() {
	select {
	case t.filled <- struct{}{}:
	default:
	}
}

// ends is finish under the lock.
func (t *Tap) ends(why string) {
	if t.end == "" {
		t.end = why
		t.counts.Unmatched = t.unmatched.Load()
	}
	t.wake()
}

func (t *Tap) finish(why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ends(why)
}

// Next waits until there are items, the tap has ended, ctx ends or the wait is over,
// and returns the items so far with the counts up to them. The items are good until the
// next call. With an end there is nothing behind them.
func (t *Tap) Next(ctx context.Context, wait time.Duration) (items []byte, c Counts, end string) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-t.filled:
	case <-ctx.Done():
	case <-timer.C:
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	items = t.buffer
	t.buffer, t.spare = t.spare[:0], items
	c = t.counts
	if t.end == "" {
		c.Unmatched = t.unmatched.Load()
	}
	return items, c, t.end
}

// now is the counts at this moment.
func (t *Tap) now() Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts
}

// Close ends the tap.
func (t *Tap) Close() {
	t.hub.remove(t)
	t.finish("closed")
}
