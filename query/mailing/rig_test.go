package mailing

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-message"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"

	"millrace/internal/certtest"
	"millrace/internal/config"
	"millrace/internal/embedded"
	"millrace/internal/embedded/embeddedtest"
	"millrace/query"
	"millrace/query/state"
	"millrace/query/state/statetest"
	"millrace/schema"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		must(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if got != string(want) {
		t.Errorf("%s:\ngot\n%s\nwant\n%s", name, got, want)
	}
}

// clock is the time of a test.
type clock struct {
	mutex sync.Mutex
	t     time.Time
}

func (c *clock) now() time.Time {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.t = c.t.Add(d)
}

// letter is a mail that a test's relay has taken, or has not.
type letter struct {
	from, to, user, text string
	encrypted            bool
}

func (l letter) header(t testing.TB, name string) string {
	t.Helper()
	e, err := message.Read(strings.NewReader(l.text))
	must(t, err)
	return e.Header.Get(name)
}

// post is a real SMTP server. answer is told each letter when its last dot is there; an
// error is the answer to it, and errCut ends the connection without any.
type post struct {
	address string
	answer  func(n int, l letter) error

	mutex   sync.Mutex
	letters []letter
	came    chan letter
}

var errCut = errors.New("cut")

type session struct {
	p  *post
	c  *smtp.Conn
	to letter
}

func (s *session) Reset()        {}
func (s *session) Logout() error { return nil }

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password != "secret" {
			return smtp.ErrAuthFailed
		}
		s.to.user = user
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error { s.to.from = from; return nil }
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error   { s.to.to = to; return nil }

func (s *session) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	l := s.to
	l.text = string(text)
	_, l.encrypted = s.c.TLSConnectionState()
	s.p.mutex.Lock()
	s.p.letters = append(s.p.letters, l)
	n, answer := len(s.p.letters), s.p.answer
	s.p.mutex.Unlock()
	if answer != nil {
		err = answer(n, l)
	}
	if errors.Is(err, errCut) {
		s.c.Conn().Close()
	}
	s.p.came <- l
	return err
}

// all are the letters that came, taken or not.
func (p *post) all() []letter {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return append([]letter(nil), p.letters...)
}

func newPost(t testing.TB, set func(*smtp.Server), answer func(int, letter) error) *post {
	t.Helper()
	p := &post{answer: answer, came: make(chan letter, 1000)}
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &session{p: p, c: c}, nil }))
	server.Domain, server.AllowInsecureAuth = "relay.example.net", true
	server.ErrorLog = nothing{}
	if set != nil {
		set(server)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p.address = l.Addr().String()
	done := make(chan struct{})
	go func() { _ = server.Serve(l); close(done) }()
	t.Cleanup(func() { l.Close(); server.Close(); <-done }) // the server may not have taken the listener over yet
	return p
}

// newTLSFront is the post behind TLS from the first byte.
func newTLSFront(t testing.TB, pair certtest.Pair, p *post) *post {
	t.Helper()
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &session{p: p, c: c}, nil }))
	server.Domain, server.ErrorLog = "relay.example.net", nothing{}
	l, err := tls.Listen("tcp", "127.0.0.1:0", pair.Server())
	must(t, err)
	p.address = l.Addr().String()
	done := make(chan struct{})
	go func() { _ = server.Serve(l); close(done) }()
	t.Cleanup(func() { l.Close(); server.Close(); <-done }) // the server may not have taken the listener over yet
	return p
}

// silent is a server that takes connections and says nothing.
func silent(t testing.TB) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

type nothing struct{}

func (nothing) Printf(string, ...any) {}
func (nothing) Println(...any)        {}

// rig is a broker, a relay, a clock and a database: everything that mailers need.
type rig struct {
	t      testing.TB
	broker string
	post   *post
	clock  *clock
	o      Options
}

func newRig(t testing.TB, at time.Time, ch query.Options, answer func(int, letter) error, recipients ...config.Recipient) *rig {
	t.Helper()
	b, err := embedded.StartBroker(embedded.BrokerOptions{})
	must(t, err)
	t.Cleanup(b.Close)
	r := &rig{t: t, broker: b.Addr, post: newPost(t, nil, answer), clock: &clock{t: at}}
	r.o = Options{
		ClickHouse: ch, Relay: &Relay{Address: r.post.address, Mode: config.TLSNone, From: "reports@relay.example.net"},
		Recipients: recipients, InvalidSender: schema.DefaultInvalidSenders, Delay: 15 * time.Minute, Now: r.clock.now,
	}
	return r
}

// mailer is one more instance.
func (r *rig) mailer() *Mailer {
	r.t.Helper()
	o := r.o
	o.Store = statetest.OpenAt(r.t, r.broker)
	return New(o)
}

// dying is an instance that looks once, and of which Kafka hears nothing more when kill is
// called.
func (r *rig) dying(kill *func()) {
	r.t.Helper()
	var mutex sync.Mutex
	var conns []net.Conn
	dead := false
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		mutex.Lock()
		defer mutex.Unlock()
		if dead {
			return nil, net.ErrClosed
		}
		var d net.Dialer
		c, err := d.DialContext(ctx, network, address)
		if err == nil {
			conns = append(conns, c)
		}
		return c, err
	}
	*kill = func() {
		mutex.Lock()
		defer mutex.Unlock()
		dead = true
		for _, c := range conns {
			c.Close()
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	so := statetest.Options(r.broker)
	so.Transport = &kafka.Transport{ClientID: "millrace", MetadataTTL: time.Second, MetadataTopics: []string{so.Topic}, Dial: dial}
	so.AppendTimeout = 3 * time.Second
	s, err := state.Open(ctx, so)
	must(r.t, err)
	defer s.Close()
	o := r.o
	o.Store = s
	term, err := s.Leader(ctx)
	must(r.t, err)
	New(o).round(ctx, term)
}

// rounds looks so often, in a term of the mailer's own.
func (r *rig) rounds(m *Mailer, n int) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	term, err := m.o.Store.Leader(ctx)
	must(r.t, err)
	for range n {
		m.round(term.Context(), term)
	}
}

// count is the number of letters that came.
func (r *rig) count(want int) {
	r.t.Helper()
	if got := len(r.post.all()); got != want {
		r.t.Errorf("%d letters, want %d", got, want)
	}
}

// metric sums a counter over its labels; with reason only that one's.
func metric(t testing.TB, m *Mailer, name, reason string) (sum float64) {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(m)
	families, err := reg.Gather()
	must(t, err)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, x := range f.GetMetric() {
			for _, l := range x.GetLabel() {
				if reason == "" && l.GetName() == "report" || l.GetName() == "reason" && l.GetValue() == reason {
					sum += x.GetCounter().GetValue()
				}
			}
		}
	}
	return sum
}

func (r *rig) sent(m *Mailer, report, domain, user, period string) state.Sent {
	r.t.Helper()
	must(r.t, m.o.Store.CatchUp(r.t.Context()))
	s, ok := m.o.Store.Snapshot().Sent(report, domain, user, period)
	if !ok {
		r.t.Errorf("the state has no %s of %s/%s, %s", report, domain, user, period)
	}
	return s
}
