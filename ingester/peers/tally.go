package peers

import (
	"bytes"
	"hash/maphash"
	"math/bits"
	"net/netip"
)

const (
	// slots is how many senders of a kind a tally holds at most: a relay or a UDP socket
	// mixes many.
	slots = 32
	// probes is how many slots are looked at for a sender before another is committed to
	// make room.
	probes = 4
)

// slot is what has been counted for one sender.
type slot struct {
	key []byte
	Counts
	aside bool  // counts only if the table has this sender
	clock int64 // its own time of the last frame that had one, Unix milliseconds
	named bool

	// Of a peer.
	host     []byte
	several  bool
	nameless uint64 // rejects whose header names no host
}

func (s *slot) begin(key []byte) {
	*s = slot{key: append(s.key[:0], key...), host: s.host[:0]}
}

// group holds a read's senders of one kind.
type group struct {
	table *Table
	slots [slots]slot
	used  uint32 // bit i: slots[i]
}

// Tally collects the counts of one read. It belongs to one goroutine. Its zero value is
// ready for Begin.
type Tally struct {
	now          int64
	peers, hosts group
	atPeer       *slot
	atHost       *slot
	told         bool // atPeer knows of atHost
	addr         netip.Addr
}

var seed = maphash.MakeSeed()

// Begin starts a read: the tables that it counts for, and when, in Unix milliseconds.
func (t *Tally) Begin(peers, hosts *Table, now int64) {
	t.peers.table, t.hosts.table, t.now = peers, hosts, now
}

// Frame counts a frame of a peer. What the other methods count is of this frame.
func (t *Tally) Frame(peer netip.Addr, size int) {
	if t.atPeer == nil || t.addr != peer {
		key := peer.As16()
		t.atPeer, t.addr, t.told = t.find(&t.peers, key[:]), peer, false
	}
	t.atPeer.Frames++
	t.atPeer.Bytes += uint64(size)
}

// Drop says that nothing of the frame is kept.
func (t *Tally) Drop() { t.atPeer.Dropped++ }

// Reject says that the frame could not be decoded. named is the host in its syslog
// header, if it has one.
func (t *Tally) Reject(named []byte) {
	t.atPeer.Rejects++
	if len(named) == 0 {
		t.atPeer.nameless++
		return
	}
	s := t.find(&t.hosts, named)
	s.aside = s.Frames == 0
	s.Rejects++
}

// Event says that the frame became an event of a filtering host, of size bytes; named
// is the host in its syslog header. header and own are the header's time and the
// event's, in Unix milliseconds, 0 for none.
func (t *Tally) Event(host, named []byte, size int, header, own int64) {
	if header == 0 {
		header = own
	}
	if header != 0 {
		t.atPeer.clock = header
	}
	if len(host) == 0 {
		return
	}
	host = host[:min(len(host), maxKey)]
	if t.atHost == nil || !bytes.Equal(t.atHost.key, host) {
		t.atHost, t.told = t.find(&t.hosts, host), false
	}
	s := t.atHost
	s.aside = false
	s.Frames++
	s.Bytes += uint64(size)
	if own != 0 {
		s.clock = own
	}
	if !s.named && len(named) != 0 {
		s.named = bytes.Equal(named, host)
	}
	if t.told {
		return
	}
	t.told = true
	if p := t.atPeer; len(p.host) == 0 {
		p.host = append(p.host, host...)
	} else if !p.several {
		p.several = !bytes.Equal(p.host, host)
	}
}

// find is the slot of a sender. Another that stands there is committed.
func (t *Tally) find(g *group, key []byte) *slot {
	key = key[:min(len(key), maxKey)]
	first := maphash.Bytes(seed, key)
	for n := range uint64(probes) {
		i := (first + n) % slots
		s := &g.slots[i]
		if g.used&(1<<i) == 0 {
			g.used |= 1 << i
			s.begin(key)
			return s
		}
		if bytes.Equal(s.key, key) {
			return s
		}
	}
	s := &g.slots[first%slots]
	t.commit(g, s)
	if s == t.atHost {
		t.atHost = nil
	}
	s.begin(key)
	return s
}

func (t *Tally) commit(g *group, s *slot) {
	host := g.table.commit(s, t.now)
	if s.nameless > 0 && host != "" {
		t.hosts.table.blame(host, s.nameless)
	}
}

// End adds the counts to the tables.
func (t *Tally) End() {
	for _, g := range [...]*group{&t.hosts, &t.peers} { // a peer's rejects are told to hosts that are there
		for ; g.used != 0; g.used &= g.used - 1 {
			t.commit(g, &g.slots[bits.TrailingZeros32(g.used)])
		}
	}
	t.atPeer, t.atHost = nil, nil
}
