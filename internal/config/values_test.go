package config

import (
	"testing"
	"time"
)

func TestDurations(t *testing.T) {
	t.Parallel()
	f := func(text string, want time.Duration, back string) {
		t.Helper()
		got, err := ParseDuration(text)
		if err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", text, got, err, want)
		}
		if s := FormatDuration(want); s != back {
			t.Errorf("FormatDuration(%v) = %q, want %q", want, s, back)
		}
	}
	f("0s", 0, "0s")
	f("200ms", 200*ms, "200ms")
	f("60s", minute, "60s")
	f("90s", 90*second, "90s")
	f("2m", 2*minute, "2m")
	f("2m30s", 150*second, "2m30s")
	f("48h", 48*hour, "48h")
	f("1w", 7*day, "7d")
	f("400d", 400*day, "400d")
	f("1w1d1h", 8*day+hour, "193h")
	f("1d12h", 36*hour, "36h")
	for _, text := range []string{"", "d", "1", "1.5", "1x", "1d1", "-1s", "1d-1h", "h1", "1d2w", "99999999999d", "9223372036s9223372036s", "3000000h3000000h", " 1s", "200000000w"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v", text, got)
		}
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	f := func(text string, want Size, back string) {
		t.Helper()
		got, err := ParseSize(text)
		if err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
		if s := want.String(); s != back {
			t.Errorf("Size(%d).String() = %q, want %q", want, s, back)
		}
	}
	f("0", 0, "0")
	f("65535", 65535, "65535")
	f("64KiB", 64*KiB, "64KiB")
	f("64 KiB", 64*KiB, "64KiB")
	f("1024KiB", MiB, "1MiB")
	f("2GiB", 2*GiB, "2GiB")
	f("10B", 10, "10")
	for _, text := range []string{"", "KiB", "-1", "1.5MiB", "1MB", "1kB", "1mib", "9999999999999GiB", "99999999999999999999", "1 2", "0x10"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d", text, got)
		}
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	f := func(text, back string, loopback bool) {
		t.Helper()
		a, err := ParseAddress(text)
		if err != nil || a.String() != back || a.Loopback() != loopback {
			t.Errorf("ParseAddress(%q) = %q, %v, loopback %v", text, a, err, a.Loopback())
		}
	}
	f("tcp://127.0.0.1:5514", "tcp://127.0.0.1:5514", true)
	f("udp://127.8.9.1:0", "udp://127.8.9.1:0", true)
	f("udp://[::1]:514", "udp://[::1]:514", true)
	f("udp://[::ffff:127.0.0.1]:514", "udp://[::ffff:127.0.0.1]:514", true)
	f("tcp://localhost:1", "tcp://localhost:1", true)
	f("tcp://localhost.example:1", "tcp://localhost.example:1", false)
	f("tcp://:514", "tcp://:514", false)
	f("tcp://*:514", "tcp://:514", false)
	f("tcp://[::]:514", "tcp://[::]:514", false)
	f("udp://[fe80::1%eth0]:514", "udp://[fe80::1%eth0]:514", false)
	for _, text := range []string{"", "tcp://", "tcp:127.0.0.1:1", "tcp://::1:514", "tcp://a b:1", "tcp://u@h:1", "tcp://h:1/x", "tcp://h:-1", "tcp://h:65536", "TCP://h:1", "tcp://[::1:1"} {
		if a, err := ParseAddress(text); err == nil {
			t.Errorf("ParseAddress(%q) = %q", text, a)
		}
	}
}

func TestPrefixes(t *testing.T) {
	t.Parallel()
	f := func(text, want string) {
		t.Helper()
		p, err := ParsePrefix(text)
		if err != nil || p.String() != want {
			t.Errorf("ParsePrefix(%q) = %v, %v; want %s", text, p, err, want)
		}
	}
	f("192.0.2.0/24", "192.0.2.0/24")
	f("192.0.2.7", "192.0.2.7/32")
	f("::ffff:192.0.2.7", "192.0.2.7/32")
	f("2001:db8::/32", "2001:db8::/32")
	f("2001:db8::1", "2001:db8::1/128")
	f("0.0.0.0/0", "0.0.0.0/0")
	for _, text := range []string{"", "any", "192.0.2.0/33", "192.0.2.1/24", "192.0.2", "fe80::1%eth0", "a/8"} {
		if p, err := ParsePrefix(text); err == nil {
			t.Errorf("ParsePrefix(%q) = %v", text, p)
		}
	}
}

func TestTimeZones(t *testing.T) {
	t.Parallel()
	f := func(text string, offset int) {
		t.Helper()
		loc, err := ParseTimeZone(text)
		if err != nil {
			t.Errorf("ParseTimeZone(%q): %v", text, err)
			return
		}
		if _, got := time.Date(2026, 1, 1, 0, 0, 0, 0, loc).Zone(); got != offset {
			t.Errorf("ParseTimeZone(%q) has offset %d, want %d", text, got, offset)
		}
	}
	f("UTC", 0)
	f("Z", 0)
	f("Europe/Amsterdam", 3600)
	f("Europe/Sofia", 7200)
	f("+02:00", 7200)
	f("-0330", -12600)
	for _, text := range []string{"", "Local", "EUROPE", "+2", "+99:00", "../etc/passwd"} {
		if loc, err := ParseTimeZone(text); err == nil {
			t.Errorf("ParseTimeZone(%q) = %v", text, loc)
		}
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	keys := Default().keys()
	f := func(name, want string) {
		t.Helper()
		if got := nearest(name, keys); got != want {
			t.Errorf("nearest(%q) = %q, want %q", name, got, want)
		}
	}
	f("listener", "listeners")
	f("Kafka", "kafka")
	f("clikhouse", "clickhouse")
	f("click_house", "clickhouse")
	f("retentoin", "retention")
	f("lgo", "log")
	f("abc", "")
	f("", "")
}
