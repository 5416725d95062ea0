package transport

import (
	"net/netip"
)

// allowList answers whether a sender may write here.
type allowList struct {
	all      bool
	prefixes []netip.Prefix
	proxies  []netip.Prefix // who says on whose behalf it connects
}

// loopback is who may write where nobody is named. Validate lets no listener beyond it be
// so, but a Reload has no address, and must not open one.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func newAllowList(o Options) *allowList {
	a := &allowList{all: o.AllowAny || o.Network == unixgram}
	a.prefixes, a.proxies = plainPrefixes(o.Allow), plainPrefixes(o.ProxyFrom)
	if len(o.Allow) == 0 {
		a.prefixes = loopback
	}
	return a
}

func plainPrefixes(list []netip.Prefix) (plain []netip.Prefix) {
	for _, p := range list {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		plain = append(plain, p)
	}
	return plain
}

// permits wants an address without zone that is not an IPv4 address in IPv6 form.
func (a *allowList) permits(addr netip.Addr) bool {
	return a.all || contains(a.prefixes, addr)
}

// isProxy wants what permits wants.
func (a *allowList) isProxy(addr netip.Addr) bool { return contains(a.proxies, addr) }

func contains(list []netip.Prefix, addr netip.Addr) bool {
	for _, p := range list {
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
