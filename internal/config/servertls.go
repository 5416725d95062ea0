package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
)

// expirySoon is for how long before a certificate's end there is a warning.
const expirySoon = 14 * day

// encrypted are the networks whose listeners may have a certificate; those of alwaysTLS must.
// On smtp and lmtp it is for STARTTLS.
var (
	encrypted = []string{"tls", "relp", "smtp", "smtps", "lmtp"}
	alwaysTLS = []string{"tls", "smtps"}
)

// given reports whether anything but a time was said.
func (t *ServerTLS) given() bool {
	return t.Cert != "" || t.Key != "" || t.ClientCA != "" || len(t.ClientNames) > 0
}

func (l *Listener) checkTLS(d *decoder, at string) {
	t := &l.TLS
	switch network := l.Address.Network; {
	case network == "" || d.failed(at):
		return
	case !t.given() && !slices.Contains(alwaysTLS, network):
		return
	case !slices.Contains(encrypted, network):
		d.report(at, Problem{Text: "has no meaning on " + network + "; allowed on " + strings.Join(encrypted, " and ") + " listeners"})
		return
	case t.Cert == "" || t.Key == "":
		d.report(at, Problem{Text: "cert and key are missing: " + l.Address.String() + " needs both"})
		return
	case len(t.ClientNames) > 0 && t.ClientCA == "":
		d.report(at+".client_names", Problem{Text: "without client_ca anybody could have a certificate of that name made: set client_ca to the authorities that you trust"})
	}
	for i, name := range t.ClientNames {
		if err := checkHostName(name); err != nil {
			d.report(fmt.Sprintf("%s.client_names[%d]", at, i), Problem{Got: quoted(name),
				Allowed: "a host name such as relay.example.net or *.example.net, or an IP address", Why: err.Error()})
		}
	}
	if _, err := t.Load(); err != nil {
		d.report(at, Problem{Text: err.Error()})
	}
}

// checkHostName admits what a certificate can name (RFC 5425, section 5.2).
func checkHostName(s string) error {
	if _, err := netip.ParseAddr(s); err == nil {
		return nil
	}
	if len(s) > 253 {
		return errors.New("longer than a host name can be")
	}
	for i, label := range strings.Split(s, ".") {
		if i == 0 && label == "*" && s != "*" {
			continue
		}
		if label == "" || len(label) > 63 {
			return errors.New("not a host name")
		}
		for _, c := range label {
			switch {
			case c >= 0x80:
				return errors.New("not ASCII: certificates have the form that begins with xn--")
			case c == '*':
				return errors.New("* can only be all of the first label")
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			default:
				return fmt.Errorf("%q cannot be in a host name", c)
			}
		}
	}
	return nil
}

// Load reads the files. Whose names are allowed is not in what it returns: that is asked
// of each client by its listener.
func (t *ServerTLS) Load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("cannot use cert and key: %w", err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if t.ClientCA == "" {
		return c, nil
	}
	pem, err := os.ReadFile(t.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("cannot read client_ca: %w", err)
	}
	c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, errors.New("cannot use client_ca " + quoted(t.ClientCA) + ": no PEM certificate in it")
	}
	return c, nil
}

// Expiry is when the first certificate of the chain that c shows ends.
func Expiry(c *tls.Config) time.Time {
	var first time.Time
	for _, pair := range c.Certificates {
		for _, der := range pair.Certificate {
			if cert, err := x509.ParseCertificate(der); err == nil && (first.IsZero() || cert.NotAfter.Before(first)) {
				first = cert.NotAfter
			}
		}
	}
	return first
}

// expiryWarning is empty while the certificate is good for long enough.
func (l *Listener) expiryWarning(now time.Time) string {
	if l.TLS.Cert == "" {
		return ""
	}
	c, err := l.TLS.Load()
	if err != nil {
		return "" // it is a problem then, not a warning
	}
	at := Expiry(c)
	left, date := at.Sub(now), at.UTC().Format("2006-01-02 15:04:05 UTC")
	switch {
	case left <= 0:
		return fmt.Sprintf("the certificate of listener %q has expired, on %s: clients that look refuse it (listeners[].tls.cert; SIGHUP reads a new one)", l.Name, date)
	case left < expirySoon:
		return fmt.Sprintf("the certificate of listener %q expires on %s (listeners[].tls.cert; SIGHUP reads a new one)", l.Name, date)
	}
	return ""
}
