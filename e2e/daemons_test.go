package e2e

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

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
	server   *embedded.ClickHouse
	config   string
	rest     string // of the configuration, but for kafka
}

// startSite starts a ClickHouse with its tables and the ingester; kafka is what
// the configuration says of it beside the members' times.
func startSite(t *testing.T, kafka string) *site {
	t.Helper()
	return siteOptions{kafka: memberTimes + kafka, clickHouse: "insert_timeout: 5s"}.start(t)
}

// memberTimes are those of members that need not be quick to notice each other's end.
const memberTimes = "session_timeout: 12s, rebalance_timeout: 8s, heartbeat_interval: 500ms, "

// siteOptions are what a site has of its own.
type siteOptions struct {
	kafka, clickHouse string                      // of these sections
	sections          string                      // more of them
	data              string                      // ClickHouse's directory; empty: one of the test
	front             func(address string) string // what stands before ClickHouse's native port
}

func (o siteOptions) start(t *testing.T) *site {
	t.Helper()
	dir := o.data
	if dir == "" {
		dir = t.TempDir()
	}
	server := startServer(t, dir)
	address := server.NativeAddr
	if o.front != nil {
		address = o.front(address)
	}
	s := &site{server: server, rest: fmt.Sprintf(`
listeners:
  - {name: in, address: "tcp://127.0.0.1:0"}
clickhouse: {addresses: ["%s"], username: "%s", password: "%s", %s}
http: {ingest: "127.0.0.1:0", transform: "127.0.0.1:0"}
%s`, address, server.Admin.User, server.Admin.Password, o.clickHouse, o.sections)}
	s.config = s.written(t, o.kafka)
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
	return s.written(t, memberTimes+kafka)
}

func (s *site) written(t *testing.T, kafka string) (file string) {
	t.Helper()
	return write(t, filepath.Join(t.TempDir(), "daemons.yaml"), s.rest+"kafka: {"+kafka+"}\n")
}

// exec is a statement of ClickHouse's administrator.
func (s *site) exec(sql string) {
	s.t.Helper()
	conn, err := clickhouse.Open(&clickhouse.Options{
		Addr: []string{s.server.NativeAddr}, Auth: clickhouse.Auth{Database: "millrace", Username: s.server.Admin.User, Password: s.server.Admin.Password},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec(s.t.Context(), sql); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

// once fails unless each of so many events that were sent, and of the records that are no
// events, is in ClickHouse, and once: by the senders' own numbers and by the places in Kafka.
func (s *site) once(sent, bad int) {
	s.t.Helper()
	until(s.t, "all is published", func() bool { return s.published() == sent }, func() string { return fmt.Sprint(s.published(), " of ", sent) })
	places := 0
	until(s.t, "all is in ClickHouse", func() bool {
		got, err := s.tryQuery(`SELECT uniqExact(k_topic, k_epoch, k_part, k_off) FROM (
			SELECT k_topic, k_epoch, k_part, k_off FROM message_events
			UNION ALL SELECT k_topic, k_epoch, k_part, k_off FROM status_events
			UNION ALL SELECT k_topic, k_epoch, k_part, k_off FROM rejects)`)
		if err == nil && len(got) == 1 {
			places, _ = strconv.Atoi(got[0][0])
		}
		return places >= sent+bad
	}, func() string { return fmt.Sprint(places, " of ", sent+bad) })
	count := func(column string) (n int) {
		for _, table := range []string{"message_events", "status_events"} {
			n += s.count("SELECT " + column + " FROM " + table)
		}
		return n
	}
	distinct := count("uniqExact(id)")
	missing, doubled := sent-distinct, count("count()")-distinct
	s.t.Logf("%d events that were sent: missing=%d doubled=%d", sent, missing, doubled)
	if missing != 0 || doubled != 0 {
		s.t.Error("by the senders' numbers it is not exactly once")
	}
	if n := s.checkPlaces(); n != sent+bad {
		s.t.Errorf("%d rows are there", n)
	}
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
