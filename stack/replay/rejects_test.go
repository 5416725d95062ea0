package replay_test

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/internal/config"
	"millrace/internal/embedded/embeddedtest"
	"millrace/schema"
	"millrace/stack/replay"
	"millrace/transformer/block"
	"millrace/transformer/insert"
)

func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }

// world is a database with rejects.
type world struct {
	t        testing.TB
	conn     clickhouse.Conn
	database string
	cfg      *config.Config
	server   *insert.ClickHouse
}

const template = `"ours","%(id)s","%(filtering_host)s","%(sender)s","%(recipient)s","%(subject_header)s"`

func newWorld(t testing.TB) *world {
	t.Helper()
	server := embeddedtest.ClickHouse(t)
	w := &world{t: t, database: embeddedtest.Database(t), conn: embeddedtest.Connect(t, "")}
	for _, k := range schema.Kinds() {
		if err := w.conn.Exec(t.Context(), k.CreateTable(schema.Layout{Database: w.database})); err != nil {
			t.Fatal(err)
		}
	}
	w.cfg = w.configured(server.NativeAddr, server.Admin.User, server.Admin.Password, "m1, s1")
	options, err := w.cfg.ClickHouseOptions()
	if err != nil {
		t.Fatal(err)
	}
	if w.server, err = insert.Open(insert.Options{ClickHouse: options, Database: w.database}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.server.Close() })
	return w
}

// configured is a configuration in which the listener has these formats.
func (w *world) configured(address, user, password, formats string) *config.Config {
	w.t.Helper()
	cfg, err := config.Parse("millrace.yaml", fmt.Appendf(nil, `
listeners:
  - {name: filter, address: "tcp://127.0.0.1:5514", direction: outgoing, formats: [%s]}
formats:
  - {name: ours, kind: message, template: '%s'}
clickhouse: {addresses: ["%s"], database: %s, username: %s, password: "%s"}
`, formats, template, address, w.database, user, password), func(string) string { return "" })
	if err != nil {
		w.t.Fatal(err)
	}
	return cfg
}

// with is the same configuration with other formats.
func (w *world) with(formats string) *config.Config {
	ch := &w.cfg.ClickHouse
	return w.configured(ch.Addresses[0], ch.Username, ch.Password.Reveal(), formats)
}

// received is when reject number n came: every tenth a week later.
func received(n int) time.Time {
	return time.Date(2026, 11, 4, 12, 0, n, 0, time.UTC).AddDate(0, 0, n%10/9*7)
}

// reject is one row of `rejects`.
type reject struct {
	listener, reason, raw string
	size                  int // of the frame; 0: as raw
}

func ours(n int) reject {
	return reject{"filter", "no_template", fmt.Sprintf(`<14>Nov  4 12:00:00 mx1 exim: "ours","1vcfAQ-00Az%02d-Is","mx1.example","a@x.example","b@y.example","number %d"`, n%100, n), 0}
}

// store writes rejects as the transformer would, from offset first of a partition on.
func (w *world) store(partition uint16, first int64, all []reject) {
	w.t.Helper()
	b := block.New(schema.Reject)
	b.Reset(block.Place{Topic: schema.Reject.Topic, Epoch: 2, Partition: partition})
	var e schema.Event
	for i, r := range all {
		e.Reset(schema.Reject)
		e.SetMillis(schema.ReceivedAt, received(i).UnixMilli())
		e.SetMillis(schema.EventTime, received(i).UnixMilli())
		e.SetText(schema.Listener, []byte(r.listener))
		e.SetText(schema.Transport, []byte("tcp"))
		e.SetIP(schema.PeerIP, netip.MustParseAddr("192.0.2.7"))
		e.SetText(schema.Reject.Index("reason"), []byte(r.reason))
		e.SetText(schema.Raw, []byte(r.raw))
		e.SetUint(schema.Reject.Index("frame_bytes"), uint64(max(r.size, len(r.raw))))
		b.Append(&e, first+int64(i))
	}
	if err := w.server.Insert(w.t.Context(), b, fmt.Sprint("test/", partition, "/", first)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) replay(o replay.RejectOptions) replay.RejectResult {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	r, err := replay.Rejects(ctx, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) value(sql string) string {
	w.t.Helper()
	var s string
	if err := w.conn.QueryRow(w.t.Context(), "SELECT toString(("+strings.NewReplacer("DB.", w.database+".", "DBNAME", w.database).Replace(sql)+"))").Scan(&s); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
	return s
}

func (w *world) expect(sql, want string) {
	w.t.Helper()
	if got := w.value(sql); got != want {
		w.t.Errorf("%s\nis %s, want %s", sql, got, want)
	}
}

// Rejects of a template that is configured now: looked at, inserted, and once only, with
// the place in Kafka of the reject and what the row knows of its way.
func TestRejects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 2500 // several parts
	var all []reject
	for i := range n {
		all = append(all, ours(i))
	}
	all[3].reason, all[3].size = "oversize", 100_000                     // cut
	all[4].raw = "<14>garbage"                                           // no event ever
	all[5].listener = "gone"                                             // not in the configuration
	all[6] = reject{"filter", "bad_record", "\x01\x02", 0}               // no frame
	all[7].raw = strings.ReplaceAll(all[7].raw, "number", "number \xff") // not UTF-8
	w.store(1, 500, all)
	w.store(2, 7, []reject{ours(0), ours(1)})
	const events = n - 4 + 2

	before := w.replay(replay.RejectOptions{Options: replay.Options{Config: w.cfg}})
	if before.Rejects != n+1 || before.Total() != 0 || before.Cut != 1 || before.Strange["gone"] != 1 {
		t.Errorf("with the old configuration: %+v", before)
	}
	now := w.with("m1, s1, ours")
	dry := w.replay(replay.RejectOptions{Options: replay.Options{Config: now}})
	want := replay.RejectResult{Rejects: n + 1, Events: map[string]uint64{"ours": events}, Cut: 1, Still: map[string]uint64{"no_template": 1}, Strange: map[string]uint64{"gone": 1}}
	same := func(a, b replay.RejectResult) bool {
		return a.Rejects == b.Rejects && a.There == b.There && a.Cut == b.Cut && a.Inserted == b.Inserted && maps.Equal(a.Events, b.Events) && maps.Equal(a.Still, b.Still) && maps.Equal(a.Strange, b.Strange)
	}
	if !same(dry, want) {
		t.Errorf("dry run: %+v, want %+v", dry, want)
	}
	w.expect("SELECT count() FROM DB.message_events", "0")

	done := uint64(0)
	r := w.replay(replay.RejectOptions{Options: replay.Options{Config: now, Insert: true, Progress: func(n, all uint64) { done = n }}})
	want.Inserted = events
	if !same(r, want) || done != n+1 {
		t.Errorf("inserted: %+v, want %+v; progress %d", r, want, done)
	}
	again := w.replay(replay.RejectOptions{Options: replay.Options{Config: now, Insert: true}})
	if again.There != events || again.Inserted != 0 || again.Total() != 0 {
		t.Errorf("again: %+v", again)
	}
	w.expect("SELECT count() FROM DB.message_events", fmt.Sprint(events))
	w.expect("SELECT uniqExact(k_topic, k_epoch, k_part, k_off) FROM DB.message_events", fmt.Sprint(events))
	w.expect("SELECT tuple(k_topic, k_epoch, k_part, k_off, received_at, listener, transport, toString(peer_ip), format, direction, sender, syslog_host) FROM DB.message_events WHERE k_part = 1 AND subject_header = 'number 42'",
		"('reject',2,1,542,'2026-11-04 12:00:42.000','filter','tcp','::ffff:192.0.2.7','ours','outgoing','a@x.example','mx1')")
	w.expect("SELECT flags FROM DB.message_events WHERE k_part = 1 AND k_off = 507", "['bad_utf8']")
	w.expect("SELECT count() FROM DB.rejects", fmt.Sprint(n+2))
}

// Filters, and one format for all.
func TestRejects_Which(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := []reject{ours(0), ours(1), ours(2), ours(3)}
	all[1].reason = "short"
	all[2].listener = "filter"
	w.store(0, 0, all)
	f := func(name string, o replay.RejectOptions, want uint64) {
		t.Helper()
		o.Config = w.cfg
		if o.Format == "" {
			o.Config = w.with("ours")
		}
		if r := w.replay(o); r.Total() != want || r.Rejects != want {
			t.Errorf("%s: %+v, want %d", name, r, want)
		}
	}
	f("all", replay.RejectOptions{}, 4)
	f("a reason", replay.RejectOptions{Reason: "short"}, 1)
	f("since", replay.RejectOptions{Since: received(2)}, 2)
	f("none", replay.RejectOptions{Since: received(20)}, 0)
	f("as a format that the listener has not", replay.RejectOptions{Format: "ours"}, 4)
	if _, err := replay.Rejects(t.Context(), replay.RejectOptions{Options: replay.Options{Config: w.cfg}, Format: "theirs"}); err == nil || !strings.Contains(err.Error(), `"theirs"`) || !strings.Contains(err.Error(), `"ours"`) {
		t.Errorf("a format that is not there: %v", err)
	}
}

// A run that ended in the middle is finished by the next one, also when the server has
// forgotten tokens.
func TestRejects_Interrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 3000
	var all []reject
	for i := range n {
		all = append(all, ours(i))
	}
	w.store(0, 0, all)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := replay.RejectOptions{Options: replay.Options{Config: w.with("ours"), Insert: true}}
	o.Progress = func(done, _ uint64) {
		if done > 0 {
			cancel()
		}
	}
	if _, err := replay.Rejects(ctx, o); err == nil {
		t.Fatal("it was not interrupted")
	}
	if w.value("SELECT count() FROM DB.message_events") == fmt.Sprint(n) {
		t.Fatal("it was interrupted too late")
	}
	o.Progress = nil
	w.replay(o)
	w.expect("SELECT tuple(count(), uniqExact(k_off)) FROM DB.message_events", fmt.Sprintf("(%d,%d)", n, n))
}
