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
	rows, bytes int64 // of a peer and interval; 0: no limit
	peers       int64 // so many peers' worth are the listener's limit
	interval    int64 // milliseconds

	mu     sync.Mutex
	ends   int64 // of the interval, Unix milliseconds
	all    stored
	byPeer map[netip.Addr]stored
}

// stored is what has been let through in this interval.
type stored struct{ rows, bytes int64 }

func newRejectLimit(c config.RejectLimit) *rejectLimit {
	return &rejectLimit{
		rows: int64(c.Rows), bytes: int64(c.Bytes), peers: int64(c.Peers), interval: c.Interval.Milliseconds(),
		byPeer: map[netip.Addr]stored{},
	}
}

// admit tells whether a reject of so many bytes may be stored.
func (l *rejectLimit) admit(peer netip.Addr, bytes int, now int64) bool {
	if l.rows == 0 && l.bytes == 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now >= l.ends {
		l.ends, l.all = now+l.interval, stored{}
		clear(l.byPeer)
	}
	of, known := l.byPeer[peer]
	if !known && len(l.byPeer) >= peers.Max {
		peer = netip.Addr{} // made-up addresses share one allowance, and take no more memory
		of = l.byPeer[peer]
	}
	size := int64(bytes)
	if !l.fits(of, size, 1) || !l.fits(l.all, size, l.peers) {
		return false
	}
	l.all.rows, l.all.bytes = l.all.rows+1, l.all.bytes+size
	l.byPeer[peer] = stored{of.rows + 1, of.bytes + size}
	return true
}

func (l *rejectLimit) fits(s stored, size, times int64) bool {
	return (l.rows == 0 || s.rows < l.rows*times) && (l.bytes == 0 || s.bytes+size <= l.bytes*times)
}
