package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"millrace/internal/certtest"
)

func TestCertificate_Own(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Now()
	f := func(address string, now time.Time) *x509.Certificate {
		t.Helper()
		c, err := OpenCertificate(CertificateOptions{Dir: dir, Address: address, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		return c.current().Leaf
	}
	first := f("127.0.0.1:0", now)
	if again := f("[::]:8443", now); !bytes.Equal(again.Raw, first.Raw) {
		t.Error("made anew")
	}
	other := f("192.0.2.7:8443", now)
	if err := other.VerifyHostname("192.0.2.7"); err != nil {
		t.Error(err)
	}
	if later := f("192.0.2.7:8443", now.Add(ownLife-time.Hour)); bytes.Equal(later.Raw, other.Raw) {
		t.Error("not made anew before its end")
	}
	if err := os.WriteFile(filepath.Join(dir, "tls.pem"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCertificate(CertificateOptions{Dir: dir, Address: "127.0.0.1:0"}); err == nil || !strings.Contains(err.Error(), "tls.pem") {
		t.Error(err)
	}
}

// shownSite is an API of which only the handshake is asked for.
type shownSite struct {
	t       *testing.T
	address string
	shown   *Certificate
	log     bytes.Buffer
	passed  atomic.Int64 // of the clock
}

func newShownSite(t *testing.T, o CertificateOptions) *shownSite {
	t.Helper()
	s := &shownSite{t: t}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	o.Address, o.Now = l.Addr().String(), func() time.Time { return begin.Add(time.Duration(s.passed.Load())) }
	o.Logger = slog.New(slog.NewTextHandler(&s.log, nil))
	if s.shown, err = OpenCertificate(o); err != nil {
		t.Fatal(err)
	}
	s.address = o.Address
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- New(Options{Logger: slog.New(slog.DiscardHandler)}).Listen(ctx, context.Background(), l, s.shown)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// leaf is the certificate that a client sees who connects so much later.
func (s *shownSite) leaf(later time.Duration) *x509.Certificate {
	s.t.Helper()
	s.passed.Add(int64(later))
	c, err := tls.Dial("tcp", s.address, &tls.Config{InsecureSkipVerify: true}) // whatever it is
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0]
}

// Files that are renewed are shown without a restart, and with half of them in place the old
// certificate is.
func TestCertificate_Renewed(t *testing.T) {
	t.Parallel()
	authority, dir := certtest.New(t), t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	put := func(from, to string) {
		t.Helper()
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(file(to), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	first, second := authority.Issue(t, certtest.Subject{}), authority.Issue(t, certtest.Subject{})
	put(first.Cert, "cert.pem")
	put(first.Key, "key.pem")
	s := newShownSite(t, CertificateOptions{Cert: file("cert.pem"), Key: file("key.pem")})
	before := s.leaf(0)
	put(second.Cert, "cert.pem")
	for range 3 {
		if leaf := s.leaf(lookEvery); !leaf.Equal(before) {
			t.Error("a certificate without its key is shown")
		}
	}
	if n := strings.Count(s.log.String(), "api.cert and api.key"); n != 1 {
		t.Errorf("%d lines in the log, want 1:\n%s", n, s.log.String())
	}
	put(second.Key, "key.pem")
	after := s.leaf(lookEvery)
	if after.Equal(before) {
		t.Error("the old certificate is shown")
	}
	if s.shown.Expires() != after.NotAfter || !strings.Contains(s.log.String(), "the API has a new certificate") {
		t.Errorf("expires %v, want %v\n%s", s.shown.Expires(), after.NotAfter, s.log.String())
	}
	logged := s.log.Len()
	if leaf := s.leaf(lookEvery); !leaf.Equal(after) || s.log.Len() != logged {
		t.Errorf("the same certificate is new again:\n%s", s.log.String())
	}
	// Gone, and there again: trouble is told each time that it comes.
	for range 2 {
		if err := os.Remove(file("key.pem")); err != nil {
			t.Fatal(err)
		}
		s.leaf(lookEvery)
		put(second.Key, "key.pem")
		s.leaf(lookEvery)
	}
	if n := strings.Count(s.log.String(), "api.cert and api.key"); n != 3 {
		t.Errorf("%d lines in the log, want 3:\n%s", n, s.log.String())
	}
}

// One of our own making is made anew in its last month while the API runs.
func TestCertificate_OwnRenewed(t *testing.T) {
	t.Parallel()
	s := newShownSite(t, CertificateOptions{Dir: t.TempDir()})
	before := s.leaf(0)
	if leaf := s.leaf(ownLife - 31*24*time.Hour); !leaf.Equal(before) {
		t.Error("made anew more than a month before its end")
	}
	if leaf := s.leaf(2 * 24 * time.Hour); leaf.Equal(before) || s.shown.Expires() != leaf.NotAfter {
		t.Errorf("in its last month the certificate that expires %v is shown, Expires is %v", leaf.NotAfter, s.shown.Expires())
	}
}
