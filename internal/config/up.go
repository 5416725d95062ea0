package config

import (
	"net"
	"net/netip"
)

// serveFromUp lets commands that share the configuration of millrace up find its servers,
// where it names no others.
func (c *Config) serveFromUp() {
	if _, given := c.where["kafka.brokers"]; !given {
		c.Kafka.Brokers = c.Up.Kafka.reached(c.Kafka.Brokers)
	}
	if _, given := c.where["clickhouse.addresses"]; !given {
		c.ClickHouse.Addresses = c.Up.ClickHouseNative.reached(c.ClickHouse.Addresses)
	}
}

// reached is where a client on this machine finds an endpoint; usual where nobody can say.
func (e Endpoint) reached(usual []string) []string {
	host, port, err := net.SplitHostPort(string(e))
	if err != nil || port == "0" {
		return usual
	}
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		host = "127.0.0.1"
		if a.Is6() {
			host = "::1"
		}
	}
	return []string{net.JoinHostPort(host, port)}
}
