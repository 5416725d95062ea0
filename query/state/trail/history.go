package trail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/internal/sqltext"
	"millrace/query/state"
)

// Filter of History. The zero value is all that has had effect.
type Filter struct {
	Kinds  []string
	Match  func(parts []string) bool // nil: all
	Since  time.Time
	Until  time.Time
	Limit  int  // the last ones; 0: no limit
	Futile bool // also what had no effect
}

func (f Filter) takes(c Change) bool {
	return (len(f.Kinds) == 0 || slices.Contains(f.Kinds, c.Kind)) &&
		(f.Futile || c.Effect == state.Applied) &&
		(f.Since.IsZero() || !c.Time.Before(f.Since)) && (f.Until.IsZero() || c.Time.Before(f.Until)) &&
		(f.Match == nil || f.Match(c.Parts))
}

// History is what was changed, the oldest first: from ClickHouse, and what is in the log
// alone. Without a connection, or when ClickHouse fails, it is what the log still has, and
// the error says so: the changes are good all the same.
func History(ctx context.Context, store *state.Store, conn clickhouse.Conn, database string, f Filter) ([]Change, error) {
	var list []Change
	var failed error
	if conn == nil {
		failed = errors.New("cannot ask ClickHouse for the history: there is no connection")
	} else if list, failed = stored(ctx, conn, database, f); failed != nil {
		list = nil
	}
	epoch := store.Snapshot().Epoch()
	last := int64(-1)
	if failed == nil {
		if last, failed = lastOffset(ctx, conn, database, epoch); failed != nil {
			return nil, failed
		}
	}
	end := store.Snapshot().Version()
	err := store.Follow(ctx, func(records []state.Record, next state.Version) error {
		for _, r := range records {
			if c := changeOf(epoch, r); r.Offset > last && f.takes(c) {
				list = append(list, c)
			}
		}
		if next >= end {
			return errEnd
		}
		return nil
	})
	if !errors.Is(err, errEnd) {
		return nil, err
	}
	if f.Limit > 0 && len(list) > f.Limit {
		list = list[len(list)-f.Limit:]
	}
	return list, failed
}

var errEnd = errors.New("that is all")

// stored are the changes in ClickHouse.
func stored(ctx context.Context, conn clickhouse.Conn, database string, f Filter) ([]Change, error) {
	until := f.Until
	if until.IsZero() {
		until = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithParameters(clickhouse.Parameters{
		"kinds": sqltext.String(strings.Join(f.Kinds, ",")), "since": millis(f.Since), "until": millis(until),
	}))
	rows, err := conn.Query(ctx, `SELECT epoch, toInt64(offset), time, actor, how, kind, parts, action, reason, effect, toInt64(term), before, after, record
FROM `+table(database)+` FINAL
WHERE ({kinds:String} = '' OR has(splitByChar(',', {kinds:String}), kind))
    AND time >= fromUnixTimestamp64Milli({since:Int64}) AND time < fromUnixTimestamp64Milli({until:Int64})
ORDER BY epoch, offset
LIMIT 1 BY epoch, offset`)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s.state_changes: %w", database, err)
	}
	defer rows.Close()
	var list []Change
	for rows.Next() {
		var c Change
		var effect, before, after string
		if err := rows.Scan(&c.Epoch, &c.Offset, &c.Time, &c.Actor, &c.How, &c.Kind, &c.Parts, &c.Action, &c.Reason, &effect, &c.Term, &before, &after, &c.Record); err != nil {
			return nil, fmt.Errorf("cannot read %s.state_changes: %w", database, err)
		}
		c.Effect, c.Before, c.After = state.Effect(effect), raw(before), raw(after)
		if f.takes(c) {
			list = append(list, c)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("cannot read %s.state_changes: %w", database, err)
	}
	return list, nil
}

func raw(s string) json.RawMessage {
	if s == "" {
		return nil
	}
	return json.RawMessage(s)
}

func millis(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return fmt.Sprint(t.UnixMilli())
}
