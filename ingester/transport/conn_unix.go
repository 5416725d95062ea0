//go:build unix

package transport

import (
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// rawConn is the way to a connection's descriptor, or nil if bytes from there are not
// the stream's.
func rawConn(nc net.Conn) syscall.RawConn {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// readFD reads once, without waiting: EAGAIN says that there is nothing.
func (c *conn) readFD(fd int, b []byte) (int, error) {
	if c.below == nil {
		return unix.Read(fd, b)
	}
	return c.below.readTLS(fd, c.io, b)
}

// tryRead reads once. It takes a buffer only when it reads, so that the many
// connections that wait have none. False asks the runtime to wait and call again.
func (c *conn) tryRead(fd uintptr) bool {
	c.turn()
	c.hold()
	for {
		n, err := c.readFD(int(fd), c.slab.b[len(c.data):])
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			if c.wait {
				c.park()
				return false
			}
		case err != nil:
			c.err = err
		case n == 0:
			c.err = io.EOF
		default:
			c.n = n
		}
		return true
	}
}
