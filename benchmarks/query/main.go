package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/benchmarks/report"
	"millrace/internal/embedded"
	"millrace/internal/history"
	"millrace/internal/migrate"
	"millrace/query"
	"millrace/schema"
)

const (
	ours     = "millrace"
	database = "bench_query"
)

// options are the flags.
type options struct {
	rounds   int
	messages uint64
	days     int
	domains  int
	counted  int
	data     string
	millrace string
	version  string
	results  string
	page     string
	keep     bool
}

// bench is one run.
type bench struct {
	o        options
	conn     clickhouse.Conn
	reader   query.Options // who asks
	ids      []string      // of each round
	end      time.Time
	report   *report.Report
	progress io.Writer

	events uint64 // of both kinds
	bytes  uint64 // of all tables
	made   time.Duration
	count  time.Duration
}

func main() {
	embedded.RunChildIfAsked()
	var o options
	flag.IntVar(&o.rounds, "rounds", 11, "rounds in which the questions take turns")
	flag.Uint64Var(&o.messages, "messages", 10_000_000, "messages of the past")
	flag.IntVar(&o.days, "days", 400, "days that they are of")
	flag.IntVar(&o.domains, "domains", 20_000, "domains")
	flag.IntVar(&o.counted, "counted", 0, "days of the past's end whose hours are counted; 0: all, which takes its time")
	flag.StringVar(&o.data, "data", "", "directory of the database, which is kept and taken again; empty: a new one, removed afterwards")
	flag.StringVar(&o.millrace, "millrace", "bin/millrace", "our program")
	flag.StringVar(&o.version, "version", "", "what the results are named after; empty: what our program says")
	flag.StringVar(&o.results, "results", "benchmarks/results", "directory of the results of complete runs")
	flag.StringVar(&o.page, "page", "docs/performance.md", "page with the table of the last complete run")
	flag.BoolVar(&o.keep, "keep", false, "write the results of a short run too")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench-query:", err)
		os.Exit(1)
	}
}

// complete tells whether this is a run whose results are worth keeping.
func (o options) complete() bool { return o.rounds >= 5 && o.messages >= 10_000_000 }

func run(ctx context.Context, o options, out, progress io.Writer) (err error) {
	b := &bench{o: o, progress: progress, report: &report.Report{
		Version: o.version, Command: fmt.Sprintf("make bench-query MESSAGES=%d", o.messages), Time: time.Now().UTC().Truncate(time.Second),
		Rounds: o.rounds, Machine: report.DescribeMachine(),
	}}
	if err := b.describe(); err != nil {
		return err
	}
	dir := o.data
	if dir == "" {
		if dir, err = os.MkdirTemp("", "bench-query-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot make the directory of the database (-data): %w", err)
	}
	server, err := embedded.StartClickHouse(ctx, embedded.ClickHouseOptions{DataDir: dir, Databases: []string{database}})
	if err != nil {
		return err
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = server.Stop(stopping)
	}()
	open := func(database string) (clickhouse.Conn, error) {
		return clickhouse.Open(&clickhouse.Options{
			Addr: []string{server.NativeAddr}, Auth: clickhouse.Auth{Database: database, Username: server.Admin.User, Password: server.Admin.Password}, ReadTimeout: time.Hour,
		})
	}
	b.reader = query.Options{Addresses: []string{server.NativeAddr}, Database: database, User: server.Reader.User, Password: server.Reader.Password}
	if err := b.prepare(ctx, open); err != nil {
		return err
	}
	defer b.conn.Close()
	if err := b.ask(ctx); err != nil {
		return err
	}
	notes, sheets := b.notes(), b.sheets()
	if _, err := io.WriteString(out, report.Text(notes, sheets)); err != nil {
		return err
	}
	if !o.keep && !o.complete() {
		fmt.Fprintln(progress, "a short run: nothing is written to", o.results, "and", o.page)
		return nil
	}
	if err := b.report.Keep(o.results, o.page, "query", b.report, notes, sheets, "", ""); err != nil {
		return err
	}
	fmt.Fprintf(progress, "written: %s/query-%s.{txt,json,csv} and the table of %s\n", o.results, b.report.Version, o.page)
	return nil
}

// describe finds our program, which the results are named after.
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
	return nil
}

// prepare makes the tables and the past, or takes those that are there.
func (b *bench) prepare(ctx context.Context, open func(database string) (clickhouse.Conn, error)) error {
	admin, err := open("")
	if err != nil {
		return err
	}
	defer admin.Close()
	m, err := migrate.New(admin, migrate.Settings{Database: database, Binary: b.report.Version})
	if err != nil {
		return err
	}
	if _, err := m.Apply(ctx); err != nil {
		return err
	}
	if b.conn, err = open(database); err != nil {
		return err
	}
	var there uint64
	var last time.Time
	if err := b.conn.QueryRow(ctx, "SELECT count(), max(id_time) FROM message_events").Scan(&there, &last); err != nil {
		return err
	}
	b.end = time.Now().Truncate(time.Hour)
	switch {
	case there == b.o.messages:
		b.end = last.Truncate(time.Hour).Add(time.Hour)
	case there > 0:
		return fmt.Errorf("cannot take the database of %s: it has %d messages, not %d (-messages)", b.o.data, there, b.o.messages)
	default:
		begin := time.Now()
		err := history.Write(ctx, b.conn, history.Options{Messages: b.o.messages, Days: b.o.days, Domains: b.o.domains, Seed: 1, End: b.end,
			Progress: func(done uint64) {
				if done%1_000_000 == 0 {
					fmt.Fprintf(b.progress, "%6.1fs  %d messages\n", time.Since(begin).Seconds(), done)
				}
			}})
		if err != nil {
			return err
		}
		b.made = time.Since(begin)
	}
	if err := b.closeWeeks(ctx); err != nil {
		return err
	}
	begin := time.Now()
	if b.o.counted > 0 {
		err = b.countEnd(ctx)
	} else {
		err = m.Count(ctx, func(rollup string, events uint64) {
			fmt.Fprintf(b.progress, "%6.1fs  %s: %d events\n", time.Since(begin).Seconds(), rollup, events)
		})
	}
	if err != nil {
		return err
	}
	if b.count = time.Since(begin); b.made == 0 {
		b.count = 0
	}
	for quiet := 0; quiet < 5; { // merges of before are no part of the questions
		var merges uint64
		if err := b.conn.QueryRow(ctx, "SELECT count() FROM system.merges").Scan(&merges); err != nil {
			return err
		}
		if quiet++; merges > 0 {
			quiet = 0
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	var server string
	if err := b.conn.QueryRow(ctx, "SELECT version(), (SELECT count() FROM message_events) + (SELECT count() FROM status_events), (SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase())").
		Scan(&server, &b.events, &b.bytes); err != nil {
		return err
	}
	b.report.Peers = append(b.report.Peers, report.Peer{Name: "ClickHouse", Version: server})
	return nil
}

// closeWeeks makes one part of each week that is over for so long that its TTL has it
// recompressed: where events come as they happen, this merges what parts the week has. Those
// of a past that comes all at once are recompressed one by one.
func (b *bench) closeWeeks(ctx context.Context) error {
	for _, k := range []*schema.Kind{schema.Message, schema.Status} {
		rows, err := b.conn.Query(ctx, "SELECT partition FROM system.parts WHERE active AND database = currentDatabase() AND table = ? AND toDate(partition) < today() - 14 GROUP BY partition HAVING count() > 1 ORDER BY partition", k.Table)
		if err != nil {
			return err
		}
		var weeks []string
		for rows.Next() {
			var week string
			if err := rows.Scan(&week); err != nil {
				return err
			}
			weeks = append(weeks, week)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		for _, week := range weeks {
			fmt.Fprintf(b.progress, "%s: one part of the week of %s\n", k.Table, week)
			if err := b.conn.Exec(ctx, "OPTIMIZE TABLE "+k.Table+" PARTITION '"+week+"' FINAL"); err != nil {
				return fmt.Errorf("cannot merge the week of %s: %w", week, err)
			}
		}
	}
	return nil
}

// countEnd counts the hours of the past's last days: a step counts the newest that are not
// counted yet.
func (b *bench) countEnd(ctx context.Context) error {
	begin, until := time.Now(), b.end.AddDate(0, 0, -b.o.counted)
	for _, r := range schema.Rollups() {
		for {
			var oldest time.Time
			if err := b.conn.QueryRow(ctx, "SELECT min(hour) FROM rollup_hours WHERE rollup = ?", r.View.Name).Scan(&oldest); err != nil {
				return err
			}
			fmt.Fprintf(b.progress, "%6.1fs  %s: since %v\n", time.Since(begin).Seconds(), r.View.Name, oldest)
			if oldest.Unix() > 0 && !oldest.After(until) {
				break
			}
			for _, verb := range []string{"REFRESH", "WAIT"} {
				if err := b.conn.Exec(ctx, "SYSTEM "+verb+" VIEW "+r.View.Name+"_heal"); err != nil {
					return err
				}
			}
		}
	}
	// The server goes on by itself with what is older, and would do it beside the questions.
	for _, r := range schema.Rollups() {
		for _, verb := range []string{"STOP", "CANCEL"} {
			if err := b.conn.Exec(ctx, "SYSTEM "+verb+" VIEW "+r.View.Name+"_heal"); err != nil {
				return err
			}
		}
	}
	return nil
}
