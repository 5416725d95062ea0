package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

var errAllowMissing = errors.New("beyond loopback a listener says who may send to it: set address and allow in the configuration")

// SetListener puts the address of a flag in place of that of the first listener
// of a network ("tcp", "udp"); "off" removes all listeners of the network. A
// configuration without such a listener gets the default one.
func (c *Config) SetListener(network, value string) error {
	ofNetwork := func(l Listener) bool { return l.Address.Network == network }
	if value == Off {
		c.Listeners = slices.DeleteFunc(c.Listeners, ofNetwork)
		return nil
	}
	address, err := ParseAddress(network + "://" + value)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(c.Listeners, ofNetwork)
	if i < 0 {
		standard := Default().Listeners
		c.Listeners = append(c.Listeners, standard[slices.IndexFunc(standard, ofNetwork)])
		i = len(c.Listeners) - 1
	}
	for j, o := range c.Listeners {
		if j != i && clash(o.Address, address) {
			return fmt.Errorf("listener %q has %s", o.Name, o.Address)
		}
	}
	l := &c.Listeners[i]
	if !address.Loopback() && !l.Allow.Any && !slices.ContainsFunc(l.Allow.Prefixes, func(p netip.Prefix) bool { return !p.Addr().IsLoopback() }) {
		return errAllowMissing
	}
	l.Address = address
	return nil
}
