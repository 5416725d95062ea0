package transport

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// allowList answers whether a sender may write here.
type allowList struct {
	all      bool
	prefixes []netip.Prefix
}

func newAllowList(o Options) *allowList {
	a := &allowList{all: o.AllowAny || len(o.Allow) == 0 || o.Network == unixgram}
	for _, p := range o.Allow {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		a.prefixes = append(a.prefixes, p)
	}
	return a
}

// permits wants an address without zone that is not an IPv4 address in IPv6 form.
func (a *allowList) permits(addr netip.Addr) bool {
	if a.all {
		return true
	}
	for _, p := range a.prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// plainPeer drops zone and IPv6 form: neither is part of who sent.
func plainPeer(p netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(p.Addr().Unmap().WithZone(""), p.Port())
}

// pace lets one event in ten seconds through, for lines that a stranger could cause by
// the thousand.
type pace struct{ next atomic.Int64 }

func (p *pace) now() bool {
	now := time.Now().UnixNano()
	next := p.next.Load()
	return now >= next && p.next.CompareAndSwap(next, now+int64(10*time.Second))
}
