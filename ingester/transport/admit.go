package transport

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/pires/go-proxyproto"
)

// headerTimeout is what a load balancer has for its PROXY header, which it sends at once.
const headerTimeout = 5 * time.Second

// errHealthCheck ends a connection that its load balancer made to see whether we live.
var errHealthCheck = errors.New("it is the load balancer's own")

// refusal is why a connection is closed that has not begun.
type refusal string

const (
	admitted   refusal = ""
	notAllowed refusal = "closed a connection from an address that listeners[].allow does not name"
	tooMany    refusal = "closed a connection: all of listeners[].max_connections are open"
	tooManyOf  refusal = "closed a connection: its sender has all of listeners[].max_connections_per_peer open"
)

func (r refusal) Error() string { return string(r) }

// join makes a connection known, or refuses it. One of a load balancer's is known before
// its sender is.
func (l *tcpListener) join(c *conn) refusal {
	l.mu.Lock() // no Reload between the look at the lists and the connection's being known
	defer l.mu.Unlock()
	allow := l.allow.Load()
	c.proxied = allow.isProxy(c.peer.Addr())
	c.shaking.Store(c.proxied || l.tls != nil)
	if len(l.conns) >= l.o.MaxConnections && (c.proxied || allow.permits(c.peer.Addr())) {
		return tooMany
	}
	if !c.proxied {
		if r := l.name(c); r != admitted {
			return r
		}
	}
	l.conns[c] = struct{}{}
	return admitted
}

// name takes c's sender into account, now that it is known. It wants the lock.
func (l *tcpListener) name(c *conn) refusal {
	a := c.peer.Addr()
	if !l.allow.Load().permits(a) {
		return notAllowed
	}
	if most := l.o.MaxConnectionsPerPeer; most > 0 {
		if l.peers[a] >= most {
			return tooManyOf
		}
		l.peers[a]++
	}
	c.named = true
	return admitted
}

// part forgets a connection.
func (l *tcpListener) part(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	if a := c.peer.Addr(); c.named && l.o.MaxConnectionsPerPeer > 0 {
		if l.peers[a]--; l.peers[a] == 0 {
			delete(l.peers, a)
		}
	}
}

// refused counts a connection that is closed for r.
func (l *tcpListener) refused(c *conn, r refusal) {
	if r == notAllowed {
		l.stats.Refuse(c.peer.Addr()) // whose account has a line in the log
		return
	}
	l.stats.Refused.Add(1)
	if n := l.notices.due(string(r)); n > 0 {
		l.o.Logger.Warn(string(r), "count", n, "peer", c.peer, "max_connections", l.o.MaxConnections, "max_connections_per_peer", l.o.MaxConnectionsPerPeer)
	}
}

// introduce reads whose connection it is that a load balancer has made. The header is in
// clear and comes before all else, a TLS handshake too.
func (c *conn) introduce() error {
	if !c.proxied {
		return nil
	}
	c.nc.SetDeadline(time.Now().Add(c.l.o.HeaderTimeout))
	if c.l.stopping.Load() {
		<-c.l.woken
		c.nc.SetDeadline(time.Now().Add(c.l.o.DrainTime))
	}
	peer, err := readHeader(c.nc)
	switch {
	case err == errHealthCheck:
		return err
	case err != nil:
		c.l.stats.BadHeaders.Add(1)
		const what = "closed a connection from an address of listeners[].proxy_from that begins with no PROXY header"
		if n := c.l.notices.due(what); n > 0 {
			c.l.o.Logger.Warn(what, "count", n, "peer", c.peer, "error", err)
		}
		return err
	}
	c.l.mu.Lock()
	c.peer = peer
	r := c.l.name(c)
	c.l.mu.Unlock()
	if r != admitted {
		c.l.refused(c, r)
		return r
	}
	if c.l.tls != nil {
		return nil // its handshake has a deadline of its own
	}
	err = c.nc.SetDeadline(time.Time{})
	c.shaking.Store(false)
	return err
}

// readHeader reads a PROXY header and not a byte more: what follows is the connection's, to
// be read where there is room for it.
func readHeader(nc io.Reader) (netip.AddrPort, error) {
	text, err := cutHeader(nc)
	switch {
	case err == io.EOF && len(text) == 0:
		return netip.AddrPort{}, errHealthCheck // connected, and closed
	case err != nil:
		return netip.AddrPort{}, err
	}
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(text), len(text)))
	switch {
	case err != nil:
		return netip.AddrPort{}, err
	case h.Command.IsLocal():
		return netip.AddrPort{}, errHealthCheck
	}
	from, ok := h.SourceAddr.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("its header names no sender over TCP: %v", h.SourceAddr)
	}
	return plainPeer(from.AddrPort()), nil
}

// What cutHeader knows of the two versions; the library does the rest.
const (
	signatureSize = 12  // no header of v1 is as short
	fixedSize     = 16  // of v2, the length of the rest included
	longestV1     = 107 // with its line end
)

// cutHeader reads what must be a header if anything is. It may come in pieces, which the
// library does not take.
func cutHeader(nc io.Reader) ([]byte, error) {
	b := make([]byte, signatureSize, longestV1)
	n, err := io.ReadFull(nc, b)
	if err != nil {
		return b[:n], err
	}
	more := func(n int) error {
		b = append(b, make([]byte, n)...)
		_, err := io.ReadFull(nc, b[len(b)-n:])
		return err
	}
	if bytes.Equal(b, proxyproto.SIGV2) {
		if err := more(fixedSize - signatureSize); err != nil {
			return b, err
		}
		rest := binary.BigEndian.Uint16(b[fixedSize-2:])
		if rest > proxyproto.MaxV2HeaderSize {
			return b, proxyproto.ErrInvalidLength
		}
		return b, more(int(rest))
	}
	if !bytes.HasPrefix(b, proxyproto.SIGV1) {
		return b, proxyproto.ErrNoProxyProtocol
	}
	for b[len(b)-1] != '\n' && len(b) < longestV1 {
		if err := more(1); err != nil {
			return b, err
		}
	}
	return b, nil
}
