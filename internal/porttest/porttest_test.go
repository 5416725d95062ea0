package porttest

import (
	"errors"
	"net"
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

func TestUDP(t *testing.T) {
	t.Parallel()
	own := UDP(t)
	for range 2 {
		c, err := net.ListenPacket("udp", own)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}
