package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"time"

	"millrace/benchmarks/frames"
	"millrace/benchmarks/process"
	"millrace/benchmarks/quota"
	"millrace/benchmarks/report"
	"millrace/internal/embedded"
)

// options are the flags.
type options struct {
	share    float64
	rounds   int
	seconds  float64
	rows     int
	distinct int
	storage  int
	millrace string
	version  string
	results  string
	page     string
	embed    string
	keep     bool
}

const (
	brokers    = 3
	instances  = 3
	partitions = 6 // of a topic: the default of our configuration
	// Of the topic that the transformers take: one for each of three, so that its blocks are
	// soon full.
	fullPartitions = 3
)

func main() {
	embedded.RunChildIfAsked()
	var o options
	flag.Float64Var(&o.share, "share", 0.05, "of a core, that each ingester and transformer may use")
	flag.IntVar(&o.rounds, "rounds", 2, "rounds of one, two and three")
	flag.Float64Var(&o.seconds, "seconds", 6, "seconds of one measurement")
	flag.IntVar(&o.rows, "rows", 2_000_000, "records in the topic that the transformers take")
	flag.IntVar(&o.distinct, "frames", 20_000, "different frames among them")
	flag.IntVar(&o.storage, "storage", 50_000, "different frames of the measurement of bytes")
	flag.StringVar(&o.millrace, "millrace", "bin/millrace", "our program")
	flag.StringVar(&o.version, "version", "", "what the results are named after; empty: what our program says")
	flag.StringVar(&o.results, "results", "benchmarks/results", "directory of the results of complete runs")
	flag.StringVar(&o.page, "page", "docs/performance.md", "page with the tables of the last complete run")
	flag.StringVar(&o.embed, "embed", "internal/capacity/measured.json", "file of the measurement that millrace capacity comes with")
	flag.BoolVar(&o.keep, "keep", false, "write the results of a short run too")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	// A run that hangs is of no use to anybody.
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Minute, fmt.Errorf("cannot measure: the run is not over after 10 minutes; is the machine busy?"))
	defer cancel()
	if err := run(ctx, o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench-capacity:", err)
		os.Exit(1)
	}
}

// bench is one run.
type bench struct {
	o        options
	in       *frames.Input
	limiter  *quota.Limiter
	site     *site
	idle     idle
	report   *Report
	progress io.Writer
}

func run(ctx context.Context, o options, out, progress io.Writer) (err error) {
	b := &bench{o: o, progress: progress, limiter: quota.Find(), report: &Report{Share: o.share, Report: report.Report{
		Version: o.version, Command: fmt.Sprintf("make bench-capacity SHARE=%g RECORDS=%d", o.share, o.rows), Time: time.Now().UTC().Truncate(time.Second),
		Rounds: o.rounds, Seconds: o.seconds, Machine: report.DescribeMachine(),
	}}}
	b.report.Quota = b.limiter.How
	process.RaiseFileLimit()
	if err := b.describe(); err != nil {
		return err
	}
	if b.site, err = startSite(ctx, progress); err != nil {
		return err
	}
	defer b.site.stop()
	b.report.Peers = append(b.report.Peers, report.Peer{Name: "Apache Kafka", Version: fmt.Sprintf("%s, %d brokers", b.site.kafka.Version, brokers)},
		report.Peer{Name: "ClickHouse", Version: b.site.version})
	if err := b.measure(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	notes, sheets := b.report.notes(), b.report.sheets()
	if _, err = io.WriteString(out, report.Text(notes, sheets)); err != nil {
		return err
	}
	if n := b.report.Voids(); n > 0 {
		return fmt.Errorf("%d measurements are void, because something was lost or failed; they are named above, and nothing is written", n)
	}
	if !o.keep && !o.complete() {
		fmt.Fprintln(progress, "a short run: nothing is written to", o.results, "and", o.page)
		return nil
	}
	if err := b.report.plan(fmt.Sprintf("docs/performance.md, make bench-capacity of %s", b.report.Version)); err != nil {
		return err
	}
	if err := b.report.Keep(o.results, o.page, "capacity", b.report, notes, sheets, "", ""); err != nil {
		return err
	}
	if err := b.report.embed(o.embed); err != nil {
		return err
	}
	fmt.Fprintf(progress, "written: %s/capacity-%s.{txt,json,csv} (the JSON is for millrace capacity --measured), the tables of %s, and %s\n", o.results, b.report.Version, o.page, o.embed)
	return nil
}

// describe finds our program and draws the frames.
func (b *bench) describe() error {
	said, err := exec.Command(b.o.millrace, "version").Output()
	if err != nil {
		return fmt.Errorf("cannot measure: %s does not run: %w (make build makes it)", b.o.millrace, err)
	}
	first, _, _ := strings.Cut(string(said), "\n")
	version := strings.TrimSpace(strings.TrimPrefix(first, ours))
	b.report.Peers = append(b.report.Peers, report.Peer{Name: ours, Version: version})
	if b.report.Version == "" {
		b.report.Version = version
	}
	if b.in, err = frames.New(b.o.distinct); err != nil {
		return err
	}
	b.report.Input = report.InputNote{Frames: len(b.in.Frames), MeanBytes: b.in.MeanBytes()}
	return nil
}

// measure makes all measurements. Brokers and ClickHouse warm up in the first.
func (b *bench) measure(ctx context.Context) (err error) {
	defer guard(&err)
	record := func(section, peer, name string, m report.Metrics, err error) {
		b.report.Record(b.progress, section, peer, name, m, err)
	}
	m, err := b.storage(ctx)
	record("bytes", "storage", "", m, err)
	if err := b.rest(ctx); err != nil {
		return err
	}
	m, err = b.partition(ctx)
	record("bytes", "one partition", "", m, err)
	for round := range b.o.rounds {
		for n := 1; n <= instances && ctx.Err() == nil; n++ {
			m, err := b.ingest(ctx, round, n)
			record("ingest", "ingesters", fmt.Sprint(n), m, err)
		}
	}
	if err := b.fill(ctx, fullTopics, fullPartitions, "sticky_bytes: 1MiB", b.in, b.o.rows); err != nil {
		return err
	}
	for range b.o.rounds {
		for n := 1; n <= instances && ctx.Err() == nil; n++ {
			m, err := b.transform(ctx, n)
			record("transform", "transformers", fmt.Sprint(n), m, err)
		}
	}
	return ctx.Err()
}

// span is how long one measurement is.
func (o *options) span() time.Duration { return time.Duration(o.seconds * float64(time.Second)) }

// complete tells whether this is a run whose results are worth keeping.
func (o *options) complete() bool {
	return o.seconds >= 5 && o.rows >= 1_000_000 && o.storage >= 50_000
}
