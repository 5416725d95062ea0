package main

import (
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"millrace/benchmarks/report"
)

// The metrics.
const (
	mRows         = "rows"
	mSeconds      = "seconds"
	mRowsPerSec   = "rows_per_second"
	mOwn          = "own_cpu_seconds_per_million"
	mServer       = "clickhouse_cpu_seconds_per_million" // to the last row
	mMerges       = "merges_cpu_seconds_per_million"     // of ClickHouse's, after it
	mAll          = "all_cpu_seconds_per_million"
	mAllocs       = "allocations_per_row"
	mInserted     = "rows_per_insert"
	mPeakRSS      = "rss_peak_mib"
	mServerRSS    = "clickhouse_rss_peak_mib"
	mBytesPerRow  = "bytes_per_row"
	mBytesPerSec  = "bytes_per_second"
	mPublished    = "seconds_to_kafka"
	mImports      = "imports_cpu_seconds_per_million"
	mEventsPerSec = "events_per_second"
	mLost         = "missing"
	mP50          = "p50_s"
	mP99          = "p99_s"
	mMax          = "max_s"
)

// Who takes part, and in which case.
const (
	ours    = "millrace"
	engine  = "Kafka engine"
	blocks  = "ready-made blocks"
	whole   = "millrace up"
	raw     = "raw frames"
	disk    = "the disk"
	caseLZ4 = "lz4"

	caseNone       = "no compression"
	caseCSV        = "CSV, one consumer"
	casePartitions = "64 partitions, no compression"
	caseFresh      = "as inserted and merged"
	caseOld        = "recompressed"
	caseLogs       = "a host's logs"
)

// Report is all that a run found.
type Report struct {
	report.Report
	Columns []Part `json:"columns"` // of a recompressed row
}

// Part is what a column or an index takes of a row.
type Part struct {
	Name  string  `json:"name"`
	Bytes float64 `json:"bytes"` // per row
}

func (r *Report) setGoals() {
	atMost := func(name string, limit float64, unit, section, peer, c, metric string) {
		v, ok := r.Find(section, peer, c).Median(metric)
		r.AtMost(name, limit, unit, v, ok)
	}
	atMost("transformer, no compression", 0.6, "CPU-s per million rows", "transform", ours, caseNone, mOwn)
	atMost("transformer, lz4", 1.1, "CPU-s per million rows", "transform", ours, caseLZ4, mOwn)
	atMost("allocations, no compression", 0.01, "per row", "transform", ours, caseNone, mAllocs)
	v, ok := r.Ratio("transform", mAll, ours, caseNone, engine, caseCSV)
	r.AtMost("Kafka to MergeTree in all, CPU beside the Kafka engine's", 1.0/3, "of it", v, ok)
	v, ok = r.Ratio("transform", mRowsPerSec, ours, caseNone, engine, caseCSV)
	r.AtLeast("rows/s beside the Kafka engine's", 3, "times as many", v, ok)
	v, ok = r.Ratio("transform", mServer, ours, caseNone, blocks, caseNone)
	r.AtMost("ClickHouse's CPU beside that for ready-made blocks", 1.1, "of it", v, ok)
	atMost("memory at full rate, 64 partitions", 400, "MiB", "memory", ours, casePartitions, mPeakRSS)
	v, ok = r.importRatio()
	r.AtLeast("import of logs into millrace up, beside the slower of disk and transformer", 0.8, "of it", v, ok)
	v, ok = r.Find("pipeline", whole, r.pipelineCase()).Median(mEventsPerSec)
	r.AtLeast("millrace up, sustained", 250_000, "events/s", v, ok)
	atMost("millrace up, socket to queryable, p99", 3, "s", "pipeline", whole, r.pipelineCase(), mP99)
	atMost("disk, a message event, recompressed, with indexes", 60, "bytes", "storage", ours, caseOld, mBytesPerRow)
	v, ok = r.Ratio("storage", mBytesPerRow, ours, caseOld, raw, "zstd -19")
	r.AtMost("disk, beside zstd -19 of the raw frames", 2.0/3, "of it", v, ok)
}

// pipelineCase is the load that was measured.
func (r *Report) pipelineCase() string {
	if all := r.Section("pipeline"); len(all) > 0 {
		return all[0].Case
	}
	return ""
}

func (r *Report) sheets() []*report.Sheet {
	all := []*report.Sheet{r.GoalSheet(), r.transformSheet(), r.memorySheet(), r.pipelineSheet(), r.importSheet(), r.storageSheet(), r.columnSheet()}
	for i := range r.Profiles {
		all = append(all, r.Profiles[i].Sheet())
	}
	return report.Filled(all)
}

func (r *Report) transformSheet() *report.Sheet {
	s := &report.Sheet{
		Title: "A topic's records to rows: CPU-s per million rows",
		Header: table.Row{"program", "case", "own", "ClickHouse, to the last row", "merges after it", "in all", "in all, of the Kafka engine's", "rows/s", "rows/s, of the Kafka engine's", "rows an insert",
			"allocations a row", "void"},
		Numbers: 2,
	}
	for _, x := range r.Section("transform") {
		all, okAll := r.Ratio("transform", mAll, x.Peer, x.Case, engine, caseCSV)
		rate, okRate := r.Ratio("transform", mRowsPerSec, x.Peer, x.Case, engine, caseCSV)
		s.Add(x.Peer, x.Case, x.Cell(mOwn), x.Cell(mServer), x.Cell(mMerges), x.Cell(mAll), report.RatioCell(all, okAll), x.Cell(mRowsPerSec), report.RatioCell(rate, okRate), x.Cell(mInserted),
			x.Cell(mAllocs), len(x.Void))
	}
	return s
}

func (r *Report) memorySheet() *report.Sheet {
	s := &report.Sheet{Title: "Resident memory at full rate, MiB", Header: table.Row{"program", "case", "highest", "ClickHouse's highest", "void"}, Numbers: 2}
	for _, section := range []string{"transform", "memory"} {
		for _, x := range r.Section(section) {
			if x.Peer == ours {
				s.Add(x.Peer, x.Case, x.Cell(mPeakRSS), x.Cell(mServerRSS), len(x.Void))
			}
		}
	}
	return s
}

func (r *Report) pipelineSheet() *report.Sheet {
	s := &report.Sheet{
		Title:   "The whole: millrace up on these cores, TCP socket to a row that a query finds",
		Header:  table.Row{"sent", "events/s taken", "missing", "p50, s", "p99, s", "longest, s", "own CPU-s per million", "ClickHouse's", "highest RSS, MiB", "ClickHouse's", "void"},
		Numbers: 1,
	}
	for _, x := range r.Section("pipeline") {
		s.Add(x.Case, x.Cell(mEventsPerSec), x.Cell(mLost), x.Cell(mP50), x.Cell(mP99), x.Cell(mMax), x.Cell(mOwn), x.Cell(mServer), x.Cell(mPeakRSS), x.Cell(mServerRSS), len(x.Void))
	}
	return s
}

// importRatio is the import's rate beside that of what could be slower.
func (r *Report) importRatio() (ratio float64, ok bool) {
	beside := func(peer string) (float64, bool) {
		return r.Ratio("import", mBytesPerSec, whole, caseLogs, peer, caseLogs)
	}
	disk, okDisk := beside(disk)
	transformer, okTransformer := beside(ours)
	return max(disk, transformer), okDisk && okTransformer
}

func (r *Report) importSheet() *report.Sheet {
	s := &report.Sheet{
		Title:  "A mail host's logs, imported into millrace up on these cores, to the last row; beside reading them, and the transformer alone with the same events in Kafka: CPU-s per million events",
		Header: table.Row{"what", "seconds", "of them to Kafka", "MB/s", "beside the import", "events", "events/s", "imports", "transformer, or up", "ClickHouse", "void"}, Numbers: 1,
	}
	for _, x := range r.Section("import") {
		ratio, ok := r.Ratio("import", mBytesPerSec, x.Peer, x.Case, whole, caseLogs)
		rate := "-"
		if v, ok := x.Median(mBytesPerSec); ok {
			rate = fmt.Sprintf("%.1f", v/1e6)
		}
		s.Add(x.Peer, x.Cell(mSeconds), x.Cell(mPublished), rate, report.RatioCell(ratio, ok), x.Cell(mRows), x.Cell(mRowsPerSec), x.Cell(mImports), x.Cell(mOwn), x.Cell(mServer), len(x.Void))
	}
	return s
}

func (r *Report) storageSheet() *report.Sheet {
	s := &report.Sheet{Title: "On the disk: bytes for a message event", Header: table.Row{"what", "as", "bytes", "of zstd -19", "void"}, Numbers: 2}
	for _, x := range r.Section("storage") {
		ratio, ok := r.Ratio("storage", mBytesPerRow, x.Peer, x.Case, raw, "zstd -19")
		s.Add(x.Peer, x.Case, x.Cell(mBytesPerRow), report.RatioCell(ratio, ok), len(x.Void))
	}
	return s
}

// indexName begins the names of the parts that are indexes.
const indexName = "index "

func (r *Report) columnSheet() *report.Sheet {
	s := &report.Sheet{Title: "What of a recompressed row takes most, and each index", Header: table.Row{"column or index", "bytes a row"}, Numbers: 1}
	for _, c := range r.Columns {
		if c.Bytes >= 0.5 || strings.HasPrefix(c.Name, indexName) {
			s.Add(c.Name, fmt.Sprintf("%.2f", c.Bytes))
		}
	}
	return s
}

func (r *Report) notes() []string {
	return append(r.CommonNotes("program, ClickHouse and broker", r.Input.String()),
		fmt.Sprintf("Figures are medians of %d rounds, in which the programs took turns; a program's CPU is its own, user and kernel.", r.Rounds))
}
