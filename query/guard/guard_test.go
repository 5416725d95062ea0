package guard

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/internal/config"
	"millrace/internal/embedded/embeddedtest"
	"millrace/query"
	"millrace/query/lock"
	"millrace/query/querytest"
	"millrace/query/state"
	"millrace/query/state/statetest"
)

func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// clock is one that the test turns.
type clock struct {
	mutex sync.Mutex
	at    time.Time
}

func (c *clock) now() time.Time {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.at
}

func (c *clock) turn(d time.Duration) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.at = c.at.Add(d)
}

// fixture is a database, a state and a clock.
type fixture struct {
	t        *testing.T
	database string
	conn     clickhouse.Conn
	reader   query.Options
	store    *state.Store
	clock    *clock
	offset   uint64
}

var byHand = state.By{Actor: "cli:root", How: state.CLI}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	db := querytest.Tables(t)
	return &fixture{
		t: t, database: db, conn: embeddedtest.Connect(t, db), reader: querytest.Reader(t, db), store: statetest.Open(t),
		clock: &clock{at: time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)},
	}
}

// user gives an outgoing user its settings.
func (f *fixture) user(domain, user, method string, automatically bool) {
	f.t.Helper()
	must(f.t, lock.SetOutgoingUser(f.t.Context(), f.store, byHand, domain, user, "", func(u *state.OutgoingUser) error {
		u.Identification, u.LockAutomatically = method, automatically
		return nil
	}))
}

// mail is n messages, a second apart, of which the last is of a time before now.
type mail struct {
	n                                     int
	ago, late                             time.Duration // late: received so long after its time
	domain, user, sender, identity, class string
	status, ip, id                        string
}

func (f *fixture) mail(m mail) {
	f.t.Helper()
	b, err := f.conn.PrepareBatch(f.t.Context(), "INSERT INTO message_events (received_at, event_time, id_time, id, filtering_host, domain, sender, recipient, class_norm, status_norm, sender_ip, auth_user, identity, direction, k_topic, k_off)")
	must(f.t, err)
	for i := range m.n {
		f.offset++
		at := f.clock.now().Add(-m.ago - time.Duration(m.n-1-i)*time.Second)
		id := m.id
		if id == "" {
			id = fmt.Sprintf("m%06d", f.offset)
		}
		must(f.t, b.Append(at.Add(m.late), at, at, id, "mx1", cmp.Or(m.domain, "example.com"), m.sender, fmt.Sprintf("r%d@far.example", i),
			cmp.Or(m.class, "spam"), cmp.Or(m.status, "rejected"), cmp.Or(m.ip, "203.0.113.9"), m.user, m.identity, "unknown", "message", f.offset))
	}
	must(f.t, b.Send())
}

// rule is one with the defaults of the configuration and what is given as YAML.
func rules(t *testing.T, yaml string) []Rule {
	t.Helper()
	cfg, err := config.Parse("m.yaml", []byte("rules:\n"+yaml), func(string) string { return "" })
	must(t, err)
	var all []Rule
	for _, r := range cfg.Rules {
		all = append(all, NewRule(cfg, r))
	}
	return all
}

func (f *fixture) guard(o Options) *Guard {
	f.t.Helper()
	o.Store, o.Query, o.Now = cmp.Or(o.Store, f.store), f.reader, f.clock.now
	g, err := New(o)
	must(f.t, err)
	return g
}

func (f *fixture) term() *state.Term {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	term, err := f.store.Leader(ctx)
	must(f.t, err)
	return term
}

func (f *fixture) round(g *Guard) {
	f.t.Helper()
	must(f.t, g.round(f.t.Context(), f.term()))
}

// held is what is locked and blocked.
func (f *fixture) held() string {
	var all []string
	s := f.store.Snapshot()
	for _, l := range lock.List(s, lock.Filter{}, f.clock.now()) {
		all = append(all, lock.Target{Domain: l.Domain, User: l.User, Identity: l.Identity}.String()+" "+l.Last.Actor)
	}
	for _, b := range lock.Blocked(s, lock.Filter{}) {
		all = append(all, "block "+lock.Sender{Domain: b.Domain, User: b.User, Sender: b.Sender}.String()+" "+b.Last.Actor)
	}
	return strings.Join(all, ", ")
}

func (f *fixture) wants(want string) {
	f.t.Helper()
	if got := f.held(); got != want {
		f.t.Errorf("locked is %q, want %q", got, want)
	}
}

// changes counts the records of locks and blocks that had effect.
func (f *fixture) changes() (n int) {
	f.t.Helper()
	must(f.t, f.store.CatchUp(f.t.Context()))
	end := f.store.Snapshot().Version()
	_ = f.store.Follow(f.t.Context(), func(records []state.Record, next state.Version) error {
		for _, r := range records {
			if _, ok := eventOf(r); ok {
				n++
			}
		}
		if next >= end {
			return context.Canceled
		}
		return nil
	})
	return n
}
