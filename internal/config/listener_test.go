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

func TestListener_Mail(t *testing.T) {
	t.Parallel()
	parse := func(text string) (*Config, error) {
		return Parse("m.yaml", []byte("listeners: ["+text+"]\n"), func(string) string { return "" })
	}
	c, err := parse(`{name: a, address: "smtp://127.0.0.1:25"}, ` +
		`{name: b, address: "lmtp://127.0.0.1:24", formats: [arf], max_frame: 64MiB, frame_timeout: 30s, idle_timeout: 0s, body: keep, forward_to: "smtps://parser.example.net:465", answer_timeout: 10s}`)
	if err != nil {
		t.Fatal(err)
	}
	a, b := c.Listeners[0], c.Listeners[1]
	if a.MaxFrame != 16*MiB || strings.Join(a.FormatNames(), " ") != "arf" || a.IdleTimeout != 5*time.Minute || a.FrameTimeout != 10*time.Minute ||
		a.Body != "drop" || a.ForwardTo != "" || a.AnswerTimeout != time.Minute || !a.Address.Stream() || !a.Address.Mail() || len(a.Allow.Prefixes) != 2 {
		t.Errorf("%+v", a)
	}
	if b.MaxFrame != 64*MiB || b.IdleTimeout != 0 || b.FrameTimeout != 30*time.Second || b.Body != "keep" || b.AnswerTimeout != 10*time.Second {
		t.Errorf("%+v", b)
	}
	if network, address := b.Forward(); network != "smtps" || address != "parser.example.net:465" {
		t.Errorf("%q %q", network, address)
	}
	smtp := func(more string) string { return `{name: a, address: "smtp://127.0.0.1:25", ` + more + `}` }
	for text, part := range map[string]string{
		smtp(`framing: lf`):                                                  "listeners[0].framing: has no meaning on smtp",
		smtp(`nulls: [x]`):                                                   "listeners[0].nulls: has no meaning on smtp",
		smtp(`formats: [m1]`):                                                `listeners[0].formats: got "m1"; allowed arf alone on smtp`,
		smtp(`sockets: 2`):                                                   "listeners[0].sockets: has no meaning on smtp",
		smtp(`receive_buffer: 1MiB`):                                         "listeners[0].receive_buffer: has no meaning on smtp",
		smtp(`frame_idle: 1s`):                                               "listeners[0].frame_idle: has no meaning on smtp",
		smtp(`socket_mode: "0600"`):                                          "listeners[0].socket_mode: has no meaning on smtp",
		smtp(`max_frame: 65MiB`):                                             "listeners[0].max_frame",
		smtp(`forward_to: "lmtp://127.0.0.1:24"`):                            `unknown network "lmtp"`,
		smtp(`forward_to: "smtp://127.0.0.1"`):                               "the port is missing",
		smtp(`forward_to: "smtp://:25"`):                                     "the host is missing",
		smtp(`forward_to: "smtp://localhost:25"`):                            "another server than this listener",
		smtp(`open_frames: 8MiB`):                                            "at most open_frames, 8MiB",
		smtp(`body: some`):                                                   "listeners[0].body",
		`{name: a, address: "smtps://127.0.0.1:465"}`:                        "listeners[0].tls: cert and key are missing",
		`{name: a, address: "smtp://0.0.0.0:25"}`:                            "listeners[0].allow: missing",
		`{name: a, address: "tcp://127.0.0.1:1", max_frame: 2MiB}`:           "at most 1MiB on tcp",
		`{name: a, address: "tcp://127.0.0.1:1", formats: [arf]}`:            "listeners[0].formats[0]",
		`{name: a, address: "tcp://127.0.0.1:1", body: keep}`:                "listeners[0].body: has no meaning on tcp; allowed on smtp and smtps and lmtp listeners",
		`{name: a, address: "udp://127.0.0.1:1", forward_to: "smtp://a:25"}`: "listeners[0].forward_to: has no meaning on udp",
		`{name: a, address: "smtp://127.0.0.1:25"}, {name: b, address: "tcp://127.0.0.1:25"}`: "listeners[1].address",
	} {
		if _, err := parse(text); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
