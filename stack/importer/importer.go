package importer

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"millrace/ingester"
	"millrace/schema"
)

// Options say what is imported, and where ClickHouse is.
type Options struct {
	ingester.ImportOptions
	ClickHouse []*clickhouse.Options // of each shard
	Database   string
}

// Run imports. progress is called now and then, and at the end.
func Run(ctx context.Context, o Options, progress func(*ingester.Imported)) error {
	var conns []driver.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for _, options := range o.ClickHouse {
		conn, err := clickhouse.Open(options)
		if err != nil {
			return fmt.Errorf("cannot use the ClickHouse options: %w", err)
		}
		conns = append(conns, conn)
	}
	o.Stored = func(ctx context.Context, source string) (all []int64, err error) {
		for _, conn := range conns {
			for _, k := range schema.Kinds() {
				if all, err = stored(ctx, conn, o.Database, k, source, all); err != nil {
					return nil, err
				}
			}
		}
		return all, nil
	}
	return ingester.Import(ctx, o.ImportOptions, progress)
}

// UNKNOWN_TABLE, UNKNOWN_DATABASE and UNKNOWN_IDENTIFIER of ClickHouse.
const (
	unknownTable      = 60
	unknownDatabase   = 81
	unknownIdentifier = 47
)

// stored appends the offsets of a source's lines of which the table has events.
func stored(ctx context.Context, conn driver.Conn, database string, k *schema.Kind, source string, to []int64) ([]int64, error) {
	sql := fmt.Sprintf("SELECT source_offset FROM %s.%s WHERE source = {source:String}", schema.QuoteName(database), schema.QuoteName(k.Table))
	rows, err := conn.Query(clickhouse.Context(ctx, clickhouse.WithParameters(clickhouse.Parameters{"source": source})), sql)
	if err != nil {
		return nil, explain(k, err)
	}
	defer rows.Close()
	for rows.Next() {
		var offset uint64
		if err := rows.Scan(&offset); err != nil {
			return nil, explain(k, err)
		}
		to = append(to, int64(offset))
	}
	if err := rows.Err(); err != nil {
		return nil, explain(k, err)
	}
	return to, nil
}

func explain(k *schema.Kind, err error) error {
	const what = "cannot ask ClickHouse what is imported already"
	var refused *clickhouse.Exception
	switch {
	case errors.As(err, &refused) && (refused.Code == unknownTable || refused.Code == unknownDatabase || refused.Code == unknownIdentifier):
		return fmt.Errorf("%s: table %s is missing, or of an older version; millrace schema apply makes it", what, k.Table)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%s: %w; millrace up serves it at clickhouse.addresses, another place is --server HOST:PORT", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
