package search

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"millrace/query"
	"millrace/query/access"
	"millrace/query/querytest"
)

// A row says whether its identity or its user is locked, and why.
func TestLocked(t *testing.T) {
	t.Parallel()
	database := querytest.Tables(t,
		`INSERT INTO message_events (event_time, id_time, received_at, id, domain, sender, recipient, auth_user, identity) VALUES
		(now64(3), now(), now64(3), '1', 'example.com', 'a@example.com', 'r@x', 'smtp@example.com', 'Bob@Example.com'), (now64(3), now(), now64(3), '2', 'example.com', 'bob@example.com', 'r@x', '', ''),
		(now64(3), now(), now64(3), '3', 'example.com', 'a@example.com', 'r@x', 'other@example.com', ''), (now64(3), now(), now64(3), '4', 'example.com', 'a@example.com', 'r@x', 'fine@example.com', ''),
		(now64(3), now(), now64(3), '5', 'example.org', 'bob@example.com', 'r@x', 'other@example.org', 'bob@example.com'),
		(now64(3), now(), now64(3), '6', 'example.net', 'ÖRJAN@example.net', 'r@x', 'any', ''), (now64(3), now(), now64(3), '7', 'example.net', '', 'r@x', '', '')`,
		`INSERT INTO state_changes (epoch, offset, time, actor, how, kind, parts, action, reason, effect, after) VALUES
		(1, 1, now64(3), 'cli:root', 'cli', 'lock', ['identity', 'example.com', '*', 'bob@example.com'], 'lock', 'spam run', 'applied', '{"locked":true}'),
		(1, 2, now64(3), 'cli:root', 'cli', 'lock', ['user', 'example.com', 'other'], 'lock', 'hacked', 'applied', '{"locked":true}'),
		(1, 3, now64(3), 'cli:root', 'cli', 'lock', ['user', 'example.com', 'fine'], 'lock', 'x', 'applied', '{"locked":true}'),
		(1, 4, now64(3), 'cli:root', 'cli', 'lock', ['user', 'example.com', 'fine'], 'unlock', 'clean', 'applied', '{"locked":false}'),
		(1, 5, now64(3), 'cli:root', 'cli', 'lock', ['user', 'example.org', 'other'], 'lock', 'late', 'conflict', '{"locked":true}'),
		(1, 6, now64(3), 'cli:root', 'cli', 'lock', ['user', 'example.net', '*'], 'lock', 'all', 'applied', '{"locked":true}'),
		(1, 7, now64(3), 'cli:root', 'cli', 'lock', ['identity', 'example.net', '*', 'örjan@example.net'], 'lock', '', 'applied', '{"locked":true}'),
		(1, 8, now64(3), 'cli:root', 'cli', 'lock', ['identity', 'example.net', 'any', 'any'], 'lock', '', 'applied', '{"locked":true}')`)
	o := querytest.Reader(t, database)
	var out bytes.Buffer
	q := Query{Columns: []string{"id", "locked"}, Ascending: true, Limit: 10}
	if _, err := Run(t.Context(), o, access.Everything(), q, query.Limits{}, query.Output{To: &out, Format: query.TSV}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	slices.Sort(lines)
	if want := []string{"1\tidentity: spam run", "2\tidentity: spam run", "3\tuser: hacked", "4\t", "5\t", "6\tidentity; user: all", "7\tuser: all"}; !slices.Equal(lines, want) {
		t.Errorf("%q, want %q", lines, want)
	}
	// A condition is SQL: it finds what is shown.
	shown := map[string][]string{}
	for _, l := range lines {
		id, reasons, _ := strings.Cut(l, "\t")
		shown[reasons] = append(shown[reasons], id)
	}
	for reasons, want := range shown {
		got, _ := ids(t, o, access.Everything(), Query{Where: Rule{Field: "locked", Op: Is, Values: []string{reasons}}, Limit: 10})
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("locked is %q: %v, want %v", reasons, got, want)
		}
	}
	// An export shows the same.
	out.Reset()
	q.Limit = 0
	if _, err := Export(t.Context(), o, access.Everything(), q, query.Limits{}, query.Output{To: &out, Format: query.TSV}); err != nil {
		t.Fatal(err)
	}
	exported := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if slices.Sort(exported); !slices.Equal(exported, lines) {
		t.Errorf("exported %q, want %q", exported, lines)
	}
	got, _ := ids(t, o, access.Scope{Role: access.DomainUser, Domains: []string{"example.com"}}, Query{Where: Rule{Field: "locked", Op: Is, Values: []string{""}, Not: true}, Limit: 10})
	slices.Sort(got)
	if !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("%v", got)
	}
	// Whoever sees the mail of somebody else does not see why that was locked.
	for _, f := range []struct {
		scope access.Scope
		want  []string
	}{
		{access.Scope{Role: access.AddressUser, Addresses: []string{"a@example.com"}}, nil}, // their sender; what is locked is another's
		{access.Scope{Role: access.AddressUser, Addresses: []string{"bob@example.com"}}, []string{"1", "2"}},
		{access.Scope{Role: access.DomainUser, Domains: []string{"x"}}, nil}, // of the recipients
	} {
		got, _ := ids(t, o, f.scope, Query{Where: Rule{Field: "locked", Op: Is, Values: []string{""}, Not: true}, Limit: 10})
		slices.Sort(got)
		if seen, _ := ids(t, o, f.scope, Query{Limit: 10}); !slices.Equal(got, f.want) || len(seen) == 0 {
			t.Errorf("%+v: %v of %v, want %v", f.scope, got, seen, f.want)
		}
		out.Reset()
		if _, err := Run(t.Context(), o, f.scope, Query{Columns: []string{"id", "locked"}, Limit: 10}, query.Limits{}, query.Output{To: &out, Format: query.TSV}); err != nil {
			t.Fatal(err)
		}
		var told []string
		for _, l := range strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n") {
			if id, reasons, _ := strings.Cut(l, "\t"); reasons != "" {
				told = append(told, id)
			}
		}
		if slices.Sort(told); !slices.Equal(told, f.want) {
			t.Errorf("%+v: the rows of %v say why, want %v:\n%s", f.scope, told, f.want, out.String())
		}
	}
}
