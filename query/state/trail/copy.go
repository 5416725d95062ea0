package trail

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/query/state"
	"millrace/schema"
)

// Change is a row of state_changes.
type Change struct {
	Epoch  uint64          `json:"epoch"`
	Offset int64           `json:"offset"`
	Time   time.Time       `json:"time"`
	Actor  string          `json:"actor"`
	How    string          `json:"how"`
	Kind   string          `json:"kind"`
	Parts  []string        `json:"parts"`
	Action string          `json:"action"`
	Reason string          `json:"reason,omitempty"`
	Effect state.Effect    `json:"effect"`
	Term   int64           `json:"term,omitempty"`
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
	Record string          `json:"record"` // its id
}

func changeOf(epoch uint64, r state.Record) Change {
	kind, parts, _ := r.Key.Split()
	c := Change{
		Epoch: epoch, Offset: r.Offset, Time: r.Mark.At.UTC(), Actor: r.Mark.Actor, How: r.Mark.How, Kind: kind, Parts: parts,
		Action: r.Mark.Action, Reason: r.Mark.Reason, Effect: r.Effect, Term: r.Term, Record: r.ID,
	}
	c.Before, c.After = r.States()
	return c
}

const (
	// copyRows are inserted at a time at most.
	copyRows = 2000
	retry    = 2 * time.Second
)

// Place is where the copy is: the database that rows are inserted into, and that from which
// they are read, which on a cluster is the one of all shards. Who acts next may insert at
// another server, of another shard.
type Place struct{ Insert, Read string }

// Run copies while this instance is the one that acts, until ctx ends. It calls failed after
// each attempt that failed.
func Run(ctx context.Context, store *state.Store, conn clickhouse.Conn, place Place, log *slog.Logger, failed func()) {
	for {
		term, err := store.Leader(ctx)
		if err != nil { // ctx has ended, or the store is closed
			return
		}
		copying, cancel := context.WithCancel(term.Context())
		stop := context.AfterFunc(ctx, cancel)
		Copy(copying, store, conn, place, log, failed)
		stop()
		cancel()
	}
}

// Copy copies until ctx ends, which is no error. The acting instance does it, with its
// term's context.
func Copy(ctx context.Context, store *state.Store, conn clickhouse.Conn, place Place, log *slog.Logger, failed func()) {
	said := ""
	for ctx.Err() == nil {
		err := copyOnce(ctx, store, conn, place, func() {
			if said != "" {
				log.Info("copying changes of the state to ClickHouse again")
			}
			said = ""
		})
		if ctx.Err() != nil {
			return
		}
		failed()
		if err.Error() != said {
			said = err.Error()
			log.Warn("cannot copy changes of the state to ClickHouse, trying again", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
	}
}

// copyOnce copies what is missing and then what comes, until something fails.
func copyOnce(ctx context.Context, store *state.Store, conn clickhouse.Conn, place Place, copied func()) error {
	epoch := store.Snapshot().Epoch()
	last, err := lastOffset(ctx, conn, place.Read, epoch)
	if err != nil {
		return err
	}
	var rows []Change
	return store.Follow(ctx, func(records []state.Record, _ state.Version) error {
		for _, r := range records {
			if r.Offset > last {
				rows = append(rows, changeOf(epoch, r))
			}
		}
		for len(rows) > 0 {
			n := min(len(rows), copyRows)
			if err := insert(ctx, conn, place.Insert, rows[:n]); err != nil {
				return err
			}
			last = rows[n-1].Offset
			rows = rows[n:]
		}
		rows = nil
		copied()
		return nil
	})
}

func table(database string) string { return schema.QuoteName(database) + ".`state_changes`" }

// lastOffset is that of the last row there, -1 without any.
func lastOffset(ctx context.Context, conn clickhouse.Conn, database string, epoch uint64) (int64, error) {
	ctx = clickhouse.Context(ctx, clickhouse.WithParameters(clickhouse.Parameters{"epoch": fmt.Sprint(epoch)}))
	var last int64
	if err := conn.QueryRow(ctx, "SELECT toInt64(max(offset)) - toInt64(count() = 0) FROM "+table(database)+" WHERE epoch = {epoch:UInt64}").Scan(&last); err != nil {
		return 0, fmt.Errorf("cannot read the last offset in %s.state_changes: %w (millrace schema apply makes the table)", database, err)
	}
	return last, nil
}

func insert(ctx context.Context, conn clickhouse.Conn, database string, rows []Change) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"async_insert": 0}))
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO "+table(database)+" (epoch, offset, time, actor, how, kind, parts, action, reason, effect, term, before, after, record, copied_at)")
	if err != nil {
		return fmt.Errorf("cannot insert into %s.state_changes: %w", database, err)
	}
	defer batch.Close()
	now := time.Now().UTC()
	for _, c := range rows {
		err := batch.Append(c.Epoch, uint64(c.Offset), c.Time, c.Actor, c.How, c.Kind, c.Parts, c.Action, c.Reason, string(c.Effect), uint64(max(c.Term, 0)),
			string(c.Before), string(c.After), c.Record, now)
		if err != nil {
			return fmt.Errorf("cannot insert into %s.state_changes: %w", database, err)
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("cannot insert into %s.state_changes: %w", database, err)
	}
	return nil
}
