package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"millrace/benchmarks/frames"
	"millrace/benchmarks/process"
	"millrace/benchmarks/report"
)

// options are the flags.
type options struct {
	rounds   int
	seconds  float64
	only     string
	away     time.Duration
	idle     int
	frames   int
	millrace string
	tools    string
	version  string
	results  string
	page     string
	profile  string
	keep     bool
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "rounds in which the peers take turns")
	flag.Float64Var(&o.seconds, "seconds", 2, "seconds of one measurement")
	flag.StringVar(&o.only, "only", "", "sections, separated by commas; empty: all")
	flag.DurationVar(&o.away, "away", time.Minute, "how long Kafka is away")
	flag.IntVar(&o.idle, "idle", 10_000, "idle connections")
	flag.IntVar(&o.frames, "frames", 20_000, "different frames")
	flag.StringVar(&o.millrace, "millrace", "bin/millrace", "our program")
	flag.StringVar(&o.tools, "tools", ".tools/debian", "where Debian's packages are unpacked")
	flag.StringVar(&o.version, "version", "", "what the results are named after; empty: what our program says")
	flag.StringVar(&o.results, "results", "benchmarks/results", "directory of the results of complete runs")
	flag.StringVar(&o.page, "page", "docs/performance.md", "page with the tables of the last complete run")
	flag.StringVar(&o.profile, "profile", "", "instead of measuring, write a CPU profile of our program at full rate into this `file`")
	flag.BoolVar(&o.keep, "keep", false, "write the results of a short run too")
	flag.Parse()
	if err := run(o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench-ingest:", err)
		os.Exit(1)
	}
}

// bench is one run.
type bench struct {
	o        options
	in       *frames.Input
	peers    []*peerProgram
	udpStart map[string]float64 // frames a second, by peer
	report   *Report
	progress io.Writer
}

func run(o options, out, progress io.Writer) error {
	b := &bench{o: o, progress: progress, udpStart: map[string]float64{}, report: &Report{report.Report{
		Version: o.version, Command: fmt.Sprintf("make bench-ingest ROUNDS=%d SECONDS=%g", o.rounds, o.seconds), Time: time.Now().UTC().Truncate(time.Second),
		Rounds: o.rounds, Seconds: o.seconds, Machine: report.DescribeMachine(),
	}}}
	process.RaiseFileLimit()
	var err error
	if b.in, err = frames.New(o.frames); err != nil {
		return err
	}
	b.report.Input = report.InputNote{Frames: len(b.in.Frames), MeanBytes: b.in.MeanBytes()}
	b.peers = findPeers(o.millrace, o.tools)
	for _, p := range b.peers {
		b.report.Peers = append(b.report.Peers, report.Peer{Name: p.name, Version: p.version, Absent: p.absent})
		if p.name == ours && p.absent != "" {
			return fmt.Errorf("cannot measure: %s (make build makes it)", p.absent)
		}
		if p.name == ours && o.version == "" {
			o.version = p.version
			b.report.Version = p.version
		}
	}
	if o.profile != "" {
		_, err := b.profile("tcp", o.profile)
		return err
	}
	b.measure()
	b.report.setGoals()
	if b.report.Input.ZstdBytes, b.report.Input.Zstd, err = b.in.Zstd19(); err != nil {
		fmt.Fprintln(progress, err)
	}
	notes, sheets := b.report.notes(), b.report.sheets()
	if _, err = io.WriteString(out, report.Text(notes, sheets)); err != nil {
		return err
	}
	if o.keep || o.complete() {
		if err := b.report.Keep(o.results, o.page, "ingest", b.report, notes, sheets, b.report.plot(), "CPU, rates, loss and latency beside rsyslog and syslog-ng"); err != nil {
			return err
		}
		fmt.Fprintf(progress, "written: %s/ingest-%s.{txt,json,csv,svg} and the tables of %s\n", o.results, o.version, o.page)
	} else {
		fmt.Fprintln(progress, "a short run: nothing is written to", o.results, "and", o.page)
	}
	if n := b.report.Voids(); n > 0 {
		return fmt.Errorf("%d measurements are void, because something was lost or failed; they are left out and named above", n)
	}
	return nil
}

// complete tells whether this is a run whose results are worth keeping.
func (o *options) complete() bool {
	return o.only == "" && o.rounds >= 3 && o.seconds >= 2 && o.away >= time.Minute
}

func (b *bench) wants(section string) bool {
	return b.o.only == "" || slices.Contains(strings.Split(b.o.only, ","), section)
}

// peer finds a peer that takes part.
func (b *bench) peer(name string) *peerProgram {
	for _, p := range b.peers {
		if p.name == name && p.absent == "" {
			return p
		}
	}
	return nil
}

// job is one measurement that is made once in each round.
type job struct {
	section, peer, name string
	once                bool // in the first round only
	measure             func(*peerProgram) (report.Metrics, error)
}

// measure runs the sections.
func (b *bench) measure() {
	if b.wants("decode") {
		b.decode()
	}
	if b.wants("profile") {
		b.profiles()
	}
	if b.wants("tcp") {
		b.take(b.tcpJobs())
	}
	if b.wants("udp") {
		b.take([]job{b.udpJob(ours), b.udpJob(rsyslog), b.udpJob(syslogng)})
	}
	if b.wants("latency") {
		b.take([]job{
			b.latencyJob(ours, caseBusy, busyRate, connections), b.latencyJob(rsyslog, caseBusy, busyRate, connections), b.latencyJob(syslogng, caseBusy, busyRate, connections),
			b.latencyJob(ours, caseQuiet, quietRate, 1),
		})
	}
	if b.wants("proportion") {
		b.take(b.proportionJobs())
	}
	if b.wants("memory") {
		var jobs []job
		for _, peer := range []string{ours, rsyslog, syslogng} {
			full := b.tcpJob("memory", peer, caseFull, "", manyConnections, partitions)
			full.once = true
			jobs = append(jobs, full, b.idleJob(peer))
		}
		b.take(append(jobs, b.awayJob()))
	}
}

// take does all jobs once, then all once more: what changes on the machine meanwhile
// meets each of them.
func (b *bench) take(jobs []job) {
	for round := range b.o.rounds {
		for _, j := range jobs {
			if p := b.peer(j.peer); p != nil && (round == 0 || !j.once) {
				m, err := j.measure(p)
				b.report.Record(b.progress, j.section, j.peer, j.name, m, err)
			}
		}
	}
}
