package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"millrace/benchmarks/report"
	"millrace/query"
	"millrace/query/access"
	"millrace/query/search"
)

// Metrics.
const (
	mMillis = "milliseconds"
	mRead   = "rows_read"
	mRows   = "rows"
)

// question is one that is asked as users ask it, through the packages of answers: with a new
// connection, and with the answer written.
type question struct {
	name  string
	limit float64 // milliseconds that it may take over a hundred million messages; 0: nothing is promised
	ask   func(ctx context.Context, b *bench, round int) (query.Summary, error)
}

// busy is the domain of a round: one of the larger ones, never the same twice in a row.
func busy(round int) string { return fmt.Sprintf("customer%d.example", 3+7*round) }

func is(field, value string) search.Rule {
	return search.Rule{Field: field, Op: search.Is, Values: []string{value}}
}

var questions = []question{
	{"a domain's day, the newest 50", 100, func(ctx context.Context, b *bench, round int) (query.Summary, error) {
		day := b.end.AddDate(0, 0, -2-round)
		return b.search(ctx, search.Query{Where: is("domain", busy(round)), From: day, Until: day.AddDate(0, 0, 1)})
	}},
	{"an id", 50, func(ctx context.Context, b *bench, round int) (query.Summary, error) {
		return b.search(ctx, search.Query{Where: is("id", b.ids[round])})
	}},
	{"an address over 30 days of a domain, the newest 50", 500, func(ctx context.Context, b *bench, round int) (query.Summary, error) {
		address := "user1@" + busy(round)
		return b.search(ctx, search.Query{
			Where: search.And(is("domain", busy(round)), search.Rule{Any: []search.Rule{is("sender", address), is("recipient", address)}}),
			From:  b.end.AddDate(0, 0, -30),
		})
	}},
	{"top 50 spammers of 24 hours (top_spammers_hourly)", 50, func(ctx context.Context, b *bench, _ int) (query.Summary, error) {
		return b.reported(ctx, "top_spammers_hourly", nil)
	}},
	{"a month of a domain by identity (outgoing_hourly)", 100, func(ctx context.Context, b *bench, round int) (query.Summary, error) {
		return b.reported(ctx, "outgoing_hourly", map[string]string{"domain": busy(round)})
	}},
	{"a month of all domains by identity (outgoing_hourly)", 0, func(ctx context.Context, b *bench, _ int) (query.Summary, error) {
		return b.reported(ctx, "outgoing_hourly", nil)
	}},
	{"top 50 spammers of 24 hours, message by message (top_spammers)", 0, func(ctx context.Context, b *bench, _ int) (query.Summary, error) {
		return b.reported(ctx, "top_spammers", nil)
	}},
	{"a month of a domain by identity, message by message (outgoing)", 0, func(ctx context.Context, b *bench, round int) (query.Summary, error) {
		return b.reported(ctx, "outgoing", map[string]string{"domain": busy(round), "since": "30d"})
	}},
	{"an address over 30 days of all domains, the newest 50", 0, func(ctx context.Context, b *bench, round int) (query.Summary, error) {
		address := "user1@" + busy(round)
		return b.search(ctx, search.Query{Where: search.Rule{Any: []search.Rule{is("sender", address), is("recipient", address)}}, From: b.end.AddDate(0, 0, -30)})
	}},
}

// search asks for a page of messages, with the columns that the command prints.
func (b *bench) search(ctx context.Context, q search.Query) (query.Summary, error) {
	q.Limit = 50
	r, err := search.Run(ctx, b.reader, access.Everything(), q, query.Limits{}, query.Output{To: io.Discard, Format: query.TSV})
	return r.Summary, err
}

// reported asks a report at the end of the past.
func (b *bench) reported(ctx context.Context, name string, given map[string]string) (query.Summary, error) {
	r, err := query.FindReport(name)
	if err != nil {
		return query.Summary{}, err
	}
	a, err := r.Ask(given, b.end)
	if err != nil {
		return query.Summary{}, err
	}
	return a.Run(ctx, b.reader, io.Discard, query.TSV)
}

// findIDs finds an id for each round, of the domain that the round asks about.
func (b *bench) findIDs(ctx context.Context) error {
	for round := range b.o.rounds + 1 {
		var id string
		if err := b.conn.QueryRow(ctx, "SELECT id FROM message_events WHERE domain = ? ORDER BY domain, id_time LIMIT 1 OFFSET ?", busy(round), 10+round).Scan(&id); err != nil {
			return fmt.Errorf("cannot find an id of %s: %w", busy(round), err)
		}
		b.ids = append(b.ids, id)
	}
	return nil
}

// ask asks all, in each round once; the round before the first is not counted.
func (b *bench) ask(ctx context.Context) error {
	if err := b.findIDs(ctx); err != nil {
		return err
	}
	for round := range b.o.rounds + 1 {
		for _, q := range questions {
			begin := time.Now()
			sum, err := q.ask(ctx, b, round)
			took := time.Since(begin)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if round > 0 || err != nil {
				m := report.Metrics{mMillis: float64(took.Microseconds()) / 1000, mRead: float64(sum.ReadRows), mRows: float64(sum.Rows)}
				b.report.Record(b.progress, "query", ours, q.name, m, err)
			}
		}
	}
	for _, e := range b.exports() {
		m, err := b.exported(ctx, e)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		b.report.Record(b.progress, "query", ours, e.name, m, err)
	}
	for _, q := range questions {
		if v, ok := b.report.Find("query", ours, q.name).Median(mMillis); q.limit > 0 {
			b.report.AtMost(q.name, q.limit, "ms", v, ok)
		}
	}
	if n := b.report.Voids(); n > 0 {
		return fmt.Errorf("%d measurements are void, they are named above", n)
	}
	return nil
}

func (b *bench) notes() []string {
	input := fmt.Sprintf("A past of %s messages and %s events in all, of %d days and %s domains (Zipf), in %.2f GB of ClickHouse; the caches are warm.",
		report.Number(float64(b.o.messages)), report.Number(float64(b.events)), b.o.days, report.Number(float64(b.o.domains)), float64(b.bytes)/1e9)
	if b.made > 0 {
		input += fmt.Sprintf(" It was made in %.0f s, and counted by the hour in %.0f s.", b.made.Seconds(), b.count.Seconds())
	}
	if b.o.counted > 0 {
		input += fmt.Sprintf(" Of the hours those of the last %d days are counted.", b.o.counted)
	}
	return b.report.CommonNotes("the server and who asks share them", input)
}

func (b *bench) sheets() []*report.Sheet {
	s := &report.Sheet{Title: "Questions: median of the rounds", Header: []any{"question", "ms", "at most, of 100 million messages", "rows read", "rows of the answer"}, Numbers: 1}
	for _, q := range questions {
		r := b.report.Find("query", ours, q.name)
		limit := "-"
		if q.limit > 0 {
			limit = report.Number(q.limit)
		}
		s.Add(q.name, r.Cell(mMillis), limit, r.Cell(mRead), r.Cell(mRows))
	}
	return []*report.Sheet{s, b.exportSheet()}
}
