package search

import (
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/query/access"
	"millrace/query/querytest"
)

// An address is the sender of some messages and the recipient of others, of which only
// statuses may be known: they are found all, though events are looked for first.
func TestCandidates(t *testing.T) {
	t.Parallel()
	o := querytest.Reader(t, querytest.Tables(t,
		`INSERT INTO message_events (event_time, id_time, received_at, id, domain, sender, recipient, subject_header) VALUES
			('2026-11-20 10:00:00', '2026-11-20 10:00:00', now64(3), 'sent', 'a.example', 'Eve@a.example', 'r@far.example', 'x'),
			('2026-11-20 10:01:00', '2026-11-20 10:01:00', now64(3), 'got', 'b.example', 's@far.example', 'eve@a.example', 'x'),
			('2026-11-20 10:02:00', '2026-11-20 10:02:00', now64(3), 'other', 'a.example', 's@a.example', 'r@far.example', 'x')`,
		`INSERT INTO status_events (event_time, id_time, received_at, id, domain, recipient, status, status_norm) VALUES
			('2026-11-20 10:03:00', '2026-11-20 10:03:00', now64(3), 'status', 'a.example', 'eve@a.example', 'delivered', 'delivered'),
			('2026-11-20 10:04:00', '2026-11-20 10:02:00', now64(3), 'other', 'a.example', 'r@far.example', 'delivered', 'delivered')`))
	is := func(field, value string) Rule { return Rule{Field: field, Op: Is, Values: []string{value}} }
	either := Rule{Any: []Rule{is("sender", "eve@A.example"), is("recipient", "EVE@a.example")}}
	for _, c := range []struct {
		name     string
		rule     Rule
		want     string
		statuses bool // are looked at for candidates
	}{
		{"either", either, "status got sent", true},
		{"either of a domain", And(is("domain", "a.example"), either), "status sent", true},
		{"either and a subject", And(either, is("subject_header", "x")), "got sent", false},
		{"either and no subject", And(either, is("subject_header", "")), "status", true},
		{"both", Rule{Any: []Rule{{All: []Rule{is("sender", "eve@a.example"), is("recipient", "r@far.example")}}}}, "sent", false},
		{"a recipient or nobody as the sender", Rule{Any: []Rule{is("sender", ""), is("recipient", "eve@a.example")}}, "status got", false},
		{"neither", Rule{Any: either.Any, Not: true}, "other", false},
	} {
		q := Query{Where: c.rule, From: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC), Limit: 10}
		if got, _ := ids(t, o, access.Everything(), q); strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		s, err := q.Build(o.Database, access.Everything(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if looked := slices.Contains(strings.Fields(s.SQL), "UNION"); looked != c.statuses {
			t.Errorf("%s: candidates from statuses: %t\n%s", c.name, looked, s.SQL)
		}
	}
}
