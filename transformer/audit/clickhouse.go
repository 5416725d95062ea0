package audit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
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
	in     *tables
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
	twice   uint64 // rows beyond the first of their offset and revision in one table and week
	old     uint64 // rows of which there is a later revision there
	weeks   map[time.Time]Range
	doubles []week // where twice are

	// Of the topic of rejects: those that have become events since, which stand
	// under the same offsets in other tables. The reject stays.
	replayed []Range
}

// tables ask ClickHouse: one shard of it.
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
			w := week{in: t, table: k}
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

// scanSQL makes a bitmap of the offsets of every bucket of 65,536, which is the size
// that the server's bitmaps work in: one of all offsets takes half as long again. Of
// a bucket that is full nothing more need be sent; few are not, those at the ends of
// the week and where something is missing.
//
// Rows of frames that were decoded again, of which there are few weeks, have a second
// bitmap and a count of their own, in the same question: while millrace replay puts the
// later revision in the place of the other, both are there.
const (
	scanSQL = `SELECT k_epoch, k_part, bucket, n, bitmapCardinality(first) AS firsts, others, bitmapCardinality(bitmapOr(first, again)) AS offsets,
	if(offsets = 65536, [], bitmapToArray(bitmapOr(first, again))) AS which
FROM (SELECT k_epoch, k_part, toUInt32(bitShiftRight(k_off, 16)) AS bucket, count() AS n, groupBitmapStateIf(toUInt16(k_off), revision = 0) AS first,
		groupBitmapStateIf(toUInt16(k_off), revision > 0) AS again, groupBitmapIf(toUInt32(revision) * 65536 + toUInt16(k_off), revision > 0) AS others
	FROM %s WHERE _partition_id = ? AND k_topic = ? GROUP BY k_epoch, k_part, bucket)`
	bucketSize = 1 << 16
)

// scan adds what one week of a table has. Rows of weeks before count are looked at
// for their offsets alone. foreign are rows of topics that are not ours.
func (t *tables) scan(ctx context.Context, w week, count time.Time, all map[place]*held) (foreign map[string]uint64, err error) {
	own := w.table.Topic
	n, err := t.scanTopic(ctx, w, own, count, all)
	if err != nil || n >= w.rows {
		return nil, err // every row is of the table's own topic
	}
	foreign = map[string]uint64{}
	var others []string
	err = t.ask(ctx, "SELECT k_topic, count() FROM "+t.name(w.table)+" WHERE _partition_id = ? AND k_topic != ? GROUP BY k_topic", []any{w.id(), own}, func(rows driver.Rows) error {
		var topic string
		var n uint64
		err := rows.Scan(&topic, &n)
		if kindOf(topic) == nil {
			foreign[topic] = n
		} else {
			others = append(others, topic)
		}
		return err
	})
	if err != nil {
		return nil, t.explain("read the topics of", w.table, err)
	}
	for _, topic := range others {
		if _, err := t.scanTopic(ctx, w, topic, count, all); err != nil {
			return nil, err
		}
	}
	return foreign, nil
}

// scanTopic returns how many rows the topic has in the week.
func (t *tables) scanTopic(ctx context.Context, w week, topic string, count time.Time, all map[place]*held) (total uint64, err error) {
	found := map[place]*held{}
	err = t.ask(ctx, fmt.Sprintf(scanSQL, t.name(w.table)), []any{w.id(), topic}, func(rows driver.Rows) error {
		p := place{topic: topic}
		var bucket uint32
		var n, firsts, others, distinct uint64
		var which []uint16
		if err := rows.Scan(&p.epoch, &p.part, &bucket, &n, &firsts, &others, &distinct, &which); err != nil {
			return err
		}
		h := found[p]
		if h == nil {
			h = &held{}
			found[p] = h
		}
		h.rows += n
		h.twice += n - firsts - others
		h.old += firsts + others - distinct
		base := int64(bucket) * bucketSize
		if distinct == bucketSize {
			h.ranges = append(h.ranges, Range{base, base + bucketSize})
			return nil
		}
		slices.Sort(which)
		for _, o := range which {
			h.ranges = extend(h.ranges, base+int64(o))
		}
		return nil
	})
	if err != nil {
		return 0, t.explain("read the offsets of", w.table, err)
	}
	for p, f := range found {
		total += f.rows
		h := all[p]
		if h == nil {
			h = &held{weeks: map[time.Time]Range{}}
			all[p] = h
		}
		union, _ := join(f.ranges)
		if topic == schema.Reject.Topic && w.table != schema.Reject {
			h.replayed = append(h.replayed, union...)
		} else {
			h.note(w.monday, union)
		}
		if w.monday.Before(count) {
			continue
		}
		h.rows += f.rows
		h.old += f.old
		if w.table == schema.Reject && topic != schema.Reject.Topic {
			h.refused += f.rows
		}
		if f.twice > 0 {
			h.twice += f.twice
			h.doubles = append(h.doubles, w)
		}
	}
	return total, nil
}

// note adds the offsets of a week.
func (h *held) note(monday time.Time, union ranges) {
	h.ranges = append(h.ranges, union...)
	bounds, seen := h.weeks[monday]
	if !seen {
		bounds = Range{math.MaxInt64, 0}
	}
	h.weeks[monday] = Range{min(bounds.From, union[0].From), max(bounds.To, union[len(union)-1].To)}
}

// extend adds an offset that is higher than those of the last range.
func extend(all []Range, offset int64) []Range {
	if n := len(all); n > 0 && all[n-1].To == offset {
		all[n-1].To++
		return all
	}
	return append(all, Range{offset, offset + 1})
}

// doubledBucket is how many offsets are looked at together for doubled ones.
const doubledBucket = 1 << 20

// doubled finds a few offsets with more than one row in one week of a table: first
// where they are, cheaply, then which.
func (t *tables) doubled(ctx context.Context, w week, p place, limit int) (offsets []int64, err error) {
	where := " FROM " + t.name(w.table) + " WHERE _partition_id = ? AND k_topic = ? AND k_epoch = ? AND k_part = ?"
	args := []any{w.id(), p.topic, p.epoch, p.part}
	var buckets []uint64
	err = t.ask(ctx, fmt.Sprintf("SELECT intDiv(k_off, %d) AS b%s GROUP BY b HAVING count() > uniqExact(k_off, revision) ORDER BY b LIMIT 3", doubledBucket, where), args,
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
		err = t.ask(ctx, fmt.Sprintf("SELECT k_off%s AND intDiv(k_off, %d) = ? GROUP BY k_off HAVING count() > uniqExact(revision) ORDER BY k_off LIMIT %d", where, doubledBucket, limit-len(offsets)),
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
func edges(ctx context.Context, all map[place]*held, weeks []week, at time.Time) (since, before map[place]int64, err error) {
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
		err := w.in.ask(ctx, "SELECT k_topic, k_epoch, k_part, received_at >= fromUnixTimestamp64Milli(?) AS later, min(k_off), max(k_off) + 1 FROM "+w.in.name(w.table)+
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
			return nil, nil, w.in.explain("read the offsets of", w.table, err)
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

// erased are the last deletions by table, but for those of millrace replay, which leave
// a row for each that they remove. allowed is false when the user may not see them.
func (t *tables) erased(ctx context.Context) (last map[string]time.Time, allowed bool, err error) {
	last = map[string]time.Time{}
	err = t.ask(ctx, "SELECT table, max(create_time) FROM system.mutations WHERE database = ? AND NOT is_killed AND match(command, '^\\\\(?(DELETE|UPDATE `?_row_exists)') AND position(command, 'bitmapContains(') = 0 GROUP BY table",
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
	codeUnknownIdentifier = 47
	codeUnknownTable      = 60
	codeUnknownDatabase   = 81
	codeAccessDenied      = 497
)

// explain adds what to do about it.
func (t *tables) explain(what string, k *schema.Kind, err error) error {
	hint := ""
	var refused *clickhouse.Exception
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = "; millrace up serves ClickHouse there, another place is --server HOST:PORT"
	case errors.As(err, &refused):
		err = errors.New(strings.TrimSpace(strings.TrimPrefix(refused.Message, "DB::Exception: ")))
		switch refused.Code {
		case codeUnknownIdentifier:
			hint = "; `millrace schema apply` adds the column"
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
