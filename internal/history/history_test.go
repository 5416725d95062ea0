package history

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"millrace/internal/embedded/embeddedtest"
	"millrace/internal/migrate"
)

func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }

func TestWrite(t *testing.T) {
	t.Parallel()
	one := func(database, query string) (s string) {
		t.Helper()
		if err := embeddedtest.Connect(t, database).QueryRow(t.Context(), "SELECT toString(("+query+"))").Scan(&s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	o := Options{Messages: 30_000, Days: 40, Domains: 100, Seed: 7, block: 25_000, End: time.Now().Truncate(time.Hour)}
	var blocks []uint64
	o.Progress = func(done uint64) { blocks = append(blocks, done) }
	made := func() string {
		database := embeddedtest.Database(t)
		m, err := migrate.New(embeddedtest.Connect(t, ""), migrate.Settings{Database: database})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Apply(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := Write(t.Context(), embeddedtest.Connect(t, database), o); err != nil {
			t.Fatal(err)
		}
		return database
	}
	a, b := made(), made()
	if fmt.Sprint(blocks) != "[25000 30000 25000 30000]" {
		t.Error(blocks)
	}
	for _, table := range []string{"message_events", "status_events"} {
		content := "SELECT (count(), sum(cityHash64(* EXCEPT (flags, bad_fields, structured_data, extra)))) FROM " + table
		if x, y := one(a, content), one(b, content); x != y {
			t.Errorf("%s: the same seed gives %s and %s", table, x, y)
		}
	}
	// Again is no more.
	if err := Write(t.Context(), embeddedtest.Connect(t, a), o); err != nil {
		t.Fatal(err)
	}
	f := func(query, want string) {
		t.Helper()
		if got := one(a, query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	f("SELECT (count(), uniqExact(id), countIf(NOT match(id, '^[0-9A-Za-z]{6}-[0-9A-Za-z]{6}-[0-9A-Za-z]{2}$'))) FROM message_events", "(30000,30000,0)")
	f("SELECT count() FROM status_events WHERE (domain, id_time, id, recipient, filtering_host) NOT IN (SELECT domain, id_time, id, recipient, filtering_host FROM message_events)", "0")
	f("SELECT (count(), sum(has_message)) FROM messages", "(30000,30000)")
	f("SELECT round(countIf(direction = 'outgoing') / count(), 1) FROM messages", "0.2")
	f("SELECT (countIf(status_norm = 'queued') < 100, countIf(class_group = '') < 100, uniqExact(class_norm), max(incoming_size) > 1000000) FROM messages", "(1,1,9,1)")
	f("SELECT uniqExact(domain) > 90 AND uniqExact(domain) <= 100 AND topK(1)(domain)[1] = 'customer0.example' FROM messages", "1")
	f(fmt.Sprintf("SELECT min(id_time) >= toDateTime(%d) AND max(id_time) < toDateTime(%d) FROM messages", o.End.Unix()-40*86400, o.End.Unix()), "1")

	for _, wrong := range []Options{{}, {Messages: 1, Domains: 1}, {Messages: 1, Days: 1}} {
		if err := Write(t.Context(), embeddedtest.Connect(t, a), wrong); err == nil || !strings.Contains(err.Error(), "allowed 1 to") {
			t.Error(err)
		}
	}
	if err := embeddedtest.Connect(t, a).Exec(t.Context(), "INSERT INTO message_events (received_at, k_topic) SELECT now64(3), 'message'"); err != nil {
		t.Fatal(err)
	}
	if err := Write(t.Context(), embeddedtest.Connect(t, a), o); err == nil || !strings.Contains(err.Error(), "there are 1 already") {
		t.Error(err)
	}
}
