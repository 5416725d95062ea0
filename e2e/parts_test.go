package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestParts: traffic at a middle rate over 64 partitions makes a few inserts a second and
// not one for each partition, whose parts ClickHouse would have to merge. An insert is of
// one partition, and waits transform.block_age (1 s) for more rows; what decides is how
// many partitions get something within that time.
func TestParts(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "parts.yaml")
	if err := os.WriteFile(config, []byte("kafka: {partitions: 64}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := up(t, t.TempDir(), "--config", config)
	const events = 60_000
	began := time.Now()
	stdout, stderr, code := run(t, "generate", "--to", "tcp://"+p.addr["syslog_tcp"], "--count", fmt.Sprint(events), "--rate", "15000", "--wait-published", "http://"+p.addr["http"])
	if code != 0 {
		t.Fatalf("generate: exit code %d\n%s\n%s", code, stdout, stderr)
	}
	until(t, "all is inserted", func() bool { return p.metric("millrace_rows_inserted_total") == events },
		func() string { return fmt.Sprint(p.metric("millrace_rows_inserted_total")) })
	// Two tables, each with an insert a second, and more where a partition that has yet to
	// acknowledge was passed over.
	seconds := time.Since(began).Seconds()
	inserts := p.metric("millrace_inserts_total")
	t.Logf("%v inserts in %.1f s; %d partitions of message_events", inserts, seconds, p.count("SELECT uniqExact(k_part) FROM message_events"))
	if inserts > 3*seconds {
		t.Errorf("%v inserts in %.1f s", inserts, seconds)
	}
}
