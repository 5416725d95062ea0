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
	lagUnknown                                       bool
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

// show writes the line once. On a terminal it is cut to fit: a line that wraps
// could not be overwritten by the next one.
func (s *statusLine) show() { s.write(width(s.out)) }

func (s *statusLine) write(columns int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, now := s.read(), time.Now()
	rate := float64(max(c.received, s.before.received)-s.before.received) / max(now.Sub(s.at), time.Millisecond).Seconds()
	s.before, s.at = c, now
	english := message.NewPrinter(language.English) // 1,234,567
	line := english.Sprintf("received %d  published %d  inserted %d  rejected %d", c.received, c.published, c.inserted, c.rejected)
	if !c.lagUnknown {
		line += english.Sprintf("  lag %d", max(c.lag, 0))
	}
	line += english.Sprintf("  rate %d/s", uint64(rate))
	if c.dropped > 0 {
		line += english.Sprintf("  dropped %d", c.dropped)
	}
	if s.terminal {
		fmt.Fprint(s.out, "\r\x1b[K"+cut(line, columns))
	} else {
		fmt.Fprintln(s.out, line)
	}
}

// width is the number of columns of a terminal, 0 when it does not tell.
func width(out io.Writer) int {
	f, ok := out.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// cut makes an ASCII line fit into columns, the last of which stays free;
// 0 columns is no limit.
func cut(line string, columns int) string {
	if columns < 1 || len(line) < columns {
		return line
	}
	return line[:columns-1]
}

// end shows the last counts, whole, and leaves the line.
func (s *statusLine) end() {
	s.write(0)
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
