package search

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"millrace/internal/eximid"
	"millrace/internal/history"
	"millrace/query"
	"millrace/query/access"
	"millrace/query/querytest"
)

// What a search is about decides how much is read, and not how much there is: the domain and
// the period are on the primary key; an id is in the bloom filter, and says its second.
func TestReads(t *testing.T) {
	t.Parallel()
	const rows, domains = 400_000, 40
	day := time.Date(2026, 11, 3, 0, 0, 0, 0, time.UTC)
	id := history.EximID("toUnixTimestamp(t)", "n", "0")
	database := querytest.Tables(t,
		`INSERT INTO message_events (received_at, event_time, id_time, id, domain, sender, recipient, status, status_norm) SELECT t, t, t, id, domain, 's' || toString(n % 97) || '@example.org', 'r@' || domain, 'queued', 'queued'
			FROM (SELECT number AS n, toDateTime64('2026-11-02 00:00:00', 3, 'UTC') + number AS t, `+id+` AS id, 'd' || toString(n % 40) || '.example' AS domain FROM numbers(400000))`,
		`INSERT INTO status_events (received_at, event_time, id_time, id, domain, recipient, status, status_norm) SELECT t, t, t, id, domain, 'r@' || domain, 'delivered', 'delivered'
			FROM (SELECT number AS n, toDateTime64('2026-11-02 00:00:00', 3, 'UTC') + number AS t, `+id+` AS id, 'd' || toString(n % 40) || '.example' AS domain FROM numbers(400000))`,
		"OPTIMIZE TABLE message_events FINAL", "OPTIMIZE TABLE status_events FINAL")
	o := querytest.Reader(t, database)
	f := func(name string, q Query, want int, most uint64) {
		t.Helper()
		q.Limit, q.Columns = 50, []string{"id", "sender", "status_norm", "subject_header"}
		r, err := Run(t.Context(), o, access.Everything(), q, query.Limits{}, query.Output{To: &bytes.Buffer{}, Format: query.TSV})
		if err != nil {
			t.Fatal(err)
		}
		if r.Rows != want || r.ReadRows > most || want > 0 && r.ReadRows == 0 {
			t.Errorf("%s: %d rows, want %d; %d were read of %d, at most %d", name, r.Rows, want, r.ReadRows, 2*rows, most)
		}
	}
	domain := Rule{Field: "domain", Op: Is, Values: []string{"d7.example"}}
	// A granule has 8,192 rows; what is sought lies in one or two, in each part of both tables.
	f("domain and day", Query{Where: domain, From: day, Until: day.Add(24 * time.Hour)}, 50, 6*8192)
	sought := string(eximid.Append(nil, uint64(day.Unix())-1, 86399, 0))
	f("id", Query{Where: Rule{Field: "id", Op: Is, Values: []string{sought}}}, 1, 4*8192)
	f("ids", Query{Where: Rule{Field: "id", Op: OneOf, Values: []string{sought, string(eximid.Append(nil, uint64(day.Unix()), 86400, 0)), string(eximid.Append(nil, uint64(day.Unix()), 1, 0))}}}, 2, 12*8192)
	f("address in a domain", Query{Where: And(domain, Rule{Field: "sender", Op: Is, Values: []string{"s5@example.org"}}), From: day, Until: day.Add(72 * time.Hour)}, 50, 20*8192)
	f("nothing there", Query{Where: Rule{Field: "domain", Op: Is, Values: []string{"d7.example.org"}}}, 0, 4*8192)
}

// The tables' parts are of the weeks in which events came: a search of a day, or by an id,
// reads those of other weeks not at all, however many there are. Newer servers know it by
// statistics of their own, which are off here: the index of id_time is enough.
func TestReads_Weeks(t *testing.T) {
	t.Parallel()
	const weeks = 20
	from := ` SELECT t, t, t, ` + history.EximID("toUnixTimestamp(t)", "n", "0") + `, 'd' || toString(n % 40) || '.example', 'r@example.net', 'queued', 'queued'
		FROM (SELECT number AS n, toDateTime64('2026-01-05 00:00:00', 3, 'UTC') + 60 * number AS t FROM numbers(201600))`
	const columns = " (received_at, event_time, id_time, id, domain, recipient, status, status_norm)"
	database := querytest.Tables(t, "INSERT INTO message_events"+columns+from, "INSERT INTO status_events"+columns+from, "OPTIMIZE TABLE message_events FINAL", "OPTIMIZE TABLE status_events FINAL")
	o := querytest.Reader(t, database)
	day := time.Date(2026, 3, 3, 0, 0, 0, 0, time.UTC)
	minute := int(day.Sub(time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)).Minutes()) + 7
	for name, q := range map[string]Query{
		"domain and day": {Where: Rule{Field: "domain", Op: Is, Values: []string{"d7.example"}}, From: day, Until: day.Add(24 * time.Hour)},
		"id":             {Where: Rule{Field: "id", Op: Is, Values: []string{string(eximid.Append(nil, uint64(day.Unix())+420, uint64(minute), 0))}}},
	} {
		q.Limit = 50
		s, err := q.Build(database, access.Everything(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		r, err := query.RunStatement(t.Context(), o, query.Statement{SQL: s.SQL + " SETTINGS use_statistics_for_part_pruning = 0", Parameters: s.Parameters},
			query.Output{To: &bytes.Buffer{}, Format: query.TSV, Hidden: s.Hidden})
		if err != nil {
			t.Fatal(err)
		}
		// Of each of two tables, asked twice, two granules of one part.
		if r.Rows == 0 || r.ReadRows > 2*2*2*8192 {
			t.Errorf("%s: %d rows; %d were read of %d weeks", name, r.Rows, r.ReadRows, weeks)
		}
	}
}

// A page of few messages is asked in one step; of more, the server gives up, nothing of that
// is written, and two steps give the page.
func TestRun_Steps(t *testing.T) {
	t.Parallel()
	const messages = 4 * shortRows // an eighth is of few.example
	day := time.Date(2026, 11, 3, 0, 0, 0, 0, time.UTC)
	columns := " (received_at, event_time, id_time, id, domain, recipient, subject_header, status_norm) SELECT t, t, t, " + history.EximID("toUnixTimestamp(t)", "n", "0") +
		", if(n % 8 = 0, 'few.example', 'many.example'), 'r' || toString(n % 7) || '@example.net', 'no. ' || toString(n), 'queued' FROM (SELECT number AS n, toDateTime64('2026-11-03 00:00:00', 3, 'UTC') + intDiv(number, 4) AS t"
	database := querytest.Tables(t, fmt.Sprintf("INSERT INTO message_events%s FROM numbers(%d))", columns, messages))
	o := querytest.Reader(t, database)
	for _, w := range []struct {
		name  string
		where Rule
		short bool
	}{
		{"few", Rule{Field: "domain", Op: Is, Values: []string{"few.example"}}, true},
		{"many", Rule{}, false},
	} {
		for _, after := range []int{0, 30} {
			q := Query{Where: w.where, From: day, Until: day.AddDate(0, 0, 1), Columns: []string{"id", "recipient", "subject_header"}, Limit: 50, Offset: after}
			s, err := q.Build(database, access.Everything(), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			run := func(sql string, limits query.Limits) (string, error) {
				var out bytes.Buffer
				_, err := query.RunStatement(t.Context(), o, query.Statement{SQL: sql, Parameters: s.Parameters, Limits: limits}, query.Output{To: &out, Format: query.CSV, Hidden: s.Hidden, Limit: s.Limit})
				return out.String(), err
			}
			if _, err := run(s.Short, query.Limits{Groups: shortRows}); query.TooManyRows(err) == w.short {
				t.Errorf("%s: in one step: %v", w.name, err)
			}
			want, err := run(s.SQL, query.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if in, err := run(s.Short, query.Limits{}); err != nil || in != want {
				t.Errorf("%s: one step says\n%s%v, two say\n%s", w.name, in, err, want)
			}
			var got bytes.Buffer
			r, err := Run(t.Context(), o, access.Everything(), q, query.Limits{}, query.Output{To: &got, Format: query.CSV})
			if err != nil || got.String() != want || r.Rows != 50 || r.Next == "" {
				t.Errorf("%s: %d rows, %v:\n%s, want\n%s", w.name, r.Rows, err, got.String(), want)
			}
		}
	}
	// A limit that the user has set holds for both.
	if _, err := Run(t.Context(), o, access.Everything(), Query{Limit: 50}, query.Limits{Rows: 1000}, query.Output{To: &bytes.Buffer{}, Format: query.CSV}); !query.TooManyRows(err) {
		t.Errorf("with a limit of rows: %v", err)
	}
}
