package quarantine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// Options say where the quarantine is and who asks.
type Options struct {
	Host      string
	Port      int
	TLS       *tls.Config // nil: none, which only a server on this machine gets the password over
	StartTLS  bool        // TLS begins after a word in clear
	User      string
	Password  string
	Timeout   time.Duration
	MaxHeader int
}

// Address is where the server is.
func (o *Options) Address() string { return net.JoinHostPort(o.Host, strconv.Itoa(o.Port)) }

// Client is one connection to the server, logged in. It belongs to one goroutine.
type Client struct {
	o    Options
	ctx  context.Context
	link *link
	imap *imapclient.Client
	stop func() bool // of the watch over ctx
}

// ErrLogin is what Dial returns when the server refuses user and password.
var ErrLogin = errors.New("the server refuses this user with this password")

// Dial connects and logs in. The end of ctx ends the client.
func Dial(ctx context.Context, o Options) (*Client, error) {
	c := &Client{o: o, ctx: ctx}
	conn, err := (&net.Dialer{Timeout: o.Timeout}).DialContext(ctx, "tcp", o.Address())
	if err != nil {
		return nil, fmt.Errorf("cannot connect to the IMAP server: %w; it is quarantine.host and quarantine.port", err)
	}
	c.link = &link{Conn: conn, patience: o.Timeout}
	c.stop = context.AfterFunc(ctx, func() { conn.Close() })
	if err := c.open(); err != nil {
		c.abort()
		return nil, err
	}
	return c, nil
}

// open is everything between the connection and the first folder.
func (c *Client) open() error {
	if c.o.TLS == nil && !c.Peer().IsLoopback() {
		return fmt.Errorf("cannot log in to %s: without TLS the password would cross a network in clear; quarantine.tls.mode is implicit or starttls for a server that is not on this machine", c.o.Address())
	}
	if err := c.await(c.greet); err != nil {
		return c.untrusted(err)
	}
	if c.imap.State() == imap.ConnStateAuthenticated { // PREAUTH
		return nil
	}
	err := c.await(func() error { return c.imap.Login(c.o.User, c.o.Password).Wait() })
	var refused *imap.Error
	if errors.As(err, &refused) && refused.Type == imap.StatusResponseTypeNo {
		return fmt.Errorf("cannot log in to IMAP server %s as %q: %w: %s", c.o.Address(), c.o.User, ErrLogin, words(refused))
	}
	return c.failed(err, "cannot log in to IMAP server %s as %q", c.o.Address(), c.o.User)
}

// greet begins TLS and hears the server's first words.
func (c *Client) greet() (err error) {
	o := &imapclient.Options{TLSConfig: c.o.TLS}
	switch {
	case c.o.TLS == nil:
		c.imap = imapclient.New(c.link, o)
	case c.o.StartTLS:
		if c.imap, err = imapclient.NewStartTLS(c.link, o); err != nil {
			return err
		}
	default:
		conn := tls.Client(c.link, c.o.TLS)
		if err := conn.HandshakeContext(c.ctx); err != nil {
			return err
		}
		c.imap = imapclient.New(conn, o)
	}
	err = c.imap.WaitGreeting()
	var bye *imap.Error
	if err != nil && !errors.As(err, &bye) {
		return fmt.Errorf("no greeting came: %w", err)
	}
	return err
}

// untrusted explains why there is no encrypted connection.
func (c *Client) untrusted(err error) error {
	var cert *tls.CertificateVerificationError
	var noTLS tls.RecordHeaderError
	switch {
	case errors.As(err, &cert):
		return fmt.Errorf("cannot trust IMAP server %s: %w; quarantine.tls.ca names the authority that signed its certificate, quarantine.tls.server_name the name in it", c.o.Address(), cert.Err)
	case errors.As(err, &noTLS):
		return fmt.Errorf("cannot begin TLS with IMAP server %s: it does not speak TLS there; is it quarantine.tls.mode starttls, or another quarantine.port?", c.o.Address())
	}
	return c.failed(err, "cannot speak IMAP with %s", c.o.Address())
}

// await runs what needs an answer of the server.
func (c *Client) await(f func() error) error {
	c.link.expect()
	defer c.link.rest()
	return f()
}

// failed says why something could not be done: the end of the context and the server's
// silence before the closed connection that they led to. It is nil without an error.
func (c *Client) failed(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	what := fmt.Sprintf(format, args...)
	var refused *imap.Error
	switch {
	case c.ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, context.Cause(c.ctx))
	case c.link.late.Load():
		return fmt.Errorf("%s: no word from the server for %s (quarantine.timeout)", what, c.o.Timeout)
	case errors.As(err, &refused):
		return fmt.Errorf("%s: the server says %s", what, words(refused))
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return fmt.Errorf("%s: the server closed the connection", what)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// words are a refusal as the server put it.
func words(e *imap.Error) string {
	text := string(e.Type)
	if e.Code != "" {
		text += " [" + string(e.Code) + "]"
	}
	return text + " " + strconv.Quote(strings.TrimSpace(e.Text))
}

// Peer is the server's address.
func (c *Client) Peer() netip.Addr {
	a, _ := netip.ParseAddrPort(c.link.RemoteAddr().String())
	return a.Addr().Unmap()
}

// Close says goodbye and ends the connection.
func (c *Client) Close() {
	if c.ctx.Err() == nil && !c.link.late.Load() {
		_ = c.await(func() error { return c.imap.Logout().Wait() }) // it may be gone: so be it
	}
	c.abort()
}

// abort ends the connection at once.
func (c *Client) abort() {
	c.stop()
	c.link.Close()
	if c.imap != nil {
		c.imap.Close() // waits for its reader
	}
}
