package stack

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// counts are what the live line shows.
type counts struct {
	received, published, inserted, rejected, dropped uint64
	lag                                              int64
}

// statusLine shows the counts: on a terminal one line that changes in place,
// elsewhere a line now and then.
type statusLine struct {
	out      io.Writer
	terminal bool
	read     func() counts

	mu     sync.Mutex
	before counts
	at     time.Time
}

const (
	liveInterval  = 500 * time.Millisecond
	plainInterval = 5 * time.Second
)

func newStatusLine(out io.Writer, read func() counts) *statusLine {
	f, ok := out.(*os.File)
	return &statusLine{out: out, terminal: ok && term.IsTerminal(int(f.Fd())), read: read, at: time.Now()}
}

func (s *statusLine) run(ctx context.Context) {
	interval := plainInterval
	if s.terminal {
		interval = liveInterval
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.show()
		}
	}
}

// show writes the line once.
func (s *statusLine) show() {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, now := s.read(), time.Now()
	rate := float64(max(c.received, s.before.received)-s.before.received) / max(now.Sub(s.at), time.Millisecond).Seconds()
	s.before, s.at = c, now
	english := message.NewPrinter(language.English) // 1,234,567
	line := english.Sprintf("received %d  published %d  inserted %d  rejected %d  lag %d  rate %d/s",
		c.received, c.published, c.inserted, c.rejected, max(c.lag, 0), uint64(rate))
	if c.dropped > 0 {
		line += english.Sprintf("  dropped %d", c.dropped)
	}
	if s.terminal {
		fmt.Fprint(s.out, "\r\x1b[K"+line)
	} else {
		fmt.Fprintln(s.out, line)
	}
}

// end shows the last counts and leaves the line.
func (s *statusLine) end() {
	s.show()
	if s.terminal {
		fmt.Fprintln(s.out)
	}
}

// interrupt lets something else be written where the line stands.
func (s *statusLine) interrupt(write func(io.Writer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.terminal {
		fmt.Fprint(s.out, "\r\x1b[K")
	}
	write(s.out)
}

// Write makes the line a place to log to: log lines stand above it.
func (s *statusLine) Write(b []byte) (n int, err error) {
	s.interrupt(func(io.Writer) { n, err = os.Stderr.Write(b) })
	return n, err
}
