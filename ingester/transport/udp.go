package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"millrace/ingester/framing"
	"millrace/schema"
)

// mostReaders is how many goroutines read one socket at most: under load one decodes
// while another receives, and one that is not scheduled does not fill the buffer.
const mostReaders = 4

// flushAfter is how long frames may wait for Flush while datagrams come without a pause.
const flushAfter = 10 * time.Millisecond

// sealGrace is how long the kernel may take with a datagram for which it has chosen the
// socket: it does that in one go, a soft interrupt that nothing waits in.
const sealGrace = 20 * time.Millisecond

// datagramSocket is a *net.UDPConn or a *net.UnixConn.
type datagramSocket interface {
	net.PacketConn
	syscall.Conn
}

// udpListener reads datagrams: of UDP, and of a Unix socket.
type udpListener struct {
	o       Options
	queues  []*queue
	readers int // of each queue
	allow   atomic.Pointer[allowList]
	ordered atomic.Bool // one reader a socket: two would hand over what they read in any order
	stats   Stats
	notices notices
	seal    func(datagramSocket) error // makes the kernel queue no more datagrams; nil: it cannot
	share   *share                     // nil: the sockets are ours alone
	remain  bool                       // set by stop: others go on with the sockets
	hard    atomic.Bool                // what is queued is given up
	closed  func()                     // after the sockets are closed; may be nil
	stopper
}

// message is one datagram. data is valid until the next receive.
type message struct {
	data []byte
	size int // more than len(data) if it was cut
	peer peerAddr
}

func listenUDP(o Options) (Listener, error) {
	l := &udpListener{o: o, readers: min(runtime.GOMAXPROCS(0), mostReaders), stopper: newStopper(), seal: sealUDP}
	if err := l.open(openUDP); err != nil {
		return nil, err
	}
	inherited := l.share != nil && l.share.inherited
	for i, q := range l.queues {
		size, err := prepareUDP(q, o.ReceiveBuffer, inherited)
		if err != nil {
			l.Close()
			return nil, err
		}
		l.stats.ReceiveBuffer.Store(int64(size))
		switch {
		case i > 0:
		case size < o.ReceiveBuffer:
			o.Logger.Warn("the kernel gives less receive buffer than listeners[].receive_buffer asks for: raise the sysctl net.core.rmem_max",
				"receive_buffer", size, "asked", o.ReceiveBuffer, "sockets", len(l.queues))
		default:
			o.Logger.Debug("receive buffer", "receive_buffer", size, "sockets", len(l.queues))
		}
	}
	return l, nil
}

// open takes the sockets that there are, or binds its own.
func (l *udpListener) open(bind func(Options) ([]datagramSocket, error)) error {
	files, share, err := l.o.inherit()
	l.share = share
	defer closeAll(files)
	var sockets []datagramSocket
	switch {
	case err != nil:
	case share != nil:
		sockets, err = datagramSockets(l.o.Network, files)
	default:
		sockets, err = bind(l.o)
	}
	if err != nil {
		share.leave()
		return err
	}
	var all []syscall.Conn
	for i, s := range sockets {
		q := &queue{datagramSocket: s, stats: &l.stats, alone: func() bool { return l.share.alone() }, more: make(chan struct{}, 1), ended: make(chan struct{})}
		if share != nil {
			q.inherit(share, i, l.o.Logger)
		}
		l.queues, all = append(l.queues, q), append(all, q)
	}
	switch {
	case share == nil:
		l.share = l.o.open(sockets[0].LocalAddr(), l.handing, all...)
	case share.door != nil:
		share.serve(l.handing, all)
	}
	l.Reload(l.o)
	return nil
}

// handing says up to which count each socket's drops are counted here: who is given the
// sockets goes on from there.
func (l *udpListener) handing() (counts []uint32) {
	for _, q := range l.queues {
		counts = append(counts, q.hand())
	}
	return counts
}

func (l *udpListener) Addr() net.Addr { return l.queues[0].LocalAddr() }
func (l *udpListener) Stats() *Stats  { return &l.stats }

// Reload holds from the next batch of datagrams on.
func (l *udpListener) Reload(o Options) {
	l.allow.Store(newAllowList(o))
	l.ordered.Store(o.Ordered)
}

func (l *udpListener) Close() error {
	remain := l.share.leave()
	var errs []error
	for _, q := range l.queues {
		errs = append(errs, q.Close())
	}
	if l.closed != nil && !remain {
		l.closed()
	}
	return errors.Join(errs...)
}

func (l *udpListener) Serve(soft, hard context.Context, open func(Receipts) Sink) error {
	defer l.Close()
	defer context.AfterFunc(soft, l.stop)()
	defer context.AfterFunc(hard, func() {
		l.hard.Store(true)
		l.stop()
	})()
	defer l.notices.watch(l.o.Logger)()
	errs := make([]error, len(l.queues))
	var wg sync.WaitGroup
	for i, q := range l.queues {
		for range l.readers - 1 {
			wg.Go(func() { l.help(q, func() Sink { return open(nil) }) })
		}
		wg.Go(func() {
			defer close(q.ended)
			if errs[i] = l.serve(q, open(nil)); errs[i] != nil {
				l.stop() // half a listener would lose half of the senders without a word
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (l *udpListener) stop() {
	l.stopOnce(func() {
		l.remain = l.share.leave()
		for _, q := range l.queues {
			if l.seal != nil && !l.remain {
				if err := l.seal(q.datagramSocket); err != nil {
					l.o.Logger.Debug("cannot keep the kernel from queueing more", "error", err)
				}
			}
			q.SetReadDeadline(time.Unix(1, 0))
		}
	})
}

// help reads along whenever it is called, as long as there are full batches.
func (l *udpListener) help(q *queue, open func() Sink) {
	r, err := newReceiver(q, l.o.MaxFrame)
	if err != nil {
		return // serve meets the same
	}
	var sink Sink
	for {
		select {
		case <-q.more:
		case <-q.ended:
			return
		}
		if l.ordered.Load() {
			continue
		}
		if sink == nil { // most are never called
			sink = open()
		}
		flushed := time.Now()
		for {
			batch, _ := r.receive(false) // an error is for serve, too
			l.deliver(sink, batch)
			if !r.filled() || l.stopping.Load() {
				break
			}
			q.call()
			if time.Since(flushed) > flushAfter {
				sink.Flush()
				flushed = time.Now()
			}
			runtime.Gosched()
		}
		sink.Flush()
	}
}

// serve reads one socket until a stop, and then what is queued in it.
func (l *udpListener) serve(q *queue, sink Sink) error {
	defer sink.Flush()
	r, err := newReceiver(q, l.o.MaxFrame)
	if err != nil {
		return fmt.Errorf("cannot read %q: %w", l.o.url(), err)
	}
	flushed := time.Now()
	var until time.Time
	settled := false
	open := false // there are frames that wait for Flush, which must not wait for the next datagram
	for {
		stopping := l.stopping.Load()
		if stopping && until.IsZero() {
			<-l.woken
			if l.remain {
				q.countDrops()
				return nil // what is in the queue is for who goes on
			}
			until = time.Now().Add(l.o.DrainTime)
		}
		if stopping && (l.hard.Load() || time.Now().After(until)) {
			l.giveUp(r)
			q.countDrops()
			return nil
		}
		batch, err := r.receive(!stopping && !open)
		l.deliver(sink, batch)
		switch {
		case err == nil && len(batch) == 0 && stopping:
			if settled {
				q.countDrops()
				return nil // the queue is empty
			}
			// A datagram that the kernel was about to queue when it was told to stop.
			settled = true
			time.Sleep(sealGrace)
		case err == nil:
		case l.stopping.Load():
			if stopping || !errors.Is(err, os.ErrDeadlineExceeded) {
				return nil
			}
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("cannot read %q: %w", l.o.url(), err)
		default:
			// An error of one datagram, as an ICMP answer, or of a machine out of memory.
			const what = "cannot read a datagram, will try again"
			if n := l.notices.due(what); n > 0 {
				l.o.Logger.Warn(what, "count", n, "error", err)
			}
			time.Sleep(time.Millisecond)
		}
		// Nothing more waits, or more has come without a pause for long enough.
		if open = r.filled(); !open || time.Since(flushed) > flushAfter {
			sink.Flush()
			q.countDrops()
			flushed, open = time.Now(), false
		}
		if r.filled() {
			q.call()
			runtime.Gosched() // or others wait for the end of our time slice, in which their socket's buffer may fill up
		}
	}
}

// giveUp counts what is queued, which nobody takes any more.
func (l *udpListener) giveUp(r *receiver) {
	for {
		batch, _ := r.receive(false)
		if len(batch) == 0 {
			return
		}
		for i := range batch {
			l.stats.Bytes.Add(uint64(len(batch[i].data)))
		}
		l.stats.Shutdown.Add(uint64(len(batch)))
	}
}

// deliver gives a batch to the sink.
func (l *udpListener) deliver(sink Sink, batch []message) {
	allow := l.allow.Load()
	var bytes, frames uint64
	for i := range batch {
		bytes += uint64(len(batch[i].data))
	}
	l.stats.Bytes.Add(bytes)
	for i := range batch {
		m := &batch[i]
		peer := m.peer.addrPort()
		if !allow.permits(peer.Addr()) {
			l.stats.Refuse(peer.Addr())
			continue
		}
		f := framing.Whole(m.data)
		if m.size > len(m.data) {
			f = framing.Frame{Reject: schema.ReasonTruncatedDatagram, Bytes: m.data, Size: m.size,
				Detail: fmt.Sprintf("a datagram of %d bytes exceeds the limit of %d (listeners[].max_frame)", m.size, l.o.MaxFrame)}
		}
		if f.Drop != "" {
			l.stats.Empty.Add(1)
			continue
		}
		if err := sink.Frame(peer, f); err != nil {
			l.stats.Shutdown.Add(1)
			continue
		}
		frames++
	}
	l.stats.Frames.Add(frames)
}
