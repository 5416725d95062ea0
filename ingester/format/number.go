package format

import "net/netip"

// maxTyped is longer than any number, address or time that means something: what
// is longer need not be read to its end.
const maxTyped = 64

// parseUint reads a decimal number up to max; a fraction of zeros is allowed,
// because a source in Python writes 12.0 for a number that was a float.
func parseUint(v []byte, max uint64) (n uint64, ok bool) {
	if n, ok = digitsUpTo8(v); ok {
		return n, n <= max
	}
	return parseUintSlow(v, max)
}

// parseUintSlow is parseUint of any length and with what may stand beside digits.
func parseUintSlow(v []byte, max uint64) (n uint64, ok bool) {
	if len(v) > maxTyped {
		return 0, false
	}
	if len(v) > 1 && v[0] == '+' {
		v = v[1:]
	}
	if len(v) == 0 || !isDigit(v[0]) {
		return 0, false
	}
	i := 0
	for ; i < len(v) && isDigit(v[i]); i++ {
		digit := uint64(v[i] - '0')
		if n > (1<<64-1-digit)/10 {
			return 0, false
		}
		n = n*10 + digit
	}
	if i < len(v) {
		if v[i] != '.' {
			return 0, false
		}
		for _, c := range v[i+1:] {
			if c != '0' {
				return 0, false
			}
		}
	}
	return n, n <= max
}

// parseIP reads a plain IPv4 or IPv6 address, also in brackets. A port, a zone
// or an octet with a leading zero is no plain address.
func parseIP(v []byte) (netip.Addr, bool) {
	if len(v) > 2 && v[0] == '[' && v[len(v)-1] == ']' {
		v = v[1 : len(v)-1]
	}
	if a, ok := parseIPv4(v); ok {
		return netip.AddrFrom4(a), true
	}
	a, ok := parseIPv6(v)
	if !ok {
		return netip.Addr{}, false
	}
	return netip.AddrFrom16(a), true
}

func parseIPv4(v []byte) (a [4]byte, ok bool) {
	if len(v) > 15 {
		return a, false
	}
	octet, digits, at := 0, 0, 0
	for _, c := range v {
		switch {
		case isDigit(c):
			if digits > 0 && octet == 0 {
				return a, false
			}
			octet = octet*10 + int(c-'0')
			if digits++; octet > 255 {
				return a, false
			}
		case c == '.' && digits > 0 && at < 3:
			a[at] = byte(octet)
			octet, digits = 0, 0
			at++
		default:
			return a, false
		}
	}
	if at != 3 || digits == 0 {
		return a, false
	}
	a[3] = byte(octet)
	return a, true
}

// parseIPv6 is netip.ParseAddr for bytes, without its allocations on text that
// is no address.
func parseIPv6(v []byte) (a [16]byte, ok bool) {
	if len(v) < 2 || len(v) > 45 {
		return a, false
	}
	gap, at := -1, 0 // where :: stands; bytes written
	i := 0
	if v[0] == ':' {
		if v[1] != ':' {
			return a, false
		}
		gap, i = 0, 2
	}
	for i < len(v) {
		if at == 16 {
			return a, false
		}
		group, digits := 0, 0
		start := i
		for ; i < len(v); i++ {
			h, ok := hexDigit(v[i])
			if !ok {
				break
			}
			if digits++; digits > 4 {
				return a, false
			}
			group = group<<4 | h
		}
		if i < len(v) && v[i] == '.' { // the last 32 bits as IPv4
			tail, ok := parseIPv4(v[start:])
			if !ok || at > 12 {
				return a, false
			}
			at += copy(a[at:], tail[:])
			break
		}
		if digits == 0 {
			return a, false
		}
		a[at], a[at+1] = byte(group>>8), byte(group)
		at += 2
		if i == len(v) {
			break
		}
		if v[i] != ':' || i+1 == len(v) {
			return a, false
		}
		i++
		if v[i] == ':' {
			if gap >= 0 {
				return a, false
			}
			gap = at
			i++
		}
	}
	if at == 16 {
		return a, gap < 0
	}
	if gap < 0 {
		return a, false
	}
	tail := at - gap
	copy(a[16-tail:], a[gap:at])
	clear(a[gap : 16-tail])
	return a, true
}

func hexDigit(c byte) (int, bool) {
	switch {
	case isDigit(c):
		return int(c - '0'), true
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10, true
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10, true
	}
	return 0, false
}

// maxEpoch ends ClickHouse's DateTime, in 2106.
const maxEpoch = 1<<32 - 1
