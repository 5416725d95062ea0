package audit

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace/internal/embedded/embeddedtest"
	"millrace/schema"
)

// BenchmarkScan reads a table of MILLRACE_AUDIT_ROWS rows (a million without), which
// has only the columns that the audit reads, in weeks of 20 million and in an order
// that has nothing to do with the offsets, as a table's own key has.
func BenchmarkScan(b *testing.B) {
	rows := 1_000_000
	if text := os.Getenv("MILLRACE_AUDIT_ROWS"); text != "" {
		var err error
		if rows, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	const inWeek, partitions = 20_000_000, 6
	ctx := context.Background()
	database := embeddedtest.Database(b)
	conn := embeddedtest.Connect(b, database)
	exec := func(sql string) {
		if err := conn.Exec(ctx, sql); err != nil {
			b.Fatalf("%s: %v", sql, err)
		}
	}
	for _, k := range schema.Kinds() {
		exec("CREATE TABLE " + k.Table + ` (key UInt64, received_at DateTime64(3, 'UTC') CODEC(Delta, Default), k_topic LowCardinality(String),
			k_epoch UInt16, k_part UInt16, k_off UInt64 CODEC(Delta, Default), revision UInt8) ENGINE = MergeTree PARTITION BY toMonday(received_at) ORDER BY key`)
	}
	const step = 5_000_000
	for from := 0; from < rows; from += step {
		exec(fmt.Sprintf(`INSERT INTO message_events SELECT cityHash64(number), toDateTime64('2026-01-05 00:00:00', 3, 'UTC') + intDiv(number, %d) * 604800 + (number %% %d) / %d,
			'message', 1, number %% %d, intDiv(number, %d), 0 FROM numbers(%d, %d)`, inWeek, inWeek, inWeek/600_000, partitions, partitions, from, min(step, rows-from)))
	}
	t := &tables{conn, database}
	weeks, err := t.weeks(ctx, time.Time{})
	if err != nil {
		b.Fatal(err)
	}
	busy := childSeconds(b)
	for b.Loop() {
		all := map[place]*held{}
		for _, w := range weeks {
			if _, err := t.scan(ctx, w, time.Time{}, all); err != nil {
				b.Fatal(err)
			}
		}
		union, again := join(all[place{"message", 1, 0}].ranges)
		if len(all) != partitions || len(union) != 1 || len(again) != 0 {
			b.Fatalf("%d places, %v twice %v", len(all), union, again)
		}
	}
	perBillion := 1e9 / float64(rows) / float64(b.N)
	b.ReportMetric(b.Elapsed().Seconds()*perBillion, "s/billion")
	b.ReportMetric((childSeconds(b)-busy)*perBillion, "CPU-s/billion") // says more on a machine that others use too
	b.ReportMetric(float64(rows), "rows")
}

// childSeconds is the CPU time of the child processes: of ClickHouse.
func childSeconds(b *testing.B) float64 {
	b.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		b.Fatal(err)
	}
	ticks := 0
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, pid := range strings.Fields(string(text)) {
			stat, err := os.ReadFile("/proc/" + pid + "/stat")
			if err != nil {
				b.Fatal(err)
			}
			_, after, _ := strings.Cut(string(stat), ") ")
			for _, field := range strings.Fields(after)[11:13] { // utime, stime
				n, err := strconv.Atoi(field)
				if err != nil {
					b.Fatal(err)
				}
				ticks += n
			}
		}
	}
	return float64(ticks) / 100
}
