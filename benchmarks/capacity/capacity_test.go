package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace/benchmarks/report"
	"millrace/internal/capacity"
)

// found is a report of a run that measured round figures: n ingesters do n times what one
// does, and three transformers as much as two.
func found() *Report {
	r := &Report{Share: 0.05, Quota: "a test", Report: report.Report{Version: "test", Input: report.InputNote{MeanBytes: 400}}}
	add := func(section, peer, name string, m report.Metrics) { r.Record(io.Discard, section, peer, name, m, nil) }
	add("bytes", "storage", "", report.Metrics{mFrame: 400, mRecord: 180, mRow: 150, mOldRow: 80})
	add("bytes", "nothing to do", "", report.Metrics{mKafkaCores: 0.125, mServerCores: 0.03})
	add("bytes", "one partition", "", report.Metrics{mPerSecond: 50_000, mIn: 50_000, mOut: 100_000, mFreeIn: 1.5, mFreeOut: 1, mServer: 5})
	for n := 1; n <= instances; n++ {
		add("ingest", "ingesters", fmt.Sprint(n), report.Metrics{mPerSecond: 20_000 * float64(n), mOwn: 2.5, mKafka: 3, mUsed: 1, mLost: 0})
		add("transform", "transformers", fmt.Sprint(n), report.Metrics{mPerSecond: 40_000 * float64(min(n, 2)), mOwn: 1.25, mKafka: 1, mServer: 20, mUsed: 1, mLost: 0, mDoubled: 0})
	}
	return r
}

// What is written is what millrace capacity reads, as results and as its own.
func TestReport(t *testing.T) {
	t.Parallel()
	r, dir := found(), t.TempDir()
	page, own := filepath.Join(dir, "page.md"), filepath.Join(dir, "measured.json")
	begin, end := report.Marks("bench-capacity")
	if err := os.WriteFile(page, []byte("before\n"+begin+"\n"+end+"\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.plan("a test"); err != nil {
		t.Fatal(err)
	}
	if err := r.Keep(dir, page, "capacity", r, r.notes(), r.sheets(), "", ""); err != nil {
		t.Fatal(err)
	}
	if err := r.embed(own); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{filepath.Join(dir, "capacity-test.json"), own} {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		m, err := capacity.Read(f)
		if err != nil {
			t.Fatal(err)
		}
		if m.CPU.Ingester != 2.5 || m.CPU.Kafka != 4 || m.CPU.Transformer != 1.25 || m.CPU.ClickHouse != 5 || m.Partition != 50_000 ||
			m.Bytes.Frame != 400 || m.Bytes.Kafka != 180 || m.Bytes.ClickHouse != 150 || m.Bytes.Recompressed != 80 ||
			m.Linearity.Ingester != 1 || math.Abs(m.Linearity.Transformer-2.0/3) > 1e-9 {
			t.Errorf("%s: %+v", file, m)
		}
	}
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| 3 | 60,000 | 3.00x | 1 | 0 |", "| 3 | 80,000 | 2.00x | 0.67 | 0 | 0 |", "held to 0.05 of a core by a test", "0.12 cores and ClickHouse 0.03"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the page has no %q:\n%s", want, b)
		}
	}
}

// Without one of the measurements nothing is planned by.
func TestReport_Failure(t *testing.T) {
	t.Parallel()
	r := found()
	r.Results = r.Results[1:]
	if err := r.plan("a test"); err == nil || !strings.Contains(err.Error(), "bytes_per_event.frame is 0") {
		t.Error(err)
	}
}

// A failure of kafkatest is an error of the run, and what was started is ended all the same.
func TestHost(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	h := &host{log: &log}
	order := ""
	run := func() (err error) {
		defer guard(&err)
		h.Cleanup(func() { order += "a" })
		h.Cleanup(func() { order += "b" })
		h.Logf("%d nodes", 3)
		h.Fatal(errors.New("cannot start"))
		return nil
	}
	if err := run(); err == nil || err.Error() != "cannot start" {
		t.Error(err)
	}
	h.close()
	if order != "ba" || !h.Failed() || log.String() != "3 nodes\n" {
		t.Errorf("cleanups %q, failed %v, log %q", order, h.Failed(), log.String())
	}
}
