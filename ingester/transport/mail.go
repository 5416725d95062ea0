package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"
)

const (
	// DefaultMaxMail is the longest message unless configured.
	DefaultMaxMail = 16 << 20
	// DefaultAnswerTimeout of a listener for mail.
	DefaultAnswerTimeout = time.Minute

	// commandMax is how much a client may send without an answer, outside of a message.
	commandMax = 64 << 10
	// recipientsMax is how many recipients one message may have: any are taken.
	recipientsMax = 1000
)

// mailers are the networks whose frames are messages.
var mailers = []string{"smtp", "smtps", "lmtp"}

// mailListener takes messages by SMTP (RFC 5321) or LMTP (RFC 2033). The connections are
// a tcpListener's: who may send, how many, load balancers, TLS from the first byte. What
// they say is go-smtp's, a server for each; a message is a frame.
type mailListener struct {
	*tcpListener
	startTLS *secured      // of smtp and lmtp; nil: none is offered
	forward  *forwarder    // nil: a message goes to the sink alone
	inHand   atomic.Int64  // bytes of messages: Options.OpenFrames bounds them
	hostname string        // how we introduce ourselves
	patience time.Duration // AnswerTimeout
}

func listenMail(o Options) (Listener, error) {
	setDefault(&o.AnswerTimeout, DefaultAnswerTimeout)
	below := o
	if o.Network != "smtps" {
		below.TLS = nil
	}
	tcp, err := newTCP(below)
	if err != nil {
		return nil, err
	}
	m := &mailListener{tcpListener: tcp, patience: o.AnswerTimeout, hostname: "localhost"}
	if o.TLS != nil && o.Network != "smtps" {
		m.startTLS = newSecured(o.TLS)
	}
	if o.Forward.Address != "" {
		m.forward = &forwarder{Forward: o.Forward}
	}
	if name, err := os.Hostname(); err == nil && name != "" && !strings.ContainsAny(name, " \r\n") {
		m.hostname = name
	}
	tcp.talk = m.talk
	return m, nil
}

// Reload implements Listener.
func (m *mailListener) Reload(o Options) {
	if m.startTLS != nil {
		if o.TLS != nil {
			m.startTLS.replace(o.TLS)
		}
		o.TLS = nil
	}
	m.tcpListener.Reload(o)
}

// talk serves a connection to its end.
func (m *mailListener) talk(c *conn, open func(Receipts) Sink) error {
	if c.below != nil {
		c.below.ready = false // its reads are those of an ordinary socket
	}
	p := new(promise)
	mc := &mailConn{conn: c, promise: p, sink: open(p)}
	server := smtp.NewServer(smtp.BackendFunc(func(sc *smtp.Conn) (smtp.Session, error) { return mc.greeted(m, sc), nil }))
	server.Domain = m.hostname
	server.LMTP = m.o.Network == "lmtp"
	server.MaxRecipients = recipientsMax
	server.MaxLineLength = 0 // of a message's lines: mailConn bounds the others
	server.EnableSMTPUTF8 = true
	server.ErrorLog = mailLog{m.o.Logger.With("peer", c.peer)}
	if m.startTLS != nil {
		// The handshake's end is the session that follows it.
		config := m.startTLS.base.Clone()
		current := config.GetConfigForClient
		config.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			mc.shaking = true
			return current(h)
		}
		server.TLSConfig = config
	}
	mc.server = server
	err := server.Serve(&oneListener{conn: mc, addr: m.Addr()})
	server.Shutdown(context.Background()) // the connection's goroutine is over
	mc.sink.Flush()
	if mc.shaking {
		m.stats.Handshakes.Add(1)
	}
	mc.linger()
	if errors.Is(err, errOnlyOne) {
		err = nil
	}
	return errors.Join(err, mc.failed)
}

// oneListener gives a server its one connection.
type oneListener struct {
	conn  net.Conn
	addr  net.Addr
	given bool
}

var errOnlyOne = errors.New("there is one connection only")

func (l *oneListener) Accept() (net.Conn, error) {
	if l.given {
		return nil, errOnlyOne
	}
	l.given = true
	return l.conn, nil
}

func (l *oneListener) Addr() net.Addr { return l.addr }
func (l *oneListener) Close() error   { return nil }

// mailLog is the server's log: what clients do wrong is their affair.
type mailLog struct{ log *slog.Logger }

func (l mailLog) Printf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	if strings.HasPrefix(format, "panic") {
		l.log.Error("BUG: a mail session has failed", "error", text)
		return
	}
	l.log.Debug("a mail session ended", "error", text)
}

func (l mailLog) Println(v ...any) { l.Printf("%s", fmt.Sprintln(v...)) }

// mailConn is a connection as the server has it: it knows how long a read may take, and
// of stops. All but receiving is the connection's goroutine's.
type mailConn struct {
	*conn
	promise *promise
	sink    Sink
	server  *smtp.Server

	receiving  atomic.Bool  // a message
	until      atomic.Int64 // its deadline, Unix nanoseconds; 0: none
	unanswered int          // bytes read outside of a message since the last answer
	drain      time.Time    // a stop's deadline for the message that is coming; zero: no stop
	shaking    bool         // STARTTLS has begun
	over       bool         // nothing more is read
	gaveUp     bool         // its client gave a message up in the midst of its chunks
	closed     atomic.Bool
	failed     error
}

var (
	errLongCommand = errors.New("a command is too long")
	errGaveUp      = errors.New("a message was given up in the midst of its chunks")
)

// Read implements net.Conn. The server answers an error with 421, and ends.
func (c *mailConn) Read(b []byte) (int, error) {
	for {
		switch {
		case c.closed.Load():
			return 0, net.ErrClosed
		case c.over:
			return 0, io.EOF
		case c.gaveUp:
			return 0, c.ends(errGaveUp)
		case !c.receiving.Load() && c.unanswered > commandMax:
			return 0, c.ends(errLongCommand)
		}
		due, idle := c.due()
		c.nc.SetReadDeadline(due)
		if c.expelled.Load() {
			return 0, c.ends(errExpelled)
		}
		if c.l.stopping.Load() {
			<-c.l.woken
			if !c.receiving.Load() {
				return 0, os.ErrDeadlineExceeded // the client hears of it, and goes elsewhere
			}
			if c.drain.IsZero() {
				c.drain = time.Now().Add(c.l.o.DrainTime)
			}
			due, idle = c.drain, false
			c.nc.SetReadDeadline(due)
		}
		n, err := c.io.Read(b)
		c.l.stats.Bytes.Add(uint64(n))
		if !c.receiving.Load() {
			c.unanswered += n
		}
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if due.IsZero() || time.Now().Before(due) {
			continue // woken for a stop, or for being expelled
		}
		c.late(idle)
		c.over = c.receiving.Load() // its message is answered, and nothing else
		return 0, os.ErrDeadlineExceeded
	}
}

// due is when the next bytes must have come; idle: for the connection's sake, and not for
// the message's.
func (c *mailConn) due() (due time.Time, idle bool) {
	if d := c.l.o.IdleTimeout; d > 0 {
		due, idle = time.Now().Add(d), true
	}
	if until := c.until.Load(); until != 0 {
		if t := time.Unix(0, until); due.IsZero() || t.Before(due) {
			due, idle = t, false
		}
	}
	return due, idle
}

// late counts what a deadline was for.
func (c *mailConn) late(idle bool) {
	switch {
	case !c.drain.IsZero():
	case idle:
		c.l.stats.Idle.Add(1)
	default:
		c.l.stats.Slow.Add(1)
		const what = "gave up a message that did not end within listeners[].frame_timeout"
		if n := c.l.notices.due(what); n > 0 {
			c.l.o.Logger.Warn(what, "count", n, "peer", c.peer, "frame_timeout", c.l.o.FrameTimeout)
		}
	}
}

func (c *mailConn) ends(err error) error {
	c.over, c.failed = true, err
	return err
}

// Write implements net.Conn.
func (c *mailConn) Write(b []byte) (int, error) {
	if c.closed.Load() {
		return 0, net.ErrClosed
	}
	c.unanswered = 0
	if c.shaking && len(b) > 0 && '0' <= b[0] && b[0] <= '9' {
		c.over = true // no record of TLS: an answer to a handshake that has failed, to whom it does not reach
		return len(b), nil
	}
	// The server would refuse what MAIL says in words of its own: it knows the limit only
	// while it greets, and the session refuses.
	c.server.MaxMessageBytes = 0
	c.nc.SetWriteDeadline(time.Now().Add(answerPatience))
	return c.io.Write(b)
}

// greeted begins a session, at EHLO: the answer to that names the limit.
func (c *mailConn) greeted(m *mailListener, sc *smtp.Conn) *mailSession {
	c.server.MaxMessageBytes = int64(c.l.o.MaxFrame)
	if _, encrypted := sc.TLSConnectionState(); encrypted {
		c.shaking = false
	}
	return &mailSession{m: m, c: c, sc: sc}
}

// begin and end say that a message comes, through which nothing else is read.
func (c *mailConn) begin() {
	if d := c.l.o.FrameTimeout; d > 0 {
		c.until.Store(time.Now().Add(d).UnixNano())
	}
	c.receiving.Store(true)
}

func (c *mailConn) end() {
	c.until.Store(0)
	c.receiving.Store(false)
}

// Close implements net.Conn. The socket is closed when talk is over.
func (c *mailConn) Close() error {
	c.closed.Store(true)
	return nil
}

// linger gives the client time to read the last answer: to close with input unread would
// reset the connection.
func (c *mailConn) linger() {
	half, ok := c.io.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	c.nc.SetReadDeadline(time.Now().Add(farewell))
	io.Copy(io.Discard, c.nc)
}

func (c *mailConn) LocalAddr() net.Addr              { return c.nc.LocalAddr() }
func (c *mailConn) RemoteAddr() net.Addr             { return net.TCPAddrFromAddrPort(c.peer) }
func (c *mailConn) SetDeadline(time.Time) error      { return nil } // see due
func (c *mailConn) SetReadDeadline(time.Time) error  { return nil }
func (c *mailConn) SetWriteDeadline(time.Time) error { return nil }
