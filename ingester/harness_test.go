package ingester

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/ingester/format"
	"millrace/internal/config"
	"millrace/internal/embedded"
	"millrace/internal/eximid"
	"millrace/internal/service"
	"millrace/schema"
)

// patience bounds waits for what must happen. No test passes sooner for it.
const patience = 60 * time.Second

// rig is an ingester over real sockets and a broker.
type rig struct {
	*Ingester
	t      *testing.T
	broker *embedded.Broker
	addr   map[string]net.Addr // by listener
	gate   Gate
	log    *logbook
	stop   func() error // soft: drains and returns what Run returned
	kill   context.CancelFunc
}

// logbook keeps what was logged.
type logbook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// tcp and udp are the listeners of tests that need no others.
const (
	tcp  = "  - {name: tcp, address: 'tcp://127.0.0.1:0', max_frame: 4KiB}\n"
	udp  = "  - {name: udp, address: 'udp://127.0.0.1:0', max_frame: 4KiB}\n"
	both = tcp + udp
)

func startBroker(t testing.TB, o embedded.BrokerOptions) *embedded.Broker {
	t.Helper()
	o.Topics = map[string]int{}
	for _, k := range schema.Kinds() {
		o.Topics["millrace."+k.Topic] = 3
	}
	b, err := embedded.StartBroker(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// newRig serves listeners, given as lines of the configuration, over a broker in
// memory. kafka are lines of its section; change what the file does not allow.
func newRig(t *testing.T, listeners, kafka string, change ...func(*config.Config)) *rig {
	t.Helper()
	return newRigOn(t, startBroker(t, embedded.BrokerOptions{}), listeners, kafka, change...)
}

func newRigOn(t *testing.T, broker *embedded.Broker, listeners, kafka string, change ...func(*config.Config)) *rig {
	t.Helper()
	r := &rig{t: t, broker: broker, addr: map[string]net.Addr{}, log: &logbook{}}
	log, err := service.NewLogger(r.log, slog.LevelInfo, "text")
	if err != nil {
		t.Fatal(err)
	}
	cfg := parse(t, broker.Addr, listeners, kafka)
	for _, f := range change {
		f(cfg)
	}
	if r.Ingester, err = New(Options{Config: cfg, Log: log, Gate: &r.gate}); err != nil {
		t.Fatal(err)
	}
	for _, a := range r.Addrs() {
		r.addr[a.Name] = a.Addr
	}
	soft, stop := context.WithCancel(context.Background())
	hard, kill := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(soft, hard) }()
	r.kill = kill
	r.stop = sync.OnceValue(func() error {
		stop()
		select {
		case err := <-ended:
			return err
		case <-time.After(patience):
			return errors.New("the ingester does not stop")
		}
	})
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		t.Logf("the log:\n%s", r.log)
	})
	t.Cleanup(func() { kill(); _ = r.stop() })
	return r
}

func parse(t testing.TB, broker, listeners, kafka string) *config.Config {
	t.Helper()
	text := "listeners:\n" + listeners + "kafka:\n  brokers: ['" + broker + "']\n  linger: 5ms\n" + kafka
	cfg, err := config.Parse("test.yaml", []byte(text), func(string) string { return "" })
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return cfg
}

// drained stops the ingester and returns its account, which must close with
// nothing in flight.
func (r *rig) drained() Account {
	r.t.Helper()
	if err := r.stop(); err != nil {
		r.t.Fatalf("Run: %v", err)
	}
	a := r.Account()
	if !a.Closes() || a.InFlight != 0 {
		r.t.Errorf("the account does not close: %+v", a)
	}
	return a
}

// send writes pieces to a listener over one connection of its own, and closes it.
func (r *rig) send(listener string, pieces ...string) {
	r.t.Helper()
	c := r.dial(listener)
	defer c.Close()
	for _, p := range pieces {
		if _, err := c.Write([]byte(p)); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) dial(listener string) net.Conn {
	r.t.Helper()
	a := r.addr[listener]
	c, err := net.Dial(a.Network(), a.String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	return c
}

// within waits until the listeners' account is as wanted.
func (r *rig) within(what string, ok func(a Account) bool) {
	r.t.Helper()
	within(r.t, what, func() bool { return ok(r.Account()) }, func() string { return fmt.Sprintf("%+v", r.Account()) })
}

func within(t *testing.T, what string, ok func() bool, last func() string) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("does not come to pass: %s; last seen: %s", what, last())
		}
	}
}

// event is a record read back: its fields in words, by name, those that are
// empty left out. flags and bad_fields are joined with spaces, maps are
// "key=value" likewise.
type event map[string]string

func (e event) want(t *testing.T, pairs ...string) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if e[pairs[i]] != pairs[i+1] {
			t.Errorf("%s is %q; want %q\nof %q", pairs[i], e[pairs[i]], pairs[i+1], e)
		}
	}
}

func words(kind *schema.Kind, record []byte) (event, error) {
	var e schema.Event
	if err := (schema.Reader{}).Read(kind, record, &e); err != nil {
		return nil, err
	}
	out := event{"kind": kind.Name}
	for i, f := range kind.Fields {
		if e.Has(i) {
			out[f.Name] = format.Text(&e, i)
		}
	}
	for _, p := range e.Pairs() {
		name := kind.Fields[p.Field].Name
		out[name] = strings.TrimSpace(out[name] + " " + string(p.Key) + "=" + string(p.Value))
	}
	for _, n := range e.Names() {
		name := kind.Fields[n.Field].Name
		out[name] = strings.TrimSpace(out[name] + " " + string(n.Name))
	}
	return out, nil
}

// read takes exactly n events out of Kafka, from the beginning; "place" is where
// each stood.
func (r *rig) read(n int) []event {
	r.t.Helper()
	var topics []string
	for _, k := range schema.Kinds() {
		topics = append(topics, "millrace."+k.Topic)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(r.broker.Addr), kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(50*time.Millisecond))
	if err != nil {
		r.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var events []event
	for len(events) < n {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			r.t.Fatalf("%d events are in Kafka, want %d; the last are %q", len(events), n, events[max(0, len(events)-5):])
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			kind := schema.KindByName(strings.TrimPrefix(rec.Topic, "millrace."))
			e, err := words(kind, rec.Value)
			if err != nil {
				r.t.Errorf("%s/%d/%d: %v", rec.Topic, rec.Partition, rec.Offset, err)
			}
			e["place"] = fmt.Sprintf("%s/%d/%d", rec.Topic, rec.Partition, rec.Offset)
			events = append(events, e)
		})
	}
	if len(events) != n {
		r.t.Fatalf("%d events are in Kafka, want %d; the last are %q", len(events), n, events[max(0, len(events)-5):])
	}
	return events
}

// bodies of the built-in formats.

func m1(id, subject string) string { return m1With(id, subject, "recipient@example.com") }

func m1With(id, subject, to string) string {
	return quoted(id, "filter1.example.net", "sender@example.org", "recipient@example.com", "example.com", "1680135061",
		"mail.example.org", "mail.example.org", "192.0.2.1", "23533", "24100", "delivered", "ok", "Combined (0.02)",
		`"Doe, J" <sender@example.org>`, to, "", subject)
}

func s1(id, status, data string) string {
	return quoted(id, "filter1.example.net", "example.com", "recipient@example.com", status, "1680135070", "192.0.2.9", "25", "mx.example.com", data)
}

func quoted(values ...string) string { return `"` + strings.Join(values, `","`) + `"` }

// testID is an Exim id of 2023-03-30 00:11:01 that is unique by n.
func testID(n int) string {
	return string(eximid.Append(nil, 1680135061, uint64(n), 1492))
}

// once fails unless the message events have the ids of first to last-1, each
// once.
func once(t *testing.T, events []event, first, last int) {
	t.Helper()
	var got, want []string
	for _, e := range events {
		if e["kind"] == "message" {
			got = append(got, e["id"])
		}
	}
	for n := first; n < last; n++ {
		want = append(want, testID(n))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d ids came through, want %d, each once", len(got), len(want))
	}
}
