package embedded_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/internal/embedded"
	"millrace/internal/embedded/embeddedtest"
)

func TestMain(m *testing.M) {
	embedded.RunChildIfAsked()
	if os.Getenv(parentEnv) != "" {
		runParent()
	}
	os.Exit(embeddedtest.Main(m))
}

// parentEnv makes the test binary a parent that a test can kill.
const parentEnv = "MILLRACE_TEST_PARENT"

type parentOptions struct {
	DataDir, Native, HTTP, Kafka string
	Topics                       map[string]int
}

type parentState struct {
	Error                     string
	Native, HTTP, Kafka       string
	Admin, Reader             embedded.Credentials
	ClickHousePID, BrokerSize int
}

// runParent starts what its environment says, tells where, and waits to be
// killed.
func runParent() {
	var o parentOptions
	err := json.Unmarshal([]byte(os.Getenv(parentEnv)), &o)
	var state parentState
	if err == nil && o.Kafka != "" {
		var broker *embedded.Broker
		broker, err = embedded.StartBroker(embedded.BrokerOptions{DataDir: o.DataDir, Address: o.Kafka, Topics: o.Topics})
		if err == nil {
			state.Kafka = broker.Addr
		}
	}
	if err == nil && o.Native != "" {
		var ch *embedded.ClickHouse
		ch, err = embedded.StartClickHouse(context.Background(), embedded.ClickHouseOptions{
			DataDir: o.DataDir, Native: o.Native, HTTP: o.HTTP, MemoryBytes: 1 << 30,
		})
		if err == nil {
			state.Native, state.HTTP, state.Admin, state.Reader, state.ClickHousePID = ch.NativeAddr, ch.HTTPAddr, ch.Admin, ch.Reader, ch.PID()
		}
	}
	if err != nil {
		state.Error = err.Error()
	}
	_ = json.NewEncoder(os.Stdout).Encode(state)
	select {}
}

// startParent returns a running parent and what it told.
func startParent(t *testing.T, o parentOptions) (*exec.Cmd, parentState) {
	t.Helper()
	options, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), parentEnv+"="+string(options))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatalf("the parent said nothing: %v", err)
	}
	var state parentState
	if err := json.Unmarshal(line, &state); err != nil {
		t.Fatalf("the parent said %q: %v", line, err)
	}
	if state.Error != "" {
		t.Fatal(state.Error)
	}
	return cmd, state
}

// kill9 kills the parent and waits for it alone, not for its child.
func kill9(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_, _ = cmd.Process.Wait()
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// processGone says that no process, or only a dead one not yet waited for, has
// the id.
func processGone(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}

func startClickHouse(t *testing.T, o embedded.ClickHouseOptions) *embedded.ClickHouse {
	t.Helper()
	o.MemoryBytes = 1 << 30
	ch, err := embedded.StartClickHouse(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = ch.Stop(ctx)
	})
	return ch
}

func connect(t *testing.T, addr string, c embedded.Credentials) clickhouse.Conn {
	t.Helper()
	conn, err := clickhouse.Open(&clickhouse.Options{
		Addr: []string{addr}, Auth: clickhouse.Auth{Username: c.User, Password: c.Password},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func exec1(t *testing.T, conn clickhouse.Conn, queries ...string) {
	t.Helper()
	for _, q := range queries {
		if err := conn.Exec(context.Background(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

func count(t *testing.T, conn clickhouse.Conn, query string) uint64 {
	t.Helper()
	var n uint64
	if err := conn.QueryRow(context.Background(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}
