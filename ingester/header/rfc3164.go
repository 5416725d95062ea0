package header

import (
	"bytes"
	"time"
)

const (
	maxHost = 255
	maxTag  = 48 // RFC 3164 says 32; unit names of systemd are longer
	maxPID  = 128
)

// parse3164 reads "TIMESTAMP [HOST] [TAG[PID]:] body", or "TAG[PID]: body" as programs
// write it to a local socket.
func (p *Parser) parse3164(b []byte, h *Header, receivedMillis int64, loc *time.Location) ([]byte, bool) {
	n := p.stamp(b, h, receivedMillis, loc)
	if n == 0 {
		if len(b) == 0 || !isAlpha(b[0]) {
			return nil, false
		}
		body, ok := parseTag(b, h)
		if !ok {
			return nil, false
		}
		h.Style = RFC3164
		return body, true
	}
	h.Style = RFC3164
	b = trimSpaces(b[n:])
	if n = plainLen(b); n == 0 {
		// "spamdyke[29207]: x": what stands in the host's place is a tag. An IPv6 address has
		// colons too, but none with a space behind it.
		if body, ok := parseTag(b, h); ok {
			return body, true
		}
		if n = hostLen(b); n == 0 {
			return b, true
		}
	}
	h.Host = b[:n]
	b = trimSpaces(b[n:])
	if body, ok := parseTag(b, h); ok {
		return body, true
	}
	return b, true
}

func trimSpaces(b []byte) []byte {
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	return b
}

// plainLen is the length of a host that no tag can be taken for, because a space
// follows it, and that holds nothing but what most hosts are made of; else 0.
func plainLen(b []byte) int {
	i := 0
	for i < len(b) && isPlain[b[i]] {
		i++
	}
	if i > maxHost || i == len(b) || b[i] != ' ' {
		return 0
	}
	return i
}

// hostLen is the length of a host name or address that a space or the end follows.
// What holds other characters is the body already: a quote, above all.
func hostLen(b []byte) int {
	i := 0
	for i < len(b) && isHostChar[b[i]] {
		i++
	}
	if i > maxHost || i < len(b) && b[i] != ' ' {
		return 0
	}
	return i
}

// parseTag reads "NAME: ", "NAME[PID]: " and "NAME[PID] ". Without colon and PID a
// name cannot be told from a word of the body.
func parseTag(b []byte, h *Header) ([]byte, bool) {
	i := 0
	for i < len(b) && isTagChar[b[i]] {
		i++
	}
	if i == 0 || i > maxTag || i == len(b) {
		return nil, false
	}
	name, rest := b[:i], b[i:]
	var pid []byte
	if rest[0] == '[' {
		end := bytes.IndexByte(rest[:min(len(rest), maxPID+2)], ']')
		if end < 0 {
			return nil, false
		}
		pid = rest[1:end]
		for _, c := range pid {
			if !isGraph(c) || c == '"' || c == '[' {
				return nil, false
			}
		}
		rest = rest[end+1:]
	} else if rest[0] != ':' {
		return nil, false
	}
	if len(rest) > 0 && rest[0] == ':' {
		rest = rest[1:]
	}
	if len(rest) > 0 {
		if rest[0] != ' ' {
			return nil, false
		}
		rest = rest[1:]
	}
	h.App, h.PID = name, nilIfEmpty(pid)
	return rest, true
}

func nilIfEmpty(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

// The characters of host names and addresses, of nearly all of them, and of tags. A tag may hold nearly
// anything, but neither quote nor comma: a relay puts its header before a body that
// has both, and a colon somewhere in it.
var isHostChar, isPlain, isTagChar = func() (host, plain, tag [256]bool) {
	for c := range 256 {
		b := byte(c)
		host[c] = isDigit(b) || isAlpha(b) || bytes.IndexByte([]byte("._:%-/[]"), b) >= 0
		plain[c] = isDigit(b) || isAlpha(b) || b == '.' || b == '-'
		tag[c] = isDigit(b) || isAlpha(b) || bytes.IndexByte([]byte(`_-./\+@*()#$~!&=%|^?`), b) >= 0
	}
	return
}()
