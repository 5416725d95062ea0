package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/internal/certtest"
	"millrace/schema"
)

// shake connects and shakes hands with the listener of s; the error is the client's, which
// with TLS 1.3 knows of a refusal only when it reads.
func shake(t *testing.T, s *server, c *tls.Config) (*tls.Conn, error) {
	t.Helper()
	nc, err := net.DialTimeout("tcp", s.Addr().String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	conn := tls.Client(nc, c)
	conn.SetDeadline(time.Now().Add(patience))
	return conn, conn.Handshake()
}

// refused expects the listener to have ended the connection.
func refused(t *testing.T, conn *tls.Conn, err error) {
	t.Helper()
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection is open: %v", err)
	}
}

// TestTLS_Versions: 1.2 and 1.3 are spoken, what is older is not.
func TestTLS_Versions(t *testing.T) {
	t.Parallel()
	a := certtest.New(t)
	v := overTLS(t)
	v.options = func(o *Options) { o.TLS = &TLS{Config: a.Issue(t, certtest.Subject{}).Server()} }
	s := start(t, v, Options{}, newRecorder())
	for i, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := a.Client()
		c.MinVersion, c.MaxVersion = version, version
		conn, err := shake(t, s, c)
		if err != nil {
			t.Fatal(err)
		}
		frame := "<14>" + tls.VersionName(version)
		send(t, conn, fmt.Sprintf("%d %s", len(frame), frame)) // the framing of RFC 5425
		if f := s.waitFor(t, i+1)[i]; f.text != frame {
			t.Errorf("%q", f.text)
		}
		if have := conn.ConnectionState().Version; have != version {
			t.Errorf("%s was spoken", tls.VersionName(have))
		}
	}
	old := a.Client()
	old.MinVersion, old.MaxVersion = tls.VersionTLS11, tls.VersionTLS11
	conn, err := shake(t, s, old)
	refused(t, conn, err)
	eventually(t, "the handshake is counted", func() bool { return s.Stats().Handshakes.Load() == 1 })
}

// TestTLS_ClientNames: with client_ca a certificate is demanded, with client_names the
// name in it is.
func TestTLS_ClientNames(t *testing.T) {
	t.Parallel()
	a, stranger := certtest.New(t), certtest.New(t)
	mutual := a.Issue(t, certtest.Subject{}).Server()
	mutual.ClientCAs, mutual.ClientAuth = a.Pool, tls.RequireAndVerifyClientCert
	v := overTLS(t)
	v.options = func(o *Options) {
		o.TLS = &TLS{Config: mutual, ClientNames: []string{"relay.example.net", "*.example.org", "192.0.2.7"}}
	}
	s := start(t, v, Options{}, newRecorder())
	issue := func(by *certtest.Authority, common string, names ...string) []certtest.Pair {
		return []certtest.Pair{by.Issue(t, certtest.Subject{CommonName: common, Names: names})}
	}
	taken, notAllowed, failed := 0, uint64(0), uint64(0)
	for _, c := range []struct {
		name  string
		pairs []certtest.Pair
		want  string // taken, not allowed, failed
	}{
		{"DNS name", issue(a, "x", "relay.example.net"), "taken"},
		{"another's DNS name", issue(a, "relay.example.net", "other.example.net"), "not allowed"},
		{"asterisk in ours", issue(a, "x", "mx1.example.org"), "taken"},
		{"asterisk in ours is one label", issue(a, "x", "a.mx1.example.org"), "not allowed"},
		{"asterisk in theirs", issue(a, "x", "*.example.net"), "taken"},
		{"common name", issue(a, "Relay.Example.NET"), "taken"},
		{"address", issue(a, "x", "192.0.2.7"), "taken"},
		{"another address", issue(a, "relay.example.net", "192.0.2.8"), "not allowed"},
		{"no certificate", nil, "failed"},
		{"another authority", issue(stranger, "x", "relay.example.net"), "failed"},
	} {
		conn, err := shake(t, s, a.Client(c.pairs...))
		switch c.want {
		case "taken":
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			send(t, conn, "<14>"+c.name+"\x00")
			taken++
			s.waitFor(t, taken)
		case "not allowed":
			refused(t, conn, err)
			notAllowed++
		case "failed":
			refused(t, conn, err)
			failed++
		}
		eventually(t, c.name+" is counted", func() bool {
			return s.Stats().NotAllowed.Load() == notAllowed && s.Stats().Handshakes.Load() == failed
		})
	}
	if have := len(s.waitFor(t, taken)); have != taken {
		t.Errorf("%d frames, want %d", have, taken)
	}
}

// TestTLS_HandshakeDeadline: who says nothing, half a thing or no TLS is cut off, holds
// up nobody meanwhile, and is told of in one line.
func TestTLS_HandshakeDeadline(t *testing.T) {
	t.Parallel()
	a := certtest.New(t)
	config := a.Issue(t, certtest.Subject{}).Server()
	v := overTLS(t)
	v.options = func(o *Options) { o.TLS = &TLS{Config: config, HandshakeTimeout: 300 * time.Millisecond} }
	v.client = nil
	log := new(lines)
	s := start(t, v, Options{Logger: slog.New(slog.NewTextHandler(log, nil))}, newRecorder())
	silent, torn, plain := s.dial(t, ""), s.dial(t, ""), s.dial(t, "")
	// On a busy machine they may have been cut off by then.
	_, _ = torn.Write([]byte("\x16\x03\x01\x02\x00\x01"))
	_, _ = plain.Write([]byte("<14>no TLS at all\x00"))
	conn, err := shake(t, s, a.Client())
	if err != nil {
		t.Fatal(err)
	}
	send(t, conn, "<14>taken\x00")
	s.waitFor(t, 1)
	for _, c := range []net.Conn{silent, torn, plain} {
		c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a connection is still open")
		}
	}
	eventually(t, "handshakes are counted", func() bool { return s.Stats().Handshakes.Load() == 3 })
	eventually(t, "connections are gone", func() bool { return s.Stats().Open.Load() == 1 })
	if n := log.count("TLS handshakes failed"); n != 1 {
		t.Errorf("%d lines:\n%s", n, log)
	}
}

// TestTLS_Reload: under traffic, new certificates serve the connections to come, those
// that are open go on, and no frame is lost.
func TestTLS_Reload(t *testing.T) {
	t.Parallel()
	a := certtest.New(t)
	var certificates []*tls.Config
	for range 5 {
		certificates = append(certificates, a.Issue(t, certtest.Subject{}).Server())
	}
	v := overTLS(t)
	v.options = func(o *Options) { o.TLS = &TLS{Config: certificates[0]} }
	s := start(t, v, Options{}, newRecorder())

	stop := make(chan struct{})
	sent := make([]int, 3)
	var senders sync.WaitGroup
	for i := range sent {
		conn, err := shake(t, s, a.Client())
		if err != nil {
			t.Fatal(err)
		}
		senders.Go(func() {
			for {
				select {
				case <-stop:
					conn.Close()
					return
				default:
				}
				if _, err := fmt.Fprintf(conn, "<14>%d-%d\x00", i, sent[i]); err != nil {
					t.Errorf("a connection from before a reload ended: %v", err)
					return
				}
				sent[i]++
			}
		})
	}
	for i, c := range certificates[1:] {
		eventually(t, "frames come", func() bool { return s.Stats().Frames.Load() > uint64(100*(i+1)) })
		s.Reload(Options{TLS: &TLS{Config: c}})
		conn, err := shake(t, s, a.Client())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(conn.ConnectionState().PeerCertificates[0].Raw, c.Certificates[0].Certificate[0]) {
			t.Errorf("reload %d: an old certificate is shown", i)
		}
		conn.Close()
	}
	close(stop)
	senders.Wait()
	total := 0
	for _, n := range sent {
		total += n
	}
	have := map[string]int{}
	for _, f := range s.waitFor(t, total) {
		have[f.text]++
	}
	for i, n := range sent {
		for k := range n {
			if have[fmt.Sprintf("<14>%d-%d", i, k)] != 1 {
				t.Fatalf("frame %d-%d came %d times", i, k, have[fmt.Sprintf("<14>%d-%d", i, k)])
			}
		}
	}
}

// TestReload_TakesPermissionAway: who may not send any more is cut off, by address or by
// name, with and without TLS; what it has sent is kept, and others go on.
func TestReload_TakesPermissionAway(t *testing.T) {
	t.Parallel()
	one, two := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
	for _, v := range variants(t) {
		if !v.delimited() {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			o := Options{Allow: slices.Concat(one, two), FrameIdle: time.Hour}
			s := start(t, v, o, newRecorder())
			leaves, stays := s.dial(t, "127.0.0.1"), s.dial(t, "127.0.0.2")
			send(t, leaves, "<14>a\x00<14>open")
			send(t, stays, "<14>b\x00")
			s.waitFor(t, 2)
			eventually(t, "the open frame is read", func() bool { return s.Stats().Bytes.Load() == 20 })
			s.Reload(v.configured(Options{Allow: two}))
			if _, err := leaves.Read(make([]byte, 1)); err == nil {
				t.Errorf("the connection is open")
			}
			if f := s.waitFor(t, 3)[2]; f.text != "<14>open" || f.flags != schema.FlagNoTrailer {
				t.Errorf("%q %v", f.text, f.flags.Words())
			}
			eventually(t, "it is counted", func() bool { return s.Stats().NotAllowed.Load() == 1 && s.Stats().Open.Load() == 1 })
			send(t, stays, "<14>c\x00")
			s.waitFor(t, 4)
			again := s.dial(t, "127.0.0.1")
			again.Write([]byte("<14>x\x00")) // it may find the connection closed
			eventually(t, "it is refused", func() bool { return s.Stats().NotAllowed.Load() == 2 })
			if n := len(s.waitFor(t, 4)); n != 4 {
				t.Errorf("%d frames", n)
			}
		})
	}
	t.Run("names", func(t *testing.T) {
		t.Parallel()
		a := certtest.New(t)
		mutual := a.Issue(t, certtest.Subject{}).Server()
		mutual.ClientCAs, mutual.ClientAuth = a.Pool, tls.RequireAndVerifyClientCert
		v := overTLS(t)
		v.options = func(o *Options) { o.TLS = &TLS{Config: mutual, ClientNames: []string{"*.example.net"}} }
		s := start(t, v, Options{}, newRecorder())
		shaken := func(name string) *tls.Conn {
			conn, err := shake(t, s, a.Client(a.Issue(t, certtest.Subject{Names: []string{name}})))
			if err != nil {
				t.Fatal(err)
			}
			send(t, conn, "<14>x\x00")
			return conn
		}
		leaves, stays := shaken("a.example.net"), shaken("b.example.net")
		s.waitFor(t, 2)
		s.Reload(Options{TLS: &TLS{Config: mutual, ClientNames: []string{"b.example.net"}}})
		refused(t, leaves, nil)
		send(t, stays, "<14>y\x00")
		s.waitFor(t, 3)
		other := certtest.New(t)
		replaced := mutual.Clone()
		replaced.ClientCAs = other.Pool
		s.Reload(Options{TLS: &TLS{Config: replaced}})
		refused(t, stays, nil)
		eventually(t, "both are counted", func() bool { return s.Stats().NotAllowed.Load() == 2 })
	})
}

// TestReload_Datagrams: the list holds for the datagrams to come.
func TestReload_Datagrams(t *testing.T) {
	t.Parallel()
	one, two := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
	s := start(t, overUDP, Options{Allow: one}, newRecorder())
	a, b := s.dial(t, "127.0.0.1"), s.dial(t, "127.0.0.2")
	send(t, a, "<14>a")
	s.waitFor(t, 1)
	s.Reload(Options{Allow: two})
	send(t, b, "<14>b")
	s.waitFor(t, 2)
	send(t, a, "<14>a")
	eventually(t, "it is refused", func() bool { return s.Stats().NotAllowed.Load() == 1 })
}

// TestTLS_Ends: how a connection ends decides nothing about its frames.
func TestTLS_Ends(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		end  func(*tls.Conn)
	}{
		{"close_notify and close", func(c *tls.Conn) { c.Close() }},
		{"close_notify alone", func(c *tls.Conn) { c.CloseWrite() }},
		{"without close_notify", func(c *tls.Conn) { c.NetConn().(*net.TCPConn).CloseWrite() }},
		{"in the middle of a record", func(c *tls.Conn) {
			c.NetConn().Write([]byte("\x17\x03\x03\x00\x50half"))
			c.NetConn().(*net.TCPConn).CloseWrite()
		}},
	} {
		for _, v := range variants(t) {
			if v.network != "tls" {
				continue
			}
			t.Run(c.name+" "+v.name, func(t *testing.T) {
				t.Parallel()
				s := start(t, v, Options{}, newRecorder())
				conn := s.dial(t, "").(*tls.Conn)
				send(t, conn, "<14>whole\x00<14>open")
				c.end(conn)
				want := []string{`"<14>whole"`, `"<14>open" no_trailer`}
				if have := shown(s.waitFor(t, 2)); !slices.Equal(have, want) {
					t.Errorf("%q", have)
				}
				eventually(t, "the connection is gone", func() bool { return s.Stats().Open.Load() == 0 })
			})
		}
	}
}

// TestTLS_NothingUnasked: after the handshake the listener writes nothing that a sender
// which never reads would leave in its socket, and then reset the connection with.
func TestTLS_NothingUnasked(t *testing.T) {
	t.Parallel()
	s := start(t, overTLS(t), Options{}, newRecorder())
	c := s.dial(t, "").(*tls.Conn)
	send(t, c, "<14>x\x00")
	s.waitFor(t, 1)
	c.CloseWrite()
	rest, err := io.ReadAll(c.NetConn())
	if err != nil {
		t.Fatal(err)
	}
	const closeNotify = 24 // bytes of its record in TLS 1.3
	if len(rest) > closeNotify {
		t.Errorf("%d bytes came beside the goodbye", len(rest)-closeNotify)
	}
}

// TestTLS_NewKeys: OpenSSL asks for new keys in the middle, which no client of Go can. The
// frames behind are read, and the end is orderly.
func TestTLS_NewKeys(t *testing.T) {
	t.Parallel()
	a := certtest.New(t)
	v := overTLS(t)
	v.options = func(o *Options) { o.TLS = &TLS{Config: a.Issue(t, certtest.Subject{}).Server()} }
	s := start(t, v, Options{}, newRecorder())
	client := exec.Command("openssl", "s_client", "-connect", s.Addr().String(), "-CAfile", a.File, "-tls1_3")
	log := new(lines)
	client.Stdout, client.Stderr = log, log
	in, err := client.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		client.Process.Kill()
		client.Wait()
	})
	for i := range 3 {
		io.WriteString(in, "<14>frame\n")
		s.waitFor(t, i+1)
		io.WriteString(in, "K\n") // its word for it
		eventually(t, "new keys are asked for", func() bool { return log.count("KEYUPDATE") == i+1 })
	}
	io.WriteString(in, "<14>frame\n")
	s.waitFor(t, 4)
	s.stop()
	s.wait(t)
	if n := s.Stats().Frames.Load(); n != 4 {
		t.Errorf("%d frames", n)
	}
}

// TestTLS_IdleConnectionsAreSmall: what a connection that waits holds, sent bursts included.
func TestTLS_IdleConnectionsAreSmall(t *testing.T) {
	const n = 200
	s := start(t, overTLS(t), Options{FrameIdle: time.Hour}, newRecorder())
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := heap()
	for i := range n {
		send(t, s.dial(t, ""), "<14>"+strings.Repeat("x", 400)+"\x00")
		s.waitFor(t, i+1)
	}
	each := (heap() - before) / n
	t.Logf("%d bytes for each connection, the client's half included", each)
	if each > 64<<10 && !raceEnabled {
		t.Errorf("%d bytes for each idle connection", each)
	}
}

func TestNamed(t *testing.T) {
	t.Parallel()
	f := func(configured, in string, want bool) {
		t.Helper()
		if named(&x509.Certificate{DNSNames: []string{in}}, []string{configured}) != want {
			t.Errorf("%q in a certificate for %q: %v", configured, in, !want)
		}
	}
	f("a.example.com", "a.example.com", true)
	f("A.example.com", "a.EXAMPLE.com.", true)
	f("a.example.com", "b.example.com", false)
	f("a.example.com", "*.example.com", true)
	f("b.a.example.com", "*.example.com", false)
	f("example.com", "*.example.com", false)
	f("*.example.com", "a.example.com", true)
	f("*.example.com", "*.example.com", true)
	f("*.example.com", "example.com", false)
	f("a", "*", false)
	f("", "", false)
}

// lines is a log to look at.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) count(part string) int { return strings.Count(l.String(), part) }

func BenchmarkTLS(b *testing.B) {
	a := certtest.New(b)
	l, err := Listen(Options{Network: "tls", Address: "127.0.0.1:0", TLS: &TLS{Config: a.Issue(b, certtest.Subject{}).Server()}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	sink := &nothing{}
	go func() { done <- l.Serve(ctx, ctx, func(Receipts) Sink { return sink }) }()
	c, err := tls.Dial("tcp", l.Addr().String(), a.Client())
	if err != nil {
		b.Fatal(err)
	}
	frame := "<14>" + strings.Repeat(`"some value",`, 30) + `"end"` + "\n"
	chunk := bytes.Repeat([]byte(frame), 256)
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/frame")
	c.Close()
	stop()
	<-done
}
