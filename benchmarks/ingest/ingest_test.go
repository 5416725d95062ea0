package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/benchmarks/report"
)

// TestShortRun is the benchmark, too short to say anything about speed: that each
// program delivers all that it was sent, and that results and page are complete.
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
		rounds: 1, seconds: 0.2, away: time.Second, idle: 200, frames: 2000, only: "tcp,udp,latency,memory",
		millrace: program, tools: "../../.tools/debian", version: "test",
		results: filepath.Join(dir, "results"), page: filepath.Join(dir, "performance.md"), keep: true,
	}
	if err := os.WriteFile(o.page, page, 0o644); err != nil {
		t.Fatal(err)
	}
	var out, progress bytes.Buffer
	if err := run(o, &out, &progress); err != nil {
		t.Fatalf("%v\n%s%s", err, &out, &progress)
	}

	var r Report
	if b, err := os.ReadFile(filepath.Join(o.results, "ingest-test.json")); err != nil {
		t.Fatal(err)
	} else if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Peers {
		if p.Absent != "" || p.Version == "" {
			t.Errorf("%s took no part: %q", p.Name, p.Absent)
		}
	}
	delivered := func(section, name string, metrics []string, peers ...string) {
		t.Helper()
		for _, peer := range peers {
			for _, metric := range metrics {
				if v, ok := r.Find(section, peer, name).Median(metric); !ok || v <= 0 {
					t.Errorf("%s, %s, %s has %s = %v, %v", section, peer, name, metric, v, ok)
				}
			}
		}
	}
	whole := []string{mFrames, mCPUPerM, mFramesPerSec, mPeakRSS}
	delivered("tcp", caseSnappy, whole, ours, rsyslog)
	delivered("tcp", caseLZ4, whole, rsyslog, syslogng)
	delivered("tcp", caseNone, whole, ours, rsyslog, syslogng)
	delivered("udp", caseRate, []string{mFramesPerSec, mCPUPerM, mReceiveBuffer, mSockets}, ours, rsyslog, syslogng)
	delivered("latency", caseBusy, []string{mP50, mP99, mP999, mMax}, ours, rsyslog, syslogng)
	delivered("latency", caseQuiet, []string{mP50, mMax}, ours)
	delivered("memory", caseFull, []string{mPeakRSS}, ours, rsyslog, syslogng)
	delivered("memory", "200"+idleConnections, []string{mRSS}, ours, rsyslog, syslogng)
	delivered("memory", caseAway, []string{mPeakRSS, mRSS, mRSSLater}, ours)
	for _, x := range r.Results {
		if x.Section == "udp" && x.Rounds[0][mLost] != 0 {
			t.Errorf("%s is said to lose nothing, and loses %v", x.Peer, x.Rounds[0])
		}
	}

	for _, s := range r.sheets() {
		if !strings.Contains(out.String(), s.Title) {
			t.Errorf("the output has no table %q", s.Title)
		}
	}
	if n := strings.Count(string(readFile(t, filepath.Join(o.results, "ingest-test.csv"))), "\n"); n < 100 {
		t.Errorf("the CSV has %d lines", n)
	}
	for d := xml.NewDecoder(bytes.NewReader(readFile(t, filepath.Join(o.results, "ingest-test.svg")))); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the plot is no XML: %v", err)
		}
	}
	written := string(readFile(t, o.page))
	begin, end := report.Marks("bench-ingest")
	before, _, _ := strings.Cut(string(page), begin)
	_, after, _ := strings.Cut(string(page), end)
	if !strings.HasPrefix(written, before+begin) || !strings.HasSuffix(written, end+after) {
		t.Error("what stands around the tables of the page has changed")
	}
	for _, want := range []string{"| rsyslog |", "| syslog-ng |", "| goal |", "under zstd -19", "(results/ingest-test.svg)"} {
		if !strings.Contains(written, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestAbsentPeer: a program that is not installed is named, and the rest is measured.
func TestAbsentPeer(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	peers := findPeers("", t.TempDir())
	for _, p := range peers {
		if p.name != ours && !strings.Contains(p.absent, "make debian") {
			t.Errorf("%s is absent, and the reason given is %q", p.name, p.absent)
		}
	}
	r := Report{report.Report{Peers: []report.Peer{{Name: rsyslog, Absent: peers[1].absent}}}}
	r.Result("tcp", ours, caseSnappy).Rounds = []report.Metrics{{mCPUPerM: 0.8, mFramesPerSec: 1e6}}
	r.setGoals()
	if text := report.Text(r.notes(), r.sheets()); !strings.Contains(text, "rsyslog took no part: not installed") || !strings.Contains(text, "not measured") {
		t.Errorf("the report is\n%s", text)
	}
}

func TestGoals(t *testing.T) {
	t.Parallel()
	r := Report{}
	r.Result("tcp", ours, caseSnappy).Rounds = []report.Metrics{{mCPUPerM: 0.95, mFramesPerSec: 900}, {mCPUPerM: 0.99, mFramesPerSec: 1000}, {mCPUPerM: 0.2, mFramesPerSec: 2000}}
	r.Result("tcp", rsyslog, caseLZ4).Rounds = []report.Metrics{{mCPUPerM: 3, mFramesPerSec: 500}, {mCPUPerM: 4, mFramesPerSec: 500}}
	r.Result("decode", ours, "m1").Rounds = []report.Metrics{{mGBPerSec: 2.5, mAllocs: 0}}
	for _, n := range []string{"1", "1000"} {
		r.Result("connections", ours, n).Rounds = []report.Metrics{{mFramesPerCPU: 1000}}
	}
	r.Result("connections", ours, "10").Rounds = []report.Metrics{{mFramesPerCPU: 800}}
	want := map[string]string{
		"TCP, snappy":                              "no: 6% over", // the median, 0.95
		"TCP, CPU beside rsyslog's":                "yes",
		"TCP, frames/s beside rsyslog's":           "no: 20% short",
		"TCP, no compression":                      "not measured",
		"decode, one core":                         "yes",
		"decode, allocations":                      "yes",
		"frames per CPU-s, 1 to 1,000 connections": "no: 34% over", // 20 instead of 15
		"frames per CPU-s, 6 to 96 partitions":     "not measured",
	}
	r.setGoals()
	goals := r.Goals
	for name, gap := range want {
		i := slices.IndexFunc(goals, func(g report.Goal) bool { return g.Name == name })
		if i < 0 {
			t.Errorf("there is no goal %q", name)
		} else if got := goals[i].Gap(); got != gap {
			t.Errorf("%s: %q instead of %q (%+v)", name, got, gap, goals[i])
		}
	}
}
