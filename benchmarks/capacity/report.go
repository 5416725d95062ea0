package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/jedib0t/go-pretty/v6/table"

	"millrace/benchmarks/report"
	"millrace/internal/capacity"
)

// The metrics.
const (
	mSeconds   = "seconds"
	mPerSecond = "events_per_second"
	mOwn       = "own_cpu_seconds_per_million"
	mKafka     = "kafka_cpu_seconds_per_million"
	mServer    = "clickhouse_cpu_seconds_per_million" // merges included
	mCores     = "cores"                              // that the instances used
	mUsed      = "share_used"
	mLost      = "lost"
	mDoubled   = "doubled"
	mIn        = "into_kafka_per_second"
	mOut       = "into_clickhouse_per_second"
	mFreeIn    = "free_ingester_cpu_seconds_per_million"
	mFreeOut   = "free_transformer_cpu_seconds_per_million"
	mFrame     = "frame_bytes"
	mRecord    = "kafka_bytes"
	mRow       = "clickhouse_bytes"
	mOldRow    = "clickhouse_recompressed_bytes"
	// Of brokers and ClickHouse, without events.
	mKafkaCores  = "idle_kafka_cores"
	mServerCores = "idle_clickhouse_cores"
)

// Report is all that a run found.
type Report struct {
	report.Report
	Share       float64               `json:"share"` // of a core
	Quota       string                `json:"quota"` // how it was kept
	Measurement *capacity.Measurement `json:"measurement,omitempty"`
}

// median of a measurement that must be there.
func (r *Report) median(section, peer, name, metric string) float64 {
	v, _ := r.Find(section, peer, name).Median(metric)
	return v
}

// linearity is the rate of n beside n times that of one.
func (r *Report) linearity(section, peer string, n int) (float64, bool) {
	v, ok := r.Ratio(section, mPerSecond, peer, fmt.Sprint(n), peer, "1")
	return v / float64(n), ok
}

// plan makes the measurement that millrace capacity plans by.
func (r *Report) plan(source string) error {
	m := &capacity.Measurement{Source: source, Machine: fmt.Sprintf("%s, %d cores for everything, %.0f GiB", r.Machine.CPU, r.Machine.Cores, r.Machine.Memory)}
	m.CPU.Ingester = r.median("ingest", "ingesters", "1", mOwn)
	m.CPU.Transformer = r.median("transform", "transformers", "1", mOwn)
	// The brokers' of the largest load: of a small one it is lost in what they use without any.
	most := fmt.Sprint(instances)
	m.CPU.Kafka = r.median("ingest", "ingesters", most, mKafka) + r.median("transform", "transformers", most, mKafka)
	m.CPU.ClickHouse = r.median("bytes", "one partition", "", mServer) // of blocks as the defaults make them
	m.Bytes.Frame = r.median("bytes", "storage", "", mFrame)
	m.Bytes.Kafka = r.median("bytes", "storage", "", mRecord)
	m.Bytes.ClickHouse = r.median("bytes", "storage", "", mRow)
	m.Bytes.Recompressed = r.median("bytes", "storage", "", mOldRow)
	m.Partition = r.median("bytes", "one partition", "", mPerSecond)
	m.Linearity.Ingester, _ = r.linearity("ingest", "ingesters", instances)
	m.Linearity.Transformer, _ = r.linearity("transform", "transformers", instances)
	r.Measurement = m
	return m.Check()
}

// embed writes the measurement as the one that the program comes with.
func (r *Report) embed(file string) error {
	b, err := json.MarshalIndent(map[string]any{"measurement": r.Measurement}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

func (r *Report) sheets() []*report.Sheet {
	share := fmt.Sprintf(", each held to %s of a core", report.Number(r.Share))
	in := &report.Sheet{Title: "TCP to Kafka: ingesters" + share, Numbers: 0,
		Header: table.Row{"ingesters", "events/s", "of one's", "linearity", "lost", "own CPU-s per million", "of their share used", "brokers' CPU-s per million", "void"}}
	out := &report.Sheet{Title: "Kafka to ClickHouse: transformers" + share, Numbers: 0,
		Header: table.Row{"transformers", "events/s", "of one's", "linearity", "lost", "doubled", "own CPU-s per million", "of their share used", "brokers' CPU-s per million", "ClickHouse's CPU-s per million", "void"}}
	for n := 1; n <= instances; n++ {
		if x := r.Find("ingest", "ingesters", fmt.Sprint(n)); x != nil {
			of, linear := r.linearities("ingest", "ingesters", n)
			in.Add(n, x.Cell(mPerSecond), of, linear, x.Cell(mLost), x.Cell(mOwn), x.Cell(mUsed), x.Cell(mKafka), len(x.Void))
		}
		if x := r.Find("transform", "transformers", fmt.Sprint(n)); x != nil {
			of, linear := r.linearities("transform", "transformers", n)
			out.Add(n, x.Cell(mPerSecond), of, linear, x.Cell(mLost), x.Cell(mDoubled), x.Cell(mOwn), x.Cell(mUsed), x.Cell(mKafka), x.Cell(mServer), len(x.Void))
		}
	}
	one := &report.Sheet{Title: "One partition, and instances that may have both cores", Header: table.Row{"way", "events/s", "own CPU-s per million", "ClickHouse's CPU-s per million"}, Numbers: 1}
	if x := r.Find("bytes", "one partition", ""); x != nil {
		one.Add("one ingester to Kafka", x.Cell(mIn), x.Cell(mFreeIn), "")
		one.Add("Kafka to ClickHouse by one transformer", x.Cell(mOut), x.Cell(mFreeOut), x.Cell(mServer))
	}
	size := &report.Sheet{Title: "Bytes of a message event, one copy", Header: table.Row{"as", "bytes"}, Numbers: 1}
	if x := r.Find("bytes", "storage", ""); x != nil {
		size.Add("frame", x.Cell(mFrame))
		size.Add("in Kafka, snappy", x.Cell(mRecord))
		size.Add("in ClickHouse, merged, indexes included", x.Cell(mRow))
		size.Add("the same, recompressed", x.Cell(mOldRow))
	}
	return report.Filled([]*report.Sheet{in, out, one, size})
}

func (r *Report) linearities(section, peer string, n int) (of, linear string) {
	ratio, ok := r.Ratio(section, mPerSecond, peer, fmt.Sprint(n), peer, "1")
	l, _ := r.linearity(section, peer, n)
	return report.RatioCell(ratio, ok), report.Number(l)
}

func (r *Report) notes() []string {
	return append(r.CommonNotes("programs, brokers, ClickHouse and load generator",
		fmt.Sprintf("Frames: %s different ones, %.0f bytes on average with their line end, template m1 (18 columns) behind an RFC 3164 header.", report.Number(float64(r.Input.Frames)), r.Input.MeanBytes)),
		fmt.Sprintf("Each ingester and each transformer was held to %s of a core by %s. Figures are medians of %d rounds of %s s; CPU is user and kernel, ClickHouse's with the merges.",
			report.Number(r.Share), r.Quota, r.Rounds, report.Number(r.Seconds)),
		fmt.Sprintf("Without events the brokers used %s cores and ClickHouse %s; that is taken off.",
			report.Number(r.median("bytes", "nothing to do", "", mKafkaCores)), report.Number(r.median("bytes", "nothing to do", "", mServerCores))))
}
