package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// DefaultHandshakeTimeout of a listener.
const DefaultHandshakeTimeout = 10 * time.Second

// TLS is the encryption of a listener: RFC 5425 for syslog.
type TLS struct {
	Config           *tls.Config   // our certificate, and whose clients' we want
	ClientNames      []string      // names one of which a client's certificate must have; none: any name
	HandshakeTimeout time.Duration // DefaultHandshakeTimeout
}

// errNotPermitted is the end of a handshake with a client that has a good certificate
// of somebody else.
var errNotPermitted = errors.New("the client's certificate has none of listeners[].tls.client_names")

// secured is the server's side of TLS, whose certificates and names can be replaced while
// it serves: each handshake takes what is current when it begins.
type secured struct {
	current atomic.Pointer[TLS]
	base    *tls.Config
}

func newSecured(t *TLS) *secured {
	s := new(secured)
	s.replace(t)
	s.base = &tls.Config{
		MinVersion:             tls.VersionTLS12,
		SessionTicketsDisabled: true, // see prepared
		GetConfigForClient:     func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.current.Load().Config, nil },
	}
	return s
}

// replace makes t what is current for the handshakes to come, and tells whether it asks
// something else of clients than what it replaces.
func (s *secured) replace(t *TLS) bool {
	now := t.prepared()
	was := s.current.Swap(now)
	return was == nil || was.Config.ClientAuth != now.Config.ClientAuth ||
		!was.Config.ClientCAs.Equal(now.Config.ClientCAs) || !slices.Equal(was.ClientNames, now.ClientNames)
}

// prepared is a copy of t that is ready for handshakes.
func (t *TLS) prepared() *TLS {
	p := *t
	setDefault(&p.HandshakeTimeout, DefaultHandshakeTimeout)
	p.Config = t.Config.Clone()
	p.Config.MinVersion = max(p.Config.MinVersion, tls.VersionTLS12)
	// A ticket would come to the sender unasked. One that only writes, and closes with
	// the ticket unread, resets the connection, and the kernel forgets what we have not
	// read yet. A resumed session would also outlive a change of the names.
	p.Config.SessionTicketsDisabled = true
	p.Config.VerifyConnection = p.permits
	return &p
}

// permits asks for the names of a client whose certificate has been verified.
func (t *TLS) permits(state tls.ConnectionState) error {
	if len(t.ClientNames) == 0 {
		return nil
	}
	if len(state.PeerCertificates) > 0 && named(state.PeerCertificates[0], t.ClientNames) {
		return nil
	}
	return errNotPermitted
}

// admits is permits for a connection that was made when other certificates were trusted.
func (t *TLS) admits(state tls.ConnectionState) error {
	if t.Config.ClientAuth == tls.RequireAndVerifyClientCert {
		if len(state.PeerCertificates) == 0 {
			return errNotPermitted
		}
		between := x509.NewCertPool()
		for _, c := range state.PeerCertificates[1:] {
			between.AddCert(c)
		}
		if _, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
			Roots: t.Config.ClientCAs, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}); err != nil {
			return err
		}
	}
	return t.permits(state)
}

// handshake makes nc encrypted, or ends with the current timeout. A stop gives it drain:
// the sender may believe that it is over, and have sent. Who stops sets the deadline of a
// connection whose handshake is not over to that as well. Deadlines of nc are gone
// afterwards.
func (s *secured) handshake(nc net.Conn, st *stopper, drain time.Duration) (*tls.Conn, error) {
	nc.SetDeadline(time.Now().Add(s.current.Load().HandshakeTimeout))
	if st.stopping.Load() {
		<-st.woken
		nc.SetDeadline(time.Now().Add(drain))
	}
	c := tls.Server(nc, s.base)
	if err := c.Handshake(); err != nil {
		return nil, err
	}
	return c, nc.SetDeadline(time.Time{})
}

// named reports whether a certificate has one of the names, as RFC 5425, section 5.2,
// says: its host names, or the common name of one that has none. An asterisk stands for
// the first label, on either side.
func named(c *x509.Certificate, names []string) bool {
	has := c.DNSNames
	if len(has)+len(c.IPAddresses) == 0 {
		has = []string{c.Subject.CommonName}
	}
	for _, want := range names {
		if ip, err := netip.ParseAddr(want); err == nil {
			for _, have := range c.IPAddresses {
				if a, ok := netip.AddrFromSlice(have); ok && a.Unmap() == ip.Unmap() {
					return true
				}
			}
			continue
		}
		for _, have := range has {
			if sameHost(want, have) {
				return true
			}
		}
	}
	return false
}

func sameHost(a, b string) bool {
	a, b = strings.TrimSuffix(a, "."), strings.TrimSuffix(b, ".")
	if a == "" || b == "" {
		return false
	}
	if strings.EqualFold(a, b) {
		return true
	}
	firstA, restA, _ := strings.Cut(a, ".")
	firstB, restB, _ := strings.Cut(b, ".")
	return (firstA == "*" || firstB == "*") && restA != "" && strings.EqualFold(restA, restB)
}

// failed takes a handshake that has failed into account.
func (c *conn) failed(err error) {
	if errors.Is(err, errNotPermitted) {
		c.l.stats.Refuse(c.peer.Addr())
	} else {
		c.l.stats.Handshakes.Add(1)
	}
	const what = "TLS handshakes failed"
	if n := c.l.notices.due(what); n > 0 {
		c.l.o.Logger.Warn(what, "count", n, "peer", c.peer, "error", err)
	}
}

// encrypted are the networks that may have TLS, smtp and lmtp by STARTTLS; those of
// alwaysTLS must.
var (
	encrypted = []string{"tls", "relp", "smtp", "smtps", "lmtp"}
	alwaysTLS = []string{"tls", "smtps"}
)

// validateTLS wants encryption where the network says so, and nowhere else.
func validateTLS(o Options) error {
	switch {
	case slices.Contains(alwaysTLS, o.Network) && o.TLS == nil:
		return fmt.Errorf("cannot listen on %q without a certificate: set cert and key (listeners[].tls)", o.Network+"://"+o.Address)
	case o.TLS == nil:
		return nil
	case !slices.Contains(encrypted, o.Network):
		return fmt.Errorf("cannot encrypt %q: there is no TLS on %s (listeners[].tls)", o.Network+"://"+o.Address, o.Network)
	case len(o.TLS.Config.Certificates) == 0:
		return errors.New("cannot encrypt without a certificate (listeners[].tls)")
	case len(o.TLS.ClientNames) > 0 && o.TLS.Config.ClientCAs == nil:
		return errors.New("cannot ask clients for a name without authorities to trust: set client_ca (listeners[].tls.client_names)")
	}
	return nil
}
