package insert

import (
	"context"
	"errors"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"millrace/schema"
)

// errOtherReplica: an answer is of no use, as its server may be behind.
var errOtherReplica = errors.New("the connection went to another replica meanwhile")

// question asks for the rows of a table. Of one that has copies a replica answers that
// has all that any of them has acknowledged: one that is behind would call rows missing
// that are there, and have them inserted again. While such a replica cannot catch up,
// because the one that it is to fetch from is away, there is no answer.
func (c *ClickHouse) question(ctx context.Context, t *schema.Kind, f func(context.Context, driver.Conn) error) error {
	copies, err := c.hasCopies(ctx, t)
	if err != nil {
		return err
	}
	return ask(ctx, func(ctx context.Context) error {
		if !copies {
			return f(ctx, c.conn)
		}
		l, err := c.lanes.take() // a pool of one connection, so of one server at a time
		if err != nil {
			return err
		}
		defer c.lanes.put(l)
		var before, after string
		const identity = "SELECT toString(serverUUID())"
		if err := l.conn.QueryRow(ctx, identity).Scan(&before); err != nil {
			return err
		}
		if err := l.conn.Exec(ctx, "SYSTEM SYNC REPLICA "+c.table(t)+" LIGHTWEIGHT"); err != nil {
			return fmt.Errorf("cannot let the replica catch up: %w", err)
		}
		if err := f(ctx, l.conn); err != nil {
			return err
		}
		if err := l.conn.QueryRow(ctx, identity).Scan(&after); err != nil {
			return err
		}
		if before != after {
			return errOtherReplica
		}
		return nil
	})
}

// hasCopies asks once for each table.
func (c *ClickHouse) hasCopies(ctx context.Context, t *schema.Kind) (bool, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if copies, known := c.copies[t.Table]; known {
		return copies, nil
	}
	d, found, err := c.describe(ctx, name{c.database, t.Table})
	if err != nil || !found { // the question itself tells that
		return false, err
	}
	c.copies[t.Table] = replicated(d.engine)
	return c.copies[t.Table], nil
}
