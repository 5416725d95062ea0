package api

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"millrace/internal/config"
)

// CertificateOptions say where the API's certificate is.
type CertificateOptions struct {
	Cert, Key string // PEM files; without them it is of our own making, in Dir
	Dir       string
	Address   string // HOST:PORT where the API listens: one of our own making is for that host
	Logger    *slog.Logger
	Now       func() time.Time // time.Now for nil
}

// Certificate is what the API shows to clients. Files that were renewed are taken by
// themselves, and one of our own making is made anew in its last month: who renews
// certificates, and what keeps them for pods, cannot signal a process.
type Certificate struct {
	load func(now time.Time) (tls.Certificate, error)
	log  *slog.Logger
	now  func() time.Time

	mu      sync.Mutex
	pair    *tls.Certificate
	looked  time.Time
	trouble string // what was told last, while it lasts
}

// lookEvery is how old the last look at the files may be when a client connects.
const lookEvery = 10 * time.Second

// OpenCertificate reads the certificate, or makes it.
func OpenCertificate(o CertificateOptions) (*Certificate, error) {
	c := &Certificate{log: o.Logger, now: o.Now}
	if c.now == nil {
		c.now = time.Now
	}
	if o.Cert != "" {
		c.load = func(time.Time) (tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
			if err != nil {
				err = fmt.Errorf("cannot use api.cert and api.key: %w", err)
			}
			return pair, err
		}
	} else {
		host, _, err := net.SplitHostPort(o.Address)
		if err != nil {
			return nil, err
		}
		if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
			host = ""
		}
		c.load = func(now time.Time) (tls.Certificate, error) { return ownCertificate(o.Dir, host, now) }
	}
	c.looked = c.now()
	pair, err := c.load(c.looked)
	c.pair = &pair
	return c, err
}

// current is the certificate as the files have it. While they are no certificate, as between
// the two when they are renewed, it is the last that was.
func (c *Certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if now.Sub(c.looked) < lookEvery {
		return c.pair
	}
	c.looked = now
	pair, err := c.load(now)
	if err != nil {
		if c.trouble != err.Error() {
			c.trouble = err.Error()
			c.log.Error("the API goes on with the certificate that it has", "expires", expiry(c.pair), "error", err)
		}
		return c.pair
	}
	if c.trouble = ""; !slices.EqualFunc(pair.Certificate, c.pair.Certificate, bytes.Equal) {
		c.pair = &pair
		c.log.Info("the API has a new certificate", "expires", expiry(c.pair))
	}
	return c.pair
}

func (c *Certificate) show(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current(), nil }

// Expires is when the certificate, or one of its chain, does.
func (c *Certificate) Expires() time.Time { return expiry(c.current()) }

func expiry(pair *tls.Certificate) time.Time {
	return config.Expiry(&tls.Config{Certificates: []tls.Certificate{*pair}})
}
