package access_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/embedded/embeddedtest"
	"millrace/internal/sqltext"
	"millrace/query"
	"millrace/query/access"
	"millrace/query/querytest"
	"millrace/schema"
)

func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }

// mine and others are what a row's columns say that is, or is not, within the scopes below.
const (
	myDomain, myAddress         = "example.com", "Alice@Example.COM"
	othersDomain, othersAddress = "notexample.com", "alice@example.com.example.org"
)

var (
	domainScope = access.Scope{Role: access.DomainUser, Domains: []string{"EXAMPLE.com"}}
	emailScope  = access.Scope{Role: access.AddressUser, Addresses: []string{"alice@example.com"}}
)

// row is one row in which one column is mine, or none, and what the scopes should see of it.
type row struct {
	mine                  string
	inDomain, inAddresses bool
}

func rowsOf(o schema.Owners) []row {
	all := []row{{}}
	for _, c := range o.Domains {
		all = append(all, row{c, true, false})
	}
	for _, c := range slices.Concat(o.Senders, o.Recipients) {
		all = append(all, row{c, true, true})
	}
	for _, c := range o.Users {
		if !slices.Contains(o.Identities, c) {
			all = append(all, row{c, true, false})
		}
	}
	for _, c := range o.Identities {
		all = append(all, row{c, false, true})
	}
	return all
}

// Each relation shows each role the rows that have a column of its own, and no other; hidden
// columns are empty, and of recipients there are one's own.
func TestRelation(t *testing.T) {
	t.Parallel()
	database := querytest.Tables(t)
	conn := embeddedtest.Connect(t, database)
	o := querytest.Reader(t, database)
	for _, k := range schema.Kinds() {
		owners, ok := schema.OwnersOf(k.Table)
		if !ok {
			continue
		}
		rows := rowsOf(owners)
		for i, r := range rows {
			columns, values := []string{"source_offset", "raw", "source_path", "extra"}, []string{fmt.Sprint(i), "'the frame'", "'/a/file'", "map('k', 'v')"}
			set := func(names []string, mine, others string) {
				for _, c := range names {
					v := others
					if c == r.mine {
						v = mine
					}
					f := k.Fields[k.Index(c)]
					if f.Type == schema.Texts { // one's own among others'
						v = sqltext.Array([]string{othersAddress, v})
					} else {
						v = "'" + v + "'"
					}
					columns, values = append(columns, c), append(values, v)
				}
			}
			set(owners.Domains, myDomain, othersDomain)
			set(slices.Concat(owners.Users, owners.Senders, owners.Recipients, owners.Identities), myAddress, othersAddress)
			for _, c := range owners.Beside {
				switch f := k.Fields[k.Index(c)]; f.Type {
				case schema.Codes:
					columns, values = append(columns, c), append(values, "[100, 200]")
				case schema.IPs:
					columns, values = append(columns, c), append(values, "['192.0.2.1', '192.0.2.2']")
				default:
					columns, values = append(columns, c), append(values, "['first', 'second']")
				}
			}
			if err := conn.Exec(t.Context(), fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", k.Table, strings.Join(columns, ", "), strings.Join(values, ", "))); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range []access.Scope{domainScope, emailScope, access.Everything(), {}, {Role: access.DomainUser}, {Role: access.AddressUser}, {Role: access.DomainUser, Domains: []string{"'] OR 1=1 --", "%", ""}}} {
			var want []string
			for i, r := range rows {
				switch {
				case s.Role == access.Admin, len(s.Domains) == 1 && r.inDomain, len(s.Addresses) == 1 && r.inAddresses:
					want = append(want, fmt.Sprint(i))
				}
			}
			if got := ask(t, o, s, "source_offset", k.Table); !slices.Equal(got, want) {
				t.Errorf("%s as %+v: rows %v, want %v (%+v)", k.Table, s, got, want, rows)
			}
			if s.Role == access.Admin {
				continue
			}
			for _, c := range owners.Hidden {
				for _, v := range ask(t, o, s, c, k.Table) {
					if v != "" && v != "{}" {
						t.Errorf("%s as %+v: %s is %q", k.Table, s, c, v)
					}
				}
			}
		}
		for _, c := range owners.Recipients {
			if k.Fields[k.Index(c)].Type != schema.Texts {
				continue
			}
			// Whoever has sent the message sees whom to; whoever got it sees himself.
			for i, r := range rows {
				for _, s := range []access.Scope{domainScope, emailScope} {
					whole := slices.Contains(owners.Senders, r.mine) || s.Role == access.DomainUser && slices.Contains(owners.Users, r.mine) || s.Role == access.AddressUser && slices.Contains(owners.Identities, r.mine)
					for _, column := range append([]string{c}, owners.Beside...) {
						got := ask(t, o, s, "(source_offset, length("+column+"))", k.Table)
						n := 0
						switch {
						case whole:
							n = 2
						case r.mine == c:
							n = 1
						}
						want := fmt.Sprintf("(%d,%d)", i, n)
						seen := r.inDomain && s.Role == access.DomainUser || r.inAddresses && s.Role == access.AddressUser
						if slices.Contains(got, want) != seen {
							t.Errorf("%s as %s: %s of row %d (%s): %v, want %s: %v", k.Table, s.Role, column, i, r.mine, got, want, seen)
						}
					}
				}
			}
		}
	}
}

// Views see what their tables' rows say, and nothing else.
func TestRelation_Views(t *testing.T) {
	t.Parallel()
	database := querytest.Tables(t,
		"INSERT INTO message_events (id, domain, sender, recipient, auth_user, identity, extra) VALUES ('1', 'example.com', 'a@x', 'b@x', '', '', map('k', 'v')), ('2', 'example.org', 'a@x', 'bob@example.com', '', '', map()), ('3', 'example.org', 'ALICE@example.com', 'b@x', '', '', map()), ('4', 'example.org', 'a@x', 'b@x', 'u@example.com', 'alice@EXAMPLE.com', map()), ('5', 'example.org', 'a@x', 'b@x', 'u@notexample.com', '', map())",
		"INSERT INTO status_events (id, domain, recipient, status) VALUES ('3', 'example.org', 'b@x', 'delivered'), ('6', 'example.org', 'b@x', 'delivered')")
	o := querytest.Reader(t, database)
	for _, w := range []struct {
		scope access.Scope
		view  string
		want  string
	}{
		{domainScope, "messages", "1 2 3 4"}, {emailScope, "messages", "3 4"}, {access.Scope{}, "messages", ""},
		{domainScope, "message_trail", "1 2 3"}, {emailScope, "message_trail", "3"},
	} {
		got := ask(t, o, w.scope, "id", w.view)
		slices.Sort(got)
		if strings.Join(slices.Compact(got), " ") != w.want {
			t.Errorf("%s as %s: %v, want %s", w.view, w.scope.Role, got, w.want)
		}
	}
	if got := ask(t, o, domainScope, "status || arrayStringConcat(mapKeys(extra))", "messages"); slices.Contains(got, "k") || !slices.Contains(got, "delivered") {
		t.Errorf("%q: the latest status, and nothing of extra", got)
	}
	if got := ask(t, o, emailScope, "count()", "classes"); got[0] == "0" {
		t.Error("classes are everybody's")
	}
}

func TestRelation_Hidden(t *testing.T) {
	t.Parallel()
	for _, name := range []string{schema.Reject.Table, schema.Line.Table, "state_changes", "rollup_hours", "messages_hourly_rows", "schema_migrations", "no such"} {
		if sql, err := domainScope.Relation("d", name); !errors.Is(err, access.ErrHidden) {
			t.Errorf("%s: %v: %s", name, err, sql)
		}
		if slices.Contains(access.Relations(), name) {
			t.Errorf("%s is among the relations", name)
		}
	}
	for _, name := range access.Relations() {
		for _, c := range schema.ColumnsOf(name) {
			if o, _ := schema.OwnersOf(name); (c.Name == "raw" || c.Name == "extra") && !slices.Contains(o.Hidden, c.Name) {
				t.Errorf("%s.%s is shown to everybody", name, c.Name)
			}
		}
	}
}

// ask is a column of a relation as a scope sees it, in the order of source_offset.
func ask(t *testing.T, o query.Options, s access.Scope, column, name string) []string {
	t.Helper()
	sql, err := s.Relation(o.Database, name)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	order := ""
	if schema.KindByName(name) == nil && strings.Contains(column, "source_offset") {
		order = " ORDER BY source_offset"
	}
	if _, err := query.RunStatement(t.Context(), o, query.Statement{SQL: "SELECT " + column + " FROM " + sql + order, Parameters: s.Parameters()}, query.Output{To: &out, Format: query.TSV}); err != nil {
		t.Fatalf("%s as %+v: %v", name, s, err)
	}
	text := strings.TrimSuffix(out.String(), "\n")
	if out.Len() == 0 {
		return nil
	}
	return strings.Split(text, "\n")
}

// A report's row says why its sender is locked to those alone who may see the lock.
func TestNarrow_Locked(t *testing.T) {
	t.Parallel()
	database := querytest.Tables(t,
		`INSERT INTO message_events (event_time, id_time, received_at, id, domain, sender, recipient, auth_user) VALUES
		(now64(3), now(), now64(3), '1', 'example.com', 'bob@example.com', 'r@x', 'bob@example.com'),
		(now64(3), now(), now64(3), '2', 'example.org', 'eve@example.org', 'alice@example.com', 'eve@example.org')`,
		`INSERT INTO state_changes (epoch, offset, time, actor, how, kind, parts, action, reason, effect, after) VALUES
		(1, 1, now64(3), 'cli:root', 'cli', 'lock', ['identity', 'example.com', '*', 'bob@example.com'], 'lock', 'ours', 'applied', '{"locked":true}'),
		(1, 2, now64(3), 'cli:root', 'cli', 'lock', ['identity', 'example.org', '*', 'eve@example.org'], 'lock', 'theirs', 'applied', '{"locked":true}')`)
	o := querytest.Reader(t, database)
	r, err := query.FindReport("outgoing")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []struct {
		scope access.Scope
		want  []string
	}{
		{access.Everything(), []string{"bob@example.com identity: ours", "eve@example.org identity: theirs"}},
		{domainScope, []string{"bob@example.com identity: ours", "eve@example.org "}},
	} {
		a, err := r.Ask(map[string]string{"group_by": "sender", "since": "1h"}, time.Now().Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		if a.Scope, err = w.scope.Narrow(database); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if _, err := a.Run(t.Context(), o, &out, query.JSON); err != nil {
			t.Fatal(err)
		}
		var got []string
		for d := json.NewDecoder(&out); d.More(); {
			var row struct{ Who, Locked string }
			if err := d.Decode(&row); err != nil {
				t.Fatal(err)
			}
			got = append(got, row.Who+" "+row.Locked)
		}
		if slices.Sort(got); !slices.Equal(got, w.want) {
			t.Errorf("%s: %q, want %q", w.scope.Role, got, w.want)
		}
	}
}
