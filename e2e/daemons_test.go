package e2e

import (
	"fmt"
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
	broker, err := embedded.StartBroker(embedded.BrokerOptions{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	membersComeAndGo(t, startSite(t, "brokers: ["+broker.Addr+"]"))
}

// site is the daemons over a Kafka: the ingester, and what transformers need.
type site struct {
	*process // the ingester, which knows the ClickHouse too
	config   string
	rest     string // of the configuration, but for kafka
}

// startSite starts a ClickHouse with its tables and the ingester; kafka is what
// the configuration says of it beside the members' times.
func startSite(t *testing.T, kafka string) *site {
	t.Helper()
	dir := t.TempDir()
	server := startServer(t, dir)
	s := &site{rest: fmt.Sprintf(`
listeners:
  - {name: in, address: "tcp://127.0.0.1:0"}
clickhouse: {addresses: ["%s"], username: "%s", password: "%s", insert_timeout: 5s}
http: {ingest: "127.0.0.1:0", transform: "127.0.0.1:0"}
`, server.NativeAddr, server.Admin.User, server.Admin.Password)}
	s.config = s.configured(t, kafka)
	for _, command := range []string{"apply", "check"} {
		if stdout, stderr, code := run(t, "schema", command, "--config", s.config); code != 0 {
			t.Fatalf("schema %s: exit code %d\n%s\n%s", command, code, stdout, stderr)
		}
	}
	s.process = start(t, "ingest", "--config", s.config)
	s.data, s.addr["clickhouse_http"] = dir, server.HTTPAddr
	s.waitReady()
	return s
}

// configured writes a configuration of the site.
func (s *site) configured(t *testing.T, kafka string) (file string) {
	t.Helper()
	return write(t, filepath.Join(t.TempDir(), "daemons.yaml"), s.rest+
		"kafka: {session_timeout: 12s, rebalance_timeout: 8s, heartbeat_interval: 500ms, "+kafka+"}\n")
}

// transformer starts a member of the group.
func (s *site) transformer() *process {
	s.t.Helper()
	p := start(s.t, "transform", "--config", s.config)
	p.waitReady()
	return p
}

// share is how many partitions a transformer has.
func (p *process) share() int { return p.samples("millrace_consumer_lag") }

// arrived waits until all that was sent is in ClickHouse. The sender's connection
// is closed, so that it is received in a moment.
func (s *site) arrived(sent int) {
	s.t.Helper()
	until(s.t, "all is published", func() bool { return s.published() == sent }, func() string { return fmt.Sprint(s.published(), " of ", sent) })
	s.eventually(fmt.Sprint(sent), "SELECT (SELECT count() FROM message_events) + (SELECT count() FROM status_events)")
}

func membersComeAndGo(t *testing.T, ingest *site) {
	t.Helper()
	first, second := ingest.transformer(), ingest.transformer()
	until(t, "both have partitions", func() bool { a, b := first.share(), second.share(); return a+b == partitions && a > 0 && b > 0 },
		func() string { return fmt.Sprint(first.share(), second.share()) })

	s := startPaced(t, ingest.addr["syslog_tcp"], 1_000_000, 5*time.Millisecond)
	ingest.grown(3000)
	first.signal(syscall.SIGKILL)
	ingest.grown(3000)
	until(t, "the other has all partitions", func() bool { return second.share() == partitions }, func() string { return fmt.Sprint(second.share()) })
	third := ingest.transformer()
	ingest.grown(3000)
	if code := second.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("transform: exit code %d after SIGTERM", code)
	}
	ingest.grown(3000)
	ingest.arrived(s.end())
	ingest.checkPlaces()
	ingest.checkAccount("in")
	for _, p := range []*process{ingest.process, third} {
		if code := p.signal(syscall.SIGTERM); code != 0 {
			t.Errorf("%s: exit code %d after SIGTERM", p.cmd.Args[1], code)
		}
	}
}

// samples is how many samples a metric has: how many label sets.
func (p *process) samples(name string) int {
	p.t.Helper()
	body, _ := p.get("/metrics")
	return strings.Count(body, "\n"+name+"{")
}
