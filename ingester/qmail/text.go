package qmail

import (
	"bytes"
	"net/netip"

	"millrace/schema"
)

// number reads decimal digits at the start of b; n is how many there are. A number beyond
// 64 bits is none.
func number(b []byte) (v uint64, n int) {
	for n < len(b) && b[n]-'0' <= 9 {
		d := uint64(b[n] - '0')
		if v > (1<<64-1-d)/10 {
			return 0, 0
		}
		v = 10*v + d
		n++
	}
	return v, n
}

// whole is number of all of b.
func whole(b []byte) (uint64, bool) {
	v, n := number(b)
	return v, n > 0 && n == len(b)
}

// code is the SMTP reply code that b begins with, and the text behind it; 0: there is none.
func code(b []byte) (uint16, []byte) {
	if len(b) < 3 || b[0] < '1' || b[0] > '5' || b[1]-'0' > 9 || b[2]-'0' > 9 || len(b) > 3 && b[3]-'0' <= 9 {
		return 0, b
	}
	rest := b[3:]
	if len(rest) > 0 && (rest[0] == ' ' || rest[0] == '-' || rest[0] == '_') {
		rest = rest[1:]
	}
	return uint16(b[0]-'0')*100 + uint16(b[1]-'0')*10 + uint16(b[2]-'0'), rest
}

// accepted reads `ok EPOCH qp PID`, with blanks or, as Spamdyke writes it, _ between: what
// qmail-smtpd says behind 250 when the message is in the queue (notqmail, qmail-smtpd.c).
func accepted(b []byte) (epoch, pid uint64, ok bool) {
	if b, ok = word(b, "ok"); !ok {
		return 0, 0, false
	}
	epoch, n := number(b)
	if n == 0 || epoch > schema.MaxSeconds {
		return 0, 0, false
	}
	if b, ok = gap(b[n:]); !ok {
		return 0, 0, false
	}
	if b, ok = word(b, "qp"); !ok {
		return 0, 0, false
	}
	pid, ok = whole(bytes.TrimRight(b, "_ "))
	return epoch, pid, ok
}

// word takes w and the gap behind it off b.
func word(b []byte, w string) ([]byte, bool) {
	if len(b) < len(w) || string(b[:len(w)]) != w {
		return nil, false
	}
	return gap(b[len(w):])
}

func gap(b []byte) ([]byte, bool) {
	if len(b) == 0 || b[0] != ' ' && b[0] != '_' {
		return nil, false
	}
	return b[1:], true
}

// address is an envelope address without the brackets around it.
func address(b []byte) []byte {
	if n := len(b); n >= 2 && b[0] == '<' && b[n-1] == '>' {
		return b[1 : n-1]
	}
	return b
}

// domain is an address's domain in lower case, of which dst keeps the bytes.
func domain(dst, address []byte) (lower, all []byte) {
	d := address[bytes.LastIndexByte(address, '@')+1:]
	if len(d) == len(address) {
		return nil, dst
	}
	start := len(dst)
	for _, c := range d {
		if c-'A' < 26 {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst[start:], dst
}

// ip reads an address. IPv4 without an allocation.
func ip(b []byte) (netip.Addr, bool) {
	if len(b) == 0 || len(b) > 45 {
		return netip.Addr{}, false
	}
	var v4 [4]byte
	part, digits, value := 0, 0, 0
	for _, c := range b {
		switch {
		case c-'0' <= 9:
			value = 10*value + int(c-'0')
			if digits++; digits > 3 {
				return anyIP(b)
			}
		case c == '.' && digits > 0 && value <= 255 && part < 3:
			v4[part] = byte(value)
			part, digits, value = part+1, 0, 0
		default:
			return anyIP(b)
		}
	}
	if part != 3 || digits == 0 || value > 255 {
		return netip.Addr{}, false
	}
	v4[3] = byte(value)
	return netip.AddrFrom4(v4), true
}

// anyIP reads an address that is not IPv4's usual form.
func anyIP(b []byte) (netip.Addr, bool) {
	if bytes.IndexByte(b, ':') < 0 {
		return netip.Addr{}, false // an error would allocate
	}
	a, err := netip.ParseAddr(string(b))
	return a.Unmap(), err == nil && a.Zone() == ""
}
