package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/smtp"
	"time"
)

// Forward is where each message of a listener goes too, before it is taken.
type Forward struct {
	Network string // smtp, smtps
	Address string // HOST:PORT; empty: nowhere
}

// forwarder hands messages to another server, over a connection each: they are few.
type forwarder struct{ Forward }

// send returns nil once the other server has taken the message, for all recipients.
func (f *forwarder) send(ctx context.Context, hostname, from string, to []string, data []byte) error {
	if err := f.try(ctx, hostname, from, to, data); err != nil {
		return fmt.Errorf("cannot forward to %q: %w", f.Network+"://"+f.Address, err)
	}
	return nil
}

func (f *forwarder) try(ctx context.Context, hostname, from string, to []string, data []byte) error {
	socket, err := new(net.Dialer).DialContext(ctx, "tcp", f.Address)
	if err != nil {
		return err
	}
	defer socket.Close()
	defer context.AfterFunc(ctx, func() { socket.SetDeadline(time.Unix(1, 0)) })()
	nc := socket
	host, _, err := net.SplitHostPort(f.Address)
	if err != nil {
		return err
	}
	if f.Network == "smtps" {
		nc = tls.Client(nc, &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12})
	}
	c, err := smtp.NewClient(nc, host)
	if err != nil {
		return err
	}
	if err := c.Hello(hostname); err != nil {
		return err
	}
	if offered, _ := c.Extension("STARTTLS"); offered && f.Network == "smtp" {
		// As between mail servers: better than in clear, and whose certificate it is nobody
		// can say of a host that is named by its address.
		if err := c.StartTLS(&tls.Config{ServerName: host, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}); err != nil {
			return err
		}
	}
	if err := c.Mail(from); err != nil {
		return err
	}
	for _, recipient := range to {
		if err := c.Rcpt(recipient); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_ = c.Quit() // it has the message
	return nil
}
