package porttest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
)

// A reserved port refuses connections, can be listened on twice over, and is not given to
// others: of as many as the kernel gives away itself, none is it.
func TestTCP(t *testing.T) {
	t.Parallel()
	own := TCP(t)
	if c, err := net.Dial("tcp", own); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("%v, %v", c, err)
	}
	for range 2 {
		l, err := net.Listen("tcp", own)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", own)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		l.Close()
	}
	for range 60_000 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if l.Addr().String() == own {
			t.Fatal(own, "was given away")
		}
		l.Close()
	}
}

// Two tests never have the same port.
func TestTCP_Distinct(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 500 {
		for _, a := range []string{TCP(t), UDP(t)} {
			if seen[a] {
				t.Fatal(a, "was given twice")
			}
			seen[a] = true
		}
	}
}

// What the kernel gives away begins above a datagram port that is held.
func TestUDP(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		t.Fatal(err)
	}
	var first, last uint16
	if _, err := fmt.Sscan(string(text), &first, &last); err != nil {
		t.Fatal(err)
	}
	own := UDP(t)
	if port := netip.MustParseAddrPort(own).Port(); port >= first {
		t.Errorf("port %d is among those that the kernel gives away, %d to %d", port, first, last)
	}
	for range 2 {
		c, err := net.ListenPacket("udp", own)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}
