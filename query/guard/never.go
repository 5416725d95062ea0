package guard

import (
	"net/netip"
	"slices"
	"strings"

	"millrace/internal/mailname"
)

// never is what is never locked or blocked.
type never struct {
	networks []netip.Prefix
	names    []string // addresses, domains, identities, users, in the form in which they are compared
}

func newNever(list []string) (n never) {
	for _, s := range list {
		s = strings.TrimSpace(s)
		if p, err := netip.ParsePrefix(s); err == nil {
			n.networks = append(n.networks, p.Masked())
			continue
		}
		if a, err := netip.ParseAddr(s); err == nil {
			a = a.Unmap()
			n.networks = append(n.networks, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		n.names = append(n.names, mailname.Identity(s))
		if d, err := mailname.Domain(s); err == nil && !slices.Contains(n.names, d) {
			n.names = append(n.names, d)
		}
	}
	return n
}

// texts are the networks for ClickHouse.
func (n never) texts() []string {
	var all []string
	for _, p := range n.networks {
		all = append(all, p.String())
	}
	return all
}

// has tells whether one of the names is on the list: itself, its domain, or the network that
// it is an address of.
func (n never) has(names ...string) bool {
	for _, s := range names {
		if s == "" {
			continue
		}
		name := mailname.Identity(s)
		if slices.Contains(n.names, name) {
			return true
		}
		if at := strings.LastIndexByte(name, '@'); at >= 0 && slices.Contains(n.names, name[at+1:]) {
			return true
		}
		if a, err := netip.ParseAddr(name); err == nil && slices.ContainsFunc(n.networks, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) }) {
			return true
		}
	}
	return false
}
