package transport

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
)

// errForeign: another user has the door.
var errForeign = errors.New("the instance that runs is another user's")

// share is what a listener knows about others that serve the same sockets: the kernel's
// sockets and their queues live on when it ends. nil: they are its own alone.
//
// systemd keeps the sockets that it passes. With listeners[].reuse_port a second process
// is given the first one's by the kernel (SCM_RIGHTS), at a door whose name both know; the
// connection over which it got them tells each whether the other is still there. Sockets
// of their own in one SO_REUSEPORT group would not do: the kernel resets the connections
// in the queue, and in the making, of one that closes.
type share struct {
	kept      bool     // by systemd
	inherited bool     // we have not opened them
	counts    []uint32 // where the account of each socket begins, if the one before us told

	door   *net.UnixListener
	mu     sync.Mutex
	others []*net.UnixConn
	gone   bool // leave was called
	remain bool // and its answer
}

// inherit returns the sockets that somebody else has opened, none if we have to.
func (o Options) inherit() (files []*os.File, s *share, err error) {
	if len(o.Passed) > 0 {
		return o.Passed, &share{kept: true, inherited: true}, nil
	}
	if !o.ReusePort {
		return nil, nil, nil
	}
	files, s, err = knock(o.door(o.Address))
	if errors.Is(err, errForeign) {
		o.Logger.Warn("no sockets are shared", "error", err) // the port is ours, if we can have it
		return nil, nil, nil
	}
	if s != nil {
		o.Logger.Info("shares the sockets of the instance that runs", "address", o.url())
	}
	return files, s, err
}

// open lets others in to sockets that we have opened.
func (o Options) open(bound net.Addr, handing func() []uint32, sockets ...syscall.Conn) *share {
	if !o.ReusePort {
		return nil
	}
	address := o.Address
	if host, _, err := net.SplitHostPort(address); err == nil && o.Network != unixgram {
		_, port, _ := net.SplitHostPort(bound.String()) // it may have been the kernel's choice
		address = net.JoinHostPort(host, port)
	}
	s := &share{}
	if err := s.listen(o.door(address)); err != nil {
		o.Logger.Warn("no second instance can share the sockets", "error", err)
		return nil
	}
	s.serve(handing, sockets)
	return s
}

// door is the name of the abstract socket at which the sockets of an address are given
// out. Its name space is that of the ports: the network name space.
func (o Options) door(address string) string {
	network := o.Network
	switch network {
	case "tls", "relp":
		network = "tcp"
	}
	return "@millrace/" + network + "/" + address
}

// serve gives the sockets to who knocks, until leave, and with them what handing says, if
// there is anything to say.
func (s *share) serve(handing func() []uint32, sockets []syscall.Conn) {
	go func() {
		for {
			c, err := s.door.AcceptUnix()
			if err != nil {
				return
			}
			s.admit(c, handing, sockets)
		}
	}()
}

// admit gives the sockets to one who knocks. Under the lock: leave must know of everyone
// who has them, or else it would seal sockets that another reads. There are two at most,
// as each knows of those alone that it has given them to, or has them of.
func (s *share) admit(c *net.UnixConn, handing func() []uint32, sockets []syscall.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.gone:
	case s.prune() > 0:
		refuse(c)
	default:
		var counts []uint32
		if handing != nil {
			counts = handing()
		}
		if give(c, counts, append([]syscall.Conn{s.door}, sockets...)) == nil {
			s.others = append(s.others, c)
			return
		}
	}
	c.Close()
}

// prune forgets those who have left, and returns how many are there.
func (s *share) prune() int {
	s.others = slices.DeleteFunc(s.others, func(c *net.UnixConn) bool {
		if !hungUp(c) {
			return false
		}
		c.Close()
		return true
	})
	return len(s.others)
}

// alone tells whether nobody else has the sockets.
func (s *share) alone() bool {
	if s == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return !s.remain
	}
	return s.prune() == 0
}

// leave is called at the stop. It reports whether the sockets go on without us: whatever
// is in their queues is then another's. Of two that leave at the same time at least one
// hears that it is the last.
func (s *share) leave() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return s.remain
	}
	s.gone = true
	s.remain = s.kept
	if s.door != nil {
		s.door.Close()
	}
	for _, c := range s.others {
		c.CloseWrite() // before the look at the other's
	}
	for _, c := range s.others {
		s.remain = !hungUp(c) || s.remain
		c.Close()
	}
	return s.remain
}

// closeAll is for files whose sockets package net has made its own copies of.
func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// listener makes the one socket of a stream listener ours.
func listener(files []*os.File) (*net.TCPListener, error) {
	if len(files) != 1 {
		return nil, fmt.Errorf("%d sockets were passed for it, want 1", len(files))
	}
	ln, err := net.FileListener(files[0])
	if err != nil {
		return nil, err
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		ln.Close()
		return nil, fmt.Errorf("the socket that was passed for it is of another kind (%s)", ln.Addr().Network())
	}
	return tcp, nil
}

// datagramSockets makes the sockets of a datagram listener ours.
func datagramSockets(network string, files []*os.File) (sockets []datagramSocket, err error) {
	for _, f := range files {
		var c net.PacketConn
		if c, err = net.FilePacketConn(f); err != nil {
			break
		}
		s, ok := c.(datagramSocket)
		if !ok || c.LocalAddr().Network() != network {
			c.Close()
			err = fmt.Errorf("the socket that was passed for it is of another kind (%s)", c.LocalAddr().Network())
			break
		}
		sockets = append(sockets, s)
	}
	if err != nil {
		for _, s := range sockets {
			s.Close()
		}
		return nil, err
	}
	return sockets, nil
}
