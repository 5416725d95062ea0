package transport

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"millrace/ingester/framing"
)

// heldKeep is the size up to which a connection keeps the buffer of its open frames.
const heldKeep = 4 << 10

// plainPatience is how long a read without waiting waits where only net.Conn can be read.
const plainPatience = 10 * time.Millisecond

// farewell is for how long a sender that has been told of a stop may be silent before its
// connection is closed.
const farewell = 250 * time.Millisecond

// errGivenUp ends a connection on which frames cannot be told apart any more.
var errGivenUp = errors.New("its framing is broken")

// conn is one stream connection. It belongs to its goroutine, except nc and secure.go's
// part of it.
type conn struct {
	l  *tcpListener
	nc net.Conn // the socket
	secrecy
	limits
	proxied bool            // a load balancer made it
	named   bool            // its sender is known and counted
	io      io.ReadWriter   // nc, or TLS over it
	raw     syscall.RawConn // nil: read through io
	peer    netip.AddrPort
	proto   protocol
	sink    Sink

	slab *slab  // nil while the connection waits
	mine bool   // one of tcpListener.turns is ours
	data []byte // read and not consumed: in slab, or else in held
	held []byte

	// What the raw read is asked and answers; its function values are made once.
	read    func(fd uintptr) bool
	readNow func(fd uintptr)
	wait    bool
	n       int
	err     error

	full bool // the last read through io filled its buffer
}

// init wants io to be set.
func (c *conn) init(open func(Receipts) Sink) {
	c.proto, c.sink = c.l.speak(c, open)
	c.raw = rawConn(c.nc)
	c.read = c.tryRead
	c.readNow = func(fd uintptr) { c.tryRead(fd) }
}

// protocol is what a connection speaks: how its input falls into frames, and what is
// answered. It is called by the connection's goroutine.
type protocol interface {
	// Next and EndsOnIdle are those of framing.Framer.
	Next(data []byte, end framing.End) (f framing.Frame, advance int, ok bool)
	EndsOnIdle(n int) bool
	// Flow says whether more may be read.
	Flow() flow
	// Wait returns when Flow may have changed, or the listener stops.
	Wait()
	// Owes reports whether the peer waits for us, so that its silence is not idleness.
	Owes() bool
	// End is called once, before the connection is closed. Orderly is how a stop ends it,
	// or Flow: what the peer is still to be told is told.
	End(orderly bool)
}

type flow uint8

const (
	flowing flow = iota
	held         // Next takes no more for the moment
	over         // nor ever
)

// stream is the protocol of plain syslog: frames, and nothing is answered.
type stream struct{ *framing.Framer }

func (stream) Flow() flow { return flowing }
func (stream) Wait()      {}
func (stream) Owes() bool { return false }
func (stream) End(bool)   {}

func speakSyslog(c *conn, open func(Receipts) Sink) (protocol, Sink) {
	c.bearSilence(c.l.o.DrainTime)
	return stream{framing.New(c.l.o.Framing, c.l.o.MaxFrame)}, open(nil)
}

// serve reads until the peer, an error or a stop ends the connection.
func (c *conn) serve() error {
	err := c.converse()
	orderly := err == nil && (c.l.stopping.Load() || c.proto.Flow() == over)
	c.release()
	c.proto.End(orderly)
	return err
}

// discard reads to the peer's end or the read deadline.
func (c *conn) discard() {
	defer c.release()
	for {
		if n, _ := c.fill(true); n == 0 {
			return
		}
		c.data = c.data[:0]
	}
}

func (c *conn) converse() error {
	c.arm() // one that never says anything is idle too
	for {
		if c.l.stopping.Load() {
			return c.drain()
		}
		if c.expelled.Load() {
			return errors.Join(c.frames(framing.EOF), errExpelled)
		}
		if c.crowded.Load() {
			return errors.Join(c.frames(framing.EOF), errCrowded)
		}
		n, err := c.fill(true)
		end := framing.More
		switch {
		case n > 0:
		case errors.Is(err, os.ErrDeadlineExceeded):
			if c.l.stopping.Load() || c.expelled.Load() || c.crowded.Load() {
				continue
			}
			// On a busy machine the timer may have been seen before the bytes that came in time.
			if n, err = c.fill(false); n > 0 {
				c.due = time.Time{} // it has passed
				break
			}
			if end, err = c.overdue(); end == framing.More {
				c.rearm()
				continue
			}
			c.due = time.Time{}
		default:
			end = framing.EOF
		}
		if ferr := c.frames(end); ferr != nil {
			return ferr
		}
		if end == framing.EOF {
			if err == io.EOF {
				return nil
			}
			return err
		}
		for c.proto.Flow() == held && !c.l.stopping.Load() {
			c.park()
			c.proto.Wait()
			if ferr := c.frames(framing.More); ferr != nil {
				return ferr
			}
		}
		if c.proto.Flow() == over {
			return nil
		}
		if c.mine && len(c.l.turns) == cap(c.l.turns) {
			c.park() // somebody may be waiting
		}
		c.arm()
	}
}

// drain reads what the kernel holds and ends the input there. A sender of plain syslog is
// told first that we end, by the end of our side: what it has already sent, or is about to
// send on a connection that it has just made, comes within farewell.
func (c *conn) drain() error {
	<-c.l.woken
	until := time.Now().Add(c.l.o.DrainTime)
	_, plain := c.proto.(stream)
	told := false
	for c.proto.Flow() == flowing && time.Now().Before(until) {
		n, err := c.fill(false)
		if n == 0 && plain && err != io.EOF {
			if half, ok := c.io.(interface{ CloseWrite() error }); ok && !told {
				half.CloseWrite()
			}
			told = true
			c.nc.SetReadDeadline(time.Now().Add(min(farewell, time.Until(until))))
			n, _ = c.fill(true)
		}
		if n == 0 {
			break
		}
		if err := c.frames(framing.More); err != nil {
			return err
		}
	}
	return c.frames(framing.EOF)
}

// frames gives out all frames of the data.
func (c *conn) frames(end framing.End) error {
	defer c.sink.Flush()
	var given uint64
	defer func() { c.l.stats.Frames.Add(given) }()
	for {
		f, n, ok := c.proto.Next(c.data, end)
		c.data = c.data[n:]
		if !ok {
			return nil
		}
		c.moved = true
		if f.Drop != "" {
			c.l.stats.Empty.Add(1)
			continue
		}
		if err := c.sink.Frame(c.peer, f); err != nil {
			c.l.stats.Shutdown.Add(1)
			c.countLost()
			return err
		}
		given++
		if f.Close {
			return errGivenUp
		}
	}
}

// countLost counts the frames that were read and that no sink takes any more.
func (c *conn) countLost() {
	for {
		f, n, ok := c.proto.Next(c.data, framing.EOF)
		c.data = c.data[n:]
		switch {
		case !ok:
			return
		case f.Drop != "":
			c.l.stats.Empty.Add(1)
		default:
			c.l.stats.Shutdown.Add(1)
		}
	}
}

// fill reads once behind the data. Without wait it reads only what is there, and n is 0
// when there is nothing.
func (c *conn) fill(wait bool) (n int, err error) {
	if c.raw == nil {
		n, err = c.fillPlain(wait)
	} else {
		c.wait, c.n, c.err = wait, 0, nil
		if wait {
			err = c.raw.Read(c.read)
		} else {
			err = c.raw.Control(c.readNow) // it knows no deadline, and the one that woke us has passed
		}
		if n = c.n; err == nil {
			err = c.err
		}
		if n > 0 {
			c.data = c.slab.b[:len(c.data)+n]
		}
	}
	c.l.stats.Bytes.Add(uint64(n))
	return n, err
}

// fillPlain reads through io, which needs a buffer before there is anything to read: a
// small one, until a read fills it.
func (c *conn) fillPlain(wait bool) (int, error) {
	if !wait {
		c.due = time.Now().Add(plainPatience)
		c.nc.SetReadDeadline(c.due)
	}
	if !c.full {
		c.park()
	}
	var buf []byte
	if c.full || c.slab != nil || len(c.data) > heldKeep/2 {
		c.hold()
		buf = c.slab.b
	} else {
		if cap(c.held) < heldKeep {
			c.held = make([]byte, 0, heldKeep)
		}
		buf = c.held[:heldKeep]
		c.data = buf[:copy(buf, c.data)]
	}
	n, err := c.io.Read(buf[len(c.data):])
	c.data = buf[:len(c.data)+n]
	c.full = len(c.data) == len(buf)
	return n, err
}

// turn waits for the connection's turn to read. It lasts until the connection waits for
// something else than Kafka, or others want theirs.
func (c *conn) turn() {
	if !c.mine {
		c.l.turns <- struct{}{}
		c.mine = true
	}
}

// pass ends the turn.
func (c *conn) pass() {
	if c.mine {
		<-c.l.turns
		c.mine = false
	}
}

// hold sees to it that the data stands at the front of a slab.
func (c *conn) hold() {
	if c.slab == nil {
		c.slab = c.l.slabs.Get().(*slab)
	}
	c.data = c.slab.b[:copy(c.slab.b, c.data)]
}

// park gives the slab back while the connection waits, and the turn to read. An open frame moves to a buffer
// of its own size, unless it fills a good part of the slab.
func (c *conn) park() {
	if c.slab != nil && len(c.data) <= len(c.slab.b)/4 {
		if len(c.data) == 0 && cap(c.held) > heldKeep {
			c.held = nil
		}
		c.held = append(c.held[:0], c.data...)
		c.data = c.held
		c.l.slabs.Put(c.slab)
		c.slab = nil
	}
	c.pass()
	c.count()
}

func (c *conn) release() {
	c.data, c.held = nil, nil
	c.count()
	if c.slab != nil {
		c.l.slabs.Put(c.slab)
		c.slab = nil
	}
	c.pass()
}
