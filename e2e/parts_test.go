package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestParts: little traffic over 64 partitions makes no more inserts than over one. An
// insert is of one partition, and waits transform.block_age (1 s) for more rows.
func TestParts(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "parts.yaml")
	if err := os.WriteFile(config, []byte("kafka: {partitions: 64}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := up(t, t.TempDir(), "--config", config)
	const events = 2000
	began := time.Now()
	stdout, stderr, code := run(t, "generate", "--to", "tcp://"+p.addr["syslog_tcp"], "--count", fmt.Sprint(events), "--rate", "400", "--wait-published", "http://"+p.addr["http"])
	if code != 0 {
		t.Fatalf("generate: exit code %d\n%s\n%s", code, stdout, stderr)
	}
	until(t, "all is inserted", func() bool { return p.metric("millrace_rows_inserted_total") == events },
		func() string { return fmt.Sprint(p.metric("millrace_rows_inserted_total")) })
	seconds := time.Since(began).Seconds()
	// Two tables, each with an insert a second, and some more where a partition whose
	// broker took long was passed over.
	if n := p.metric("millrace_inserts_total"); n > 3*(seconds+2) {
		t.Errorf("%v inserts in %.1f s", n, seconds)
	}
	if n := p.count("SELECT uniqExact(k_part) FROM message_events"); n > 3 {
		t.Errorf("%d events are in %d partitions", events, n)
	}
}
