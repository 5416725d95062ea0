package config

import (
	"strings"
	"testing"
)

func TestSetListener(t *testing.T) {
	t.Parallel()
	const (
		one   = "listeners: [{name: a, address: 'tcp://127.0.0.1:1'}]\n"
		open  = "listeners: [{name: a, address: 'tcp://127.0.0.1:1', allow: [192.0.2.0/24]}]\n"
		three = "listeners: [{name: a, address: 'tcp://127.0.0.1:1'}, {name: b, address: 'tcp://127.0.0.1:2'}, {name: c, address: 'udp://127.0.0.1:1'}]\n"
	)
	f := func(text, network, value, want string) {
		t.Helper()
		c, err := Parse("m.yaml", []byte(text), noEnv)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		if err := c.SetListener(network, value); err != nil {
			got = []string{"error: " + err.Error()}
		} else {
			for _, l := range c.Listeners {
				got = append(got, l.Name+" "+l.Address.String())
			}
		}
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("%s%s %s:\n got %s\nwant %s", text, network, value, s, want)
		}
	}
	f("", "udp", "127.0.0.1:0", "filter-udp udp://127.0.0.1:0, filter-tcp tcp://127.0.0.1:5514")
	f("", "tcp", "[::1]:9", "filter-udp udp://127.0.0.1:5514, filter-tcp tcp://[::1]:9")
	f("", "udp", "off", "filter-tcp tcp://127.0.0.1:5514")
	f(three, "tcp", "off", "c udp://127.0.0.1:1")
	f(three, "tcp", "127.0.0.1:5", "a tcp://127.0.0.1:5, b tcp://127.0.0.1:2, c udp://127.0.0.1:1")
	f(three, "tcp", "127.0.0.1:2", `error: listener "b" has tcp://127.0.0.1:2`)
	f(one, "udp", "127.0.0.1:7", "a tcp://127.0.0.1:1, filter-udp udp://127.0.0.1:7")
	f(one, "tcp", "0.0.0.0:1", "error: "+errAllowMissing.Error())
	f(one, "udp", ":1", "error: "+errAllowMissing.Error())
	f(open, "tcp", "0.0.0.0:1", "a tcp://0.0.0.0:1")
	f(one, "tcp", "5514", "error: the port is missing")
}
