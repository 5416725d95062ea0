package transport

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"millrace/ingester/framing"
	"millrace/internal/certtest"
	"millrace/schema"
)

// patience bounds every wait of the tests. None waits for it to pass.
const patience = 20 * time.Second

// got is a frame as a Sink saw it, with bytes of its own.
type got struct {
	peer   netip.AddrPort
	text   string
	reject schema.Reason
	size   int
	flags  schema.Flag
	detail string
	sink   int
}

// recorder makes sinks that keep what they are given. A frame with a receipt is reported
// as kept at once, or, with withhold, when release is called.
type recorder struct {
	withhold bool
	gate     chan struct{} // a Frame waits until it is closed; nil lets all pass
	hard     context.Context

	mu      sync.Mutex
	changed chan struct{}
	frames  []got
	owed    []func()
	sinks   int
	dirty   int // sinks with frames and no Flush since
}

type recordingSink struct {
	r     *recorder
	id    int
	dirty bool
	kept  Receipts
}

func newRecorder() *recorder { return &recorder{changed: make(chan struct{})} }

func (r *recorder) open(kept Receipts) Sink {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sinks++
	return &recordingSink{r: r, id: r.sinks, kept: kept}
}

func (s *recordingSink) Frame(peer netip.AddrPort, f framing.Frame) error {
	if s.r.gate != nil {
		var hard <-chan struct{}
		if s.r.hard != nil {
			hard = s.r.hard.Done()
		}
		select {
		case <-s.r.gate:
		case <-hard:
			return errors.New("stopped")
		}
	}
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if !s.dirty {
		s.dirty = true
		s.r.dirty++
	}
	s.r.frames = append(s.r.frames, got{peer, string(f.Bytes), f.Reject, f.Size, f.Flags, f.Detail, s.id})
	switch {
	case f.Receipt == 0:
	case s.r.withhold:
		s.r.owed = append(s.r.owed, func() { s.kept.Kept([]uint32{f.Receipt}) })
	default:
		s.kept.Kept([]uint32{f.Receipt})
	}
	s.r.change()
	return nil
}

func (s *recordingSink) Flush() {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if s.dirty {
		s.dirty = false
		s.r.dirty--
		s.r.change()
	}
}

// release reports the frame with number i of those withheld as kept.
func (r *recorder) release(i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.owed[i]()
}

func (r *recorder) change() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// waitFor returns the frames once there are n of them and all were flushed.
func (r *recorder) waitFor(t *testing.T, n int) []got {
	t.Helper()
	timeout := time.After(patience)
	for {
		r.mu.Lock()
		have, changed := len(r.frames), r.changed
		if have >= n && r.dirty == 0 {
			defer r.mu.Unlock()
			return slices.Clone(r.frames)
		}
		r.mu.Unlock()
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("%d frames after %s, want %d", have, patience, n)
		}
	}
}

// eventually waits for a counter, which nothing announces.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// server is a listener that serves.
type server struct {
	Listener
	*recorder
	client      func(net.Conn) net.Conn // what a sender does with its socket
	soft        context.Context
	stop, abort context.CancelFunc
	done        chan error
}

// variant is a transport under test.
type variant struct {
	name, network string
	wrap          func(net.Conn) net.Conn
	before        func(Listener) // Serve
	options       func(*Options)
	client        func(net.Conn) net.Conn
}

// stream reports whether senders connect.
func (v variant) stream() bool { return v.network != "udp" && v.network != unixgram }

// delimited: the frames are those of Options.Framing. RELP has its own.
func (v variant) delimited() bool { return v.stream() && v.network != "relp" && !v.mail() }

// mail: a frame is a message, and its sender has an answer before it sends the next.
func (v variant) mail() bool { return slices.Contains(mailers, v.network) }

// configured are the options that the variant needs.
func (v variant) configured(o Options) Options {
	o.Network = v.network
	if v.options != nil {
		v.options(&o)
	}
	return o
}

// plainConn hides that there is a descriptor below, as TLS does.
type plainConn struct{ net.Conn }

func throughNetConn(c net.Conn) net.Conn { return plainConn{c} }

func variants(t *testing.T) []variant {
	t.Helper()
	secure := overTLS(t)
	var all []variant
	for _, n := range Networks() {
		v := variant{name: n, network: n}
		switch n {
		case secure.network:
			v = secure
		case unixgram:
			v.options = func(o *Options) { o.Address = cmp.Or(o.Address, socketPath(t)) }
		case "relp":
			v = overRELP
		case "smtp", "lmtp":
			v.client = asMail(n)
		case "smtps":
			v.options = secure.options
			v.client = func(c net.Conn) net.Conn { return asMail(n)(secure.client(c)) }
		}
		all = append(all, v)
	}
	both := secure
	both.name, both.network = "relp over tls", "relp"
	both.client = func(c net.Conn) net.Conn { return asRELP(secure.client(c)) }
	all = append(all, both)
	secure.name, secure.wrap = "tls through net.Conn", throughNetConn
	return append(all, variant{name: "tcp through net.Conn", network: "tcp", wrap: throughNetConn}, secure)
}

// socketPath is short enough for a socket's address, as t.TempDir may not be.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "millrace")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "log")
}

// overTLS has certificates of the test's own.
func overTLS(t *testing.T) variant {
	t.Helper()
	a := certtest.New(t)
	config := a.Issue(t, certtest.Subject{}).Server()
	return variant{name: "tls", network: "tls",
		options: func(o *Options) { o.TLS = &TLS{Config: config} },
		client:  func(c net.Conn) net.Conn { return tls.Client(c, a.Client()) },
	}
}

// start serves on a port of the kernel's choice until the test ends.
func start(t *testing.T, v variant, o Options, r *recorder) *server {
	t.Helper()
	o = v.configured(o)
	o.Name = "test"
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	if tcp, ok := l.(*tcpListener); ok {
		tcp.wrap = v.wrap
	}
	if v.before != nil {
		v.before(l)
	}
	soft, stop := context.WithCancel(context.Background())
	hard, abort := context.WithCancel(context.Background())
	r.hard = hard
	s := &server{Listener: l, recorder: r, client: v.client, soft: soft, stop: stop, abort: abort, done: make(chan error, 1)}
	go func() { s.done <- l.Serve(soft, hard, r.open) }()
	t.Cleanup(func() {
		stop()
		abort()
		s.wait(t)
	})
	return s
}

// wait returns when Serve has.
func (s *server) wait(t *testing.T) {
	t.Helper()
	select {
	case err := <-s.done:
		s.done <- nil // for whoever waits next
		if err != nil {
			t.Errorf("Serve: %v", err)
		}
	case <-time.After(patience):
		t.Fatalf("Serve has not returned after %s", patience)
	}
}

// dial connects from an address, "" being any.
func (s *server) dial(t *testing.T, from string) net.Conn {
	t.Helper()
	d := net.Dialer{Timeout: patience}
	network := s.Addr().Network()
	if from != "" {
		ip := net.ParseIP(from)
		if network == "udp" {
			d.LocalAddr = &net.UDPAddr{IP: ip}
		} else {
			d.LocalAddr = &net.TCPAddr{IP: ip}
		}
	}
	c, err := d.Dial(network, s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if s.client != nil {
		return s.client(c)
	}
	return c
}

func send(t *testing.T, c net.Conn, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
}

func texts(frames []got) []string {
	var s []string
	for _, f := range frames {
		s = append(s, f.text)
	}
	return s
}
