package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// ownLife is how long a certificate of our own making is good; it is made anew in its last month.
const ownLife = 2 * 365 * 24 * time.Hour

// ownCertificate is the certificate in dir, made when there is none that is good for host.
func ownCertificate(dir, host string, now time.Time) (tls.Certificate, error) {
	file := filepath.Join(dir, "tls.pem")
	pair, err := tls.LoadX509KeyPair(file, file)
	if err == nil && pair.Leaf.NotAfter.Sub(now) > 30*24*time.Hour && (host == "" || pair.Leaf.VerifyHostname(host) == nil) {
		return pair, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return pair, fmt.Errorf("cannot read the API's certificate: %w; remove %s, and another is made", err, file)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return pair, fmt.Errorf("cannot keep the API's certificate: %w", err)
	}
	text, err := newCertificate(host, now)
	if err != nil {
		return pair, fmt.Errorf("cannot make a certificate: %w", err)
	}
	// Whole or not at all: another process may look.
	temporary := fmt.Sprintf("%s.%d", file, os.Getpid())
	if err := os.WriteFile(temporary, text, 0o600); err != nil {
		return pair, fmt.Errorf("cannot keep the API's certificate: %w", err)
	}
	if err := os.Rename(temporary, file); err != nil {
		return pair, fmt.Errorf("cannot keep the API's certificate: %w", err)
	}
	return tls.X509KeyPair(text, text)
}

// newCertificate is a key and a certificate for this host, as PEM.
func newCertificate(host string, now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "millrace"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(ownLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if name, err := os.Hostname(); err == nil && name != "localhost" {
		c.DNSNames = append(c.DNSNames, name)
	}
	if ip := net.ParseIP(host); ip != nil {
		if !ip.IsUnspecified() && !ip.IsLoopback() {
			c.IPAddresses = append(c.IPAddresses, ip)
		}
	} else if host != "" && host != "localhost" {
		c.DNSNames = append(c.DNSNames, host)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...), nil
}
