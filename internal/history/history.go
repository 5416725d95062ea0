package history

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Options are how much is made up.
type Options struct {
	Messages uint64
	Days     int
	Domains  int
	Seed     uint64
	End      time.Time // the last message's; zero: the beginning of this hour

	// Progress is called after each block, with the messages so far.
	Progress func(done uint64)

	block uint64 // messages of an INSERT; 0: blockMessages
}

// blockMessages bounds the server's memory.
const blockMessages = 250_000

// Write makes the messages and their statuses in the connection's database, whose tables are
// there. What is counted by the hour comes by itself.
func Write(ctx context.Context, conn clickhouse.Conn, o Options) error {
	switch {
	case o.Messages == 0 || o.Messages > 1e11:
		return fmt.Errorf("cannot make %d messages up: allowed 1 to 100 thousand million", o.Messages)
	case o.Days < 1 || o.Days > 3650:
		return fmt.Errorf("cannot make %d days up: allowed 1 to 3650", o.Days)
	case o.Domains < 1 || o.Domains > 10_000_000:
		return fmt.Errorf("cannot make %d domains up: allowed 1 to 10 million", o.Domains)
	}
	if o.End.IsZero() {
		o.End = time.Now().Truncate(time.Hour)
	}
	var others uint64
	if err := conn.QueryRow(ctx, "SELECT count() FROM message_events WHERE k_topic != 'history'").Scan(&others); err != nil {
		return fmt.Errorf("cannot look at the messages that are there: %w", err)
	}
	if others > 0 {
		return fmt.Errorf("cannot make messages up: there are %d already that are not, from which they could not be told; use a database of its own (clickhouse.database)", others)
	}
	if o.block == 0 {
		o.block = blockMessages
	}
	for from := uint64(0); from < o.Messages; from += o.block {
		n := min(o.block, o.Messages-from)
		for _, q := range []struct{ table, sql string }{{"message_events", o.insertMessages(from, n)}, {"status_events", o.insertStatuses(from, n)}} {
			token := fmt.Sprintf("history/%d/%d/%d/%d/%d/%d", o.Seed, o.Messages, o.Days, o.Domains, o.End.Unix(), from)
			settings := clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
				"insert_deduplication_token": token, "async_insert": 0, "max_insert_threads": 1, "max_threads": 2,
				"min_insert_block_size_rows": o.block * 3, "min_insert_block_size_bytes": 0, "insert_deduplicate": 1,
			}))
			if err := conn.Exec(settings, q.sql); err != nil {
				return fmt.Errorf("cannot make up messages %d to %d in %s: %w", from, from+n, q.table, err)
			}
		}
		if o.Progress != nil {
			o.Progress(from + n)
		}
	}
	return nil
}
