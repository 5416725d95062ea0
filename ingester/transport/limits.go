package transport

import (
	"errors"
	"sync/atomic"
	"time"

	"millrace/ingester/framing"
)

// What a listener ends connections for.
var (
	errIdle    = errors.New("nothing has come for listeners[].idle_timeout")
	errSlow    = errors.New("a frame has not ended within listeners[].frame_timeout")
	errCrowded = errors.New("unfinished frames fill listeners[].open_frames, and its own is the oldest")
)

// limits is what a conn knows about how long it has waited for what. Its read deadline is
// set late and seldom: one that passes too early costs a look, and one that is set anew for
// every read costs more.
type limits struct {
	due     time.Time    // the read deadline that is set; zero: none
	last    time.Time    // when bytes came
	began   atomic.Int64 // when the frame began that is open, Unix nanoseconds; 0: none is
	moved   bool         // a frame has ended since
	holding int64        // its part of tcpListener.held
	crowded atomic.Bool  // relieve has chosen it
}

// arm notes what is open after a read and sets the deadline.
func (c *conn) arm() {
	open := len(c.data) > 0
	if !open && c.l.o.IdleTimeout == 0 && !c.proto.EndsOnIdle(0) {
		c.began.Store(0)
		return // a deadline that is set passes in vain
	}
	c.last = time.Now()
	switch {
	case !open:
		c.began.Store(0)
	case c.moved || c.began.Load() == 0:
		c.began.Store(c.last.UnixNano())
	}
	c.moved = false
	if due := c.wanted(); !due.IsZero() && (c.due.IsZero() || due.Before(c.due)) {
		c.due = due
		c.nc.SetReadDeadline(due)
	}
}

// wanted is when the first limit is reached if nothing comes; zero: never.
func (c *conn) wanted() (due time.Time) {
	first := func(t time.Time, d time.Duration) {
		if t = t.Add(d); due.IsZero() || t.Before(due) {
			due = t
		}
	}
	if c.proto.EndsOnIdle(len(c.data)) {
		first(c.last, c.l.o.FrameIdle)
	}
	if b := c.began.Load(); b != 0 && c.l.o.FrameTimeout > 0 {
		first(time.Unix(0, b), c.l.o.FrameTimeout)
	}
	if c.l.o.IdleTimeout > 0 {
		first(c.last, c.l.o.IdleTimeout)
	}
	return due
}

// overdue is called when the deadline has passed and nothing has come. It says what that
// ends: the frame (Idle), the connection (EOF), or nothing.
func (c *conn) overdue() (framing.End, error) {
	now, o := time.Now(), &c.l.o
	past := func(t time.Time, limit time.Duration) bool { return limit > 0 && now.Sub(t) >= limit }
	switch b := c.began.Load(); {
	case b != 0 && past(time.Unix(0, b), o.FrameTimeout):
		c.l.stats.Slow.Add(1)
		const what = "closed a connection: a frame has not ended within listeners[].frame_timeout"
		if n := c.l.notices.due(what); n > 0 {
			o.Logger.Warn(what, "count", n, "peer", c.peer, "frame_timeout", o.FrameTimeout)
		}
		return framing.EOF, errSlow
	case past(c.last, o.IdleTimeout) && c.proto.Owes():
		c.last = now
	case past(c.last, o.IdleTimeout):
		c.l.stats.Idle.Add(1)
		return framing.EOF, errIdle
	case c.proto.EndsOnIdle(len(c.data)) && past(c.last, o.FrameIdle):
		return framing.Idle, nil
	}
	return framing.More, nil
}

// rearm replaces a deadline that has passed.
func (c *conn) rearm() {
	c.due = c.wanted()
	c.nc.SetReadDeadline(c.due)
}

// count keeps tcpListener.held right when the connection begins to wait: what it holds
// because of a frame that is open.
func (c *conn) count() {
	var size int64
	if len(c.data) > 0 {
		size = int64(cap(c.held))
		if c.slab != nil {
			size += int64(len(c.slab.b))
		}
	}
	more := size - c.holding
	if more == 0 {
		return
	}
	c.holding = size
	if c.l.held.Add(more) > int64(c.l.o.OpenFrames) && more > 0 {
		c.l.relieve()
	}
}

// relieve ends the connection whose frame has been open for the longest time: of many that
// were begun and left, one goes for each that comes, and a sender that is merely cut short
// between two packets stays.
func (l *tcpListener) relieve() {
	l.mu.Lock()
	defer l.mu.Unlock()
	var oldest *conn
	var since int64
	for c := range l.conns {
		if b := c.began.Load(); b != 0 && !c.crowded.Load() && (oldest == nil || b < since) {
			oldest, since = c, b
		}
	}
	if oldest == nil {
		return
	}
	l.stats.Crowded.Add(1)
	oldest.crowded.Store(true)
	oldest.nc.SetReadDeadline(time.Unix(1, 0))
	const what = "closed a connection: unfinished frames fill listeners[].open_frames, and its own was the oldest"
	if n := l.notices.due(what); n > 0 {
		l.o.Logger.Warn(what, "count", n, "peer", oldest.peer, "open_frames", l.o.OpenFrames)
	}
}
