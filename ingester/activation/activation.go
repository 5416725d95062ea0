package activation

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// firstFD is the first descriptor behind standard error (SD_LISTEN_FDS_START).
const firstFD = 3

// Listener is what a socket can belong to.
type Listener struct {
	Name    string // listeners[].name
	Stream  bool
	Address string // HOST:PORT, or a path
	Several bool   // it may have more than one socket
}

// Socket is one that was passed.
type Socket struct {
	File *os.File
	Name string // FileDescriptorName of its unit, which is the unit's own name by default

	stream bool
	addr   string // HOST:PORT, or a path
}

func (s *Socket) String() string {
	kind := "datagram"
	if s.stream {
		kind = "stream"
	}
	return fmt.Sprintf("%q (%s, %s)", s.Name, kind, s.addr)
}

// FromEnvironment returns the sockets that were passed to this process, none if it was not
// started so. The environment is cleared of them, so that no child believes it is meant.
func FromEnvironment() ([]*Socket, error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	if pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	for _, v := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(v)
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > 1000 {
		return nil, fmt.Errorf("cannot take the sockets of systemd: $LISTEN_FDS is %q", count)
	}
	var sockets []*Socket
	for i, name := range slices.Concat(strings.Split(names, ":"), make([]string, n))[:n] {
		syscall.CloseOnExec(firstFD + i)
		s, err := examine(os.NewFile(uintptr(firstFD+i), name), name)
		if err != nil {
			return nil, fmt.Errorf("cannot take descriptor %d of systemd: %w", firstFD+i, err)
		}
		sockets = append(sockets, s)
	}
	return sockets, nil
}

// examine finds out what a descriptor is.
func examine(f *os.File, name string) (*Socket, error) {
	s := &Socket{File: f, Name: name}
	if c, err := net.FilePacketConn(f); err == nil {
		defer c.Close()
		if a := c.LocalAddr(); a.Network() == "udp" || a.Network() == "unixgram" {
			s.addr = a.String()
			return s, nil
		}
	}
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("%q is no socket of a listener: %w", name, err)
	}
	defer ln.Close()
	s.stream, s.addr = true, ln.Addr().String()
	return s, nil
}

// Assign returns the files of each listener, in their order.
func Assign(sockets []*Socket, listeners []Listener) ([][]*os.File, error) {
	files := make([][]*os.File, len(listeners))
	give := func(s *Socket, fits func(Listener) bool) bool {
		i := slices.IndexFunc(listeners, func(l Listener) bool { return l.Stream == s.stream && fits(l) })
		if i >= 0 {
			files[i] = append(files[i], s.File)
		}
		return i >= 0
	}
	for _, s := range sockets {
		if !give(s, func(l Listener) bool { return l.Name == s.Name }) && !give(s, func(l Listener) bool { return sameAddress(l.Address, s.addr) }) {
			return nil, fmt.Errorf("cannot use socket %s of systemd: no listener of the configuration has its name (FileDescriptorName= in the .socket unit is listeners[].name) or its address", s)
		}
	}
	for i, l := range listeners {
		if len(files[i]) > 1 && !l.Several {
			return nil, fmt.Errorf("cannot use %d sockets of systemd for listener %q: it has one (a second address is a second listener, with a .socket unit of its own)", len(files[i]), l.Name)
		}
	}
	return files, nil
}

// sameAddress compares a configured address with a socket's. Any unspecified address is
// the same as any other: systemd makes [::]:514 of ListenStream=514.
func sameAddress(configured, bound string) bool {
	if configured == bound {
		return true
	}
	host, port, err := net.SplitHostPort(configured)
	boundHost, boundPort, berr := net.SplitHostPort(bound)
	if err != nil || berr != nil || port != boundPort {
		return false
	}
	any := func(h string) bool {
		a, err := netip.ParseAddr(h)
		return h == "" || err == nil && a.IsUnspecified()
	}
	return host == boundHost || any(host) && any(boundHost)
}
