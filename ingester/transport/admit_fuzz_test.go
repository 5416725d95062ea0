package transport

import (
	"bytes"
	"errors"
	"testing"
	"testing/iotest"

	"github.com/pires/go-proxyproto"
)

// FuzzProxyHeader: a header is read or refused, however TCP cuts it, and not a byte
// of what follows is touched.
func FuzzProxyHeader(f *testing.F) {
	v2 := func(command, family byte, rest ...byte) []byte {
		return append(append(append([]byte{}, proxyproto.SIGV2...), command, family, byte(len(rest)>>8), byte(len(rest))), rest...)
	}
	for _, b := range [][]byte{
		[]byte("PROXY TCP4 192.0.2.1 192.0.2.2 1000 514\r\n<14>frame\x00"),
		[]byte("PROXY TCP6 2001:db8::1 2001:db8::2 1000 514\r\n"),
		[]byte("PROXY UNKNOWN\r\n<14>frame\x00"),
		[]byte("PROXY TCP4 192.0.2.1 192.0.2.2 1000 514"),
		[]byte("<14>no header at all, but long enough\x00"),
		append(v2(0x21, 0x11, 192, 0, 2, 1, 192, 0, 2, 2, 3, 232, 2, 2), "<14>frame\x00"...),
		v2(0x20, 0),
		v2(0x21, 0x31, make([]byte, 216)...),
		v2(0x21, 0x11, 192, 0, 2, 1),
		{},
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, pieces := bytes.NewReader(b), bytes.NewReader(b)
		peer, err := readHeader(whole)
		again, err2 := readHeader(iotest.OneByteReader(pieces))
		if peer != again || (err == nil) != (err2 == nil) || whole.Len() != pieces.Len() {
			t.Fatalf("in one piece: %v, %v, %d bytes left; in many: %v, %v, %d", peer, err, whole.Len(), again, err2, pieces.Len())
		}
		if err != nil {
			return
		}
		if !peer.IsValid() || peer.Addr().Is4In6() || peer.Addr().Zone() != "" {
			t.Fatalf("%q names the sender %v", b, peer)
		}
		// What was read is a header by itself, and what follows changes nothing.
		head := b[:len(b)-whole.Len()]
		if alone, err := readHeader(bytes.NewReader(head)); err != nil || alone != peer {
			t.Fatalf("%q: %v by itself, %v; %v with what follows", head, alone, err, peer)
		}
		if len(head) > 0 {
			if _, err := readHeader(bytes.NewReader(head[:len(head)-1])); err == nil || errors.Is(err, errHealthCheck) && len(head) > 1 && len(head) != 28 {
				t.Fatalf("%q is a header without its last byte: %v", head, err)
			}
		}
	})
}
