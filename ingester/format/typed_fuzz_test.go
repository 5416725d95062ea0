package format

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace/internal/eximid"
	"millrace/schema"
)

// FuzzTyped compares the parsers of numbers, addresses and times with the standard
// library's: what that reads is read, as the same.
func FuzzTyped(f *testing.F) {
	for _, s := range []string{
		"0", "12.0", "+7", "18446744073709551615", "1680135061", "1680135061.25", "1680135061250",
		"192.0.2.1", "[2001:db8::1]", "::ffff:192.0.2.1", "fe80::1%eth0",
		"2023-03-30T02:11:05.250+02:00", "2023-03-30 02:11:05 UTC", "2016-12-31T23:59:60Z", "2023-03-30T02:11:05Z", "1970-01-01T00:00:00-23:59",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		before := bytes.Clone(v)
		text := string(v)
		n, ok := parseUint(v, 1<<64-1)
		if want, err := strconv.ParseUint(text, 10, 64); err == nil && len(v) <= maxTyped && (!ok || n != want) {
			t.Errorf("number %q is read as %d, %t", v, n, ok)
		}
		if ok && !strings.ContainsAny(text, "+.") {
			if want, err := strconv.ParseUint(text, 10, 64); err != nil || want != n {
				t.Errorf("number %q is read as %d: %v", v, n, err)
			}
		}
		bare := text
		if len(v) > 2 && v[0] == '[' && v[len(v)-1] == ']' {
			bare = text[1 : len(v)-1]
		}
		a, ok := parseIP(v)
		want, err := netip.ParseAddr(bare)
		if is := err == nil && want.Zone() == ""; is != ok || is && a.Unmap() != want.Unmap() {
			t.Errorf("address %q is read as %v, %t; netip says %v, %v", v, a, ok, want, err)
		}
		at, ok := parseTime(v)
		if ok && (at.millis > schema.MaxMillis+24*3600*1000 || at.millis < -24*3600*1000) {
			t.Errorf("time %q is read as %d", v, at.millis)
		}
		if want, err := time.Parse(time.RFC3339Nano, text); err == nil && len(v) <= maxTyped {
			_, offset := want.Zone() // at most 15 h, where there is one
			known := want.Year() >= 1970 && want.Year() < 2300 && offset < 16*3600 && offset > -16*3600
			if ms := want.UnixMilli(); known && ms >= 0 && ms <= schema.MaxMillis && (!ok || at.millis != ms || !at.zoned) {
				t.Errorf("time %q is read as %+v, %t; it is %d", v, at, ok, ms)
			}
		}
		if seconds, ok := eximid.Second(v); ok && (len(v) != 16 && len(v) != 23 || seconds >= 62*62*62*62*62*62) {
			t.Errorf("id %q is of second %d", v, seconds)
		}
		if !bytes.Equal(v, before) {
			t.Errorf("%q was changed to %q", before, v)
		}
	})
}
