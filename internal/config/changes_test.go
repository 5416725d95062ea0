package config

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestChanges(t *testing.T) {
	t.Parallel()
	parse := func(text string) *Config {
		t.Helper()
		c, err := Parse("", []byte(text), os.Getenv)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	f := func(before, after string, want ...string) {
		t.Helper()
		var have []string
		for _, c := range Changes(parse(before), parse(after)) {
			line := c.Key
			if c.Live {
				line += " live"
			}
			have = append(have, line)
		}
		if !slices.Equal(have, want) {
			t.Errorf("from %s to %s\nhave %q\nwant %q", before, after, have, want)
		}
	}
	const one, two = "{name: one, address: 'tcp://127.0.0.1:1'", "{name: two, address: 'tcp://127.0.0.1:2'"
	f("", "")
	f("", "kafka: {}\n")
	f("log: {level: info}", "log: {level: debug, format: json}", "log.level live", "log.format")
	f("kafka: {linger: 50ms}", "kafka: {linger: 1s, brokers: ['k:1']}", "kafka.brokers", "kafka.linger")
	f("clickhouse: {password: a}", "clickhouse: {password: b}", "clickhouse.password")
	f("formats: []", "formats: [{name: mine, template: 'x %(id)s'}]", "formats live")
	f("listeners: ["+one+"}]", "listeners: ["+one+", formats: [m1], nulls: ['-'], time_zone: Europe/Amsterdam, direction: incoming, allow: [127.0.0.1], raw: never}]",
		"listeners[0].formats live", "listeners[0].time_zone live", "listeners[0].nulls live", "listeners[0].direction live", "listeners[0].allow live", "listeners[0].raw live")
	f("listeners: ["+one+"}]", "listeners: ["+one+", max_connections: 7, framing: nul}]", "listeners[0].framing", "listeners[0].max_connections")
	f("listeners: ["+one+"}]", "listeners: ["+two+"}, "+one+", raw: never}]", `listeners[0]: "two" is new`, "listeners[1].raw live")
	f("listeners: ["+one+"}, "+two+"}]", "listeners: ["+two+"}]", `listeners: "one" is gone`)
	// Another scheme is another listener: nothing of it is taken over.
	f("listeners: ["+one+"}]", strings.ReplaceAll("listeners: ["+one+", raw: never}]", "tcp://", "udp://"),
		"listeners[0].address", "listeners[0].raw", "listeners[0].max_frame")
	// So is one at another address: its socket stays where it is until the restart.
	f("listeners: ["+one+"}]", strings.ReplaceAll("listeners: ["+one+", raw: never, allow: any}]", ":1'", ":2'"),
		"listeners[0].address", "listeners[0].allow", "listeners[0].raw")
}
