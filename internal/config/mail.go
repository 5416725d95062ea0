package config

import (
	"crypto/tls"
	"fmt"
	"time"
)

// Mail is the server that takes mail of Millrace's own.
type Mail struct {
	Relay    string // HOST:PORT; empty: no mail is sent
	TLS      MailTLS
	Username string
	Password Secret
	From     string
	Timeout  time.Duration
}

// MailTLS is the encryption of the connection to the relay.
type MailTLS struct {
	Mode       string // TLSImplicit, TLSStart, TLSNone
	CA         string
	ServerName string
	Verify     bool
}

// MailTLS is the encryption towards the relay; nil: none.
func (c *Config) MailTLS() (*tls.Config, error) {
	m := &c.Mail
	if m.TLS.Mode == TLSNone {
		return nil, nil
	}
	t := TLS{Enabled: true, CA: m.TLS.CA, ServerName: m.TLS.ServerName}
	got, err := t.load("")
	if err != nil {
		return nil, fmt.Errorf("cannot use mail.tls.ca: %w", err)
	}
	if got.ServerName == "" {
		got.ServerName, _, _ = splitHostPort(m.Relay)
	}
	got.InsecureSkipVerify = !m.TLS.Verify
	return got, nil
}

func (m *Mail) keys() []key {
	return []key{
		{name: "relay", to: textValue{&m.Relay, checkRelay}, def: `""`, allowed: "HOST:PORT", doc: "The server that takes our mail, over SMTP; empty: none is sent."},
		sub("tls", &m.TLS, "Encryption towards the relay."),
		text("username", &m.Username, "", "User, if the relay wants one."),
		secret("password", &m.Password, "MILLRACE_MAIL_PASSWORD", "Password."),
		{name: "from", to: textValue{&m.From, checkRecipient}, def: `""`, allowed: "an address, NAME@DOMAIN", doc: "Whose address our mail is from, and where it comes back to; must be given with relay."},
		duration("timeout", &m.Timeout, "1m", second, 30*minute, "For one mail, from the connection to the relay's last word."),
	}
}

func (t *MailTLS) keys() []key {
	return []key{
		oneOf("mode", &t.Mode, TLSStart, "starttls: after a word in clear, and never without; implicit: TLS from the first byte; none: in clear, a password on loopback only.",
			TLSNone, TLSStart, TLSImplicit),
		text("ca", &t.CA, "", "PEM file of the authorities that we trust; empty: those of the system. Relative paths start at this file's directory."),
		text("server_name", &t.ServerName, "", "Name that the relay's certificate must have; empty: the relay's host."),
		boolean("verify", &t.Verify, "true", "Verify the relay's certificate. false: whoever is in between reads the password and the mail."),
	}
}

// checkRelay wants what a client can dial, or nothing.
func checkRelay(s string) error {
	if s == "" {
		return nil
	}
	return checkForward("smtp://" + s)
}

func (c *Config) checkMail(d *decoder) {
	m := &c.Mail
	if m.TLS.CA != "" && m.Relay != "" {
		if _, err := c.MailTLS(); err != nil && !d.failed("mail.tls") {
			d.report("mail.tls.ca", Problem{Text: err.Error()})
		}
	}
	if m.Relay == "" || d.failed("mail") {
		return
	}
	if m.From == "" {
		d.report("mail.from", Problem{Got: quoted(""), Allowed: "an address, NAME@DOMAIN, with mail.relay"})
	}
	if (m.Username != "") != m.Password.IsSet() {
		d.report("mail", Problem{Text: "username and password (or $MILLRACE_MAIL_PASSWORD) go together"})
	}
	host, _, _ := splitHostPort(m.Relay)
	if m.TLS.Mode == TLSNone && m.Username != "" && !isLoopback(host) {
		d.report("mail.tls.mode", Problem{Got: quoted(TLSNone), Allowed: "starttls or implicit where a password goes beyond this machine"})
	}
	if m.TLS.Mode == TLSNone && (m.TLS.CA+m.TLS.ServerName != "" || !m.TLS.Verify) {
		d.report("mail.tls.mode", Problem{Got: quoted(TLSNone), Allowed: "starttls or implicit with the other keys of mail.tls"})
	}
}
