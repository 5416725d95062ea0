package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/benchmarks/report"
)

// Metrics.
const (
	mMillis = "milliseconds"
	mRead   = "rows_read"
	mRows   = "rows"
)

// question is one that is asked, and how long it may take over a hundred million messages.
type question struct {
	name  string
	limit float64 // milliseconds
	sql   string
	args  func(b *bench, round int) []any // another domain, day or id each round
}

// busy is the domain of a round: one of the larger ones, never the same twice in a row.
func busy(round int) string { return fmt.Sprintf("customer%d.example", 3+7*round) }

const columns = "id_time, id, filtering_host, sender, recipient, subject_header, status_norm, class_norm, class_group, sub_class, sender_ip, incoming_size, delivery_data"

var questions = []question{
	{"a domain's day, the newest 50", 100,
		"SELECT " + columns + " FROM messages WHERE domain = ? AND id_time >= ? AND id_time < ? ORDER BY id_time DESC LIMIT 50",
		func(b *bench, round int) []any {
			day := b.end.AddDate(0, 0, -2-round)
			return []any{busy(round), day, day.AddDate(0, 0, 1)}
		}},
	{"an id", 50,
		"SELECT " + columns + " FROM messages WHERE id = ?",
		func(b *bench, round int) []any {
			var id string
			// Found outside of the measured time; a round without one asks for none that is there.
			_ = b.conn.QueryRow(context.Background(), "SELECT id FROM message_events WHERE domain = ? LIMIT 1 OFFSET ?", busy(round), 10+round).Scan(&id)
			return []any{id}
		}},
	{"an address over 30 days of a domain, the newest 50", 500,
		"SELECT " + columns + " FROM messages WHERE domain = ? AND id_time >= ? AND (sender ILIKE ? OR recipient ILIKE ?) ORDER BY id_time DESC LIMIT 50",
		func(b *bench, round int) []any {
			return []any{busy(round), b.end.AddDate(0, 0, -30), "%user1@%", "%user1@%"}
		}},
	{"top 50 spammers of 24 hours", 50,
		"SELECT domain, auth_user, identity, sender, sum(rejected + quarantined) AS spam, sum(messages) AS all FROM senders_hourly WHERE hour >= ? AND direction = 'outgoing' GROUP BY domain, auth_user, identity, sender ORDER BY spam DESC LIMIT 50",
		func(b *bench, round int) []any { return []any{b.end.Add(-24 * time.Hour)} }},
	{"a month's outgoing report of a domain by identity", 100,
		"SELECT identity, class_group, sum(messages), sum(bytes), uniqCombinedMerge(12)(recipients), sum(invalid_senders) FROM messages_hourly WHERE domain = ? AND hour >= ? AND direction = 'outgoing' GROUP BY identity, class_group ORDER BY sum(messages) DESC LIMIT 1000",
		func(b *bench, round int) []any { return []any{busy(round), b.end.AddDate(0, 0, -30)} }},
}

// ask asks all, in each round once; the round before the first is not counted.
func (b *bench) ask(ctx context.Context) error {
	for round := -1; round < b.o.rounds; round++ {
		for _, q := range questions {
			m, err := b.one(ctx, q, round+1)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if round >= 0 || err != nil {
				b.report.Record(b.progress, "query", ours, q.name, m, err)
			}
		}
	}
	for _, q := range questions {
		v, ok := b.report.Find("query", ours, q.name).Median(mMillis)
		b.report.AtMost(q.name, q.limit, "ms", v, ok)
	}
	if n := b.report.Voids(); n > 0 {
		return fmt.Errorf("%d measurements are void, they are named above", n)
	}
	return nil
}

func (b *bench) one(ctx context.Context, q question, round int) (report.Metrics, error) {
	args := q.args(b, round)
	var read uint64
	ctx = clickhouse.Context(ctx, clickhouse.WithProgress(func(p *clickhouse.Progress) { read += p.Rows }))
	begin := time.Now()
	rows, err := b.conn.Query(ctx, q.sql, args...)
	if err != nil {
		return nil, err
	}
	n := 0
	for rows.Next() {
		n++
	}
	rows.Close()
	took := time.Since(begin)
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return report.Metrics{mMillis: float64(took.Microseconds()) / 1000, mRead: float64(read), mRows: float64(n)}, nil
}

func (b *bench) notes() []string {
	input := fmt.Sprintf("A past of %s messages and %s events in all, of %d days and %s domains (Zipf), in %.2f GB of ClickHouse; the caches are warm.",
		report.Number(float64(b.o.messages)), report.Number(float64(b.events)), b.o.days, report.Number(float64(b.o.domains)), float64(b.bytes)/1e9)
	if b.made > 0 {
		input += fmt.Sprintf(" It was made in %.0f s, and counted by the hour in %.0f s.", b.made.Seconds(), b.count.Seconds())
	}
	return b.report.CommonNotes("the server and who asks share them", input)
}

func (b *bench) sheets() []*report.Sheet {
	s := &report.Sheet{Title: "Questions: median of the rounds", Header: []any{"question", "ms", "at most, of 100 million messages", "rows read", "rows of the answer"}, Numbers: 1}
	for _, q := range questions {
		r := b.report.Find("query", ours, q.name)
		s.Add(q.name, r.Cell(mMillis), report.Number(q.limit), r.Cell(mRead), r.Cell(mRows))
	}
	return []*report.Sheet{s}
}
