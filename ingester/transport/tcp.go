package transport

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"millrace/ingester/framing"
)

// readRoom is how much a read may take beside a frame that is still open.
const readRoom = 64 << 10

// acceptDrain is for how long a stop still takes connections that the kernel has
// already made: their senders believe that they are connected, and may have sent.
const acceptDrain = 20 * time.Millisecond

type tcpListener struct {
	o       Options
	ln      *net.TCPListener
	share   *share // nil: the socket is ours alone
	allow   atomic.Pointer[allowList]
	tls     *secured // nil without encryption
	stats   Stats
	notices notices
	slabs   sync.Pool               // of *slab
	turns   chan struct{}           // a place for each connection that reads now
	wrap    func(net.Conn) net.Conn // of a transport on top of TCP
	speak   func(*conn, func(Receipts) Sink) (protocol, Sink)
	talk    func(*conn, func(Receipts) Sink) error // serves a connection instead of conn.serve
	hard    context.Context                        // of Serve

	stopper
	mu    sync.Mutex
	conns map[*conn]struct{}
	peers map[netip.Addr]int // their connections, if these are limited
	held  atomic.Int64       // bytes of unfinished frames whose connections wait
	wg    sync.WaitGroup
}

// maxTurns is how many connections of a listener read at a time, and hold a slab for
// it: more than can run, and few enough that a thousand busy senders need no thousand
// slabs. The others' bytes wait in the kernel.
const maxTurns = 32

// slab is a read buffer that a connection holds while it has something to read.
type slab struct{ b []byte }

func listenTCP(o Options) (Listener, error) {
	l, err := newTCP(o)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// newTCP makes the listener of a transport on TCP.
func newTCP(o Options) (*tcpListener, error) {
	ln, share, err := openTCP(o)
	if err != nil {
		share.leave()
		return nil, err
	}
	l := &tcpListener{o: o, ln: ln, share: share, speak: speakSyslog, turns: make(chan struct{}, maxTurns), stopper: newStopper(), conns: map[*conn]struct{}{}, peers: map[netip.Addr]int{}}
	l.allow.Store(newAllowList(o))
	if o.TLS != nil {
		l.tls = newSecured(o.TLS)
	}
	size := framing.BufferSize(o.MaxFrame) + readRoom
	l.slabs.New = func() any { return &slab{make([]byte, size)} }
	return l, nil
}

func openTCP(o Options) (*net.TCPListener, *share, error) {
	files, share, err := o.inherit()
	if err != nil || share != nil {
		defer closeAll(files)
		if err != nil {
			return nil, share, err
		}
		ln, err := listener(files)
		if err == nil && share.door != nil {
			share.serve(nil, []syscall.Conn{ln})
		}
		return ln, share, err
	}
	ln, err := new(net.ListenConfig).Listen(context.Background(), family("tcp", o), o.Address)
	if err != nil {
		return nil, nil, err
	}
	tcp := ln.(*net.TCPListener)
	return tcp, o.open(tcp.Addr(), nil, tcp), nil
}

func (l *tcpListener) Addr() net.Addr { return l.ln.Addr() }
func (l *tcpListener) Stats() *Stats  { return &l.stats }
func (l *tcpListener) Close() error {
	l.share.leave()
	return l.ln.Close()
}

func (l *tcpListener) Serve(soft, hard context.Context, open func(Receipts) Sink) error {
	l.hard = hard
	defer context.AfterFunc(soft, l.stop)()
	defer context.AfterFunc(hard, l.abort)()
	defer l.notices.watch(l.o.Logger)()
	err := l.accept(soft, open)
	// Connections that are served to their end may take their time: whoever comes
	// meanwhile is refused, and does not write to a queue that nobody serves.
	l.ln.Close()
	if err != nil {
		l.stop()
	}
	l.wg.Wait()
	return err
}

func (l *tcpListener) stop() {
	l.stopOnce(func() {
		until := time.Now().Add(acceptDrain)
		if l.share.leave() {
			until = time.Unix(1, 0) // what is in the queue is for who goes on
		}
		l.ln.SetDeadline(until)
		l.each((*conn).wake)
	})
}

func (l *tcpListener) abort() {
	l.stop()
	l.ln.Close()
	l.each(func(c *conn) { c.nc.Close() })
}

func (l *tcpListener) Reload(o Options) {
	l.mu.Lock()
	defer l.mu.Unlock()
	allow := newAllowList(o)
	l.allow.Store(allow)
	asksAnew := l.tls != nil && o.TLS != nil && l.tls.replace(o.TLS)
	for c := range l.conns {
		if c.named && !allow.permits(c.peer.Addr()) || asksAnew && !c.admitted() {
			c.expel()
		}
	}
}

// each calls f for every connection, without the lock: to close one waits until its
// read is over, and a read that has to make room for its frame wants the lock.
func (l *tcpListener) each(f func(*conn)) {
	l.mu.Lock()
	all := slices.Collect(maps.Keys(l.conns))
	l.mu.Unlock()
	for _, c := range all {
		f(c)
	}
}

func (l *tcpListener) accept(soft context.Context, open func(Receipts) Sink) error {
	var wait time.Duration
	for {
		nc, err := l.ln.Accept()
		switch {
		case err == nil:
			wait = 0
			l.take(nc, open)
		case l.stopping.Load():
			return nil
		case isTransient(err):
			// No descriptors or memory: those that are connected go on, and end some day.
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			const what = "cannot accept a connection, will try again"
			if n := l.notices.due(what); n > 0 {
				l.o.Logger.Warn(what, "count", n, "error", err)
			}
			select {
			case <-soft.Done():
			case <-time.After(wait):
			}
		default:
			return fmt.Errorf("cannot accept connections on %q: %w", l.o.url(), err)
		}
	}
}

func isTransient(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EINTR} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// take starts a connection, or closes it if its sender may not write here.
func (l *tcpListener) take(nc net.Conn, open func(Receipts) Sink) {
	remote, ok := nc.RemoteAddr().(*net.TCPAddr)
	if !ok {
		nc.Close()
		return
	}
	peer := plainPeer(remote.AddrPort())
	if l.wrap != nil {
		nc = l.wrap(nc)
	}
	c := &conn{l: l, nc: nc, peer: peer}
	if r := l.join(c); r != admitted {
		l.refused(c, r) // counted before its sender can see it
		nc.Close()
		return
	}
	l.stats.Connections.Add(1)
	l.stats.Open.Add(1)
	l.wg.Go(func() {
		err := c.introduce()
		if err == nil {
			err = c.secure()
		}
		switch {
		case err != nil:
		case l.talk != nil:
			err = l.talk(c, open)
		default:
			c.init(open)
			err = c.serve()
		}
		c.close()
		l.part(c)
		l.stats.Open.Add(-1)
		if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
			l.o.Logger.Debug("a connection ended", "peer", c.peer, "error", err)
		}
	})
}
