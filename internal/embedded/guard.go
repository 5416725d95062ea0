package embedded

import (
	"encoding/binary"
	"fmt"
	"net"
)

// guard stands before the broker's listener: it advertises another address than
// it listens on, and cuts connections whose requests claim to be bigger than any
// real one. The broker would allocate what the first four bytes say, 1.2 GB for
// an HTTP request.
type guard struct {
	net.Listener
	addr net.Addr
	max  int64
}

func newGuard(ln net.Listener, advertise hostPort, max int64) *guard {
	return &guard{Listener: ln, addr: textAddr(advertise.String()), max: max}
}

type textAddr string

func (textAddr) Network() string  { return "tcp" }
func (a textAddr) String() string { return string(a) }

func (g *guard) Addr() net.Addr { return g.addr }

func (g *guard) Accept() (net.Conn, error) {
	conn, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &guardedConn{Conn: conn, max: g.max}, nil
}

// guardedConn follows the framing of what is read: four bytes of size, then so
// many bytes. One goroutine reads.
type guardedConn struct {
	net.Conn
	max  int64
	head [4]byte
	have int   // bytes of head
	rest int64 // bytes left of the request
}

func (c *guardedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	for b := p[:n]; len(b) > 0; {
		if c.rest > 0 {
			skip := min(int64(len(b)), c.rest)
			c.rest -= skip
			b = b[skip:]
			continue
		}
		k := copy(c.head[c.have:], b)
		c.have += k
		b = b[k:]
		if c.have == 4 {
			c.have = 0
			c.rest = int64(binary.BigEndian.Uint32(c.head[:]))
			if c.rest > c.max {
				c.Conn.Close()
				return 0, fmt.Errorf("cannot read a request of %d bytes: at most %d are allowed", c.rest, c.max)
			}
		}
	}
	return n, err
}
