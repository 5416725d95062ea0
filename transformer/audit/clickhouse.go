package audit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"millrace/schema"
)

// place is one incarnation of a topic's partition.
type place struct {
	topic string // without prefix
	epoch uint16
	part  uint16
}

// week is a table's rows of one week: a partition of the table.
type week struct {
	table  *schema.Kind
	monday time.Time
	rows   uint64
}

func (w week) id() string { return w.monday.Format("20060102") }

// held is what the tables have of a place.
type held struct {
	rows    uint64
	refused uint64 // of rows, those in rejects of another topic's records
	ranges  []Range
	twice   uint64 // rows beyond the first of their offset in one table and week
	weeks   map[time.Time]Range
	doubles []week // where twice are
}

// MaxRanges bounds the separate ranges of a place in one week of a table: its rows
// have been erased one by one, or somebody else has filled the table.
const MaxRanges = 2_000_000

// tables ask ClickHouse.
type tables struct {
	conn     driver.Conn
	database string
}

func (t *tables) name(k *schema.Kind) string {
	return schema.QuoteName(t.database) + "." + schema.QuoteName(k.Table)
}

// ask runs one query. The driver is given a context that does not end, because it
// would close a channel that its own reader may still be sending on; a question
// whose ctx has ended is left to the end of the process.
func (t *tables) ask(ctx context.Context, sql string, args []any, scan func(driver.Rows) error) error {
	answer := make(chan error, 1)
	go func() {
		rows, err := t.conn.Query(context.WithoutCancel(ctx), sql, args...)
		if err != nil {
			answer <- err
			return
		}
		for err == nil && ctx.Err() == nil && rows.Next() {
			err = scan(rows)
		}
		answer <- errors.Join(err, rows.Err(), rows.Close())
	}()
	select {
	case err := <-answer:
		if ctx.Err() != nil { // it explains the other
			return context.Cause(ctx)
		}
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// weeks are those of the tables from the one that holds since. The server answers
// from its parts' metadata.
func (t *tables) weeks(ctx context.Context, since time.Time) (all []week, err error) {
	for _, k := range schema.Kinds() {
		err := t.ask(ctx, "SELECT toMonday(received_at) AS monday, count() FROM "+t.name(k)+" GROUP BY monday ORDER BY monday", nil, func(rows driver.Rows) error {
			w := week{table: k}
			err := rows.Scan(&w.monday, &w.rows)
			if !w.monday.Before(since) {
				all = append(all, w)
			}
			return err
		})
		if err != nil {
			return nil, t.explain("read the weeks of", k, err)
		}
	}
	return all, nil
}

// scanSQL makes of the offsets of each place a bitmap, and one of those offsets plus
// one: what only the first has begins a range, what only the second has ends one.
const scanSQL = `SELECT k_topic, k_epoch, k_part, n, bitmapCardinality(has) AS offsets,
	arraySort(bitmapToArray(bitmapAndnot(has, next))) AS begin, arraySort(bitmapToArray(bitmapAndnot(next, has))) AS end
FROM (SELECT k_topic, k_epoch, k_part, count() AS n, groupBitmapState(k_off) AS has, groupBitmapState(k_off + 1) AS next
	FROM %s WHERE _partition_id = ? GROUP BY k_topic, k_epoch, k_part)`

// scan adds what one week of a table has. Rows of weeks before count are looked at
// for their offsets alone.
func (t *tables) scan(ctx context.Context, w week, count time.Time, all map[place]*held) error {
	err := t.ask(ctx, fmt.Sprintf(scanSQL, t.name(w.table)), []any{w.id()}, func(rows driver.Rows) error {
		var p place
		var n, distinct uint64
		var begin, end []uint64
		if err := rows.Scan(&p.topic, &p.epoch, &p.part, &n, &distinct, &begin, &end); err != nil {
			return err
		}
		if len(begin) != len(end) || len(begin) == 0 || end[len(end)-1] > math.MaxInt64 {
			return fmt.Errorf("offsets of %s/%d are none of Kafka's", p.topic, p.part)
		}
		if len(begin) > MaxRanges {
			return fmt.Errorf("the offsets of %s/%d are in %d ranges, more than %d; --since leaves older weeks out", p.topic, p.part, len(begin), MaxRanges)
		}
		h := all[p]
		if h == nil {
			h = &held{weeks: map[time.Time]Range{}}
			all[p] = h
		}
		for i := range begin {
			h.ranges = append(h.ranges, Range{int64(begin[i]), int64(end[i])})
		}
		bounds, seen := h.weeks[w.monday]
		if !seen {
			bounds = Range{math.MaxInt64, 0}
		}
		h.weeks[w.monday] = Range{min(bounds.From, int64(begin[0])), max(bounds.To, int64(end[len(end)-1]))}
		if w.monday.Before(count) {
			return nil
		}
		h.rows += n
		if w.table == schema.Reject && p.topic != schema.Reject.Topic {
			h.refused += n
		}
		if n > distinct {
			h.twice += n - distinct
			h.doubles = append(h.doubles, w)
		}
		return nil
	})
	if err != nil {
		return t.explain("read the offsets of", w.table, err)
	}
	return nil
}

// bucket is how many offsets are looked at together for doubled ones.
const bucket = 1 << 20

// doubled finds a few offsets with more than one row in one week of a table: first
// where they are, cheaply, then which.
func (t *tables) doubled(ctx context.Context, w week, p place, limit int) (offsets []int64, err error) {
	where := " FROM " + t.name(w.table) + " WHERE _partition_id = ? AND k_topic = ? AND k_epoch = ? AND k_part = ?"
	args := []any{w.id(), p.topic, p.epoch, p.part}
	var buckets []uint64
	err = t.ask(ctx, fmt.Sprintf("SELECT intDiv(k_off, %d) AS b%s GROUP BY b HAVING count() > groupBitmap(k_off) ORDER BY b LIMIT 3", bucket, where), args,
		func(rows driver.Rows) error {
			var b uint64
			err := rows.Scan(&b)
			buckets = append(buckets, b)
			return err
		})
	for _, b := range buckets {
		if err != nil || len(offsets) >= limit {
			break
		}
		err = t.ask(ctx, fmt.Sprintf("SELECT k_off%s AND intDiv(k_off, %d) = ? GROUP BY k_off HAVING count() > 1 ORDER BY k_off LIMIT %d", where, bucket, limit-len(offsets)),
			append(args[:len(args):len(args)], b), func(rows driver.Rows) error {
				var o uint64
				err := rows.Scan(&o)
				offsets = append(offsets, int64(o))
				return err
			})
	}
	if err != nil {
		return nil, t.explain("look for doubled rows in", w.table, err)
	}
	return offsets, nil
}

// edges are by place the lowest offset of the rows received at or after t, and the
// offset after the highest of those received before. Within t's own week the rows
// tell, else the weeks.
func (t *tables) edges(ctx context.Context, all map[place]*held, weeks []week, at time.Time) (since, before map[place]int64, err error) {
	since, before = map[place]int64{}, map[place]int64{}
	note := func(p place, bounds Range, later bool) {
		if first, ok := since[p]; later && (!ok || bounds.From < first) {
			since[p] = bounds.From
		}
		if !later {
			before[p] = max(before[p], bounds.To)
		}
	}
	own := monday(at)
	for p, h := range all {
		for m, bounds := range h.weeks {
			if !m.Equal(own) {
				note(p, bounds, m.After(own))
			}
		}
	}
	for _, w := range weeks {
		if !w.monday.Equal(own) {
			continue
		}
		err := t.ask(ctx, "SELECT k_topic, k_epoch, k_part, received_at >= fromUnixTimestamp64Milli(?) AS later, min(k_off), max(k_off) + 1 FROM "+t.name(w.table)+
			" WHERE _partition_id = ? GROUP BY k_topic, k_epoch, k_part, later", []any{at.UnixMilli(), w.id()}, func(rows driver.Rows) error {
			var p place
			var later uint8
			var from, to uint64
			if err := rows.Scan(&p.topic, &p.epoch, &p.part, &later, &from, &to); err != nil {
				return err
			}
			note(p, Range{int64(from), int64(to)}, later != 0)
			return nil
		})
		if err != nil {
			return nil, nil, t.explain("read the offsets of", w.table, err)
		}
	}
	return since, before, nil
}

// monday begins t's week, as the tables' partitions do.
func monday(t time.Time) time.Time {
	day := t.UTC().Truncate(24 * time.Hour)
	return day.AddDate(0, 0, -(int(day.Weekday())+6)%7)
}

// retention is the delete TTL of schema.Kind.TTL, as ClickHouse writes it back.
var retention = regexp.MustCompile(`toIntervalDay\(7\)\)? \+ toIntervalSecond\((\d+)\)\)?(?: DELETE)?(?:,| SETTINGS |$)`)

// expired is by topic the Monday of the first week that the table's TTL keeps.
func (t *tables) expired(ctx context.Context, now time.Time) (map[string]time.Time, error) {
	found := map[string]time.Time{}
	err := t.ask(ctx, "SELECT name, engine_full FROM system.tables WHERE database = ?", []any{t.database}, func(rows driver.Rows) error {
		var name, engine string
		if err := rows.Scan(&name, &engine); err != nil {
			return err
		}
		for _, k := range schema.Kinds() {
			m := retention.FindStringSubmatch(engine)
			if k.Table != name || m == nil {
				continue
			}
			seconds, err := strconv.ParseInt(m[1], 10, 64)
			if err != nil || seconds > int64(math.MaxInt64/time.Second) {
				continue // longer than time itself: nothing expires
			}
			// A week is gone when its end is as old as that.
			found[k.Topic] = monday(now.Add(-time.Duration(seconds) * time.Second))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the TTL of the tables: %w", err)
	}
	return found, nil
}

// erased are the last deletions by table. allowed is false when the user may not
// see them.
func (t *tables) erased(ctx context.Context) (last map[string]time.Time, allowed bool, err error) {
	last = map[string]time.Time{}
	err = t.ask(ctx, "SELECT table, max(create_time) FROM system.mutations WHERE database = ? AND NOT is_killed AND match(command, '^\\\\(?(DELETE|UPDATE `?_row_exists)') GROUP BY table",
		[]any{t.database}, func(rows driver.Rows) error {
			var name string
			var at time.Time
			err := rows.Scan(&name, &at)
			last[name] = at
			return err
		})
	var refused *clickhouse.Exception
	if errors.As(err, &refused) && refused.Code == codeAccessDenied {
		return last, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("cannot read the deletions of the tables: %w", err)
	}
	return last, true, nil
}

// ClickHouse's codes.
const (
	codeUnknownTable    = 60
	codeUnknownDatabase = 81
	codeAccessDenied    = 497
)

// explain adds what to do about it.
func (t *tables) explain(what string, k *schema.Kind, err error) error {
	hint := ""
	var refused *clickhouse.Exception
	if errors.As(err, &refused) {
		err = errors.New(strings.TrimSpace(strings.TrimPrefix(refused.Message, "DB::Exception: ")))
		switch refused.Code {
		case codeUnknownTable, codeUnknownDatabase:
			hint = "; `millrace schema apply` makes it"
		case codeAccessDenied:
			hint = fmt.Sprintf("; run: GRANT SELECT ON %s.* TO the user", schema.QuoteName(t.database))
		}
	}
	return fmt.Errorf("cannot %s %s: %w%s", what, t.name(k), err, hint)
}

// received is when the frame of the row at an offset was taken, in milliseconds.
func (t *tables) received(ctx context.Context, p place, offset int64) (ms int64, ok bool, err error) {
	for _, k := range []*schema.Kind{kindOf(p.topic), schema.Reject} {
		err := t.ask(ctx, "SELECT toUnixTimestamp64Milli(received_at) FROM "+t.name(k)+
			" WHERE k_topic = ? AND k_epoch = ? AND k_part = ? AND k_off = ? LIMIT 1", []any{p.topic, p.epoch, p.part, uint64(offset)}, func(rows driver.Rows) error {
			ok = true
			return rows.Scan(&ms)
		})
		if err != nil {
			return 0, false, t.explain("read a row of", k, err)
		}
		if ok {
			return ms, true, nil
		}
	}
	return 0, false, nil
}
