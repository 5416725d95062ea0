package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"time"

	"millrace/benchmarks/frames"
	"millrace/benchmarks/process"
	"millrace/benchmarks/report"
	"millrace/internal/embedded"
)

// options are the flags.
type options struct {
	rounds   int
	rows     int
	distinct int
	storage  int
	rate     float64
	pipeline time.Duration
	mail     int
	only     string
	millrace string
	version  string
	results  string
	page     string
	keep     bool
}

func main() {
	embedded.RunChildIfAsked()
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "rounds in which the programs take turns")
	flag.IntVar(&o.rows, "rows", 2_000_000, "rows of one measurement")
	flag.IntVar(&o.distinct, "frames", 20_000, "different frames among them")
	flag.IntVar(&o.storage, "storage", 200_000, "different frames of the measurement of the disk")
	flag.Float64Var(&o.rate, "rate", 250_000, "events a second that millrace up is sent")
	flag.DurationVar(&o.pipeline, "pipeline", time.Minute, "for how long")
	flag.IntVar(&o.mail, "mail", 1_200_000, "messages in the logs that are imported, of 840 bytes each")
	flag.StringVar(&o.only, "only", "", "sections, separated by commas (transform, memory, storage, import, pipeline); empty: all")
	flag.StringVar(&o.millrace, "millrace", "bin/millrace", "our program")
	flag.StringVar(&o.version, "version", "", "what the results are named after; empty: what our program says")
	flag.StringVar(&o.results, "results", "benchmarks/results", "directory of the results of complete runs")
	flag.StringVar(&o.page, "page", "docs/performance.md", "page with the tables of the last complete run")
	flag.BoolVar(&o.keep, "keep", false, "write the results of a short run too")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench-transform:", err)
		os.Exit(1)
	}
}

// bench is one run.
type bench struct {
	o        options
	in       *frames.Input
	server   *server
	report   *Report
	progress io.Writer
}

func run(ctx context.Context, o options, out, progress io.Writer) (err error) {
	b := &bench{o: o, progress: progress, report: &Report{Report: report.Report{
		Version: o.version, Command: fmt.Sprintf("make bench-transform ROUNDS=%d ROWS=%d", o.rounds, o.rows), Time: time.Now().UTC().Truncate(time.Second),
		Rounds: o.rounds, Machine: report.DescribeMachine(),
	}}}
	process.RaiseFileLimit()
	if err := b.describe(); err != nil {
		return err
	}
	if b.wants("transform") || b.wants("memory") || b.wants("storage") || b.wants("import") {
		if err := b.toRows(ctx); err != nil {
			return err
		}
	}
	if b.wants("pipeline") && ctx.Err() == nil {
		b.pipeline(ctx)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	b.report.setGoals()
	notes, sheets := b.report.notes(), b.report.sheets()
	if _, err = io.WriteString(out, report.Text(notes, sheets)); err != nil {
		return err
	}
	if o.keep || o.complete() {
		if err := b.report.Keep(o.results, o.page, "transform", b.report, notes, sheets, "", ""); err != nil {
			return err
		}
		fmt.Fprintf(progress, "written: %s/transform-%s.{txt,json,csv} and the tables of %s\n", o.results, b.report.Version, o.page)
	} else {
		fmt.Fprintln(progress, "a short run: nothing is written to", o.results, "and", o.page)
	}
	if n := b.report.Voids(); n > 0 {
		return fmt.Errorf("%d measurements are void, because something was lost or failed; they are left out and named above", n)
	}
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
	if b.report.Input.ZstdBytes, b.report.Input.Zstd, err = b.in.Zstd19(); err != nil {
		fmt.Fprintln(b.progress, err)
	}
	return nil
}

// toRows measures what needs the server that may use the Kafka engine.
func (b *bench) toRows(ctx context.Context) (err error) {
	if b.server, err = startServer(ctx); err != nil {
		return err
	}
	defer b.server.stop()
	b.report.Peers = append(b.report.Peers, report.Peer{Name: "ClickHouse", Version: b.server.version})
	if b.wants("transform") {
		if err := b.transform(ctx); err != nil {
			return err
		}
	}
	if b.wants("memory") && ctx.Err() == nil {
		if err := b.memory(ctx); err != nil {
			return err
		}
	}
	if b.wants("storage") && ctx.Err() == nil {
		if err := b.storage(ctx); err != nil {
			return err
		}
	}
	if b.wants("import") && ctx.Err() == nil {
		return b.imports(ctx)
	}
	return nil
}

// complete tells whether this is a run whose results are worth keeping.
func (o *options) complete() bool {
	return o.only == "" && o.rounds >= 3 && o.rows >= 1_000_000 && o.storage >= 100_000 && o.mail >= 1_200_000 && o.pipeline >= time.Minute
}

func (b *bench) wants(section string) bool {
	return b.o.only == "" || slices.Contains(strings.Split(b.o.only, ","), section)
}
