package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/ingester/relp/relptest"
	"millrace/internal/certtest"
)

// soakCertificates are what the TLS listener of a soak shows, in turn.
type soakCertificates struct {
	t         *testing.T
	authority *certtest.Authority
	pairs     []certtest.Pair
	cert, key string // the files that the configuration names
	installed int
}

func newSoakCertificates(t *testing.T) *soakCertificates {
	t.Helper()
	dir := t.TempDir()
	c := &soakCertificates{t: t, authority: certtest.New(t), cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
	for range 2 {
		c.pairs = append(c.pairs, c.authority.Issue(t, certtest.Subject{}))
	}
	c.install(0)
	return c
}

func (c *soakCertificates) install(n int) {
	for to, from := range map[string]string{c.cert: c.pairs[n].Cert, c.key: c.pairs[n].Key} {
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, data, 0o600)
		}
		if err != nil {
			c.t.Errorf("cannot install a certificate: %v", err)
		}
	}
	c.installed = n
}

// shown reports whether a listener shows what is installed.
func (c *soakCertificates) shown(address string) bool {
	conn, err := tls.Dial("tcp", address, c.authority.Client())
	if err != nil {
		return false
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Equal(c.pairs[c.installed].TLS.Leaf)
}

// steadySender writes events over a transport that `millrace generate` does not speak,
// each a frame of its own, until it is ended.
type steadySender struct {
	stop, done chan struct{}
	err        error
	sent       int
}

// startSteady sends 200 events a second; end is called behind the last.
func startSteady(t *testing.T, send func(n int, frame string) error, end func() error) *steadySender {
	s := &steadySender{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			for range 2 {
				if s.err = send(s.sent, "<22>"+m1(testID(s.sent), "steady")); s.err != nil {
					return
				}
				s.sent++
			}
			select {
			case <-s.stop:
				s.err = end()
				return
			case <-tick.C:
			}
		}
	}()
	t.Cleanup(s.halt)
	return s
}

func (s *steadySender) halt() {
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	<-s.done
}

// generated ends it and returns how many events it has sent.
func (s *steadySender) generated() int {
	s.halt()
	return s.sent
}

// steadySenders are those of a soak, by listener.
func steadySenders(t *testing.T, addresses map[string]string, certificates *soakCertificates) map[string]*steadySender {
	t.Helper()
	secured, err := tls.Dial("tcp", addresses["steady-tls"], certificates.authority.Client())
	if err != nil {
		t.Fatal(err)
	}
	local, err := net.Dial("unixgram", addresses["steady-local"])
	if err != nil {
		t.Fatal(err)
	}
	relay, err := net.Dial("tcp", addresses["steady-relp"])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{secured, local, relay} {
		t.Cleanup(func() { c.Close() })
	}
	w := newWindow(relay)
	return map[string]*steadySender{
		"steady-tls":   startSteady(t, func(_ int, frame string) error { return write1(secured, frame+"\x00") }, secured.Close),
		"steady-local": startSteady(t, func(_ int, frame string) error { return write1(local, frame) }, local.Close),
		"steady-relp":  startSteady(t, w.send, w.end),
	}
}

func write1(c net.Conn, text string) error {
	_, err := io.WriteString(c, text)
	return err
}

// window is a RELP session in which at most 128 messages have no answer, as rsyslog's.
type window struct {
	conn net.Conn
	open chan struct{} // holds one for each message without an answer
	read chan error    // the end of the answers
}

func newWindow(conn net.Conn) *window {
	w := &window{conn: conn, open: make(chan struct{}, 128), read: make(chan error, 1)}
	go func() {
		next := 2
		in := bufio.NewScanner(conn)
		for in.Scan() {
			switch line := in.Text(); {
			case line == fmt.Sprintf("%d rsp 6 200 OK", next):
				next++
				<-w.open
			case strings.Contains(line, " rsp ") && next > 2:
				w.read <- fmt.Errorf("want an answer to %d, got %q", next, line)
				return
			}
		}
		w.read <- in.Err()
	}()
	return w
}

func (w *window) send(n int, frame string) error {
	if n == 0 {
		if err := write1(w.conn, relptest.Frame(1, "open", relptest.Offers)); err != nil {
			return err
		}
	}
	select {
	case w.open <- struct{}{}:
	case err := <-w.read:
		return fmt.Errorf("the session ended: %v", err)
	}
	return write1(w.conn, relptest.Frame(2+n, "syslog", frame))
}

// end waits until all is answered: then the window can be filled once more.
func (w *window) end() error {
	for range cap(w.open) {
		select {
		case w.open <- struct{}{}:
		case err := <-w.read:
			return fmt.Errorf("the session ended with messages unanswered: %v", err)
		case <-time.After(patience):
			return fmt.Errorf("%d places of the window are not answered", cap(w.open)-len(w.open))
		}
	}
	return w.conn.Close()
}

// renew installs the other certificate and waits until it is shown.
func (x *troubles) renew() {
	x.certificates.install(1 - x.certificates.installed)
	x.reload()
	for deadline := time.Now().Add(patience); !x.certificates.shown(x.addresses["steady-tls"]); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			x.t.Errorf("the renewed certificate is not shown")
			return
		}
	}
}

// halfOpen begins TLS handshakes that nobody ends: with no word, with half a record, and
// with what is no TLS. They go when their time is over, or with us the next time.
func (x *troubles) halfOpen() {
	for _, begins := range []string{"", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "\x16\x03\x01", "GET / HTTP/1.1\r\n\r\n"} {
		c, err := net.Dial("tcp", x.addresses["steady-tls"])
		if err != nil {
			x.t.Errorf("cannot connect any more: %v", err)
			return
		}
		_, _ = io.WriteString(c, begins)
		x.stalled = append(x.stalled, c)
	}
}

// desert sends messages over RELP and goes away without an answer. What has come until
// then is taken, and nobody knows but the account.
func (x *troubles) desert() {
	for range 5 {
		c, err := net.Dial("tcp", x.addresses["torn-relp"])
		if err != nil {
			x.t.Errorf("cannot connect any more: %v", err)
			return
		}
		text := relptest.Frame(1, "open", relptest.Offers)
		for n := range 1 + x.r.IntN(50) {
			text += relptest.Frame(2+n, "syslog", "<22>"+m1(testID(x.owed), "owed"))
			x.owed++
		}
		if _, err := io.WriteString(c, text); err != nil {
			x.t.Errorf("cannot write any more: %v", err)
		}
		c.Close()
	}
}

// scribble leaves garbage in a Unix socket, each piece by a sender that is gone at once.
func (x *troubles) scribble() {
	for round := range 20 {
		c, err := net.Dial("unixgram", x.addresses["garbage-local"])
		if err != nil {
			x.t.Errorf("cannot send any more: %v", err)
			return
		}
		if _, err := c.Write(damaged(x.r, round)); err != nil {
			x.t.Errorf("cannot write any more: %v", err)
		}
		c.Close()
	}
}
