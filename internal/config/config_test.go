package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

func TestParse_Success(t *testing.T) {
	t.Parallel()
	f := func(text string, check func(c *Config) bool) {
		t.Helper()
		c, err := Parse("m.yaml", []byte(text), noEnv)
		if err != nil {
			t.Errorf("%s\n%v", text, err)
			return
		}
		if !check(c) {
			t.Errorf("%s\n%+v", text, c)
		}
	}
	f("", func(c *Config) bool { return c.Kafka.Linger == 50*time.Millisecond && len(c.Listeners) == 2 })
	f("# nothing\n", func(c *Config) bool { return c.Retention.Events == 400*24*time.Hour })
	f("kafka:\n  # linger: 1s\nlog: {level: debug}\n", func(c *Config) bool {
		return c.Log.Level == slog.LevelDebug && c.Kafka.Partitions == 6
	})
	// As in the issue that scripts rely on.
	f(`
listeners:
  - {name: filter, address: "tcp://127.0.0.1:5514", framing: auto}
kafka: {brokers: ["127.0.0.1:9092"], topic_prefix: "millrace."}
clickhouse: {addresses: ["127.0.0.1:9000"], database: millrace}
`, func(c *Config) bool {
		l := c.Listeners[0]
		return len(c.Listeners) == 1 && l.Name == "filter" && l.Address == Address{Network: "tcp", Host: "127.0.0.1", Port: 5514} &&
			l.MaxFrame == 64*KiB && l.TimeZone == time.UTC && len(l.Allow.Prefixes) == 2 && !l.Allow.Any &&
			strings.Join(l.FormatNames(), " ") == "m1 s1 m2 s2 m3 s3" && strings.Join(l.Nulls, "|") == "|None|-"
	})
	f(`
listeners:
  - {name: a, address: "udp://[::]:514", allow: any, sockets: 4, raw: always, time_zone: "+02:00", nulls: []}
  - {name: b, address: "tcp://:514", allow: [192.0.2.1, "2001:db8::/32"], frame_idle: 0.5s, formats: [mine, m1], max_frame: 8KiB}
formats:
  - {name: mine, template: '"%(id)s","%(status)s"', kind: status, quoting: csv}
`, func(c *Config) bool {
		a, b := c.Listeners[0], c.Listeners[1]
		_, offset := time.Unix(0, 0).In(a.TimeZone).Zone()
		mine, ok := c.FormatByName("mine")
		return a.Allow.Any && a.MaxFrame == 65535 && a.Sockets == 4 && offset == 7200 && len(a.Nulls) == 0 &&
			a.Address.HostPort() == "[::]:514" && b.Address.HostPort() == ":514" &&
			b.Allow.Prefixes[0].String() == "192.0.2.1/32" && b.FrameIdle == 500*time.Millisecond && b.MaxFrame == 8*KiB &&
			ok && mine.Quoting == "csv" && mine.Kind == "status"
	})
	f("http: {ingest: off, transform: '[::1]:1'}\n", func(c *Config) bool { return !c.HTTP.Ingest.Enabled() && c.HTTP.Transform == "[::1]:1" })
	f("up: {min_free_disk: 2.5%}\n", func(c *Config) bool { return c.Up.MinFreeDisk == 0.025 })
	f("clickhouse: {password: 0123}\n", func(c *Config) bool { return c.ClickHouse.Password.Reveal() == "0123" })
	f("kafka: {brokers: &b ['192.0.2.1:1']}\nclickhouse: {addresses: *b}\n", func(c *Config) bool {
		return c.ClickHouse.Addresses[0] == "192.0.2.1:1"
	})
	f("transform: {block_rows: 1, block_bytes: 65536}\n", func(c *Config) bool { return c.Transform.BlockBytes == 64*KiB })
}

// One wrong setting each; the whole message is compared, since people read it.
func TestParse_Failure(t *testing.T) {
	t.Parallel()
	f := func(text string, want ...string) {
		t.Helper()
		c, err := Parse("m.yaml", []byte(text), noEnv)
		var p *Problems
		if c != nil || !errors.As(err, &p) {
			t.Errorf("%s\ngot no Problems, but %v", text, err)
			return
		}
		var got []string
		for _, one := range p.List {
			got = append(got, one.Error())
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s\n got %s\nwant %s", text, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
	}
	const (
		address = "; allowed tcp://HOST:PORT, tls://HOST:PORT, relp://HOST:PORT or udp://HOST:PORT, IPv6 in brackets: tcp://[::]:514; unixgram:///PATH; smtp://HOST:PORT, smtps://HOST:PORT or lmtp://HOST:PORT for abuse reports"
		times   = "; allowed a time with a unit (ms, s, m, h, d), "
		hosts   = "; allowed HOST:PORT, IPv6 in brackets: [::1]:9092"
		nets    = "; allowed a list of networks such as [192.0.2.0/24, 2001:db8::1], or the word any"
		formats = "; allowed builtin, m1, s1, m2, s2, m3, s3, smtp, delivery, spamdyke"
	)
	// YAML itself
	f("log: {level: info\n", "m.yaml:1: not YAML: did not find expected ',' or '}'")
	f("log: *x\n", "m.yaml: not YAML: a value begins with * and refers to nothing; a text that begins so needs quotes")
	f("log: {level: info}\n---\nlog: {level: info}\n", "m.yaml:2:1: a second YAML document begins here; one is allowed")
	f("- 1\n", "m.yaml:1:1: got a list; allowed keys: listeners, files, state_dir, formats, classes, domains, reports, api, kafka, clickhouse, transform, retention, http, log, stop, up, source, quarantine, mail, rules, effects")
	f("hello\n", `m.yaml:1:1: got "hello"; allowed keys: listeners, files, state_dir, formats, classes, domains, reports, api, kafka, clickhouse, transform, retention, http, log, stop, up, source, quarantine, mail, rules, effects`)
	// keys
	f("log: {levl: info}\n", `m.yaml:1:7: log.levl: unknown key; did you mean "level"?; allowed level, format`)
	f("stop: {drain-timeout: 1s}\n", `m.yaml:1:8: stop.drain-timeout: unknown key; did you mean "drain_timeout"?; allowed drain_timeout`)
	f("stop: {x: 1s}\n", `m.yaml:1:8: stop.x: unknown key; allowed drain_timeout`)
	f("stop: {[a]: 1s}\n", `m.yaml:1:8: stop: got a list; allowed keys: drain_timeout`)
	f("stop: {drain_timeout: 1s, drain_timeout: 2s}\n", `m.yaml:1:27: stop.drain_timeout: written twice; the first is on line 1`)
	f("stop:\n  <<: {drain_timeout: 1s}\n", `m.yaml:2:3: stop.<<: unknown key; allowed drain_timeout`)
	// types
	f("log: [level]\n", "m.yaml:1:6: log: got a list; allowed keys: level, format")
	f("log: {level: [info]}\n", "m.yaml:1:14: log.level: got a list; allowed debug, info, warn, error")
	f("log: {level: }\n", "m.yaml:1:14: log.level: got nothing; allowed debug, info, warn, error")
	f("log: {level: INFO}\n", `m.yaml:1:14: log.level: got "INFO"; allowed debug, info, warn, error`)
	f("log: {format: xml}\n", `m.yaml:1:15: log.format: got "xml"; allowed text, json`)
	f("kafka: {client_id: 5}\n", `m.yaml:1:20: kafka.client_id: got "5"; allowed text, in quotes: "5"`)
	f("kafka: {create_topics: yes}\n", `m.yaml:1:24: kafka.create_topics: got "yes" (neither true nor false); allowed true, false`)
	f("kafka: {partitions: six}\n", `m.yaml:1:21: kafka.partitions: got "six" (not a whole number); allowed a whole number, 1 to 1000`)
	f("kafka: {partitions: 1.5}\n", `m.yaml:1:21: kafka.partitions: got "1.5" (not a whole number); allowed a whole number, 1 to 1000`)
	f("kafka: {partitions: 0}\n", `m.yaml:1:21: kafka.partitions: got "0"; allowed a whole number, 1 to 1000`)
	f("kafka: {brokers: 127.0.0.1:9092}\n", `m.yaml:1:18: kafka.brokers: got "127.0.0.1:9092"; allowed a list of HOST:PORT`)
	f("kafka: {brokers: [9092]}\n", `m.yaml:1:19: kafka.brokers[0]: got "9092"; allowed a list of HOST:PORT, in quotes: "9092"`)
	f("clickhouse: {password: {a: b}}\n", `m.yaml:1:24: clickhouse.password: got something that is not text; allowed text`)
	f("listeners: {name: a}\n", `m.yaml:1:12: listeners: got a mapping; allowed a list of listeners`)
	f("formats: [m1]\n", `m.yaml:1:11: formats[0]: got "m1"; allowed keys: name, kind, template, quoting`)
	// values
	f("kafka: {linger: 50}\n", `m.yaml:1:17: kafka.linger: got "50" (a time needs a unit)`+times+`0s to 10s`)
	f("kafka: {linger: -5ms}\n", `m.yaml:1:17: kafka.linger: got "-5ms" (a time cannot be negative)`+times+`0s to 10s`)
	f("kafka: {linger: 1h}\n", `m.yaml:1:17: kafka.linger: got "1h"`+times+`0s to 10s`)
	f("retention: {events: 400 days}\n", `m.yaml:1:21: retention.events: got "400 days" (not a time)`+times+`24h to 25000d`)
	f("kafka: {buffer_bytes: 64MB}\n", `m.yaml:1:23: kafka.buffer_bytes: got "64MB" (unknown unit "MB"); allowed bytes, or a number with KiB, MiB or GiB, 1MiB to 16GiB`)
	f("kafka: {buffer_bytes: much}\n", `m.yaml:1:23: kafka.buffer_bytes: got "much" (not a whole number of bytes); allowed bytes, or a number with KiB, MiB or GiB, 1MiB to 16GiB`)
	f("up: {min_free_disk: 5}\n", `m.yaml:1:21: up.min_free_disk: got "5" (the percent sign is missing); allowed a percentage, 0% to 90%`)
	f("up: {min_free_disk: 99%}\n", `m.yaml:1:21: up.min_free_disk: got "99%"; allowed a percentage, 0% to 90%`)
	f("http: {ingest: '8514'}\n", `m.yaml:1:16: http.ingest: got "8514" (the port is missing); allowed HOST:PORT, or off`)
	f("http: {ingest: '::1:8514'}\n", `m.yaml:1:16: http.ingest: got "::1:8514" (an IPv6 address needs brackets: [::1]:514); allowed HOST:PORT, or off`)
	f("clickhouse: {database: my-db}\n", `m.yaml:1:24: clickhouse.database: got "my-db" ('-' cannot be in the name there); allowed 1 to 63 letters, digits and _, no digit first`)
	f("kafka: {topic_prefix: 'a/b'}\n", `m.yaml:1:23: kafka.topic_prefix: got "a/b" ('/' cannot be in the name of a topic); allowed up to 200 of a-z A-Z 0-9 . _ -`)
	f("kafka: {group: ''}\n", `m.yaml:1:16: kafka.group: got "" (empty); allowed 1 to 200 of a-z A-Z 0-9 . _ -`)
	f("kafka: {brokers: []}\n", `m.yaml:1:18: kafka.brokers: got an empty list; allowed at least one HOST:PORT`)
	f("kafka: {brokers: ['k', ':1', 'k:0', 'k:x']}\n",
		`m.yaml:1:19: kafka.brokers[0]: got "k" (the port is missing)`+hosts,
		`m.yaml:1:24: kafka.brokers[1]: got ":1" (the host is missing)`+hosts,
		`m.yaml:1:30: kafka.brokers[2]: got "k:0" (the port is 0)`+hosts,
		`m.yaml:1:37: kafka.brokers[3]: got "k:x" (the port "x" is not a number from 0 to 65535)`+hosts)
	f("source: {url: 'http://filter.example'}\n", `m.yaml:1:15: source.url: got "http://filter.example" (the scheme is "http": the password would travel in clear); allowed https://HOST or https://HOST/cgi-bin/api`)
	f("source: {message_template: m9}\n", `m.yaml:1:28: source.message_template: got "m9"; allowed a text with %(name)s variables, default, m1, s1, m2, s2, m3, s3`)
	f("source: {url: 'https://filter.example', username: u}\n", `m.yaml:1:9: source: username and password (or $MILLRACE_SOURCE_PASSWORD) go together`)
	// listeners
	listener := func(more string) string { return "listeners: [{name: a, address: 'tcp://127.0.0.1:1'" + more + "}]\n" }
	f("listeners: []\n", `m.yaml:1:12: listeners: got an empty list; allowed at least one listener`)
	f("listeners: [{name: a}]\n", `m.yaml:1:13: listeners[0].address: missing`+address)
	f("listeners: [{name: a, adress: 'tcp://:1'}]\n", `m.yaml:1:23: listeners[0].adress: unknown key; did you mean "address"?; allowed name, address, framing, formats, time_zone, nulls, direction, smtp_port, group_timeout, allow, proxy_from, raw, reject_limit, max_frame, frame_idle, receive_buffer, sockets, max_connections, max_connections_per_peer, idle_timeout, frame_timeout, open_frames, reuse_port, socket_mode, tls, body, forward_to, answer_timeout`)
	f("listeners: [{name: A, address: 'tcp://127.0.0.1:1'}]\n", `m.yaml:1:20: listeners[0].name: got "A" ('A' cannot be in a name there); allowed 1 to 63 of a-z, 0-9 and, not first, -_.`)
	f("listeners: [{name: a, address: '127.0.0.1:1'}]\n", `m.yaml:1:32: listeners[0].address: got "127.0.0.1:1" (the network is missing)`+address)
	f("listeners: [{name: a, address: 'quic://127.0.0.1:1'}]\n", `m.yaml:1:32: listeners[0].address: got "quic://127.0.0.1:1" (unknown network "quic")`+address)
	f("listeners: [{name: a, address: 'tcp://127.0.0.1'}]\n", `m.yaml:1:32: listeners[0].address: got "tcp://127.0.0.1" (the port is missing)`+address)
	f("listeners: [{name: a, address: 'tcp://127.0.0.1:99999'}]\n", `m.yaml:1:32: listeners[0].address: got "tcp://127.0.0.1:99999" (the port "99999" is not a number from 0 to 65535)`+address)
	f("listeners: [{name: a, address: 'udp://0.0.0.0:514'}]\n",
		`m.yaml:1:13: listeners[0].allow: missing, and udp://0.0.0.0:514 can be reached from other machines; allowed a list of the networks that send, such as [192.0.2.0/24], or the word any`)
	f("listeners: [{name: a, address: 'tcp://logs.example:514'}]\n",
		`m.yaml:1:13: listeners[0].allow: missing, and tcp://logs.example:514 can be reached from other machines; allowed a list of the networks that send, such as [192.0.2.0/24], or the word any`)
	f(listener(", allow: []"), `m.yaml:1:60: listeners[0].allow: got an empty list`+nets)
	f(listener(", allow: all"), `m.yaml:1:60: listeners[0].allow: got "all"`+nets)
	f(listener(", allow: [10.0.0.1/8]"), `m.yaml:1:61: listeners[0].allow[0]: got "10.0.0.1/8" (host bits are set; did you mean 10.0.0.0/8?)`+nets)
	f(listener(", allow: [example.com]"), `m.yaml:1:61: listeners[0].allow[0]: got "example.com" (not a network)`+nets)
	f(listener(", framing: newline"), `m.yaml:1:62: listeners[0].framing: got "newline"; allowed auto, nul, lf, octet`)
	f(listener(", formats: [m9]"), `m.yaml:1:63: listeners[0].formats[0]: got "m9"`+formats)
	f(listener(", formats: []"), `m.yaml:1:62: listeners[0].formats: got an empty list`+formats)
	f(listener(", formats: [builtin, m1]"), `m.yaml:1:72: listeners[0].formats[1]: got "m1"; allowed each format once`)
	f(listener(", time_zone: Mars/Olympus"), `m.yaml:1:64: listeners[0].time_zone: got "Mars/Olympus" (unknown time zone); allowed a name such as Europe/Amsterdam, or an offset such as +02:00`)
	f(listener(", time_zone: Local"), `m.yaml:1:64: listeners[0].time_zone: got "Local" (the zone must be named); allowed a name such as Europe/Amsterdam, or an offset such as +02:00`)
	f(listener(", sockets: 4"), `m.yaml:1:62: listeners[0].sockets: has no meaning on tcp; allowed on udp listeners`)
	f(listener(", max_frame: 100"), `m.yaml:1:64: listeners[0].max_frame: got "100"; allowed bytes, or a number with KiB, MiB or GiB, 512 to 1MiB (UDP: 65535, mail: 64MiB)`)
	f(listener(", max_frame: 512KiB"), `m.yaml:1:64: listeners[0].max_frame: got "512KiB"; allowed less than half of kafka.batch_bytes, 512KiB: a record holds the frame decoded and raw`)
	f("listeners: [{name: a, address: 'udp://127.0.0.1:1', max_frame: 128KiB, max_connections: 1}]\n",
		`m.yaml:1:64: listeners[0].max_frame: got "128KiB"; allowed at most 65535 on UDP`,
		`m.yaml:1:89: listeners[0].max_connections: has no meaning on udp; allowed on tcp and tls and relp and smtp and smtps and lmtp listeners`)
	f("listeners: [{name: a, address: 'tcp://127.0.0.1:1'}, {name: a, address: 'tcp://127.0.0.1:1'}]\n",
		`m.yaml:1:61: listeners[1].name: got "a"; allowed a name of its own: listeners[0] has that one`,
		`m.yaml:1:73: listeners[1].address: got "tcp://127.0.0.1:1"; allowed an address of its own: listeners[0] has tcp://127.0.0.1:1`)
	f("listeners: [{name: a, address: 'tcp://127.0.0.1:1'}, {name: b, address: 'tcp://:1', allow: any}]\n",
		`m.yaml:1:73: listeners[1].address: got "tcp://:1"; allowed an address of its own: listeners[0] has tcp://127.0.0.1:1`)
	// formats
	f("formats: [{name: m1, template: '%(id)s'}]\n", `m.yaml:1:18: formats[0].name: got "m1"; allowed a name that is not one of builtin, default, arf, m1, s1, m2, s2, m3, s3, smtp, delivery, spamdyke`)
	f("formats: [{name: x, template: ''}]\n", `m.yaml:1:31: formats[0].template: got "" (empty); allowed text with %(name)s variables, as given to the source's API`)
	f("formats: [{name: x}]\n", `m.yaml:1:11: formats[0].template: missing; allowed text with %(name)s variables, as given to the source's API`)
	f("formats: [{name: x, template: a}, {name: x, template: b}]\n", `m.yaml:1:42: formats[1].name: got "x"; allowed a name of its own: formats[0] has that one`)
	// what settings need of each other
	f("retention: {events: 10d}\n", `m.yaml:1:12: retention.raw: got "30d" (the default); allowed at most retention.events, 10d`)
	f("kafka: {batch_bytes: 4MiB, buffer_bytes: 1MiB}\n", `m.yaml:1:22: kafka.batch_bytes: got "4MiB"; allowed at most kafka.buffer_bytes, 1MiB`)
	f("kafka: {rebalance_timeout: 60s}\n", `m.yaml:1:28: kafka.rebalance_timeout: got "60s"; allowed less than kafka.session_timeout, 60s`)
	f("kafka: {heartbeat_interval: 21s, rebalance_timeout: 50s}\n",
		`m.yaml:1:29: kafka.heartbeat_interval: got "21s"; allowed at most a third of kafka.session_timeout, 60s`)
	f("clickhouse: {insert_timeout: 35s}\n", `m.yaml:1:30: clickhouse.insert_timeout: got "35s"`+times+`1s to 25s`)
	f("kafka: {rebalance_timeout: 30s}\nclickhouse: {insert_timeout: 25s}\n", `m.yaml:2:30: clickhouse.insert_timeout: got "25s"; allowed at most kafka.rebalance_timeout (30s) less three heartbeats (9s): an insert must end before the group gives the partition to another`)
	f("kafka: {sasl: {mechanism: plain}}\n", `m.yaml:1:15: kafka.sasl: plain needs username and password (or $MILLRACE_KAFKA_PASSWORD)`)
	f("kafka: {sasl: {username: u}}\n", `m.yaml:1:15: kafka.sasl.mechanism: got "none" (the default); allowed with a username: plain, scram-sha-256, scram-sha-512`)
	f("kafka: {brokers: ['k:1'], sasl: {mechanism: plain, username: u, password: p}}\n",
		`m.yaml:1:45: kafka.sasl.mechanism: got "plain"; allowed beyond loopback only with kafka.tls.enabled: it sends the password itself`)
	f("kafka: {tls: {ca: x.pem}}\n", `m.yaml:1:14: kafka.tls.enabled: got "false" (the default); allowed true with the other keys of kafka.tls`)
	f("kafka: {tls: {enabled: true, cert: x.pem}}\n", `m.yaml:1:14: kafka.tls: cert and key go together`)
	f("clickhouse: {shards: [{name: a, addresses: ['192.0.2.1:9000']}, {name: a, addresses: ['192.0.2.2:9000']}]}\n", `m.yaml:1:72: clickhouse.shards[1].name: got "a"; allowed a name of its own: clickhouse.shards[0] has that one`)
	f("clickhouse: {shards: [{name: a, addresses: ['192.0.2.1:9000']}, {name: b, addresses: ['192.0.2.1:9000']}]}\n", `m.yaml:1:87: clickhouse.shards[1].addresses[0]: got "192.0.2.1:9000"; allowed a server of its own: clickhouse.shards[0] has that one`)
	f("clickhouse: {shards: [{name: a}]}\n", `m.yaml:1:23: clickhouse.shards[0].addresses: missing; allowed a list of HOST:PORT`)
	f("clickhouse: {replication: tables}\n", `m.yaml:1:27: clickhouse.replication: got "tables"; allowed none without clickhouse.cluster`)
	f("clickhouse: {cluster: 'a b'}\n", `m.yaml:1:23: clickhouse.cluster: got "a b" (' ' cannot be in the name of a cluster); allowed a name of the servers' remote_servers`)
	f("clickhouse: {tls: {enabled: true, ca: nothing.pem}}\n", `m.yaml:1:19: clickhouse.tls: cannot read ca: open nothing.pem: no such file or directory`)
}

// All that is wrong is told at once, in the order of the file.
func TestParseReportsAll(t *testing.T) {
	t.Parallel()
	_, err := Parse("/etc/m.yaml", []byte("foo: 1\nkafka: {linger: x}\nlog: {format: y}\nretention: {raw: 500d}\n"), noEnv)
	want := `cannot use configuration /etc/m.yaml, 4 problems:
  /etc/m.yaml:1:1: foo: unknown key; allowed listeners, files, state_dir, formats, classes, domains, reports, api, kafka, clickhouse, transform, retention, http, log, stop, up, source, quarantine, mail, rules, effects
  /etc/m.yaml:2:17: kafka.linger: got "x" (not a time); allowed a time with a unit (ms, s, m, h, d), 0s to 10s
  /etc/m.yaml:3:15: log.format: got "y"; allowed text, json
  /etc/m.yaml:4:18: retention.raw: got "500d"; allowed at most retention.events, 400d`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	var coded interface{ ExitCode() int }
	if !errors.As(err, &coded) || coded.ExitCode() != 2 {
		t.Error("exit code is not 2")
	}
}

func TestWrong(t *testing.T) {
	t.Parallel()
	c, err := Parse("m.yaml", []byte("formats:\n  - name: x\n    template: '%(id'\n"), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	got := c.Wrong("formats[0].template", errors.New("no closing parenthesis")).Error()
	if want := "cannot use configuration m.yaml:\n  m.yaml:3:15: formats[0].template: no closing parenthesis"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"MILLRACE_KAFKA_PASSWORD":             "k",
		"MILLRACE_CLICKHOUSE_PASSWORD":        "c",
		"MILLRACE_CLICKHOUSE_READER_PASSWORD": "r",
		"MILLRACE_SOURCE_PASSWORD":            "s",
		"MILLRACE_IMAP_PASSWORD":              "i",
	}
	c, err := Parse("m.yaml", []byte(`
kafka: {sasl: {mechanism: scram-sha-256, username: u}}
clickhouse: {password: of-the-file, reader: {password: of-the-file}}
source: {url: "https://filter.example", username: u}
`), func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	got := c.Kafka.SASL.Password.Reveal() + c.ClickHouse.Password.Reveal() + c.ClickHouse.Reader.Password.Reveal() + c.Source.Password.Reveal() + c.Quarantine.Password.Reveal()
	if got != "kcrsi" {
		t.Errorf("got %q", got)
	}
	for name := range env {
		if !strings.Contains(string(Example()), "Environment: "+name+".") {
			t.Errorf("the example does not name %s", name)
		}
	}
}

// A secret shows itself nowhere, also from within a structure.
func TestSecretIsHidden(t *testing.T) {
	t.Parallel()
	const text = "hunter2"
	type inner struct{ password Secret }
	c := Default()
	c.ClickHouse.Password, c.Kafka.SASL.Password = NewSecret(text), NewSecret(text)
	var b strings.Builder
	for _, v := range []any{c, *c, c.ClickHouse, c.ClickHouse.Password, &c.ClickHouse.Password, inner{NewSecret(text)}, []Secret{NewSecret(text)}} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&b, format, v)
		}
		for _, h := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
			slog.New(h).Info("x", "v", v)
		}
	}
	j, err := json.Marshal(c.ClickHouse)
	if err != nil {
		t.Fatal(err)
	}
	y, err := yaml.Marshal(c.ClickHouse)
	if err != nil {
		t.Fatal(err)
	}
	b.Write(j)
	b.Write(y)
	if strings.Contains(b.String(), text) || strings.Contains(b.String(), fmt.Sprintf("%x", text)) {
		t.Errorf("shown in %s", b.String())
	}
	if !strings.Contains(string(j), `"***"`) || !strings.Contains(string(y), `'***'`) {
		t.Errorf("not marked as hidden in %s %s", j, y)
	}
	if NewSecret(text).String() != "***" || NewSecret("").String() != "" || NewSecret("").IsSet() {
		t.Error("String")
	}
}

// A password in a place where none belongs is not shown either.
func TestProblemsHidePasswords(t *testing.T) {
	t.Parallel()
	for file, place := range map[string]string{
		"source: {url: 'https://u:hunter2@h/'}":                    `source.url: got "https://***@h/"`,
		"kafka: {brokers: ['u:hun/ter2@x@h:9092']}":                `kafka.brokers[0]: got "***@h:9092"`,
		"clickhouse: {addresses: ['clickhouse://u:hunter2@h:1']}":  `clickhouse.addresses[0]: got "clickhouse://***@h:1"`,
		"clickhouse: {password: {hunter2: x}}":                     `clickhouse.password: got something that is not text`,
		"kafka: {sasl: {password: *hunter2}}":                      `not YAML: a value begins with *`,
		"up: {kafka: 'u:hunter2@h:9092'}":                          `up.kafka: got "***@h:9092"`,
		"listeners: [{name: a, address: 'tcp://u:hunter2@h:514'}]": `listeners[0].address: got "tcp://***@h:514"`,
	} {
		_, err := Parse("m.yaml", []byte(file), func(string) string { return "" })
		if err == nil || !strings.Contains(err.Error(), place) || strings.Contains(err.Error(), "ter2") {
			t.Errorf("%s\ngives %v\nwant %s", file, err, place)
		}
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	c, err := Parse("m.yaml", []byte(`
listeners: [{name: a, address: "tcp://:1", allow: any}]
formats: [{name: x, template: "%(id)s"}]
kafka: {brokers: ["a:1", "b:1"], replication: 1}
`), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(c.Warnings(), "\n")
	want := `format "x" is in no listener's formats: it decodes nothing
kafka.replication is 1 with several brokers: transform refuses such topics, as a disk that fails loses records
listener "a" takes events from anybody who can reach tcp://:1`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if w := Default().Warnings(); len(w) > 0 {
		t.Errorf("the defaults warn: %q", w)
	}
}

func TestLoadFile(t *testing.T) {
	t.Parallel()
	_, err := Load("nothing.yaml")
	if want := "cannot read configuration: open nothing.yaml: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	c, err := Load("")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, c, Default())
}

// Whatever is in the file, the answer is a configuration or problems with a place.
func FuzzParse(f *testing.F) {
	f.Add(Example())
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("listeners: [{name: a, address: 'udp://[::]:514', allow: [::/0]}]\n"))
	f.Add([]byte("kafka: {brokers: ['[::1]:9092'], linger: 1w2d3h, tls: {enabled: true}}\n"))
	f.Add([]byte("a: !!binary aGVsbG8=\n? [x]\n: y\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("m.yaml", data, noEnv)
		var p *Problems
		switch {
		case err == nil && len(c.Listeners) == 0:
			t.Fatal("no listeners and no error")
		case err != nil && (!errors.As(err, &p) || len(p.List) == 0):
			t.Fatalf("not Problems: %v", err)
		}
	})
}
