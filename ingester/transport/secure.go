package transport

import (
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// errExpelled ends a connection that a Reload would not let in any more.
var errExpelled = errors.New("a reload has taken its sender's permission away")

// secrecy is the part of a conn that others look at: its encryption, and whether it may
// stay.
type secrecy struct {
	tls      atomic.Pointer[tls.Conn] // nil without, and before the handshake is over
	below    *socket                  // what tls stands on; nil if that is nc itself
	shaking  atomic.Bool              // the handshake is not over
	expelled atomic.Bool
}

// secure shakes hands, if there is encryption.
func (c *conn) secure() error {
	c.io = c.nc
	s := c.l.tls
	if s == nil {
		return nil
	}
	var nc net.Conn = c.nc
	if c.below = below(c.nc); c.below != nil {
		nc = c.below
	}
	before := s.current.Load()
	t, err := s.handshake(nc, &c.l.stopper, c.l.o.DrainTime)
	if err != nil {
		if c.expelled.Load() {
			return errExpelled
		}
		c.failed(err)
		return err
	}
	c.io = t
	if c.below != nil {
		c.below.ready = true
	}
	c.tls.Store(t)
	c.shaking.Store(false)
	if s.current.Load() != before && !c.admitted() { // a Reload came in between
		c.expel()
	}
	return nil
}

// bearSilence bounds what crypto/tls writes of its own accord: it answers who asks for new
// keys, and would wait for ever for one that does not read.
func (c *conn) bearSilence(most time.Duration) {
	if c.below != nil {
		c.below.patience = most
	}
}

// admitted reports whether TLS lets the connection stay.
func (c *conn) admitted() bool {
	t := c.tls.Load()
	return t == nil || c.l.tls.current.Load().admits(t.ConnectionState()) == nil
}

// expel ends the connection, at its next look at expelled.
func (c *conn) expel() {
	if c.expelled.CompareAndSwap(false, true) {
		c.l.stats.Refuse(c.peer.Addr())
		c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// wake makes the connection see a stop.
func (c *conn) wake() {
	if c.shaking.Load() {
		c.nc.SetDeadline(time.Now().Add(c.l.o.DrainTime))
		return
	}
	c.nc.SetReadDeadline(time.Unix(1, 0))
	c.nc.SetWriteDeadline(time.Now().Add(c.l.o.DrainTime)) // TLS writes of its own accord
}

// close says goodbye, where there is a word for it.
func (c *conn) close() {
	if t := c.tls.Load(); t != nil {
		t.Close()
		return
	}
	c.nc.Close()
}
