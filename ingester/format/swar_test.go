package format

import (
	"bytes"
	"slices"
	"testing"
)

// FuzzSWAR: values read eight bytes at a time are what they are byte by byte, whatever
// stands behind them in the buffer.
func FuzzSWAR(f *testing.F) {
	for _, v := range []string{
		"", "0", "7", "23533", "12345678", "123456789", "12.0", "+5", "1a", "/", ":", "\xb0", "00012",
		"1680135061", "1680135061.250", "1680135061,250", "168013506x.250", "9999999999.999", "9223372036.854", "9223372036.855",
		"192.0.2.1", "1.2.3.4", "255.255.255.255", "256.1.1.1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1..2.3", "1.2.3.", "1.2.3.04", "12.34.56.789",
		"mx243.filter.example", "a b", "a\"b", "a,b", "x", "12345678", "1234567,", "!", "EXAMPLE.com", "example.co\xc3\x89M", "@[`{",
	} {
		f.Add([]byte(v), []byte(`","1.5`))
		f.Add([]byte(v), []byte(`000000`))
		f.Add([]byte(v), []byte(" .Z\xff\x00,"))
	}
	f.Fuzz(func(t *testing.T, v, behind []byte) {
		if len(v) > 300 {
			return
		}
		alone := slices.Clip(bytes.Clone(v))
		in := slices.Concat(v, behind, behind, behind, []byte(`","example.com","Z 17`))[:len(v)]
		n, ok := parseUint(in, 1<<63)
		m, also := parseUintSlow(alone, 1<<63)
		if ok != also || ok && n != m {
			t.Errorf("parseUint(%q) is %d, %v, and byte by byte %d, %v", v, n, ok, m, also)
		}
		at, ok := parseTime(in)
		slow, also := parseTimeSlow(alone)
		if ok != also || ok && at != slow {
			t.Errorf("parseTime(%q) is %v, %v, and byte by byte %v, %v", v, at, ok, slow, also)
		}
		a, ok := quad(in)
		b, also := parseIPv4(alone)
		if ok != also || ok && a != b {
			t.Errorf("quad(%q) is %v, %v, and byte by byte %v, %v", v, a, ok, b, also)
		}
		if hostLike(in) != hostLike(alone) {
			t.Errorf("hostLike(%q) is %v, and byte by byte %v", v, hostLike(in), hostLike(alone))
		}
		x, _ := lower(in, nil)
		y, _ := lower(alone, nil)
		if !bytes.Equal(x, y) || !bytes.Equal(in, v) {
			t.Errorf("lower(%q) is %q, and byte by byte %q", v, x, y)
		}
	})
}
