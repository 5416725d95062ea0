package ingester

import (
	"net/netip"
	"sync"

	"millrace/ingester/peers"
	"millrace/internal/config"
)

// rejectLimit bounds what a listener stores of rejects, so that a flood of garbage
// cannot fill a disk: in rows and in bytes, of each peer and interval, and of all peers
// together, because the address of a datagram can be forged. One peer's flood leaves
// the others their room.
type rejectLimit struct {
	mu     sync.Mutex
	limit  config.RejectLimit
	ends   int64 // of the interval, Unix milliseconds
	all    stored
	byPeer map[netip.Addr]stored
}

// stored is what has been let through in this interval.
type stored struct{ rows, bytes int }

func newRejectLimit(limit config.RejectLimit) *rejectLimit {
	return &rejectLimit{limit: limit, byPeer: map[netip.Addr]stored{}}
}

// set changes the limit. What has been stored in this interval counts on.
func (l *rejectLimit) set(limit config.RejectLimit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = limit
}

func (l *rejectLimit) get() config.RejectLimit {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limit
}

// admit tells whether a reject of so many bytes may be stored.
func (l *rejectLimit) admit(peer netip.Addr, bytes int, now int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now >= l.ends {
		l.ends, l.all = now+l.limit.Interval.Milliseconds(), stored{}
		clear(l.byPeer)
	}
	of, known := l.byPeer[peer]
	if !known && len(l.byPeer) >= peers.Max {
		peer = netip.Addr{} // made-up addresses share one allowance, and take no more memory
		of = l.byPeer[peer]
	}
	if !l.fits(of, bytes, 1) || !l.fits(l.all, bytes, l.limit.Peers) {
		return false
	}
	l.all.rows, l.all.bytes = l.all.rows+1, l.all.bytes+bytes
	l.byPeer[peer] = stored{of.rows + 1, of.bytes + bytes}
	return true
}

func (l *rejectLimit) fits(s stored, bytes, times int) bool {
	rows, most := l.limit.Rows, int(l.limit.Bytes)
	return (rows == 0 || s.rows < rows*times) && (most == 0 || s.bytes+bytes <= most*times)
}
