package replay_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/ingester"
	"millrace/internal/config"
	"millrace/internal/embedded/embeddedtest"
	"millrace/schema"
	"millrace/stack/replay"
	"millrace/transformer/audit"
	"millrace/transformer/block"
)

// The templates of before and after: the domain and the host stood in each other's place.
const (
	wrong = `"ours","%(id)s","%(domain)s","%(filtering_host)s","%(recipient)s","%(timestamp)s","%(subject_header)s"`
	right = `"ours","%(id)s","%(filtering_host)s","%(domain)s","%(recipient)s","%(timestamp)s","%(subject_header)s"`
)

// reading is a configuration in which the listener's one format is the template.
func (w *world) reading(template, zone string) *config.Config {
	w.t.Helper()
	ch := &w.cfg.ClickHouse
	cfg, err := config.Parse("millrace.yaml", fmt.Appendf(nil, `
listeners:
  - {name: filter, address: "tcp://127.0.0.1:5514", direction: outgoing, formats: [ours], raw: always, time_zone: %s}
formats:
  - {name: ours, kind: message, template: '%s'}
clickhouse: {addresses: ["%s"], database: %s, username: %s, password: "%s"}
`, zone, template, ch.Addresses[0], w.database, ch.Username, ch.Password.Reveal()), func(string) string { return "" })
	if err != nil {
		w.t.Fatal(err)
	}
	return cfg
}

var wednesday = time.Date(2026, 11, 4, 12, 0, 0, 0, time.UTC)

// arrived is when event number n came: every tenth a week later.
func arrived(n int) time.Time {
	return wednesday.Add(time.Duration(n)*time.Millisecond).AddDate(0, 0, n%10/9*7)
}

func frame(n int) string {
	return fmt.Sprintf(`<14>Nov  4 12:00:00 mx1 exim: "ours","no id %d","mx1.example","d%d.example","b@y.example","2026-11-04 12:00:00","number %d"`, n, n%50, n)
}

// ingest writes n events from offset 0 of a partition on, as the pipeline would with cfg.
func (w *world) ingest(cfg *config.Config, partition uint16, frames []string) {
	w.t.Helper()
	decoder, err := ingester.NewRedecoder(cfg, "")
	if err != nil {
		w.t.Fatal(err)
	}
	b := block.New(schema.Message)
	b.Reset(block.Place{Topic: schema.Message.Topic, Epoch: 1, Partition: partition})
	for n, f := range frames {
		e, reason, err := decoder.Decode(ingester.Stored{
			Listener: "filter", Transport: "tcp", Peer: netip.MustParseAddr("192.0.2.7"), Received: arrived(n).UnixMilli(), Frame: []byte(f), Flags: schema.FlagNoTrailer,
		})
		if err != nil || e == nil {
			w.t.Fatal(f, reason, err)
		}
		b.Append(e, int64(n))
	}
	if err := w.server.Insert(w.t.Context(), b, fmt.Sprint("test/", partition)); err != nil {
		w.t.Fatal(err)
	}
}

func frames(n int) (all []string) {
	for i := range n {
		all = append(all, frame(i))
	}
	return all
}

// events runs it, in which no row is in doubt.
func (w *world) events(cfg *config.Config, insert bool) replay.EventResult {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	r, err := replay.Events(ctx, replay.EventOptions{Options: replay.Options{Config: cfg, Insert: insert}, Kind: schema.Message, Since: wednesday})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// audit looks at the tables alone.
func (w *world) audit() *audit.Report {
	w.t.Helper()
	server := embeddedtest.ClickHouse(w.t)
	o, err := w.cfg.ClickHouseOptions()
	if err != nil {
		w.t.Fatal(err)
	}
	o.Auth.Username, o.Auth.Password = server.Reader.User, server.Reader.Password
	r, err := audit.Run(w.t.Context(), audit.Options{ClickHouse: []*clickhouse.Options{o}, Database: w.database})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// clean is an audit that finds all places once.
func (w *world) clean(rows int64) {
	w.t.Helper()
	if r := w.audit(); !r.OK || r.Rows != rows || r.Removed != 0 || len(r.Notes) != 0 {
		w.t.Errorf("%s, want %d rows; %q", r.Verdict(), rows, r.Notes)
	}
}

// A template was wrong: the key of the rows changes, their places stay, and how they came.
func TestEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 500
	before, now := w.reading(wrong, "UTC"), w.reading(right, "UTC")
	w.ingest(before, 0, frames(n))
	w.ingest(before, 1, frames(10))

	if r := w.events(before, false); r.Rows != n+10 || r.Same != n+10 || r.Changed != 0 || len(r.Columns) != 0 {
		t.Errorf("with the same configuration: %+v", r)
	}
	dry := w.events(now, false)
	if dry.Changed != n+10 || dry.Replaced != 0 || dry.Same != 0 || dry.NoRaw != 0 || dry.Doubled != 0 {
		t.Errorf("dry run: %+v", dry)
	}
	var names []string
	for _, c := range dry.Columns {
		names = append(names, fmt.Sprint(c.Column, " ", c.Rows))
	}
	if got := strings.Join(names, ", "); got != "filtering_host 510, domain 510" {
		t.Errorf("columns: %s", got)
	}
	if c := dry.Columns[0]; len(c.Examples) != replay.Examples || !slices.ContainsFunc(c.Examples, func(e [2]string) bool { return e[1] == `"mx1.example"` && strings.HasPrefix(e[0], `"d`) }) {
		t.Errorf("examples: %q", c.Examples)
	}
	w.expect("SELECT uniqExact(domain) FROM DB.message_events", "1")

	if r := w.events(now, true); r.Changed != n+10 || r.Replaced != n+10 || r.Left != 0 {
		t.Errorf("replaced: %+v", r)
	}
	w.expect("SELECT tuple(count(), uniqExact(k_topic, k_epoch, k_part, k_off), uniqExact(domain), min(revision), max(revision)) FROM DB.message_events", "(510,510,50,1,1)")
	w.expect("SELECT tuple(received_at, listener, transport, toString(peer_ip), syslog_host, syslog_app, filtering_host, domain, flags, startsWith(raw, '<14>'), direction) FROM DB.message_events WHERE k_part = 0 AND k_off = 42",
		"('2026-11-04 12:00:00.042','filter','tcp','::ffff:192.0.2.7','mx1','exim','mx1.example','d42.example',['no_trailer','bad_id'],1,'outgoing')")
	w.expect("SELECT count() FROM system.tables WHERE database = 'DBNAME' AND name LIKE 'replay%'", "0")
	w.clean(n + 10)
	if err := w.conn.Exec(t.Context(), "CREATE TABLE "+w.database+".replay_message_events_backup (a UInt8) ENGINE = MergeTree ORDER BY a"); err != nil {
		t.Fatal(err) // somebody's own, which stays
	}
	if r := w.events(now, true); r.Same != n+10 || r.Replaced != 0 {
		t.Errorf("again: %+v", r)
	}
	// Back and forth: each reading counts.
	w.events(before, true)
	w.expect("SELECT tuple(count(), uniqExact(domain), max(revision)) FROM DB.message_events", "(510,1,2)")
	w.expect("SELECT count() FROM DB.replay_message_events_backup", "0")
	w.clean(n + 10)
}

// The zone was wrong: times change, others do not, and rows without a zone to guess.
func TestEvents_Zone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ingest(w.reading(right, "UTC"), 0, frames(20))
	r := w.events(w.reading(right, "America/New_York"), true)
	if r.Replaced != 20 {
		t.Errorf("%+v", r)
	}
	w.expect("SELECT DISTINCT tuple(timestamp, event_time, id_time) FROM DB.message_events", "('2026-11-04 17:00:00.000','2026-11-04 17:00:00.000','2026-11-04 17:00:00')")
	w.expect("SELECT tuple(count(), countIf(received_at < '2026-11-05')) FROM DB.message_events", "(20,18)")
}

// What is left alone: no frame any more, none any more, another kind, a listener that is
// gone, a place with two rows.
func TestEvents_LeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := frames(100)
	w.ingest(w.reading(wrong, "UTC"), 0, all)
	exec := func(sql string) {
		t.Helper()
		if err := w.conn.Exec(t.Context(), strings.ReplaceAll(sql, "DB.", w.database+".")); err != nil {
			t.Fatal(err)
		}
	}
	exec("ALTER TABLE DB.message_events UPDATE raw = '' WHERE k_off < 10 SETTINGS mutations_sync = 2")
	exec("ALTER TABLE DB.message_events UPDATE listener = 'gone' WHERE k_off = 20 SETTINGS mutations_sync = 2")
	exec("ALTER TABLE DB.message_events UPDATE raw = '<14>garbage' WHERE k_off = 21 SETTINGS mutations_sync = 2")
	exec("INSERT INTO DB.message_events SELECT * FROM DB.message_events WHERE k_off = 22")
	r := w.events(w.reading(right, "UTC"), true)
	if r.Rows != 101 || r.NoRaw != 10 || r.Strange["gone"] != 1 || r.Still["no_template"] != 1 || r.Doubled != 2 || r.Changed != 87 || r.Replaced != 87 {
		t.Errorf("%+v", r)
	}
	w.expect("SELECT tuple(count(), countIf(revision = 0)) FROM DB.message_events", "(101,14)")

	until, err := replay.Events(t.Context(), replay.EventOptions{Options: replay.Options{Config: w.reading(wrong, "UTC")}, Kind: schema.Message, Since: arrived(30), Until: arrived(40)})
	if err != nil || until.Rows != 9 || until.Changed != 9 { // one of them came a week later
		t.Errorf("in ten milliseconds: %+v, %v", until, err)
	}
	if none := w.events(w.reading(`"theirs","%(id)s"`, "UTC"), true); none.Still["no_template"] != 88 || none.Replaced != 0 {
		t.Errorf("no template fits any more: %+v", none)
	}
}

// While a run is at work the pipeline goes on inserting into the same week, and nobody
// ever misses a row. What was deleted meanwhile does not come back.
func TestEvents_Live(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 500
	w.ingest(w.reading(wrong, "UTC"), 0, frames(n))
	o := replay.EventOptions{Options: replay.Options{Config: w.reading(right, "UTC"), Insert: true}, Kind: schema.Message, Since: wednesday}
	partition := uint16(0)
	o.SetStep(func(string) error {
		partition++
		w.ingest(w.reading(right, "UTC"), partition, frames(10))
		w.expect("SELECT uniqExact(k_off) FROM DB.message_events WHERE k_part = 0", fmt.Sprint(n))
		return nil
	})
	if r, err := replay.Events(t.Context(), o); err != nil || r.Replaced < n {
		t.Fatalf("%+v, %v", r, err)
	}
	w.expect("SELECT tuple(count(), uniqExact(k_part, k_off), uniqExact(domain), countIf(k_part = 0)) FROM DB.message_events", fmt.Sprintf("(%d,%d,50,%d)", n+10*int(partition), n+10*int(partition), n))
	w.clean(n + 10*int64(partition))

	o.Config = w.reading(wrong, "UTC")
	o.SetStep(func(name string) error {
		if name == "staged" {
			return w.conn.Exec(t.Context(), "DELETE FROM "+w.database+".message_events WHERE k_part = 0 AND k_off = 7")
		}
		return nil
	})
	if _, err := replay.Events(t.Context(), o); err == nil || !strings.Contains(err.Error(), "1 of") || !strings.Contains(err.Error(), "were deleted or replaced meanwhile") {
		t.Error(err)
	}
	w.expect("SELECT tuple(countIf(k_off = 7), count()) FROM DB.message_events WHERE k_part = 0", fmt.Sprintf("(0,%d)", n-1))
}

// A run that ends between any two of its steps: at no moment is a place lost or doubled
// to the audit, and the next run makes it right, whatever its configuration.
func TestEvents_Interrupted(t *testing.T) {
	t.Parallel()
	died := errors.New("died")
	for _, step := range []string{"staged", "attached", "replaced"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			const n = 500
			w.ingest(w.reading(wrong, "UTC"), 0, frames(n))
			o := replay.EventOptions{Options: replay.Options{Config: w.reading(right, "UTC"), Insert: true}, Kind: schema.Message, Since: wednesday}
			o.SetStep(func(name string) error {
				if r := w.audit(); !r.OK {
					t.Errorf("%s: %s", name, r.Verdict())
				}
				if name == step {
					return died
				}
				return nil
			})
			if _, err := replay.Events(t.Context(), o); !errors.Is(err, died) || !strings.Contains(err.Error(), "run it again") {
				t.Fatal(err)
			}
			left := uint64(0)
			if step == "attached" {
				left = n - n/10
				if r := w.audit(); !r.OK || !strings.Contains(fmt.Sprint(r.Notes), "run it again") {
					t.Errorf("%s %q", r.Verdict(), r.Notes)
				}
			}
			if r := w.events(w.reading(wrong, "UTC"), false); r.Left != left {
				t.Errorf("a dry run finds %d left, want %d", r.Left, left)
			}
			o.SetStep(nil)
			if r, err := replay.Events(t.Context(), o); err != nil || r.Left != left {
				t.Fatalf("%+v, %v", r, err)
			}
			w.expect("SELECT tuple(count(), uniqExact(k_off), uniqExact(domain)) FROM DB.message_events", "(500,500,50)")
			w.expect("SELECT count() FROM system.tables WHERE database = 'DBNAME' AND name LIKE 'replay%'", "0")
			w.clean(n)
		})
	}
}
