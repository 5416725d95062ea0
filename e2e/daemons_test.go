package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"millrace/internal/embedded"
)

// TestDaemons runs the daemons as processes of their own over a Kafka and a
// ClickHouse that none of them started, with two transformers in one group, of
// which one is killed in mid traffic: nothing is missing, nothing is there twice.
func TestDaemons(t *testing.T) {
	// Not parallel: five processes and the broker of this one fill the machine.
	dir := t.TempDir()
	broker, err := embedded.StartBroker(embedded.BrokerOptions{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	server, err := embedded.StartClickHouse(t.Context(), embedded.ClickHouseOptions{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	config := filepath.Join(dir, "daemons.yaml")
	text := fmt.Sprintf(`
listeners:
  - {name: in, address: "tcp://127.0.0.1:0"}
kafka: {brokers: ["%s"], session_timeout: 12s, rebalance_timeout: 8s, heartbeat_interval: 500ms}
clickhouse: {addresses: ["%s"], username: "%s", password: "%s", insert_timeout: 5s}
http: {ingest: "127.0.0.1:0", transform: "127.0.0.1:0"}
`, broker.Addr, server.NativeAddr, server.Admin.User, server.Admin.Password)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, code := run(t, "schema", "apply", "--config", config); code != 0 {
		t.Fatalf("schema apply: exit code %d\n%s\n%s", code, stdout, stderr)
	}
	if stdout, stderr, code := run(t, "schema", "check", "--config", config); code != 0 {
		t.Fatalf("schema check: exit code %d\n%s\n%s", code, stdout, stderr)
	}
	ingest := start(t, "ingest", "--config", config)
	ingest.data, ingest.addr["clickhouse_http"] = dir, server.HTTPAddr
	ingest.waitReady()
	lags := func(p *process) int { return p.samples("millrace_consumer_lag") }
	first := start(t, "transform", "--config", config)
	first.waitReady()
	second := start(t, "transform", "--config", config)
	second.waitReady()
	until(t, "both have partitions", func() bool { a, b := lags(first), lags(second); return a+b == partitions && a > 0 && b > 0 },
		func() string { return fmt.Sprint(lags(first), lags(second)) })

	s := startPaced(t, ingest.addr["syslog_tcp"], 1_000_000, 5*time.Millisecond)
	ingest.grown(3000)
	first.signal(syscall.SIGKILL)
	ingest.grown(3000)
	until(t, "the other has all partitions", func() bool { return lags(second) == partitions }, func() string { return fmt.Sprint(lags(second)) })
	third := start(t, "transform", "--config", config)
	third.waitReady()
	ingest.grown(3000)
	if code := second.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("transform: exit code %d after SIGTERM", code)
	}
	ingest.grown(3000)
	sent := s.end()

	// The connection is closed, so everything sent is received in a moment.
	until(t, "all is published", func() bool { return ingest.published() == sent }, func() string { return fmt.Sprint(ingest.published(), " of ", sent) })
	ingest.eventually(fmt.Sprint(sent), "SELECT (SELECT count() FROM message_events) + (SELECT count() FROM status_events)")
	ingest.checkPlaces()
	ingest.checkAccount("in")
	if code := ingest.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("ingest: exit code %d after SIGTERM", code)
	}
	if code := third.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("transform: exit code %d after SIGTERM", code)
	}
}

// samples is how many samples a metric has: how many label sets.
func (p *process) samples(name string) int {
	p.t.Helper()
	body, _ := p.get("/metrics")
	return strings.Count(body, "\n"+name+"{")
}
