package search

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"millrace/internal/mailname"
	"millrace/internal/sqltext"
	"millrace/query"
	"millrace/query/access"
	"millrace/schema"
)

// Result is what is known when a page has been written.
type Result struct {
	query.Summary
	Next string // cursor of the next page; empty: this is the last one
}

// shortRows and shortPage bound what is asked in one step: messages of which the page is one,
// and its rows. The server plans a statement in one step in half the time; in two it reads
// what is shown for the page alone, which pays where there are more.
const (
	shortRows = 50_000
	shortPage = 1000
)

// Run writes one page of a search. o.Limits are its bounds.
func Run(ctx context.Context, o query.Options, scope access.Scope, q Query, limits query.Limits, out query.Output) (Result, error) {
	s, err := q.Build(database(o), scope, time.Now())
	if err != nil {
		return Result{}, err
	}
	var last []string
	out.Hidden, out.Limit, out.PlainAddresses = s.Hidden, s.Limit, true
	out.Row = func(hidden []string) bool {
		last = append(last[:0], hidden...)
		return true
	}
	defer s.withLocked(ctx, o, limits, &out)()
	sum, err := s.run(ctx, o, limits, out)
	r := Result{Summary: sum}
	if err == nil && sum.More {
		r.Next = s.Cursor(last)
	}
	return r, err
}

// run asks in one step, where that may do, and otherwise in two. Of an attempt that the server
// gave up nothing is written.
func (s Statement) run(ctx context.Context, o query.Options, limits query.Limits, out query.Output) (query.Summary, error) {
	ask := func(sql string, limits query.Limits, out query.Output) (query.Summary, error) {
		return query.RunStatement(ctx, o, query.Statement{SQL: sql, Parameters: s.Parameters, Limits: limits}, out)
	}
	if s.Short == "" {
		return ask(s.SQL, limits, out)
	}
	begin := time.Now()
	var page bytes.Buffer
	few, short := limits, out
	few.Groups, short.To = shortRows, &page
	sum, err := ask(s.Short, few, short)
	if query.TooManyRows(err) {
		sum, err = ask(s.SQL, limits, out)
		sum.Elapsed = time.Since(begin)
		return sum, err
	}
	if _, failed := out.To.Write(page.Bytes()); failed != nil && err == nil {
		err = fmt.Errorf("cannot write the result: %w", failed)
	}
	return sum, err
}

func database(o query.Options) string {
	if o.Database == "" {
		return "millrace"
	}
	return o.Database
}

// Count is the number of rows of a search.
func Count(ctx context.Context, o query.Options, scope access.Scope, q Query, limits query.Limits) (n uint64, err error) {
	q.Limit, q.Offset, q.After, q.Columns = 0, 0, "", nil
	s, err := q.Build(database(o), scope, time.Now())
	if err != nil {
		return 0, err
	}
	out := query.Output{To: io.Discard, Format: query.TSV, Hidden: 1, Row: func(v []string) bool {
		_, err = fmt.Sscan(v[0], &n)
		return false
	}}
	if _, failed := query.RunStatement(ctx, o, query.Statement{SQL: s.count, Parameters: s.Parameters, Limits: limits}, out); failed != nil {
		return 0, failed
	}
	return n, err
}

// exportRows is about how many events one statement of an export is over.
const exportRows = 200_000

// Export writes all rows of a search, in the order of time. Its memory, and the server's, do
// not grow with them: it asks for one stretch of time after the other, each with some
// hundred thousand events.
func Export(ctx context.Context, o query.Options, scope access.Scope, q Query, limits query.Limits, out query.Output) (query.Summary, error) {
	return export(ctx, o, scope, q, limits, out, exportRows)
}

func export(ctx context.Context, o query.Options, scope access.Scope, q Query, limits query.Limits, out query.Output, each uint64) (query.Summary, error) {
	r, err := RelationByName(q.kind())
	if err != nil {
		return query.Summary{}, err
	}
	if q.Sort != "" && q.Sort != r.Sort {
		return query.Summary{}, fmt.Errorf("cannot export rows sorted by %q: an export is in the order of %s", q.Sort, r.Sort)
	}
	q.Limit, q.Offset, q.After = 0, 0, ""
	stretches, err := q.stretches(ctx, o, scope, r, limits, each)
	if err != nil {
		return query.Summary{}, err
	}
	if len(stretches) == 0 {
		stretches = []stretch{{q.From, q.Until}} // no row: of CSV there is the header all the same
	}
	var sum query.Summary
	started := time.Now()
	for i, t := range stretches {
		if !q.Ascending {
			t = stretches[len(stretches)-1-i]
		}
		q.From, q.Until = t.from, t.until
		s, err := q.Build(database(o), scope, time.Now())
		if err != nil {
			return sum, err
		}
		if i == 0 {
			defer s.withLocked(ctx, o, limits, &out)()
		}
		out.Hidden, out.NoHeader, out.PlainAddresses = s.Hidden, i > 0, true
		part, err := query.RunStatement(ctx, o, query.Statement{SQL: s.SQL, Parameters: s.Parameters, Limits: limits}, out)
		sum.Rows, sum.ReadRows = sum.Rows+part.Rows, sum.ReadRows+part.ReadRows
		sum.Elapsed = time.Since(started)
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

func (q Query) kind() string {
	if q.Kind == "" {
		return Relations()[0].Name
	}
	return q.Kind
}

type stretch struct{ from, until time.Time }

// stretches cut the period of a search where about as many events are between two cuts.
func (q Query) stretches(ctx context.Context, o query.Options, scope access.Scope, r Relation, limits query.Limits, each uint64) ([]stretch, error) {
	tables := []string{r.Table}
	if r.Table == schema.Messages.Name {
		tables = []string{schema.Message.Table, schema.Status.Table}
	}
	params := scope.Parameters()
	if params == nil {
		params = map[string]string{}
	}
	var parts []string
	for _, t := range tables {
		from, err := scope.Relation(database(o), t)
		if err != nil {
			return nil, err
		}
		where := ""
		for name, bound := range map[string]time.Time{"from": q.From, "until": q.Until} {
			if bound.IsZero() {
				continue
			}
			op := " >= "
			if name == "until" {
				op = " < "
			}
			params["stretch_"+name] = sqltext.String(bound.UTC().Format("2006-01-02 15:04:05.000"))
			where += " AND " + r.Time + op + "{stretch_" + name + ":DateTime64(3, 'UTC')}"
		}
		parts = append(parts, fmt.Sprintf("SELECT toUnixTimestamp(toStartOfHour(%s)) AS hour, count() AS events FROM %s WHERE true%s%s GROUP BY hour", r.Time, from, where, q.oneDomain(params)))
	}
	sql := fmt.Sprintf("SELECT toString(hour) AS _hour, toString(sum(events)) AS _events FROM (%s) GROUP BY hour ORDER BY hour", strings.Join(parts, " UNION ALL "))
	var all []stretch
	var rows uint64
	at := stretch{from: q.From}
	out := query.Output{To: io.Discard, Format: query.TSV, Hidden: 2, Row: func(v []string) bool {
		var hour int64
		var events uint64
		fmt.Sscan(v[0], &hour)
		fmt.Sscan(v[1], &events)
		if rows > 0 && rows+events > each {
			at.until = time.Unix(hour, 0).UTC()
			all, at, rows = append(all, at), stretch{from: at.until}, 0
		}
		rows += events
		return false
	}}
	if _, err := query.RunStatement(ctx, o, query.Statement{SQL: sql, Parameters: params, Limits: limits}, out); err != nil {
		return nil, err
	}
	if rows > 0 {
		at.until = q.Until
		all = append(all, at)
	}
	return all, nil
}

// oneDomain narrows the counting down to the domain that a search is of, if it is of one.
func (q Query) oneDomain(params map[string]string) string {
	for _, p := range append([]Rule{q.Where}, q.Where.All...) {
		if p.Field == "domain" && p.Op == Is && !p.Not && len(p.Values) == 1 && !q.Where.Not {
			params["stretch_domains"] = sqltext.Array(mailname.Forms(p.Values[0]))
			return " AND domain IN {stretch_domains:Array(String)}"
		}
	}
	return ""
}
