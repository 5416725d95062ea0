package embedded

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"
)

// Off, in place of HOST:PORT, means that a listener is not wanted.
const Off = "off"

// AddressInUseError says that a listener cannot have its address. Listener is
// the name of its flag without the dashes: kafka, clickhouse-native,
// clickhouse-http.
type AddressInUseError struct {
	Listener string
	Address  string
}

func (e *AddressInUseError) Error() string {
	return fmt.Sprintf("cannot listen on %q for %s: the port is taken by another process (choose another with --%s HOST:PORT)",
		e.Address, e.Listener, e.Listener)
}

// hostPort is a parsed HOST:PORT.
type hostPort struct {
	host string
	port int
}

func (a hostPort) String() string { return net.JoinHostPort(a.host, strconv.Itoa(a.port)) }

func parseAddress(listener, address string) (hostPort, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return hostPort{}, fmt.Errorf("cannot parse address %q for --%s: want HOST:PORT or %s: %w", address, listener, Off, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return hostPort{}, fmt.Errorf("cannot parse address %q for --%s: port %q is not a number from 0 to 65535", address, listener, portText)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	if host == "localhost" {
		host = "127.0.0.1" // ClickHouse would bind both families, and the broker one
	}
	if net.ParseIP(host) == nil {
		return hostPort{}, fmt.Errorf("cannot parse address %q for --%s: host %q is not an IP address", address, listener, host)
	}
	return hostPort{host: host, port: int(port)}, nil
}

func (a hostPort) loopback() bool { return net.ParseIP(a.host).IsLoopback() }

// dialable is the address under which this machine reaches the listener: a
// wildcard is reached over loopback.
func (a hostPort) dialable() hostPort {
	if ip := net.ParseIP(a.host); ip.IsUnspecified() {
		if ip.To4() != nil {
			a.host = "127.0.0.1"
		} else {
			a.host = "::1"
		}
	}
	return a
}

// portWait bounds how long a taken port is asked for again. A killed
// predecessor with much memory takes a moment to be gone.
const portWait = 2 * time.Second

// listen takes the address, waiting a little for a dying predecessor.
func listen(listener string, a hostPort) (net.Listener, error) {
	deadline := time.Now().Add(portWait)
	for {
		ln, err := net.Listen("tcp", a.String())
		if err == nil {
			return ln, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("cannot listen on %q for --%s: %w", a, listener, err)
		}
		if time.Now().After(deadline) {
			return nil, &AddressInUseError{Listener: listener, Address: a.String()}
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// pickPort returns the address with a port that was free a moment ago, for a
// listener that another process will open. A fixed port is checked to be free.
func pickPort(listener string, a hostPort) (hostPort, error) {
	ln, err := listen(listener, a)
	if err != nil {
		return a, err
	}
	a.port = ln.Addr().(*net.TCPAddr).Port
	return a, ln.Close()
}
