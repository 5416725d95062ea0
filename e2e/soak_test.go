package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"millrace/internal/embedded"
)

// minutes is how long a test shall run: the number in the environment variable,
// or short without one.
func minutes(t *testing.T, variable string, short time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return short
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n <= 0 {
		t.Fatalf("%s=%q is not a number of minutes", variable, text)
	}
	return time.Duration(n * float64(time.Minute))
}

// TestSoak runs the two daemons, each a process of its own, under steady traffic
// with a fault every second, over a Kafka and a ClickHouse that are not measured:
// memory, goroutines and descriptors are flat, the accounts close, everything sent
// over TCP is in ClickHouse once. MILLRACE_SOAK_MINUTES makes it long.
//
// Flat means behind a warm-up: buffers are made when they are first needed and
// kept, so the first thing that happens is that Kafka stalls until all are full.
func TestSoak(t *testing.T) {
	t.Parallel()
	lasts := minutes(t, "MILLRACE_SOAK_MINUTES", time.Minute)
	dir := t.TempDir()
	network := &troubledNetwork{conns: map[net.Conn]bool{}}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(brokers), kfake.ListenFn(network.listen),
		kfake.BrokerConfigs(map[string]string{"log.retention.ms": "300000", "group.min.session.timeout.ms": "1000"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	server := startServer(t, dir)
	config := filepath.Join(dir, "soak.yaml")
	addresses := map[string]string{}
	text := soakListeners(t, addresses)
	text += fmt.Sprintf(`
kafka: {brokers: ["%s"], buffer_bytes: 16MiB, session_timeout: 12s, rebalance_timeout: 8s, heartbeat_interval: 500ms}
clickhouse: {addresses: ["%s"], username: "%s", password: "%s", insert_timeout: 5s}
http: {ingest: "127.0.0.1:0", transform: "127.0.0.1:0"}
`, strings.Join(cluster.ListenAddrs(), `", "`), server.NativeAddr, server.Admin.User, server.Admin.Password)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, code := run(t, "schema", "apply", "--config", config); code != 0 {
		t.Fatalf("schema apply: exit code %d\n%s\n%s", code, stdout, stderr)
	}
	ingest := start(t, "ingest", "--config", config)
	ingest.data, ingest.addr["clickhouse_http"] = dir, server.HTTPAddr
	ingest.waitReady()
	transform := start(t, "transform", "--config", config)
	transform.waitReady()
	until(t, "the transformer has all partitions", func() bool { return transform.samples("millrace_consumer_lag") == partitions },
		func() string { return fmt.Sprint(transform.samples("millrace_consumer_lag")) })

	before := map[*process]usage{ingest: ingest.usage(), transform: transform.usage()}
	const warmUp = 60_000
	network.stall(time.Hour)
	first := start(t, "generate", "--to", "tcp://"+addresses["warm-tcp"], "--count", strconv.Itoa(warmUp), "--connections", "4", "--format", "mixed")
	until(t, "the buffers are full", func() bool { return ingest.fullOfRecords() }, func() string { return fmt.Sprint(ingest.metric("millrace_publish_buffered_bytes")) })
	network.stall(0)
	if n := first.generated(); n != warmUp {
		t.Fatalf("%d frames are sent, want %d", n, warmUp)
	}

	warm := lasts / 3
	steady := steadyTraffic(t, addresses, warm+lasts)
	seed := uint64(time.Now().UnixNano())
	x := &troubles{t: t, r: rand.New(rand.NewPCG(seed, 0)), cluster: cluster, network: network, clickhouse: processIn(t, dir),
		ingest: ingest, torn: addresses["torn-tcp"], garbage: map[string]string{"tcp": addresses["garbage-tcp"], "udp": addresses["garbage-udp"]}}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { defer close(stopped); x.run(stop) }()
	observe(t, warm, lasts, map[*process]int{ingest: 2 * brokers, transform: partitions})
	close(stop)
	<-stopped
	t.Logf("seed %d: %v", seed, x.did)

	for _, g := range steady {
		g.generated()
	}
	until(t, "all is in ClickHouse", func() bool {
		return transform.samples("millrace_consumer_lag") == partitions && ingest.metric("millrace_frames_in_flight") == 0 && transform.metric("millrace_consumer_lag") == 0
	}, func() string {
		return fmt.Sprintf("in flight %v, lag %v", ingest.metric("millrace_frames_in_flight"), transform.metric("millrace_consumer_lag"))
	})
	ingest.checkSoak(addresses, steady, x)
	if n := ingest.count("SELECT (SELECT count() FROM message_events WHERE listener = 'warm-tcp') + (SELECT count() FROM status_events WHERE listener = 'warm-tcp')"); n != warmUp {
		t.Errorf("%d events were sent before all, and %d are in ClickHouse", warmUp, n)
	}
	if n := ingest.metric("millrace_publish_possible_duplicates_total"); n != 0 {
		t.Errorf("%v possible duplicates, and no broker forgot the producer", n)
	}
	ingest.checkPlaces()
	for p, first := range before {
		until(t, p.cmd.Args[1]+" has closed what it opened", func() bool {
			u := p.usage()
			return u.descriptors <= first.descriptors+2*brokers && u.goroutines <= first.goroutines+4*brokers
		}, func() string { return fmt.Sprintf("%+v at first, %+v now", first, p.usage()) })
		t.Logf("%s: %+v at first, %+v at the end", p.cmd.Args[1], first, p.usage())
		if code := p.signal(syscall.SIGTERM); code != 0 {
			t.Errorf("exit code %d after SIGTERM", code)
		}
	}
}

// TestSoak_Up is the same for the trial stack, the broker in its process included,
// as far as its parts can be troubled from outside.
func TestSoak_Up(t *testing.T) {
	t.Parallel()
	lasts := minutes(t, "MILLRACE_SOAK_MINUTES", time.Minute)
	dir := t.TempDir()
	config := filepath.Join(dir, "soak.yaml")
	addresses := map[string]string{}
	text := soakListeners(t, addresses) + "kafka: {buffer_bytes: 16MiB}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	p := start(t, "up", "--config", config, "--data", data, "--kafka", "127.0.0.1:0", "--clickhouse-native", "127.0.0.1:0", "--clickhouse-http", "127.0.0.1:0", "--http", "127.0.0.1:0")
	p.data = data
	p.waitReady()
	warm := lasts / 3
	if first := start(t, "generate", "--to", "tcp://"+addresses["warm-tcp"], "--count", "60000", "--connections", "4", "--format", "mixed"); first.generated() != 60_000 {
		t.Fatal("the generator did not send all")
	}
	steady := steadyTraffic(t, addresses, warm+lasts)
	seed := uint64(time.Now().UnixNano())
	x := &troubles{t: t, r: rand.New(rand.NewPCG(seed, 0)), clickhouse: p.child(),
		ingest: p, torn: addresses["torn-tcp"], garbage: map[string]string{"tcp": addresses["garbage-tcp"], "udp": addresses["garbage-udp"]}}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { defer close(stopped); x.run(stop) }()
	observe(t, warm, lasts, map[*process]int{p: partitions})
	close(stop)
	<-stopped
	t.Logf("seed %d: %v", seed, x.did)
	for _, g := range steady {
		g.generated()
	}
	p.caughtUp()
	p.checkSoak(addresses, steady, x)
	p.checkPlaces()
	if code := p.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
}

// soakListeners are the lines of the configuration that name a soak's listeners,
// whose addresses it notes.
func soakListeners(t *testing.T, addresses map[string]string) string {
	t.Helper()
	text := "listeners:\n"
	for _, name := range []string{"steady-tcp", "steady-udp", "torn-tcp", "warm-tcp", "garbage-tcp", "garbage-udp"} {
		kind := name[len(name)-3:]
		addresses[name] = fmt.Sprintf("127.0.0.1:%d", freePort(t, kind))
		framing := ""
		if name == "torn-tcp" {
			framing = ", framing: nul"
		}
		text += fmt.Sprintf("  - {name: %s, address: '%s://%s'%s}\n", name, kind, addresses[name], framing)
	}
	return text
}

// steadyTraffic is good traffic for so long, by network.
func steadyTraffic(t *testing.T, addresses map[string]string, lasts time.Duration) map[string]*process {
	t.Helper()
	traffic := map[string]*process{}
	for network, rate := range map[string]int{"tcp": 2000, "udp": 500} {
		traffic[network] = start(t, "generate", "--to", network+"://"+addresses["steady-"+network], "--rate", strconv.Itoa(rate),
			"--count", strconv.Itoa(int(float64(rate)*lasts.Seconds())), "--connections", "4", "--format", "mixed", "--seed", "11")
	}
	return traffic
}

// checkSoak compares what was sent with what is in ClickHouse and in the accounts.
func (p *process) checkSoak(addresses map[string]string, steady map[string]*process, x *troubles) {
	p.t.Helper()
	for name := range addresses {
		p.checkAccount(name)
	}
	rows := func(listener string) int {
		return p.count(fmt.Sprintf("SELECT (SELECT count() FROM message_events WHERE listener = '%[1]s') + (SELECT count() FROM status_events WHERE listener = '%[1]s')", listener))
	}
	for _, network := range []string{"tcp", "udp"} {
		sent, n := steady[network].generated(), rows("steady-"+network)
		lost := int(p.metric("millrace_frames_dropped_total", `listener="steady-`+network+`"`))
		if n+lost != sent || n == 0 || network == "tcp" && lost != 0 {
			p.t.Errorf("%d events were sent over %s, %d are in ClickHouse and %d are counted as dropped", sent, network, n, lost)
		}
	}
	if n := rows("torn-tcp"); n != x.whole || x.whole == 0 {
		p.t.Errorf("%d frames were sent before connections that broke off, and %d are in ClickHouse", x.whole, n)
	}
	kept, limited := p.count("SELECT count() FROM rejects WHERE listener = 'torn-tcp'"), int(p.metric("millrace_frames_dropped_total", `listener="torn-tcp"`))
	if kept+limited != x.cut {
		p.t.Errorf("%d frames were cut, %d are rejects and %d counted as dropped", x.cut, kept, limited)
	}
	if n := p.count("SELECT count() FROM rejects WHERE listener LIKE 'steady%'"); n != 0 {
		p.t.Errorf("%d rejects of good traffic: %q", n, p.query("SELECT reason, detail, raw FROM rejects WHERE listener LIKE 'steady%' LIMIT 3"))
	}
}

// usage is what a process needs at one moment.
type usage struct{ memory, heap, goroutines, descriptors float64 }

// observe looks at processes for the time of a soak, after a time in which they
// warm up: the median of each measure in the last third must be within a tenth of
// that in the first. Each process comes with how many connections to Kafka may be
// open or not, as chance has it: a stall makes kafka-go open some, which it keeps
// for 30 s. Goroutines and descriptors may differ by them; whether they have come
// back in the end is looked at then.
func observe(t *testing.T, warm, lasts time.Duration, processes map[*process]int) {
	t.Helper()
	seen := map[*process][]usage{}
	for begin := time.Now(); time.Since(begin) < warm+lasts; time.Sleep(250 * time.Millisecond) {
		for p := range processes {
			if u := p.usage(); time.Since(begin) > warm {
				seen[p] = append(seen[p], u)
			}
		}
	}
	for p, connections := range processes {
		f := func(what string, more int, of func(usage) float64) {
			third := len(seen[p]) / 3
			var medians [3]float64
			for n := range medians {
				var values []float64
				for _, u := range seen[p][n*third : (n+1)*third] {
					values = append(values, of(u))
				}
				slices.Sort(values)
				medians[n] = values[len(values)/2]
			}
			t.Logf("%s: %s %.1f %.1f %.1f, by thirds", p.cmd.Args[1], what, medians[0], medians[1], medians[2])
			if first, last := medians[0], medians[2]; last > max(first*1.1, first+float64(more)) {
				t.Errorf("%s: %s grew from %.1f to %.1f", p.cmd.Args[1], what, first, last)
			}
		}
		f("MiB of memory", 0, func(u usage) float64 { return u.memory })
		f("MiB of heap", 0, func(u usage) float64 { return u.heap })
		f("goroutines", connections, func(u usage) float64 { return u.goroutines })
		f("descriptors", connections, func(u usage) float64 { return u.descriptors })
	}
}

// usage reads it in one scrape, for a scrape costs the process memory too, and
// behind a garbage collection: with the little garbage that the daemons make the
// next one may be minutes away, and their memory rises until then.
func (p *process) usage() usage {
	p.t.Helper()
	if _, code := p.get("/debug/pprof/heap?gc=1"); code != 200 {
		p.t.Fatalf("/debug/pprof/heap answers %d", code)
	}
	body, _ := p.get("/metrics")
	value := func(name string) float64 {
		_, rest, _ := strings.Cut(body, "\n"+name+" ")
		text, _, _ := strings.Cut(rest, "\n")
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			p.t.Fatalf("%s: %v", name, err)
		}
		return v
	}
	return usage{value("process_resident_memory_bytes") / (1 << 20), value("go_memstats_heap_inuse_bytes") / (1 << 20), value("go_goroutines"), value("process_open_fds")}
}

// fullOfRecords: TCP leaves an eighth of the buffers to datagrams.
func (p *process) fullOfRecords() bool {
	p.t.Helper()
	return p.metric("millrace_publish_buffered_bytes") >= p.metric("millrace_publish_buffer_limit_bytes")*3/4
}

// generated waits for the end of a generator and returns how many events it sent.
func (p *process) generated() (sent int) {
	p.t.Helper()
	if code := p.wait(); code != 0 {
		p.t.Fatalf("generate: exit code %d\n%s", code, p.text())
	}
	for _, m := range regexp.MustCompile(`(?m)^\s*(message|status)\s+(\d+)`).FindAllStringSubmatch(p.text(), -1) {
		n, _ := strconv.Atoi(m[2])
		sent += n
	}
	return sent
}

// startServer starts a ClickHouse as a child of this process.
func startServer(t *testing.T, dir string) *embedded.ClickHouse {
	t.Helper()
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
	return server
}

// checkAccount fails unless all that a listener received comes to be accounted for,
// with nothing in flight. It reads one page at a time: a sender may still be at work.
func (p *process) checkAccount(listener string) {
	p.t.Helper()
	account := func() (received, ended, flying float64) {
		body, _ := p.get("/metrics")
		label := `listener="` + listener + `"`
		sum := func(name string) float64 { return sumOf(p.t, body, name, label) }
		return sum("millrace_frames_received_total"),
			sum("millrace_frames_published_total") + sum("millrace_frames_rejected_total") + sum("millrace_frames_dropped_total"),
			sum("millrace_frames_in_flight")
	}
	until(p.t, listener+": the account closes", func() bool {
		received, ended, flying := account()
		return received == ended && flying == 0 && received > 0
	}, func() string {
		received, ended, flying := account()
		return fmt.Sprintf("received %v, published, rejected and dropped %v, in flight %v", received, ended, flying)
	})
}

// rows is the number of rows in all tables.
func (p *process) rows() int {
	p.t.Helper()
	return p.count("SELECT (SELECT count() FROM message_events) + (SELECT count() FROM status_events) + (SELECT count() FROM rejects)")
}

// grown waits until so many more rows are in ClickHouse.
func (p *process) grown(by int) {
	p.t.Helper()
	const sql = "SELECT (SELECT count() FROM message_events) + (SELECT count() FROM status_events)"
	read := func() int {
		rows, err := p.tryQuery(sql)
		if err != nil || len(rows) != 1 {
			return -1
		}
		n, _ := strconv.Atoi(strings.TrimSpace(rows[0][0]))
		return n
	}
	before := -1
	until(p.t, fmt.Sprintf("%d more rows", by), func() bool {
		now := read()
		if before < 0 {
			before = now
		}
		return before >= 0 && now >= before+by
	}, func() string { return fmt.Sprintf("%d rows at first, %d now", before, read()) })
}
