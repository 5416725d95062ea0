package config

import (
	"strings"
	"testing"
	"time"
)

func TestListener_Sockets(t *testing.T) {
	t.Parallel()
	parse := func(text string) (*Config, error) {
		return Parse("m.yaml", []byte("listeners: ["+text+"]\n"), func(string) string { return "" })
	}
	c, err := parse(`{name: a, address: "unixgram:///run/a/../log", socket_mode: 0660}, ` +
		`{name: b, address: "tcp://127.0.0.1:1", proxy_from: [192.0.2.10], allow: [198.51.100.0/24], max_connections_per_peer: 5, idle_timeout: 1h, frame_timeout: 0s, open_frames: 1MiB}`)
	if err != nil {
		t.Fatal(err)
	}
	a, b := c.Listeners[0], c.Listeners[1]
	if a.Address.String() != "unixgram:///run/log" || a.Address.HostPort() != "/run/log" || a.SocketMode != 0o660 || len(a.Allow.Prefixes) != 0 || a.Address.Stream() {
		t.Errorf("%+v", a)
	}
	if len(b.ProxyFrom) != 1 || b.MaxConnectionsPerPeer != 5 || b.IdleTimeout != time.Hour || b.FrameTimeout != 0 || b.OpenFrames != MiB {
		t.Errorf("%+v", b)
	}
	for text, part := range map[string]string{
		`{name: a, address: "unixgram://run/log"}`:                                          "the path does not begin with /",
		`{name: a, address: "unixgram:///log", socket_mode: "0888"}`:                        "not the permissions of a file",
		`{name: a, address: "unixgram:///log", allow: [192.0.2.0/24]}`:                      "listeners[0].allow: has no meaning on unixgram",
		`{name: a, address: "unixgram:///log", proxy_from: [192.0.2.0/24]}`:                 "listeners[0].proxy_from: has no meaning on unixgram",
		`{name: a, address: "udp://127.0.0.1:1", socket_mode: "0600"}`:                      "listeners[0].socket_mode: has no meaning on udp",
		`{name: a, address: "udp://127.0.0.1:1", idle_timeout: 1s}`:                         "listeners[0].idle_timeout: has no meaning on udp",
		`{name: a, address: "unixgram:///log"}, {name: b, address: "unixgram:///x/../log"}`: "listeners[1].address",
		`{name: a, address: "tcp://127.0.0.1:1", proxy_from: [192.0.2.10]}`:                 "listeners[0].allow: missing: with proxy_from",
		`{name: a, address: "tcp://127.0.0.1:1", proxy_from: any, allow: any}`:              "listeners[0].proxy_from",
	} {
		if _, err := parse(text); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
