package quarantine

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// link is the TCP connection, below TLS. It gives up a server that is silent while an
// answer is due. go-imap sets read deadlines of its own, which also run while nobody asks.
type link struct {
	net.Conn
	patience time.Duration
	late     atomic.Bool // it was given up

	mu    sync.Mutex
	timer *time.Timer // runs while an answer is due, else nil
}

func (l *link) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if n > 0 {
		l.mu.Lock()
		if l.timer != nil {
			l.timer.Reset(l.patience)
		}
		l.mu.Unlock()
	}
	return n, err
}

// SetReadDeadline does nothing: see link.
func (l *link) SetReadDeadline(time.Time) error { return nil }

// expect says that an answer is due from now on.
func (l *link) expect() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = time.AfterFunc(l.patience, func() {
		l.late.Store(true)
		l.Close()
	})
}

// rest says that none is.
func (l *link) rest() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer.Stop()
	l.timer = nil
}
