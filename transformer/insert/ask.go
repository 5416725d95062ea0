package insert

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"millrace/schema"
	"millrace/transformer/block"
)

// tables are those that the rows of one topic can lie in: its kind's, and the
// rejects of records that were no event.
func tables(k *schema.Kind) []*schema.Kind {
	if k == schema.Reject {
		return []*schema.Kind{k}
	}
	return []*schema.Kind{k, schema.Reject}
}

// place is a row's incarnation and offset.
type place struct {
	epoch  uint16
	offset int64
}

// Last returns the newest incarnation of the partition that has rows, and the
// last offset it has; ok is false when there are none. Topic is without prefix.
func (c *ClickHouse) Last(ctx context.Context, k *schema.Kind, topic string, partition uint16) (epoch uint16, offset int64, ok bool, err error) {
	var last place
	any := false
	for _, t := range tables(k) {
		var found []place
		err := c.question(ctx, t, func(ctx context.Context, conn driver.Conn) error {
			rows, err := conn.Query(ctx, "SELECT k_epoch, max(k_off) FROM "+c.table(t)+
				" WHERE k_topic = ? AND k_part = ? GROUP BY k_epoch ORDER BY k_epoch DESC LIMIT 1", topic, partition)
			if err != nil {
				return err
			}
			return each(rows, func() error {
				var e uint16
				var o uint64
				err := rows.Scan(&e, &o)
				found = append(found, place{e, int64(o)})
				return err
			})
		})
		if err != nil {
			return 0, 0, false, c.askError(t, err)
		}
		for _, f := range found {
			if !any || f.epoch > last.epoch || f.epoch == last.epoch && f.offset > last.offset {
				last, any = f, true
			}
		}
	}
	return last.epoch, last.offset, any, nil
}

// each calls scan for every row, and closes rows.
func each(rows driver.Rows, scan func() error) error {
	var err error
	for err == nil && rows.Next() {
		err = scan()
	}
	return errors.Join(err, rows.Err(), rows.Close())
}

// LastFrom returns the last offset at or after from that the incarnation has a row
// for, or -1. Bounded so that the index on k_off spares it the table's past.
func (c *ClickHouse) LastFrom(ctx context.Context, k *schema.Kind, p block.Place, from int64) (int64, error) {
	last := int64(-1)
	for _, t := range tables(k) {
		var n, o uint64
		err := c.question(ctx, t, func(ctx context.Context, conn driver.Conn) error {
			return conn.QueryRow(ctx, "SELECT count(), max(k_off) FROM "+c.table(t)+
				" WHERE k_topic = ? AND k_epoch = ? AND k_part = ? AND k_off >= ?", p.Topic, p.Epoch, p.Partition, uint64(from)).Scan(&n, &o)
		})
		if err != nil {
			return 0, c.askError(t, err)
		}
		if n > 0 {
			last = max(last, int64(o))
		}
	}
	return last, nil
}

// Present calls yield with every offset in [from, to) that has a row, in its
// kind's table or in rejects, and the row's received_at in milliseconds. When it
// returns an error, yield may still be called: its results are void.
func (c *ClickHouse) Present(ctx context.Context, k *schema.Kind, p block.Place, from, to int64, yield func(offset, receivedMillis int64)) error {
	for _, t := range tables(k) {
		err := c.question(ctx, t, func(ctx context.Context, conn driver.Conn) error {
			rows, err := conn.Query(ctx, "SELECT k_off, toUnixTimestamp64Milli(received_at) FROM "+c.table(t)+
				" WHERE k_topic = ? AND k_epoch = ? AND k_part = ? AND k_off >= ? AND k_off < ?",
				p.Topic, p.Epoch, p.Partition, uint64(from), uint64(to))
			if err != nil {
				return err
			}
			var o uint64
			var ms int64
			return each(rows, func() error {
				err := rows.Scan(&o, &ms)
				if err == nil {
					yield(int64(o), ms)
				}
				return err
			})
		})
		if err != nil {
			return c.askError(t, err)
		}
	}
	return nil
}

func (c *ClickHouse) askError(k *schema.Kind, err error) error {
	return fmt.Errorf("cannot ask %s for its offsets: %w", c.table(k), err)
}

// Ping tells whether the server answers.
func (c *ClickHouse) Ping(ctx context.Context) error { return ask(ctx, c.conn.Ping) }

// Uptime is how long the server has been running.
func (c *ClickHouse) Uptime(ctx context.Context) (time.Duration, error) {
	var seconds uint32
	err := ask(ctx, func(ctx context.Context) error { return c.conn.QueryRow(ctx, "SELECT uptime()").Scan(&seconds) })
	if err != nil {
		return 0, fmt.Errorf("cannot ask ClickHouse for its uptime: %w", err)
	}
	return time.Duration(seconds) * time.Second, nil
}

// PresentEver is Present for every incarnation of the partition.
func (c *ClickHouse) PresentEver(ctx context.Context, k *schema.Kind, topic string, partition uint16, from, to int64, yield func(epoch uint16, offset, receivedMillis int64)) error {
	for _, t := range tables(k) {
		err := c.question(ctx, t, func(ctx context.Context, conn driver.Conn) error {
			rows, err := conn.Query(ctx, "SELECT k_epoch, k_off, toUnixTimestamp64Milli(received_at) FROM "+c.table(t)+
				" WHERE k_topic = ? AND k_part = ? AND k_off >= ? AND k_off < ?", topic, partition, uint64(from), uint64(to))
			if err != nil {
				return err
			}
			var epoch uint16
			var o uint64
			var ms int64
			return each(rows, func() error {
				err := rows.Scan(&epoch, &o, &ms)
				if err == nil {
					yield(epoch, int64(o), ms)
				}
				return err
			})
		})
		if err != nil {
			return c.askError(t, err)
		}
	}
	return nil
}

// Running tells whether the server is at an INSERT whose token begins so.
func (c *ClickHouse) Running(ctx context.Context, token string) (bool, error) {
	var n uint64
	err := ask(ctx, func(ctx context.Context) error {
		return c.conn.QueryRow(ctx, "SELECT count() FROM system.processes WHERE startsWith(Settings['insert_deduplication_token'], ?)", token).Scan(&n)
	})
	if err != nil {
		return false, fmt.Errorf("cannot ask ClickHouse which INSERTs it is at: %w", err)
	}
	return n > 0, nil
}
