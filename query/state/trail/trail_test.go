package trail_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/internal/embedded/embeddedtest"
	"millrace/internal/migrate"
	"millrace/query/account"
	"millrace/query/state"
	"millrace/query/state/statetest"
	"millrace/query/state/trail"
)

func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }

var by = state.By{Actor: "cli:root", How: state.CLI}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// database has the tables of this binary.
func database(t *testing.T) (clickhouse.Conn, string) {
	t.Helper()
	name := embeddedtest.Database(t)
	conn := embeddedtest.Connect(t, "")
	m, err := migrate.New(conn, migrate.Settings{Database: name})
	must(t, err)
	_, err = m.Apply(t.Context())
	must(t, err)
	return conn, name
}

func lock(identity string, locked bool) state.Change {
	action := "lock"
	if !locked {
		action = "unlock"
	}
	return state.Change{Key: state.LockKey("example.com", "*", identity), Action: action, Value: state.Lock{Locked: locked}, Reason: "it's a \"spam run\""}
}

// copying runs Copy until the returned function is called.
func copying(t *testing.T, store *state.Store, conn clickhouse.Conn, database string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		trail.Copy(ctx, store, conn, trail.Place{Insert: database, Read: database}, slog.New(slog.DiscardHandler), func() {})
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// await waits until ClickHouse has so many rows.
func await(t *testing.T, conn clickhouse.Conn, database string, want uint64) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		var n uint64
		must(t, conn.QueryRow(t.Context(), "SELECT count() FROM "+database+".state_changes FINAL").Scan(&n))
		if n == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d rows, want %d", n, want)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func history(t *testing.T, store *state.Store, conn clickhouse.Conn, database string, f trail.Filter) string {
	t.Helper()
	list, err := trail.History(t.Context(), store, conn, database, f)
	if err != nil && conn != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, c := range list {
		fmt.Fprintf(&b, "%s %s %s %q %s %s|", c.Actor, c.Action, c.Parts[len(c.Parts)-1], c.Reason, c.Before, c.After)
	}
	return b.String()
}

func TestCopyAndHistory(t *testing.T) {
	t.Parallel()
	conn, db := database(t)
	store := statetest.Open(t)
	must(t, store.Append(t.Context(), by, lock("bob", true)))
	must(t, store.Append(t.Context(), by, lock("bob", false), lock("bea", true)))
	const reason = `"it's a \"spam run\""`
	want := `cli:root lock bob ` + reason + `  {"locked":true}|cli:root unlock bob ` + reason + ` {"locked":true} {"locked":false}|cli:root lock bea ` + reason + `  {"locked":true}|`
	locks := trail.Filter{Kinds: []string{state.KindLock}}

	// Nobody has copied anything yet, nor can ClickHouse be asked.
	if got := history(t, store, conn, db, locks); got != want {
		t.Errorf("of the log: %s", got)
	}
	if got := history(t, store, nil, db, locks); got != want {
		t.Errorf("without ClickHouse: %s", got)
	}
	stop := copying(t, store, conn, db)
	await(t, conn, db, uint64(store.Snapshot().Version()))
	if got := history(t, store, conn, db, locks); got != want {
		t.Errorf("copied: %s", got)
	}
	// While copying goes on, and while it does not.
	must(t, store.Append(t.Context(), by, lock("joe", true)))
	await(t, conn, db, uint64(store.Snapshot().Version()))
	stop()
	must(t, store.Append(t.Context(), by, lock("jim", true)))
	want += `cli:root lock joe ` + reason + `  {"locked":true}|cli:root lock jim ` + reason + `  {"locked":true}|`
	if got := history(t, store, conn, db, locks); got != want {
		t.Errorf("half copied: %s", got)
	}
	locks.Limit, locks.Match = 1, func(parts []string) bool { return parts[3] == "bob" }
	if got := history(t, store, conn, db, locks); !strings.HasPrefix(got, "cli:root unlock bob") || strings.Count(got, "|") != 1 {
		t.Errorf("the last one of bob: %s", got)
	}
	// Two who copy at once make no row twice.
	copying(t, store, conn, db)
	copying(t, store, conn, db)
	must(t, store.Append(t.Context(), by, lock("one", true)))
	await(t, conn, db, uint64(store.Snapshot().Version()))
}

// What fails is told each time, and tried again.
func TestCopy_Fails(t *testing.T) {
	t.Parallel()
	conn, db := database(t)
	store := statetest.Open(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	failed := 0
	trail.Copy(ctx, store, conn, trail.Place{Insert: db + "_that_is_not_there", Read: db + "_that_is_not_there"}, slog.New(slog.DiscardHandler), func() {
		if failed++; failed == 2 {
			cancel()
		}
	})
	if failed != 2 {
		t.Errorf("%d failures were told", failed)
	}
}

// Of two instances the one that acts copies, and the other one when it is gone.
func TestRun(t *testing.T) {
	t.Parallel()
	conn, db := database(t)
	b := embeddedtest.Broker(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	first, second := statetest.OpenAt(t, b.Addr), statetest.OpenAt(t, b.Addr)
	log := slog.New(slog.DiscardHandler)
	done := make(chan struct{}, 2)
	for _, s := range []*state.Store{first, second} {
		go func() { trail.Run(ctx, s, conn, trail.Place{Insert: db, Read: db}, log, func() {}); done <- struct{}{} }()
	}
	must(t, first.Append(t.Context(), by, lock("bob", true)))
	awaitText(t, conn, db, "bob")
	first.Close()
	<-done
	must(t, second.Append(t.Context(), by, lock("bea", true)))
	awaitText(t, conn, db, "bea")
	cancel()
	<-done
}

// awaitText waits until ClickHouse has the change of an identity.
func awaitText(t *testing.T, conn clickhouse.Conn, database, identity string) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for n := uint64(0); n == 0; time.Sleep(20 * time.Millisecond) {
		must(t, conn.QueryRow(t.Context(), "SELECT count() FROM "+database+".state_changes FINAL WHERE has(parts, '"+identity+"') AND effect = 'applied'").Scan(&n))
		if time.Now().After(deadline) {
			t.Fatalf("no row of %s", identity)
		}
	}
}

// What had no effect is in the trail, and in the history of who asks for it.
func TestCopy_Conflicts(t *testing.T) {
	t.Parallel()
	conn, db := database(t)
	store := statetest.Open(t)
	key := state.SentKey("daily", "example.com", state.AllUsers, "2026-11-04")
	done := make(chan error, 4)
	for range 4 {
		go func() {
			done <- store.Append(context.WithoutCancel(t.Context()), by, state.Change{Key: key, Action: "claim", Value: state.Sent{}, If: state.Absent()})
		}()
	}
	for range 4 {
		<-done
	}
	copying(t, store, conn, db)
	must(t, store.CatchUp(t.Context()))
	await(t, conn, db, uint64(store.Snapshot().Version()))
	list, err := trail.History(t.Context(), store, conn, db, trail.Filter{Kinds: []string{state.KindSent}})
	must(t, err)
	if len(list) != 1 {
		t.Errorf("%d claims have had effect", len(list))
	}
}

func TestCopy_NoSecrets(t *testing.T) {
	t.Parallel()
	conn, db := database(t)
	store := statetest.Open(t)
	accounts := account.New(store, account.Options{})
	must(t, accounts.Add(t.Context(), by, state.User{Name: "joe", Role: "admin"}, "correct horse"))
	text, token, err := accounts.AddToken(t.Context(), by, "joe", "backup", time.Time{})
	must(t, err)
	must(t, accounts.SetPassword(t.Context(), by, "joe", "another password"))
	must(t, store.Append(t.Context(), by, state.Change{Key: state.NewKey("vault", "x"), Action: "set", Value: map[string]string{"key": "of a newer version"}}))
	must(t, accounts.RevokeToken(t.Context(), by, token.ID, "left"))
	copying(t, store, conn, db)
	await(t, conn, db, uint64(store.Snapshot().Version()))
	list, err := trail.History(t.Context(), store, conn, db, trail.Filter{Futile: true})
	must(t, err)
	all, err := json.Marshal(list)
	must(t, err)
	for _, secret := range []string{"argon2id", text, text[15:], "hash", "of a newer version", "correct horse"} {
		if strings.Contains(string(all), secret) {
			t.Errorf("%q is in the trail: %s", secret, all)
		}
	}
	for _, there := range []string{`"action":"password"`, `"label":"backup"`, `"reason":"left"`, `"kind":"vault"`} {
		if !strings.Contains(string(all), there) {
			t.Errorf("%s is not in the trail: %s", there, all)
		}
	}
}

// The trail outlives the topic: one that was made anew counts from 0 again, under another
// epoch.
func TestCopy_AnotherTopic(t *testing.T) {
	t.Parallel()
	conn, db := database(t)
	var versions uint64
	for _, identity := range []string{"bob", "bea"} {
		store := statetest.Open(t)
		must(t, store.Append(t.Context(), by, lock(identity, true)))
		stop := copying(t, store, conn, db)
		versions += uint64(store.Snapshot().Version())
		await(t, conn, db, versions)
		stop()
		if got := history(t, store, conn, db, trail.Filter{Kinds: []string{state.KindLock}}); !strings.Contains(got, "lock bob") {
			t.Errorf("%s", got)
		}
	}
}
