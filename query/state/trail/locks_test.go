package trail_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	locking "millrace/query/lock"
	"millrace/query/state"
	"millrace/query/state/statetest"
)

// locks are the rows of the view, in order.
func locks(t *testing.T, conn clickhouse.Conn, database string) string {
	t.Helper()
	rows, err := conn.Query(t.Context(), "SELECT domain, user, identity, locked, code, rule, reason, actor, how, until > toDateTime64(0, 3, 'UTC') FROM "+database+".locks ORDER BY ALL")
	must(t, err)
	defer rows.Close()
	var b strings.Builder
	for rows.Next() {
		var domain, user, identity, code, rule, reason, actor, how string
		var locked, ends uint8
		must(t, rows.Scan(&domain, &user, &identity, &locked, &code, &rule, &reason, &actor, &how, &ends))
		fmt.Fprintf(&b, "%s/%s/%s %d %s %s %q %s %s %d|", domain, user, identity, locked, code, rule, reason, actor, how, ends)
	}
	must(t, rows.Err())
	return b.String()
}

// The view gives what the snapshot has, whoever has copied how often, and in whatever
// order the copies are merged.
func TestLocksView(t *testing.T) {
	t.Parallel()
	conn, db := database(t)
	store := statetest.Open(t)
	must(t, locking.SetOutgoingUser(t.Context(), store, by, "example.com", "*", "", func(u *state.OutgoingUser) error {
		u.Identification = state.BySender
		return nil
	}))
	do := func(_ locking.Result, err error) { t.Helper(); must(t, err) }
	bob := locking.Target{Domain: "example.com", User: "a/b", Identity: `it's "bob"`}
	user := locking.Target{Domain: "example.com", User: "192.0.2.1"}
	past := locking.Target{Domain: "example.com", Identity: "past@example.com"}
	do(locking.Lock(t.Context(), store, by, []locking.Target{bob}, locking.Options{Reason: "first"}))
	do(locking.Unlock(t.Context(), store, by, []locking.Target{bob}, "clean"))
	do(locking.Lock(t.Context(), store, state.By{Actor: "rule:burst", How: state.Rule}, []locking.Target{bob}, locking.Options{Reason: "spam run", Rule: "burst", Code: "554", Until: time.Now().Add(time.Hour)}))
	do(locking.Lock(t.Context(), store, by, []locking.Target{user, past}, locking.Options{Reason: "hacked", Until: time.Now().Add(-time.Hour)}))
	do(locking.Lock(t.Context(), store, by, []locking.Target{user}, locking.Options{Reason: "hacked"}))
	// Somebody removes a key, and somebody's change has no effect.
	gone := state.UserLockKey("example.com", "gone")
	must(t, store.Append(t.Context(), by, state.Change{Key: gone, Action: "lock", Value: state.Lock{Locked: true}}))
	must(t, store.Append(t.Context(), by, state.Change{Key: gone, Action: "remove"}))
	if err := store.Append(t.Context(), by, state.Change{Key: state.UserLockKey("example.com", "192.0.2.1"), Action: "unlock", Value: state.Lock{}, If: state.Absent()}); err == nil {
		t.Fatal("no conflict")
	}

	copying(t, store, conn, db)
	copying(t, store, conn, db)
	must(t, store.CatchUp(t.Context()))
	await(t, conn, db, uint64(store.Snapshot().Version()))
	want := `example.com/*/past@example.com 0   "hacked" cli:root cli 1|example.com/192.0.2.1/ 1   "hacked" cli:root cli 0|` +
		`example.com/a/b/it's "bob" 1 554 burst "spam run" rule:burst rule 1|`
	if got := locks(t, conn, db); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	// Every row once more, in parts that are merged or not.
	must(t, conn.Exec(t.Context(), "INSERT INTO "+db+".state_changes SELECT * FROM "+db+".state_changes"))
	must(t, conn.Exec(t.Context(), "INSERT INTO "+db+".state_changes SELECT * REPLACE (now64(3) AS copied_at) FROM "+db+".state_changes ORDER BY offset DESC"))
	if got := locks(t, conn, db); got != want {
		t.Errorf("doubled: %s\nwant %s", got, want)
	}
	must(t, conn.Exec(t.Context(), "OPTIMIZE TABLE "+db+".state_changes FINAL"))
	if got := locks(t, conn, db); got != want {
		t.Errorf("merged: %s\nwant %s", got, want)
	}
	// The locks of another log, before this one, are no more.
	must(t, conn.Exec(t.Context(), "INSERT INTO "+db+".state_changes (epoch, offset, time, kind, parts, action, effect, after) VALUES (1, 99, now64(3), 'lock', ['user', 'example.org', 'old'], 'lock', 'applied', '{\"locked\":true}')"))
	if got := locks(t, conn, db); got != want {
		t.Errorf("with an old log: %s\nwant %s", got, want)
	}
}
