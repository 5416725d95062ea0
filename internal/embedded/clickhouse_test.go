package embedded_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"millrace/internal/embedded"
	"millrace/internal/embedded/embeddedtest"
)

const createTable = "CREATE TABLE millrace.t (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS fsync_after_insert = 1"

func TestClickHouse_KeepsDataAndSystemLogsOverRestarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var admin, reader embedded.Credentials
	for run := range uint64(3) {
		ch := startClickHouse(t, embedded.ClickHouseOptions{DataDir: dir})
		conn := connect(t, ch.NativeAddr, ch.Admin)
		if run == 0 {
			admin, reader = ch.Admin, ch.Reader
			exec1(t, conn, "CREATE DATABASE millrace", createTable)
		}
		if ch.Admin != admin || ch.Reader != reader {
			t.Fatal("the passwords changed")
		}
		exec1(t, conn, "INSERT INTO millrace.t SELECT number FROM numbers(1000)", "SYSTEM FLUSH LOGS")
		if got := count(t, conn, "SELECT count() FROM millrace.t"); got != 1000*(run+1) {
			t.Fatalf("run %d: %d rows, want %d", run, got, 1000*(run+1))
		}
		if count(t, conn, "SELECT count() FROM system.query_log") == 0 {
			t.Fatalf("run %d: system.query_log is empty", run)
		}
		if got := count(t, conn, "SELECT count() FROM system.tables WHERE database = 'system' AND name IN ('query_log', 'part_log') AND create_table_query LIKE '%TTL event_date + toIntervalDay(7)%'"); got == 0 {
			t.Fatalf("run %d: system log tables have no TTL", run)
		}
		conn.Close()
		if err := ch.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err, ok := <-ch.Exited(); ok || err != nil {
			t.Fatalf("run %d: Exited gave %v after Stop", run, err)
		}
		if !processGone(ch.PID()) {
			t.Fatalf("run %d: process %d still runs after Stop", run, ch.PID())
		}
	}
	log, err := os.ReadFile(filepath.Join(dir, "clickhouse", "log", "clickhouse.log"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(log), "already exists") {
		t.Fatalf("stale system tables:\n%s", log)
	}
}

func TestClickHouse_DiesWithItsParentAndKeepsData(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	parent, first := startParent(t, parentOptions{DataDir: dir, Native: "127.0.0.1:0", HTTP: "127.0.0.1:0"})
	conn := connect(t, first.Native, first.Admin)
	exec1(t, conn, "CREATE DATABASE millrace", createTable, "INSERT INTO millrace.t SELECT number FROM numbers(1000)")

	// A query that would hold up a clean shutdown.
	go func() {
		_ = conn.Exec(context.Background(), "SELECT sleepEachRow(3) FROM numbers(100) SETTINGS max_block_size = 1")
	}()
	kill9(t, parent)

	// The next one starts at once, on the same directory and ports.
	_, second := startParent(t, parentOptions{DataDir: dir, Native: first.Native, HTTP: first.HTTP})
	eventually(t, "the killed parent's ClickHouse is gone", func() bool { return processGone(first.ClickHousePID) })
	if second.Native != first.Native || second.HTTP != first.HTTP {
		t.Fatalf("serves on %s and %s, want %s and %s", second.Native, second.HTTP, first.Native, first.HTTP)
	}
	if got := count(t, connect(t, second.Native, second.Admin), "SELECT count() FROM millrace.t"); got != 1000 {
		t.Fatalf("%d rows after kill -9, want 1000", got)
	}
}

func TestClickHouse_TellsThatItWasKilledAndKeepsData(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ch := startClickHouse(t, embedded.ClickHouseOptions{DataDir: dir})
	exec1(t, connect(t, ch.NativeAddr, ch.Admin), "CREATE DATABASE millrace", createTable, "INSERT INTO millrace.t SELECT number FROM numbers(1000)")
	if err := syscall.Kill(ch.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-ch.Exited(); err == nil || !strings.Contains(err.Error(), "ClickHouse ended by itself") {
		t.Fatalf("Exited gave %v", err)
	}
	ch = startClickHouse(t, embedded.ClickHouseOptions{DataDir: dir})
	if got := count(t, connect(t, ch.NativeAddr, ch.Admin), "SELECT count() FROM millrace.t"); got != 1000 {
		t.Fatalf("%d rows after kill -9, want 1000", got)
	}
}

func TestClickHouse_IgnoresSignalsMeantForTheParent(t *testing.T) {
	t.Parallel()
	ch := startClickHouse(t, embedded.ClickHouseOptions{DataDir: t.TempDir(), HTTP: embedded.Off})
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := syscall.Kill(ch.PID(), signal); err != nil {
			t.Fatal(err)
		}
	}
	conn := connect(t, ch.NativeAddr, ch.Admin)
	if got := count(t, conn, "SELECT count() FROM system.numbers WHERE sleepEachRow(0.1) = 0 LIMIT 1 SETTINGS max_rows_to_read = 10, read_overflow_mode = 'break', max_block_size = 1"); got == 0 {
		t.Fatal("no rows")
	}
	if group, err := syscall.Getpgid(ch.PID()); err != nil || group != ch.PID() {
		t.Fatalf("process group %d (%v), want its own, %d", group, err, ch.PID())
	}
	if ch.HTTPAddr != "" {
		t.Fatalf("HTTP is off, yet it serves on %s", ch.HTTPAddr)
	}
}

func TestClickHouse_ServesTwoHosts(t *testing.T) {
	t.Parallel()
	f := func(native, http, wantNative, wantHTTP string) {
		t.Helper()
		t.Run(native+" and "+http, func(t *testing.T) {
			t.Parallel()
			ch := startClickHouse(t, embedded.ClickHouseOptions{DataDir: t.TempDir(), Native: native, HTTP: http})
			if !strings.HasPrefix(ch.NativeAddr, wantNative) || !strings.HasPrefix(ch.HTTPAddr, wantHTTP) {
				t.Fatalf("serves native on %s and HTTP on %s", ch.NativeAddr, ch.HTTPAddr)
			}
			if got := overHTTP(t, ch.HTTPAddr, &ch.Reader, "SELECT sum(number) FROM numbers(10)"); got != "45\n" {
				t.Errorf("HTTP gave %q", got)
			}
			conn := connect(t, ch.NativeAddr, ch.Reader)
			if got := count(t, conn, "SELECT sum(number) FROM numbers(10)"); got != 45 {
				t.Errorf("native gave %d", got)
			}
			began := time.Now()
			if err := ch.Stop(context.Background()); err != nil {
				t.Error(err)
			}
			t.Log("stop took", time.Since(began))
			if _, err := net.Dial("tcp", ch.HTTPAddr); err == nil {
				t.Error("HTTP is still served after Stop")
			}
		})
	}
	f(embedded.Off, "127.0.0.2:0", "127.0.0.1:", "127.0.0.2:")
	f("127.0.0.3:0", "127.0.0.2:0", "127.0.0.3:", "127.0.0.2:")
	f("127.0.0.2:0", "127.0.0.2:0", "127.0.0.2:", "127.0.0.2:")
}

func TestStartClickHouse_Failure(t *testing.T) {
	t.Parallel()
	ch := embeddedtest.ClickHouse(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	port := taken.Addr().String()

	f := func(name string, o embedded.ClickHouseOptions, want ...string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if o.DataDir == "" {
				o.DataDir = t.TempDir()
			}
			started, err := embedded.StartClickHouse(context.Background(), o)
			if err == nil {
				_ = started.Stop(context.Background())
				t.Fatal("no error")
			}
			for _, w := range want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("the error does not contain %q: %v", w, err)
				}
			}
		})
	}
	f("directory in use", embedded.ClickHouseOptions{DataDir: filepath.Dir(ch.ReaderFile)}, "process "+strconv.Itoa(os.Getpid()), "--data")
	f("native port taken", embedded.ClickHouseOptions{Native: port}, port, "--clickhouse-native")
	f("http port taken", embedded.ClickHouseOptions{HTTP: port}, port, "--clickhouse-http")
	f("no port", embedded.ClickHouseOptions{Native: "127.0.0.1"}, `"127.0.0.1"`, "--clickhouse-native", "HOST:PORT")
	f("bad port", embedded.ClickHouseOptions{HTTP: "127.0.0.1:99999"}, `"99999"`, "--clickhouse-http")
	f("bad host", embedded.ClickHouseOptions{HTTP: "no.such:1"}, `"no.such"`, "IP address")
	f("same port", embedded.ClickHouseOptions{Native: "127.0.0.1:7", HTTP: "127.0.0.1:7"}, "both")
	f("no library", embedded.ClickHouseOptions{Library: "/no/such/libchdb.so"}, `"/no/such/libchdb.so"`)
	f("bad database", embedded.ClickHouseOptions{Databases: []string{"a.b"}}, `"a.b"`)
	f("too little memory", embedded.ClickHouseOptions{MemoryBytes: 1000}, "1000 bytes")

	notALibrary := filepath.Join(t.TempDir(), "libchdb.so")
	if err := os.WriteFile(notALibrary, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	f("broken library", embedded.ClickHouseOptions{Library: notALibrary}, notALibrary)
}

func TestStartClickHouse_TakenPortIsTyped(t *testing.T) {
	t.Parallel()
	ch := embeddedtest.ClickHouse(t)
	_, err := embedded.StartClickHouse(context.Background(), embedded.ClickHouseOptions{DataDir: t.TempDir(), Native: ch.NativeAddr})
	var inUse *embedded.AddressInUseError
	if !errors.As(err, &inUse) || inUse.Listener != "clickhouse-native" || inUse.Address != ch.NativeAddr {
		t.Fatalf("got %v", err)
	}
}

func TestFindLibrary_SaysHowToInstallIt(t *testing.T) {
	t.Setenv(embedded.LibraryEnv, "")
	t.Chdir(t.TempDir())
	_, err := embedded.FindLibrary("")
	if !errors.Is(err, embedded.ErrNoLibrary) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"make libchdb", "Linux with glibc", "x86-64", embedded.LibraryEnv} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not contain %q: %v", want, err)
		}
	}
}

// overHTTP returns the answer's body, whatever its status. A nil user sends no
// credentials at all.
func overHTTP(t *testing.T, addr string, user *embedded.Credentials, query string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/", strings.NewReader(query))
	if err != nil {
		t.Fatal(err)
	}
	if user != nil {
		request.Header.Set("X-ClickHouse-User", user.User)
		request.Header.Set("X-ClickHouse-Key", user.Password)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
