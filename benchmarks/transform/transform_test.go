package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/internal/embedded"
)

func TestMain(m *testing.M) {
	embedded.RunChildIfAsked()
	os.Exit(m.Run())
}

// TestShortRun is the benchmark, too short to say anything about speed: that each way
// brings all rows, and that results and page are complete.
func TestShortRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := filepath.Join(dir, "millrace")
	if out, err := exec.Command("go", "build", "-o", program, "millrace").CombinedOutput(); err != nil {
		t.Fatalf("cannot build the program: %v\n%s", err, out)
	}
	page, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	o := options{
		rounds: 1, rows: 5000, distinct: 2000, storage: 2000, mail: 2000, rate: 1000, pipeline: 2 * time.Second,
		millrace: program, version: "test", results: filepath.Join(dir, "results"), page: filepath.Join(dir, "performance.md"), keep: true,
	}
	if err := os.WriteFile(o.page, page, 0o644); err != nil {
		t.Fatal(err)
	}
	var out, progress bytes.Buffer
	if err := run(t.Context(), o, &out, &progress); err != nil {
		t.Fatalf("%v\n%s%s", err, &out, &progress)
	}
	var r Report
	if b, err := os.ReadFile(filepath.Join(o.results, "transform-test.json")); err != nil {
		t.Fatal(err)
	} else if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		section, peer, name string
		metrics             []string
	}{
		{"transform", ours, caseNone, []string{mRows, mOwn, mServer, mAll, mRowsPerSec, mAllocs, mPeakRSS}},
		{"transform", ours, caseLZ4, []string{mRows, mOwn, mServer}},
		{"transform", engine, caseCSV, []string{mRows, mServer, mAll, mRowsPerSec}},
		{"transform", blocks, caseNone, []string{mRows, mServer}},
		{"transform", blocks, caseLZ4, []string{mRows, mServer}},
		{"memory", ours, casePartitions, []string{mPeakRSS}},
		{"storage", raw, "zstd -19", []string{mBytesPerRow}},
		{"storage", ours, caseFresh, []string{mBytesPerRow}},
		{"storage", ours, caseOld, []string{mBytesPerRow}},
		{"import", disk, caseLogs, []string{mBytesPerSec}},
		{"import", ours, caseLogs, []string{mBytesPerSec, mOwn, mServer}},
		{"import", whole, caseLogs, []string{mBytesPerSec, mPublished, mImports, mOwn, mServer}},
		{"pipeline", whole, r.pipelineCase(), []string{mEventsPerSec, mP50, mP99, mMax, mOwn, mServer, mServerRSS}},
	} {
		for _, metric := range want.metrics {
			if v, ok := r.Find(want.section, want.peer, want.name).Median(metric); !ok || v <= 0 {
				t.Errorf("%s, %s, %s has %s = %v, %v", want.section, want.peer, want.name, metric, v, ok)
			}
		}
	}
	if v, ok := r.Find("pipeline", whole, r.pipelineCase()).Median(mLost); !ok || v != 0 {
		t.Errorf("%v events are missing, %v", v, ok)
	}
	written, err := os.ReadFile(o.page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| Kafka engine |", "| goal |", "under zstd -19", "index i_id", "millrace up at"} {
		if !strings.Contains(string(written), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestAsCSV(t *testing.T) {
	t.Parallel()
	frame := `<14>Nov 27 00:00:00 mx1.test filter[1]: "a","b` + strings.Repeat(`","`, 15) + `last","say "hi""` + "\n"
	want := `"a","b` + strings.Repeat(`","`, 15) + `last","say ""hi"""` + "\n"
	if got := string(asCSV([]byte(frame))); got != want {
		t.Errorf("%q instead of %q", got, want)
	}
	if line := asCSV([]byte(`<14>"one","column"` + "\n")); line != nil {
		t.Errorf("two columns became %q", line)
	}
}
