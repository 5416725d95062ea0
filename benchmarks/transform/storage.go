package main

import (
	"context"
	"fmt"

	"millrace/benchmarks/frames"
	"millrace/benchmarks/report"
	"millrace/schema"
)

// storage measures what rows take on the disk, of frames none of which comes twice.
func (b *bench) storage(ctx context.Context) error {
	in, err := frames.New(b.o.storage)
	if err != nil {
		return err
	}
	b.report.Record(b.progress, "storage", raw, "as they came", report.Metrics{mBytesPerRow: in.MeanBytes()}, nil)
	if small, command, err := in.Zstd19(); err != nil {
		fmt.Fprintln(b.progress, err)
	} else {
		b.report.Record(b.progress, "storage", raw, command, report.Metrics{mBytesPerRow: small}, nil)
	}
	broker, err := b.newTopics(ctx, in, partitions, b.o.storage)
	if err != nil {
		return err
	}
	defer broker.Close()
	database, drop, err := b.server.database(ctx)
	if err != nil {
		return err
	}
	defer drop()
	if err := b.insertInto(ctx, broker, database, b.o.storage); err != nil {
		return err
	}
	table := database + "." + schema.Message.Table
	merge := func(name string) error {
		err := b.server.conn.Exec(ctx, "OPTIMIZE TABLE "+table+" FINAL")
		m := report.Metrics{}
		if err == nil {
			m[mBytesPerRow], err = b.perRow(ctx, "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = ?", database)
		}
		b.report.Record(b.progress, "storage", ours, name, m, err)
		return err
	}
	if err := merge(caseFresh); err != nil {
		return err
	}
	// What a week does, at once: the same codec by the same rule.
	if err := b.server.conn.Exec(ctx, "ALTER TABLE "+table+" MODIFY TTL toDateTime(received_at) + toIntervalSecond(1) RECOMPRESS CODEC(ZSTD(3)) SETTINGS materialize_ttl_after_modify = 1, mutations_sync = 2"); err != nil {
		return err
	}
	if err := merge(caseOld); err != nil {
		return err
	}
	return b.columns(ctx, database)
}

// perRow is a number of bytes by the rows of the measurement.
func (b *bench) perRow(ctx context.Context, query, database string) (float64, error) {
	var bytes uint64
	err := b.server.conn.QueryRow(ctx, query, database).Scan(&bytes)
	return float64(bytes) / float64(b.o.storage), err
}

// columns lists what each column and index takes, the largest first.
func (b *bench) columns(ctx context.Context, database string) error {
	rows, err := b.server.conn.Query(ctx, `
		SELECT name, bytes FROM (
			SELECT column AS name, sum(column_bytes_on_disk) AS bytes FROM system.parts_columns WHERE active AND database = $1 AND table = $2 GROUP BY name
			UNION ALL
			SELECT concat('`+indexName+`', name, ' (', type_full, ')') AS name, data_compressed_bytes + marks_bytes AS bytes FROM system.data_skipping_indices WHERE database = $1 AND table = $2
		) ORDER BY bytes DESC, name`, database, schema.Message.Table)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var bytes uint64
		if err := rows.Scan(&name, &bytes); err != nil {
			return err
		}
		b.report.Columns = append(b.report.Columns, Part{name, float64(bytes) / float64(b.o.storage)})
	}
	return rows.Err()
}
