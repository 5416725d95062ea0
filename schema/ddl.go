package schema

import (
	"fmt"
	"strings"
	"time"
)

// Layout is where and how a kind's table is made. The zero value is a
// MergeTree table of one server in the database `millrace`.
type Layout struct {
	Database  string // "" is millrace
	OnCluster string // "" is none; else the cluster's name
	Engine    string // "" is MergeTree
}

// Retention is how long rows are kept, counted from the end of the week of
// received_at: an import of old logs lives from its import. A sender's clock keeps nothing alive and
// deletes nothing.
type Retention struct {
	Events time.Duration
	Raw    time.Duration // the column raw, which most of the bytes are in

	Rollups time.Duration // what was counted by the hour, from that hour on
}

// DefaultRetention is 400 days, raw frames 30 days, rollups five years.
var DefaultRetention = Retention{Events: 400 * 24 * time.Hour, Raw: 30 * 24 * time.Hour, Rollups: 1825 * 24 * time.Hour}

func (l Layout) table(k *Kind) string { return l.name(k.Table) }

func (l Layout) name(table string) string {
	db := l.Database
	if db == "" {
		db = "millrace"
	}
	return fmt.Sprintf("%s.%s", QuoteName(db), QuoteName(table))
}

// QuoteName quotes an identifier for SQL.
func QuoteName(name string) string {
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(name) + "`"
}

// CreateTable is the statement that makes the kind's table. Retention is not in
// it but in ModifyTTL, because it changes with the configuration.
//
// The key is domain first: one domain's year of 20 million rows reads 13 of
// 2,470 granules, where an hour-first key reads them all. Columns have no codec
// of their own unless a delta pays, so that the TTL's recompression reaches them.
func (k *Kind) CreateTable(l Layout) string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE IF NOT EXISTS %s%s\n(\n", l.table(k), l.onCluster())
	for _, f := range k.Fields {
		b.WriteString("    " + f.Column() + ",\n")
	}
	for i, x := range k.Indexes {
		fmt.Fprintf(&b, "    INDEX %s %s TYPE %s", x.Name, x.Expression, x.Type)
		if i < len(k.Indexes)-1 {
			b.WriteString(",")
		}
		b.WriteString("\n")
	}
	engine := l.Engine
	if engine == "" {
		engine = "MergeTree"
	}
	fmt.Fprintf(&b, ")\nENGINE = %s\nPARTITION BY toMonday(received_at)\nORDER BY (%s)\nSETTINGS %s", engine, k.OrderBy, settingsText())
	return b.String()
}

func (l Layout) onCluster() string {
	if l.OnCluster == "" {
		return ""
	}
	return " ON CLUSTER " + QuoteName(l.OnCluster)
}

// Column is the field's line in CREATE TABLE.
func (f *Field) Column() string {
	line := f.Name + " " + f.Type.ClickHouse()
	if f.Codec != "" {
		line += " CODEC(" + f.Codec + ")"
	}
	return line
}

// Setting is a table setting that the pipeline's promises rest on.
type Setting struct{ Name, Value string }

// Settings are those of every table: the last 10,000 blocks are known by token, of one
// that has copies the last 20,000 of a day, so that an insert can be repeated; an
// acknowledged insert is on the disk.
var Settings = []Setting{
	{"non_replicated_deduplication_window", "10000"},
	{"fsync_after_insert", "1"},
	{"fsync_part_directory", "1"},
	{"replicated_deduplication_window", "20000"},
	{"replicated_deduplication_window_seconds", "86400"},
}

func settingsText() string {
	parts := make([]string, len(Settings))
	for i, s := range Settings {
		parts[i] = s.Name + " = " + s.Value
	}
	return strings.Join(parts, ", ")
}

// weekEnd is the end of the week, and so of the partition, that a row is in. With
// it in every TTL all rows of a part expire together: one rewrite takes raw away,
// and a part is dropped whole. A TTL on the row's own time would rewrite a part
// again and again while its rows expire one by one (measured on ClickHouse 26.7;
// ttl_only_drop_parts is no help, it keeps a column's TTL from running at all).
const weekEnd = "toDateTime(toMonday(received_at)) + toIntervalDay(7)"

// TTL is the table's TTL expression: recompressed a week after the row's week is
// over, deleted when the retention is.
func (k *Kind) TTL(r Retention) string {
	return fmt.Sprintf("%s + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), %s + toIntervalSecond(%d)",
		weekEnd, weekEnd, int64(r.Events/time.Second))
}

// RawTTL is the TTL expression of the column raw.
func (k *Kind) RawTTL(r Retention) string {
	return fmt.Sprintf("%s + toIntervalSecond(%d)", weekEnd, int64(r.Raw/time.Second))
}

// ModifyTTL are the statements that set the table's retention.
func (k *Kind) ModifyTTL(l Layout, r Retention) []string {
	raw := &k.Fields[Raw]
	return []string{
		fmt.Sprintf("ALTER TABLE %s%s MODIFY TTL %s", l.table(k), l.onCluster(), k.TTL(r)),
		fmt.Sprintf("ALTER TABLE %s%s MODIFY COLUMN %s %s TTL %s", l.table(k), l.onCluster(), raw.Name, raw.Type.ClickHouse(), k.RawTTL(r)),
	}
}
