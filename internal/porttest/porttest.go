package porttest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TCP is an address of loopback that refuses connections until the test has a server listen
// there. As the kernel has it, the server must set SO_REUSEADDR: Go's do, and the daemons that
// tests start.
func TCP(t testing.TB) string { return forTest(t, TCPPort) }

// UDP is an address of loopback on which nobody receives until the test has a server do so.
func UDP(t testing.TB) string { return forTest(t, UDPPort) }

func forTest(t testing.TB, reserve func() (int, func(), error)) string {
	t.Helper()
	port, release, err := reserve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return address(port)
}

// TCPPort is TCP for who has no test: the port is held until release is called.
func TCPPort() (port int, release func(), err error) {
	// With this option on both sides the kernel lets a server listen on a port that somebody has
	// bound and does not listen on; it is not among those that it gives away itself.
	const shared = true
	return bind(0, shared)
}

// UDPPort is UDP for who has no test: the port is held until release is called.
func UDPPort() (port int, release func(), err error) {
	// No socket can hold a datagram port and leave it to another. What the kernel gives away
	// itself begins above these (net.ipv4.ip_local_port_range); among tests the TCP port of the
	// same number is held in its place.
	const first, ports, tries, shared = 20_000, 12_000, 100, false
	for range tries {
		if port, release, err = bind(first+rand.IntN(ports), shared); err != nil {
			continue
		}
		var c net.PacketConn
		if c, err = net.ListenPacket("udp", address(port)); err == nil {
			c.Close()
			return port, release, nil
		}
		release()
	}
	return 0, nil, fmt.Errorf("cannot find a free UDP port on loopback, the last of %d: %w", tries, err)
}

// loopback is where the ports are.
var loopback = [4]byte{127, 0, 0, 1}

func address(port int) string {
	return (&net.TCPAddr{IP: loopback[:], Port: port}).String()
}

// bind binds a TCP port, any for 0, and does not listen on it.
func bind(want int, shared bool) (port int, release func(), err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, fmt.Errorf("cannot make a socket: %w", os.NewSyscallError("socket", err))
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	if shared {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return 0, nil, fmt.Errorf("cannot share a port: %w", os.NewSyscallError("setsockopt", err))
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: want, Addr: loopback}); err != nil {
		return 0, nil, fmt.Errorf("cannot bind port %d of loopback: %w", want, os.NewSyscallError("bind", err))
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0, nil, fmt.Errorf("cannot find out the port: %w", os.NewSyscallError("getsockname", err))
	}
	return name.(*unix.SockaddrInet4).Port, func() { unix.Close(fd) }, nil
}
