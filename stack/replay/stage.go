package replay

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"millrace/schema"
	"millrace/transformer/block"
)

// stage is a table of a run's own, of the structure of a kind's: the new rows of a week
// are gathered there, where nobody reads them, and go over together.
type stage struct {
	*server
	o      *Options
	kind   *schema.Kind // the table that rows are replaced in
	own    schema.Kind  // the same with the stage's name
	blocks map[block.Place]*block.Block
	rows   int
	bytes  int
	tokens int
	event  schema.Event
}

// The name of a stage is stagePrefix + table + stageRun, the latter as a regular expression:
// no other table is ever taken for one.
const (
	stagePrefix = "replay_"
	stageRun    = "_[a-z2-7]{26}" // of crypto/rand.Text
)

// newStage makes one.
func (s *server) newStage(ctx context.Context, o *Options, k *schema.Kind) (*stage, error) {
	g := &stage{server: s, o: o, kind: k, own: *k, blocks: map[block.Place]*block.Block{}}
	g.own.Table = stagePrefix + k.Table + "_" + strings.ToLower(rand.Text())
	var partition, sorting, policy string
	err := s.ask(ctx, "SELECT partition_key, sorting_key, storage_policy FROM system.tables WHERE database = ? AND name = ?", []any{s.database, k.Table}, func(rows driver.Rows) error {
		return rows.Scan(&partition, &sorting, &policy)
	})
	if err != nil {
		return nil, fmt.Errorf("cannot look at %s: %w", s.table(k), err)
	}
	// Not of a replicated engine, whatever the table's is: it lives as long as this run.
	sql := fmt.Sprintf("CREATE TABLE %s AS %s ENGINE = MergeTree PARTITION BY %s ORDER BY (%s) SETTINGS non_replicated_deduplication_window = 100, storage_policy = '%s'",
		s.table(&g.own), s.table(k), partition, sorting, policy)
	if err := s.exec(ctx, sql); err != nil {
		return nil, fmt.Errorf("cannot make a table for the new rows: %w; the user needs CREATE TABLE and DROP TABLE on %s.*", err, schema.QuoteName(s.database))
	}
	return g, nil
}

// dropStages drops those of runs that were interrupted. A run that is still at work loses
// its own, and ends.
func (s *server) dropStages(ctx context.Context, k *schema.Kind) error {
	var names []string
	err := s.ask(ctx, "SELECT name FROM system.tables WHERE database = ? AND match(name, ?)", []any{s.database, "^" + stagePrefix + k.Table + stageRun + "$"}, func(rows driver.Rows) error {
		var name string
		err := rows.Scan(&name)
		names = append(names, name)
		return err
	})
	for _, name := range names {
		if err == nil {
			err = s.exec(ctx, "DROP TABLE IF EXISTS "+schema.QuoteName(s.database)+"."+schema.QuoteName(name)+" SYNC")
		}
	}
	if err != nil {
		return fmt.Errorf("cannot drop what an interrupted run has left: %w", err)
	}
	return nil
}

// drop is for the end of a run. What it does not reach, the next run does.
func (g *stage) drop(ctx context.Context) error {
	if ctx.Err() != nil {
		return nil
	}
	return g.exec(ctx, "DROP TABLE IF EXISTS "+g.table(&g.own)+" SYNC")
}

// exec runs a statement to its end: one that is cut short may still be done.
func (s *server) exec(ctx context.Context, sql string) error {
	return s.conn.Exec(context.WithoutCancel(ctx), sql)
}

// add takes a row that is to replace the one of its place.
func (g *stage) add(ctx context.Context, r row) error {
	p := placeOf(r)
	b := g.blocks[p.Place]
	if b == nil {
		b = block.New(&g.own)
		b.Reset(p.Place)
		g.blocks[p.Place] = b
	}
	before := b.Bytes()
	r.event(&g.own, &g.event)
	b.Append(&g.event, int64(p.offset))
	g.rows, g.bytes = g.rows+1, g.bytes+b.Bytes()-before
	if g.rows >= stagedRows || g.bytes >= stagedBytes {
		return g.flush(ctx)
	}
	return nil
}

// flush inserts into the stage what is held.
func (g *stage) flush(ctx context.Context) error {
	for p, b := range g.blocks {
		if b.Rows() == 0 {
			continue
		}
		g.tokens++ // the stage's name is this run's alone, so a number will do
		if err := g.insert(ctx, b, fmt.Sprintf("replay/%d", g.tokens)); err != nil {
			return err
		}
		b.Reset(p)
	}
	g.rows, g.bytes = 0, 0
	return g.o.at("staged")
}

// replace puts the staged rows of a week in the place of the old ones. First they go over,
// in one step of the server, then the old ones go: a moment in which a row is there twice,
// never one in which it is not, so that a transformer that asks what is there is told.
func (g *stage) replace(ctx context.Context, w week) (n uint64, err error) {
	if err := g.flush(ctx); err != nil {
		return 0, err
	}
	old, err := g.superseded(ctx, &g.own, w)
	if err != nil || old == "" {
		return 0, err
	}
	// One part gives the server no reason to begin a merge of old and new ones, for whose end
	// the removal would wait. Where there is no time for it, it may.
	_ = g.exec(ctx, fmt.Sprintf("OPTIMIZE TABLE %s PARTITION ID '%s' FINAL", g.table(&g.own), w.id()))
	// What somebody has deleted meanwhile is not to come back.
	if n, err = g.count(ctx, "SELECT count() FROM "+g.table(&g.own)+" WHERE _partition_id = ?", w.id()); err != nil {
		return 0, fmt.Errorf("cannot count the new rows of the week of %s: %w", w, err)
	}
	there, err := g.countRows(ctx, g.kind, w, old)
	if err == nil && there != n {
		err = fmt.Errorf("%d of %d were deleted or replaced meanwhile", n-min(there, n), n)
	}
	if err != nil {
		return 0, fmt.Errorf("cannot replace the rows of the week of %s: %w", w, err)
	}
	if err := g.exec(ctx, fmt.Sprintf("ALTER TABLE %s ATTACH PARTITION ID '%s' FROM %s", g.table(g.kind), w.id(), g.table(&g.own))); err != nil {
		return 0, fmt.Errorf("cannot replace the rows of the week of %s: %w; the user needs INSERT, ALTER and SELECT on %s.*", w, err, schema.QuoteName(g.database))
	}
	if err := g.o.at("attached"); err != nil {
		return 0, err
	}
	if err := g.remove(ctx, g.kind, w, old); err != nil {
		return 0, err
	}
	return n, g.o.at("replaced")
}

// superseded is the condition for the rows of which a table has, or will have, one of the
// same place with a higher revision, for what a week of from has; "" when it has none. It is
// made of bitmaps and asks no table: the server would ask again for each part, and each
// replica by itself.
func (s *server) superseded(ctx context.Context, from *schema.Kind, w week) (condition string, err error) {
	var or []string
	err = s.ask(ctx, "SELECT k_topic, k_epoch, k_part, arrayJoin(range(revision)) AS old, hex(groupBitmapState(k_off)) FROM "+s.table(from)+
		" WHERE _partition_id = ? AND revision > 0 GROUP BY ALL", []any{w.id()}, func(rows driver.Rows) error {
		var p block.Place
		var old uint8
		var bitmap string
		err := rows.Scan(&p.Topic, &p.Epoch, &p.Partition, &old, &bitmap)
		or = append(or, fmt.Sprintf("revision = %d AND k_topic = '%s' AND k_epoch = %d AND k_part = %d AND bitmapContains(CAST(unhex('%s'), 'AggregateFunction(groupBitmap, UInt64)'), k_off)",
			old, quote(p.Topic), p.Epoch, p.Partition, bitmap))
		return err
	})
	if err != nil {
		return "", fmt.Errorf("cannot read which rows of the week of %s are replaced: %w", w, err)
	}
	if len(or) == 0 {
		return "", nil
	}
	return strings.Join(or, " OR "), nil
}

func quote(s string) string { return strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) }

// long is for a statement with bitmaps in it.
func long(ctx context.Context) context.Context {
	return clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"max_query_size": 1 << 30, "mutations_sync": 0}))
}

func (s *server) countRows(ctx context.Context, k *schema.Kind, w week, condition string) (uint64, error) {
	n, err := s.count(long(ctx), "SELECT count() FROM "+s.table(k)+" WHERE _partition_id = '"+w.id()+"' AND ("+condition+")")
	if err != nil {
		return 0, fmt.Errorf("cannot count rows of %s: %w", s.table(k), err)
	}
	return n, nil
}

// finish removes the rows that an interrupted run has replaced. It is told from the rows
// alone, whichever run it was. With remove false they are counted.
func (s *server) finish(ctx context.Context, k *schema.Kind, remove bool) (n uint64, err error) {
	var weeks []week
	err = s.ask(ctx, "SELECT DISTINCT toMonday(received_at) FROM "+s.table(k)+" WHERE revision > 0", nil, func(rows driver.Rows) error {
		var w week
		err := rows.Scan(&w.monday)
		weeks = append(weeks, w)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("cannot look for what an interrupted run has left: %w", explain(err))
	}
	for _, w := range weeks {
		old, err := s.superseded(ctx, k, w)
		if err != nil {
			return n, err
		}
		left, err := s.countRows(ctx, k, w, old)
		if err == nil && left > 0 && remove {
			err = s.remove(ctx, k, w, old)
		}
		if err != nil {
			return n, err
		}
		n += left
	}
	return n, nil
}

// remove removes rows of a week, and waits until they are gone: the server may be at it for
// longer than an answer is waited for. It is what DELETE does, which older servers cannot
// confine to a partition.
func (s *server) remove(ctx context.Context, k *schema.Kind, w week, old string) error {
	sql := fmt.Sprintf("ALTER TABLE %s UPDATE _row_exists = 0 IN PARTITION ID '%s' WHERE %s", s.table(k), w.id(), old)
	if err := s.exec(long(ctx), sql); err != nil {
		return fmt.Errorf("cannot remove the replaced rows of the week of %s: %w", w, err)
	}
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		var why string
		running := false
		err := s.ask(ctx, "SELECT latest_fail_reason FROM system.mutations WHERE database = ? AND table = ? AND NOT is_done AND NOT is_killed AND position(command, 'bitmapContains(') > 0", []any{s.database, k.Table}, func(rows driver.Rows) error {
			running = true
			return rows.Scan(&why)
		})
		if err == nil && why != "" {
			err = errors.New(why)
		}
		if err != nil {
			return fmt.Errorf("cannot remove the replaced rows of the week of %s: %w", w, err)
		}
		if !running {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// explain adds what to do about it.
func explain(err error) error {
	var refused *clickhouse.Exception
	const unknownIdentifier = 47
	if errors.As(err, &refused) && refused.Code == unknownIdentifier {
		return fmt.Errorf("%w; `millrace schema apply` adds the column", err)
	}
	return err
}
