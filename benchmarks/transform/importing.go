package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kfake"
	"golang.org/x/sys/unix"

	"millrace/benchmarks/process"
	"millrace/benchmarks/report"
	"millrace/schema"
)

// hostLogs are the files of `millrace generate --logs`, and how each is imported.
var hostLogs = []struct{ file, flags string }{
	{"smtp-25.log", "--format smtp --smtp-port 25"},
	{"smtp-587.log", "--format smtp --smtp-port 587"},
	{"delivery.log", "--format delivery"},
	{"spamdyke.log", "--format spamdyke"},
	{"abuse.mbox", "--format arf"},
}

// imports measures the import of a mail host's logs into `millrace up` beside what could
// be its bound: reading them from the disk, and inserting their events when all are in
// Kafka.
func (b *bench) imports(ctx context.Context) error {
	logs, err := os.MkdirTemp("", "bench-logs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(logs)
	if out, err := exec.Command(b.o.millrace, "generate", "--logs", logs, "--count", strconv.Itoa(b.o.mail)).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot generate logs: %w: %s", err, out)
	}
	var bytes int64
	for _, l := range hostLogs {
		info, err := os.Stat(filepath.Join(logs, l.file))
		if err != nil {
			return err
		}
		bytes += info.Size()
	}
	for range b.o.rounds {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		seconds, err := readFromDisk(logs)
		b.report.Record(b.progress, "import", disk, caseLogs, report.Metrics{mSeconds: seconds, mBytesPerSec: float64(bytes) / seconds}, err)
		events, m, err := b.insertLogs(ctx, logs, bytes)
		b.report.Record(b.progress, "import", ours, caseLogs, m, err)
		if err == nil {
			m, err = b.importLogs(ctx, logs, bytes, events)
			b.report.Record(b.progress, "import", whole, caseLogs, m, err)
		}
	}
	return nil
}

// readFromDisk reads all files, none of which is in memory before.
func readFromDisk(logs string) (seconds float64, err error) {
	buf := make([]byte, 1<<20)
	for _, l := range hostLogs {
		f, err := os.Open(filepath.Join(logs, l.file))
		if err != nil {
			return 0, err
		}
		defer f.Close()
		if err := errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)); err != nil {
			return 0, err
		}
		began := time.Now()
		for err == nil {
			_, err = f.Read(buf)
		}
		if !errors.Is(err, io.EOF) {
			return 0, err
		}
		seconds += time.Since(began).Seconds()
	}
	return seconds, nil
}

// importAll imports the files one after the other, and returns the imports' processor time.
func (b *bench) importAll(ctx context.Context, logs, config string) (cpu time.Duration, err error) {
	for _, l := range hostLogs {
		arguments := append([]string{"import", "--config", config}, strings.Fields(l.flags)...)
		c := exec.CommandContext(ctx, b.o.millrace, append(arguments, filepath.Join(logs, l.file))...)
		if out, err := c.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("cannot import %s: %w: %s", l.file, err, out)
		}
		cpu += c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	}
	return cpu, nil
}

// insertLogs measures the transformer alone, when the logs' events are in Kafka: as many
// as it returns.
func (b *bench) insertLogs(ctx context.Context, logs string, bytes int64) (events uint64, m report.Metrics, err error) {
	var topics []string
	for _, k := range schema.Kinds() {
		topics = append(topics, topicPrefix+k.Topic)
	}
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topics...))
	if err != nil {
		return 0, nil, err
	}
	defer broker.Close()
	database, drop, err := b.server.database(ctx)
	if err != nil {
		return 0, nil, err
	}
	defer drop()
	dir, err := os.MkdirTemp("", "bench-transform-")
	if err != nil {
		return 0, nil, err
	}
	defer os.RemoveAll(dir)
	config := filepath.Join(dir, "import.yaml")
	if err := os.WriteFile(config, []byte(b.transformConfig(broker, database, "none", 0)), 0o600); err != nil {
		return 0, nil, err
	}
	if _, err := b.importAll(ctx, logs, config); err != nil {
		return 0, nil, err
	}
	for _, topic := range topics {
		events += recordsOf(broker, topic)
	}
	before, err := b.server.process().CPU()
	if err != nil {
		return 0, nil, err
	}
	began := time.Now()
	t, err := b.startTransform(broker, database, "none")
	if err != nil {
		return 0, nil, err
	}
	defer t.stop()
	if err := awaitEvents(ctx, b.server.conn, database, events); err != nil {
		return 0, nil, t.Failed(err)
	}
	m = rates(time.Since(began), bytes, events)
	own, err := t.CPU()
	if err != nil {
		return 0, nil, err
	}
	after, err := b.server.process().CPU()
	m[mOwn], m[mServer] = perMillion(own, events), perMillion(after-before, events)
	return events, m, err
}

// importLogs measures the import into `millrace up`, to the last row.
func (b *bench) importLogs(ctx context.Context, logs string, bytes int64, events uint64) (m report.Metrics, err error) {
	dir, err := os.MkdirTemp("", "bench-transform-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	s, err := b.startUp(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer s.Stop()
	defer s.conn.Close()
	before, err := s.cpu()
	if err != nil {
		return nil, err
	}
	profile, profiled := filepath.Join(dir, "cpu.pprof"), make(chan error, 1)
	go func() {
		profiled <- process.Profile(fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", strings.TrimSuffix(s.metrics, "/metrics"), min(10, 1+bytes>>26)), profile)
	}()
	began := time.Now()
	imports, err := b.importAll(ctx, logs, filepath.Join(dir, configFile))
	if err != nil {
		return nil, s.Failed(err)
	}
	published := time.Since(began)
	if err := awaitEvents(ctx, s.conn, "millrace", events); err != nil {
		return nil, s.Failed(err)
	}
	m = rates(time.Since(began), bytes, events)
	after, err := s.cpu()
	if err != nil {
		return nil, err
	}
	m[mPublished], m[mImports] = published.Seconds(), perMillion(imports, events)
	m[mOwn], m[mServer] = perMillion(after[0]-before[0], events), perMillion(after[1]-before[1], events)
	if err := <-profiled; err != nil {
		return nil, err
	}
	if len(b.report.Section("import")) < 3 { // the first round
		b.showProfile("millrace up while logs are imported (the imports and ClickHouse are other processes)", profile)
	}
	return m, nil
}

func rates(took time.Duration, bytes int64, events uint64) report.Metrics {
	return report.Metrics{
		mSeconds: took.Seconds(), mRows: float64(events), mRowsPerSec: float64(events) / took.Seconds(), mBytesPerSec: float64(bytes) / took.Seconds(),
	}
}

func perMillion(cpu time.Duration, events uint64) float64 {
	return cpu.Seconds() / float64(events) * 1e6
}

// awaitEvents returns when the tables of all kinds have so many rows, and fails when they
// have more, or none came for patience.
func awaitEvents(ctx context.Context, conn driver.Conn, database string, want uint64) error {
	var counts []string
	for _, k := range schema.Kinds() {
		counts = append(counts, fmt.Sprintf("(SELECT count() FROM %s.%s)", database, k.Table))
	}
	return awaitCount(ctx, conn, "SELECT "+strings.Join(counts, " + "), want)
}
