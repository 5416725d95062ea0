package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"millrace/ingester"
	"millrace/internal/config"
	"millrace/internal/embedded"
	"millrace/internal/service"
)

func TestPrepareData(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	got, cleanup, err := prepareData(dir, false)
	if err != nil || got != dir {
		t.Fatalf("%q, %v", got, err)
	}
	cleanup() // real data stay
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the data directory: %v, %v", info, err)
	}
	if _, _, err := prepareData(dir, false); err != nil {
		t.Errorf("its own data are refused: %v", err)
	}
	if _, _, err := prepareData(dir, true); err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "real data") {
		t.Errorf("a demo on real data: %v", err)
	}
	demo := filepath.Join(t.TempDir(), "demo")
	if _, _, err := prepareData(demo, true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := prepareData(demo, false); err == nil || !strings.Contains(err.Error(), "--data") {
		t.Errorf("real data on a demo's: %v", err)
	}
}

func TestPrepareData_Foreign(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(dir, "letters.txt")
	if err := os.WriteFile(foreign, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := prepareData(dir, false); err == nil || !strings.Contains(err.Error(), "letters.txt") {
		t.Errorf("somebody else's directory is taken: %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("it was written to: %v", entries)
	}
	if err := os.Remove(foreign); err != nil {
		t.Fatal(err)
	}
	if _, _, err := prepareData(dir, false); err != nil {
		t.Errorf("the root of a fresh disk is refused: %v", err)
	}
	if _, _, err := prepareData(filepath.Join(dir, purposeFile), false); err == nil {
		t.Error("a file is taken for a directory")
	}
}

func TestPrepareData_Temporary(t *testing.T) {
	t.Parallel()
	dir, cleanup, err := prepareData("", true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, purposeFile)); err != nil {
		t.Error(err)
	}
	cleanup()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the demo's data stay behind: %v", err)
	}
}

// TestDisk closes the gate below the limit and opens it above a fifth more. What
// a filling disk does to the whole stack is tested in e2e.
func TestDisk(t *testing.T) {
	t.Parallel()
	watch := func(minFree float64) (log string, reported error) {
		var lines bytes.Buffer
		reports := make(chan error, 100)
		d := &disk{
			dir: t.TempDir(), minFree: minFree, gate: new(ingester.Gate), log: slog.New(slog.NewTextHandler(&lines, nil)),
			report: func(err error) { reports <- err }, observe: func(free float64) {
				if free < 0 || free > 1 {
					t.Errorf("%v of the disk are free", free)
				}
			},
		}
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- d.watch(ctx) }()
		reported = <-reports
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		return lines.String(), reported
	}
	if log, err := watch(0); err != nil || log != "" {
		t.Errorf("with room: %v, %s", err, log)
	}
	log, err := watch(1.1) // no disk is so empty
	if err == nil || !strings.Contains(err.Error(), "up.min_free_disk") {
		t.Errorf("without room: %v", err)
	}
	if !strings.Contains(log, "nearly full") {
		t.Errorf("the log says %q", log)
	}
	if _, err := freeShare("/nowhere/at/all"); err == nil || !strings.Contains(err.Error(), "/nowhere/at/all") {
		t.Errorf("a directory that is not there: %v", err)
	}
}

func TestReadyLine(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	readyLine(&b, []pair{{"syslog_udp", "127.0.0.1:5514"}, {"http", "[::1]:8514"}})
	if got := b.String(); got != "ready syslog_udp=127.0.0.1:5514 http=[::1]:8514\n" {
		t.Errorf("%q", got)
	}
}

func TestWaitReady(t *testing.T) {
	t.Parallel()
	c := service.NewConditions(slog.New(slog.DiscardHandler), "one")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if waitReady(ctx, c) {
		t.Error("ready before the condition was met")
	}
	c.Set("one", nil)
	if !waitReady(context.Background(), c) {
		t.Error("not ready although the condition is met")
	}
}

func TestMendable(t *testing.T) {
	t.Parallel()
	listener := mendable(fmt.Errorf("so: %w", &ingester.ListenError{Network: "tcp", Err: errors.New("cannot listen on X")}))
	if service.ExitCode(listener) != 2 || !strings.Contains(listener.Error(), "--syslog-tcp") {
		t.Errorf("a listener's port: %v", listener)
	}
	if err := mendable(&embedded.AddressInUseError{}); service.ExitCode(err) != 2 {
		t.Errorf("an embedded port: exit code %d", service.ExitCode(err))
	}
	if err := mendable(fmt.Errorf("so: %w", embedded.ErrNoLibrary)); service.ExitCode(err) != 2 {
		t.Errorf("a missing engine: exit code %d", service.ExitCode(err))
	}
	if err := mendable(io.EOF); !errors.Is(err, io.EOF) || service.ExitCode(err) != 1 {
		t.Errorf("another error: %v", err)
	}
}

func TestStatusLine(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	now := counts{received: 1234567, published: 1234, inserted: 12, rejected: 1, lag: -3}
	s := newStatusLine(&b, func() counts { return now })
	s.show()
	if got := b.String(); !strings.HasPrefix(got, "received 1,234,567  published 1,234  inserted 12  rejected 1  lag 0  rate ") || strings.Contains(got, "dropped") {
		t.Errorf("%q", got)
	}
	b.Reset()
	now = counts{dropped: 7} // a count that has gone back is no rate
	s.end()
	if got := b.String(); !strings.Contains(got, "rate 0/s") || !strings.Contains(got, "dropped 7") {
		t.Errorf("%q", got)
	}
	b.Reset()
	now = counts{received: 1, lagUnknown: true} // after a stop a lag of 0 would be a lie
	s.end()
	if got := b.String(); strings.Contains(got, "lag") {
		t.Errorf("%q", got)
	}
	b.Reset()
	s.interrupt(func(w io.Writer) { fmt.Fprintln(w, "hello") })
	if b.String() != "hello\n" {
		t.Errorf("%q", b.String())
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		line    string
		columns int
		want    string
	}{{"received 1", 0, "received 1"}, {"received 1", 11, "received 1"}, {"received 1", 10, "received "}, {"received 1", 1, ""}, {"", 80, ""}} {
		if got := cut(tt.line, tt.columns); got != tt.want {
			t.Errorf("cut(%q, %d) = %q, want %q", tt.line, tt.columns, got, tt.want)
		}
	}
}

func TestQuiet(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	var quiet atomic.Bool
	log := slog.New(quietHandler{slog.NewTextHandler(&b, nil), &quiet}).With("a", 1).WithGroup("g")
	quiet.Store(true)
	log.Info("usual news")
	log.Warn("a warning")
	quiet.Store(false)
	log.Info("later news")
	log.Debug("nobody asked")
	if got := b.String(); strings.Contains(got, "usual") || !strings.Contains(got, "a warning") || !strings.Contains(got, "later news") || strings.Contains(got, "nobody") {
		t.Errorf("%q", got)
	}
}

func TestQueryFlags(t *testing.T) {
	usual := filepath.Join(t.TempDir(), "share")
	t.Setenv("XDG_DATA_HOME", usual)
	s := &Stack{data: filepath.Join(usual, "millrace"), clickHouse: &embedded.ClickHouse{NativeAddr: "127.0.0.1:9000"}}
	if got := s.queryFlags(); got != "" {
		t.Errorf("%q", got)
	}
	s.data, s.clickHouse.NativeAddr = "/other", "127.0.0.1:9001"
	if got := s.queryFlags(); got != " --data /other --server 127.0.0.1:9001" {
		t.Errorf("%q", got)
	}
}

func TestDemoWithoutTCP(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	if err := cfg.SetListener("tcp", config.Off); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err := Run(t.Context(), t.Context(), Options{Config: cfg, Demo: true, Out: &out})
	if service.ExitCode(err) != 2 || !strings.Contains(err.Error(), "--syslog-tcp") || out.Len() > 0 {
		t.Errorf("%v, %q", err, out.String())
	}
}

// The demo's stop ends though what was published is never inserted, and though
// nobody ends the stop's context.
func TestAwait(t *testing.T) {
	t.Parallel()
	await(context.Background(), time.Millisecond, func() bool { return false })
	ended, end := context.WithCancel(context.Background())
	end()
	await(ended, time.Hour, func() bool { return false })
	asked := 0
	await(context.Background(), time.Hour, func() bool { asked++; return asked == 2 })
	if asked != 2 {
		t.Errorf("asked %d times, want 2", asked)
	}
}
