// Package certtest makes certificates for tests: an authority of the test's own, and what
// it issues, as files and ready for crypto/tls. Nothing else imports it.
package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates.
type Authority struct {
	File string // PEM
	Pool *x509.CertPool

	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Subject is what a certificate says. Its zero value is a server and client at 127.0.0.1,
// ::1 and localhost that is good for a year.
type Subject struct {
	CommonName string
	Names      []string // host names and IP addresses; with CommonName and no Names there are none
	NotAfter   time.Time
}

// Pair is a certificate and its key.
type Pair struct {
	Cert, Key string // PEM files
	TLS       tls.Certificate
}

// New makes an authority, whose files go with the test.
func New(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{dir: t.TempDir(), key: newKey(t)}
	a.cert = &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: "authority of a test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.Pool = x509.NewCertPool()
	a.Pool.AddCert(a.cert)
	a.File = a.write(t, "ca-*.pem", "CERTIFICATE", der)
	return a
}

// Issue makes a certificate in files of its own.
func (a *Authority) Issue(t testing.TB, s Subject) Pair {
	t.Helper()
	if s.NotAfter.IsZero() {
		s.NotAfter = time.Now().AddDate(1, 0, 0)
	}
	if s.CommonName == "" && s.Names == nil {
		s.Names = []string{"127.0.0.1", "::1", "localhost"}
	}
	c := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: s.CommonName},
		NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: s.NotAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, n := range s.Names {
		if ip := net.ParseIP(n); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, n)
		}
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p := Pair{Cert: a.write(t, "cert-*.pem", "CERTIFICATE", der), Key: a.write(t, "key-*.pem", "PRIVATE KEY", secret)}
	if p.TLS, err = tls.LoadX509KeyPair(p.Cert, p.Key); err != nil {
		t.Fatal(err)
	}
	return p
}

// Server is a server's configuration with the pair.
func (p Pair) Server() *tls.Config { return &tls.Config{Certificates: []tls.Certificate{p.TLS}} }

// Client is a client's configuration that trusts the authority and shows the pairs.
func (a *Authority) Client(pairs ...Pair) *tls.Config {
	c := &tls.Config{RootCAs: a.Pool, ServerName: "127.0.0.1"}
	for _, p := range pairs {
		c.Certificates = append(c.Certificates, p.TLS)
	}
	return c
}

func (a *Authority) write(t testing.TB, pattern, kind string, der []byte) string {
	f, err := os.CreateTemp(a.dir, pattern)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := pem.Encode(f, &pem.Block{Type: kind, Bytes: der}); err != nil {
		t.Fatal(err)
	}
	return filepath.Clean(f.Name())
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func serial(t testing.TB) *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
