package mailing

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/google/uuid"

	"millrace/internal/config"
	"millrace/internal/mailname"
)

// Relay is the server that takes our mail.
type Relay struct {
	Address  string // HOST:PORT
	TLS      *tls.Config
	Mode     string // config.TLSNone, TLSStart, TLSImplicit
	Username string
	Password string
	From     string
	Timeout  time.Duration // of one mail; default a minute
}

// RelayFromConfig is the relay of the section mail; nil: there is none.
func RelayFromConfig(cfg *config.Config) (*Relay, error) {
	m := &cfg.Mail
	if m.Relay == "" {
		return nil, nil
	}
	encryption, err := cfg.MailTLS()
	if err != nil {
		return nil, err
	}
	from, err := mailname.Mailbox(m.From)
	if err != nil {
		return nil, fmt.Errorf("cannot use mail.from: %w", err)
	}
	return &Relay{
		Address: m.Relay, TLS: encryption, Mode: m.TLS.Mode, Username: m.Username, Password: m.Password.Reveal(),
		From: from, Timeout: m.Timeout,
	}, nil
}

// Send sends a mail of text alone. No text of subject can begin another header.
func (r *Relay) Send(ctx context.Context, to, subject, body string) error {
	to, err := mailname.Mailbox(to)
	if err != nil {
		return err
	}
	text, err := plain(r.From, to, subject, body, uuid.NewString()+"@"+domainOf(r.From), time.Now())
	if err != nil {
		return err
	}
	return r.deliver(ctx, to, text)
}

// unreachable is that the relay was not spoken to: another mail would fare alike.
type unreachable struct{ error }

func (u unreachable) Unwrap() error { return u.error }

// unsure is that the whole message was handed over, and what the relay made of it is not
// known.
type unsure struct{ error }

func (u unsure) Unwrap() error { return u.error }

// deliver hands one message over. What it returns other than an unsure error means that the
// relay has not taken it.
func (r *Relay) deliver(ctx context.Context, to string, text []byte) error {
	timeout := cmp.Or(r.Timeout, time.Minute)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	fail := func(err error) error {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		}
		return fmt.Errorf("cannot send mail over %s (mail.relay): %w", r.Address, err)
	}
	c, err := r.connect(ctx, timeout)
	if err != nil {
		return unreachable{fail(err)}
	}
	defer c.Close()
	if err := c.Mail(r.From, &smtp.MailOptions{Size: int64(len(text))}); err != nil {
		return fail(err)
	}
	if err := c.Rcpt(to, nil); err != nil {
		return fail(err)
	}
	w, err := c.Data()
	if err != nil {
		return fail(err)
	}
	// Without the dot behind it the relay may not take what it has (RFC 5321, 4.2.5).
	if _, err := w.Write(text); err != nil {
		return fail(err)
	}
	if err := w.Close(); err != nil {
		var said *smtp.SMTPError
		if errors.As(err, &said) {
			return fail(err)
		}
		return unsure{fail(fmt.Errorf("the relay has not said whether it has taken the mail: %w", err))}
	}
	_ = c.Quit() // it is taken
	return nil
}

// connect is a session that mail can be handed over in. It ends with ctx.
func (r *Relay) connect(ctx context.Context, timeout time.Duration) (*smtp.Client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", r.Address)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	var c *smtp.Client
	switch r.Mode {
	case config.TLSImplicit:
		t := tls.Client(conn, r.TLS)
		if err := t.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		c = smtp.NewClient(t)
	case config.TLSStart:
		if c, err = smtp.NewClientStartTLS(conn, r.TLS); err != nil {
			conn.Close()
			return nil, err
		}
	default:
		c = smtp.NewClient(conn)
	}
	c.CommandTimeout, c.SubmissionTimeout = timeout, timeout
	if err := c.Hello(helloName()); err != nil {
		c.Close()
		return nil, err
	}
	if r.Username == "" {
		return c, nil
	}
	auth := sasl.NewPlainClient("", r.Username, r.Password)
	if !c.SupportsAuth(sasl.Plain) && c.SupportsAuth(sasl.Login) {
		auth = sasl.NewLoginClient(r.Username, r.Password)
	}
	if err := c.Auth(auth); err != nil {
		c.Close()
		return nil, fmt.Errorf("cannot log in as %q (mail.username): %w", r.Username, err)
	}
	return c, nil
}

// helloName is how we introduce ourselves.
func helloName() string {
	if name, err := os.Hostname(); err == nil && strings.Contains(name, ".") {
		if d, err := mailname.Domain(name); err == nil {
			return d
		}
	}
	return "localhost"
}
