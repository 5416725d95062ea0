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
	"millrace/internal/porttest"
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

// warmTime is enough for each trouble to have been, most of them several times: there are
// some thirteen, one a second, as chance has it.
const warmTime = 45 * time.Second

// TestSoak runs the two daemons, each a process of its own, under steady traffic
// with a fault every second, over a Kafka and a ClickHouse that are not measured:
// memory, goroutines and descriptors are flat, the accounts close, everything sent
// over TCP is in ClickHouse once. MILLRACE_SOAK_MINUTES makes it long.
//
// Flat means behind a warm-up: buffers are made when they are first needed and
// kept, so the first thing that happens is that Kafka stalls until all are full; and
// partitions change often, so that the warm-up has had them all.
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
	addresses, certificates := map[string]string{}, newSoakCertificates(t)
	text := soakListeners(t, addresses, certificates)
	text += fmt.Sprintf(`
kafka: {brokers: ["%s"], buffer_bytes: 16MiB, sticky_bytes: 1MiB, session_timeout: 12s, rebalance_timeout: 8s, heartbeat_interval: 500ms}
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

	kafka := append(cluster.ListenAddrs(), server.NativeAddr)
	before := map[*process]usage{ingest: ingest.usage(kafka...), transform: transform.usage(kafka...)}
	const warmUp = 60_000
	network.stall(time.Hour)
	first := start(t, "generate", "--to", "tcp://"+addresses["warm-tcp"], "--count", strconv.Itoa(warmUp), "--connections", "4", "--format", "mixed")
	until(t, "the buffers are full", func() bool { return ingest.fullOfRecords() }, func() string { return fmt.Sprint(ingest.metric("millrace_publish_buffered_bytes")) })
	network.stall(0)
	if n := first.generated(); n != warmUp {
		t.Fatalf("%d frames are sent, want %d", n, warmUp)
	}

	warm := max(lasts/3, warmTime)
	steady := steadyTraffic(t, addresses, certificates, warm+lasts)
	seed := uint64(time.Now().UnixNano())
	x := &troubles{t: t, r: rand.New(rand.NewPCG(seed, 0)), cluster: cluster, network: network, clickhouse: processIn(t, dir),
		ingest: ingest, addresses: addresses, certificates: certificates}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { defer close(stopped); x.run(stop) }()
	observe(t, warm, lasts, kafka, ingest, transform)
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
		p.backAt(first, kafka)
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
	addresses, certificates := map[string]string{}, newSoakCertificates(t)
	text := soakListeners(t, addresses, certificates) + "kafka: {buffer_bytes: 16MiB, sticky_bytes: 1MiB}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	p := start(t, "up", "--config", config, "--data", data, "--kafka", "127.0.0.1:0", "--clickhouse-native", "127.0.0.1:0", "--clickhouse-http", "127.0.0.1:0", "--http", "127.0.0.1:0", "--api", "127.0.0.1:0")
	p.data = data
	p.waitReady()
	kafka := []string{p.addr["kafka"], p.addr["clickhouse_native"]}
	warm := max(lasts/3, warmTime)
	if first := start(t, "generate", "--to", "tcp://"+addresses["warm-tcp"], "--count", "60000", "--connections", "4", "--format", "mixed"); first.generated() != 60_000 {
		t.Fatal("the generator did not send all")
	}
	p.caughtUp()
	before := p.usage(kafka...)
	steady := steadyTraffic(t, addresses, certificates, warm+lasts)
	seed := uint64(time.Now().UnixNano())
	x := &troubles{t: t, r: rand.New(rand.NewPCG(seed, 0)), clickhouse: p.child(),
		ingest: p, addresses: addresses, certificates: certificates}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { defer close(stopped); x.run(stop) }()
	observe(t, warm, lasts, kafka, p)
	close(stop)
	<-stopped
	t.Logf("seed %d: %v", seed, x.did)
	for _, g := range steady {
		g.generated()
	}
	p.caughtUp()
	p.checkSoak(addresses, steady, x)
	p.checkPlaces()
	p.backAt(before, kafka)
	if code := p.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
}

// soakListeners are the lines of the configuration that name a soak's listeners,
// whose addresses it notes.
func soakListeners(t *testing.T, addresses map[string]string, certificates *soakCertificates) string {
	t.Helper()
	text := "listeners:\n"
	// A reader of a socket has memory for a batch of the longest datagrams, 4 MiB with the
	// default max_frame, of which the kernel gives a page when a long one first needs it.
	const datagrams = ", max_frame: 4KiB"
	for _, l := range []struct{ name, network, keys string }{
		{"steady-tcp", "tcp", ""}, {"steady-udp", "udp", datagrams}, {"steady-tls", "tls", ""}, {"steady-relp", "relp", ""}, {"steady-local", "unixgram", ""},
		{"torn-tcp", "tcp", ", framing: nul"}, {"torn-tls", "tls", ", framing: nul"}, {"torn-relp", "relp", ""},
		{"garbage-tcp", "tcp", ""}, {"garbage-udp", "udp", datagrams}, {"garbage-local", "unixgram", ""},
		{"warm-tcp", "tcp", ""},
	} {
		switch l.network {
		case "unixgram":
			addresses[l.name] = filepath.Join(t.TempDir(), "log")
		case "udp":
			addresses[l.name] = porttest.UDP(t)
		default:
			addresses[l.name] = porttest.TCP(t)
		}
		switch l.name {
		case "steady-tls": // where handshakes are left open: for so short a time that no median is of them
			l.keys += fmt.Sprintf(", tls: {cert: '%s', key: '%s', handshake_timeout: 3s}", certificates.cert, certificates.key)
		case "torn-tls":
			l.keys += fmt.Sprintf(", tls: {cert: '%s', key: '%s'}", certificates.cert, certificates.key)
		}
		text += fmt.Sprintf("  - {name: %s, address: '%s://%s'%s}\n", l.name, l.network, addresses[l.name], l.keys)
	}
	return text
}

// traffic says how many events it has sent, when it has ended.
type traffic interface{ generated() int }

// steadyTraffic is good traffic for so long, by listener.
func steadyTraffic(t *testing.T, addresses map[string]string, certificates *soakCertificates, lasts time.Duration) map[string]traffic {
	t.Helper()
	all := map[string]traffic{}
	for network, rate := range map[string]int{"tcp": 2000, "udp": 500} {
		all["steady-"+network] = start(t, "generate", "--to", network+"://"+addresses["steady-"+network], "--rate", strconv.Itoa(rate),
			"--count", strconv.Itoa(int(float64(rate)*lasts.Seconds())), "--connections", "4", "--format", "mixed", "--seed", "11")
	}
	for name, s := range steadySenders(t, addresses, certificates) {
		all[name] = s
	}
	return all
}

// checkSoak compares what was sent with what is in ClickHouse and in the accounts.
func (p *process) checkSoak(addresses map[string]string, steady map[string]traffic, x *troubles) {
	p.t.Helper()
	for name := range addresses {
		p.checkAccount(name)
	}
	rows := func(listener string) int {
		return p.count(fmt.Sprintf("SELECT (SELECT count() FROM message_events WHERE listener = '%[1]s') + (SELECT count() FROM status_events WHERE listener = '%[1]s')", listener))
	}
	for name, traffic := range steady {
		sent, n := traffic.generated(), rows(name)
		lost := int(p.metric("millrace_frames_dropped_total", `listener="`+name+`"`))
		if n+lost != sent || n == 0 || name != "steady-udp" && lost != 0 {
			p.t.Errorf("%s: %d events were sent, %d are in ClickHouse and %d are counted as dropped", name, sent, n, lost)
		}
		if s, ok := traffic.(*steadySender); ok && s.err != nil {
			p.t.Errorf("%s: %v", name, s.err)
		}
	}
	for _, name := range torn {
		if n := rows(name); n != x.whole[name] || n == 0 {
			p.t.Errorf("%s: %d frames were sent before connections that broke off, and %d are in ClickHouse", name, x.whole[name], n)
		}
		kept, limited := p.count("SELECT count() FROM rejects WHERE listener = '"+name+"'"), int(p.metric("millrace_frames_dropped_total", `listener="`+name+`"`))
		if kept+limited != x.cut[name] {
			p.t.Errorf("%s: %d frames were cut, %d are rejects and %d counted as dropped", name, x.cut[name], kept, limited)
		}
	}
	// Who goes away does not know what has been taken; of the rest nobody heard.
	if n, taken := rows("torn-relp"), int(p.metric("millrace_frames_published_total", `listener="torn-relp"`)); n != taken || n == 0 || n > x.owed {
		p.t.Errorf("%d messages were sent by RELP senders that went away, %d were taken and %d are in ClickHouse", x.owed, taken, n)
	}
	for name, listener := range map[string]string{"millrace_relp_unanswered_total": "torn-relp", "millrace_listener_tls_handshake_failures_total": "steady-tls"} {
		if p.metric(name, `listener="`+listener+`"`) == 0 {
			p.t.Errorf("%s of %s is 0: its trouble was none", name, listener)
		}
	}
	if n := p.metric("millrace_relp_unanswered_total", `listener="steady-relp"`); n != 0 {
		p.t.Errorf("%v messages of a RELP sender that stayed have no answer", n)
	}
	if p.metric("millrace_config_reload_success") != 1 {
		p.t.Error("the last reload failed")
	}
	if n := p.count("SELECT count() FROM rejects WHERE listener LIKE 'steady%'"); n != 0 {
		p.t.Errorf("%d rejects of good traffic: %q", n, p.query("SELECT reason, detail, raw FROM rejects WHERE listener LIKE 'steady%' LIMIT 3"))
	}
}

// usage is what a process needs at one moment. goroutines and descriptors are those that
// do not belong to a connection to Kafka or, of goroutines, to an insert under way: of both
// there are more and less as chance has it, for kafka-go opens connections in a stall, as
// many as requests are under way, and keeps them for 30 s. So each is allowed for while it
// is there, and not a moment longer. connections and files are for the end, when neither
// has a reason to be many.
type usage struct {
	memory, heap, goroutines, descriptors float64
	connections                           int // to Kafka and ClickHouse, those of a broker in the process included
	files                                 int // of the process's data directory: a broker's
}

// observe looks at processes for the time of a soak, after a time in which they
// warm up: the median of each measure in the last third must be within a tenth of
// that in the first. Nothing is allowed for but what usage leaves out.
func observe(t *testing.T, warm, lasts time.Duration, kafka []string, processes ...*process) {
	t.Helper()
	seen := map[*process][]usage{}
	for begin := time.Now(); time.Since(begin) < warm+lasts; time.Sleep(250 * time.Millisecond) {
		for _, p := range processes {
			if u := p.usage(kafka...); time.Since(begin) > warm {
				seen[p] = append(seen[p], u)
			}
		}
	}
	for _, p := range processes {
		f := func(what string, of func(usage) float64) {
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
			if first, last := medians[0], medians[2]; last > first*1.1 {
				t.Errorf("%s: %s grew from %.1f to %.1f", p.cmd.Args[1], what, first, last)
			}
		}
		f("MiB of memory", func(u usage) float64 { return u.memory })
		f("MiB of heap", func(u usage) float64 { return u.heap })
		f("goroutines", func(u usage) float64 { return u.goroutines })
		f("descriptors", func(u usage) float64 { return u.descriptors })
	}
}

// backAt waits until a process has no more goroutines, descriptors and connections than
// before. Of connections each broker may have two more: what was sent last goes over one
// that is then kept, and so does what is asked about topics. A broker in the process has
// two files, a segment and its index, for each partition that has been written to, by and
// by; beside them stand two locks and two logs of its own.
func (p *process) backAt(before usage, kafka []string) {
	p.t.Helper()
	until(p.t, p.cmd.Args[1]+" has closed what it opened", func() bool {
		u := p.usage(kafka...)
		return u.descriptors-float64(u.files) <= before.descriptors-float64(before.files) && u.goroutines <= before.goroutines &&
			u.connections <= before.connections+2*len(kafka) && u.files <= 2*partitions+4
	}, func() string { return fmt.Sprintf("%+v at first, %+v now", before, p.usage(kafka...)) })
	p.t.Logf("%s: %+v at first, %+v at the end", p.cmd.Args[1], before, p.usage(kafka...))
}

// usage reads it in one scrape, for a scrape costs the process memory too, and
// behind a garbage collection: with the little garbage that the daemons make the
// next one may be minutes away, and their memory rises until then.
func (p *process) usage(kafka ...string) usage {
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
	// What waits for ClickHouse at the moment is bounded by itself, and more or less as it pauses.
	held := 0.0
	if _, _, ok := strings.Cut(body, "\nmillrace_buffered_bytes "); ok {
		held = value("millrace_buffered_bytes") / (1 << 20)
	}
	u := usage{memory: value("process_resident_memory_bytes") / (1 << 20), heap: value("go_memstats_heap_inuse_bytes")/(1<<20) - held, descriptors: value("process_open_fds")}
	u.goroutines = p.goroutines()
	u.connections, u.files = p.open(kafka)
	u.descriptors -= float64(u.connections)
	return u
}

// passing are in the stacks of the goroutines that usage leaves out: of kafka-go's
// connections and of their other ends (kfake's), and of the driver's for an insert.
var passing = []string{"kafka-go.(*conn).run", "kafka-go.(*connGroup)", "kfake.(*clientConn)", "clickhouse-go/v2.", "insert.(*ClickHouse).insert"}

// goroutines counts those that stay.
func (p *process) goroutines() (n float64) {
	p.t.Helper()
	body, code := p.get("/debug/pprof/goroutine?debug=1")
	if code != 200 {
		p.t.Fatalf("/debug/pprof/goroutine answers %d", code)
	}
	_, body, _ = strings.Cut(body, "\n") // the total
	for stack := range strings.SplitSeq(body, "\n\n") {
		count, _, ok := strings.Cut(strings.TrimSpace(stack), " @ ")
		if !ok || slices.ContainsFunc(passing, func(part string) bool { return strings.Contains(stack, part) }) {
			continue
		}
		v, err := strconv.ParseFloat(count, 64)
		if err != nil {
			p.t.Fatalf("%v in\n%s", err, stack)
		}
		n += v
	}
	return n
}

// open counts the sockets of a process that are connected to brokers, or to a broker's in
// the process itself, and the files of its data directory.
func (p *process) open(kafka []string) (connections, files int) {
	p.t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		p.t.Fatal(err)
	}
	ports := map[string]bool{}
	for _, address := range kafka {
		_, port, _ := net.SplitHostPort(address)
		n, err := strconv.Atoi(port)
		if err != nil {
			p.t.Fatal(err)
		}
		ports[fmt.Sprintf(":%04X", n)] = true
	}
	sockets := map[string]bool{}
	for line := range strings.Lines(string(table)) {
		// sl local_address rem_address st queues timer retransmits uid timeout inode
		f := strings.Fields(line)
		if len(f) < 10 || f[3] == "0A" { // it listens
			continue
		}
		sockets["socket:["+f[9]+"]"] = ports[f[1][len(f[1])-5:]] || ports[f[2][len(f[2])-5:]]
	}
	all, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.cmd.Process.Pid))
	for _, f := range all {
		to, err := os.Readlink(f)
		switch {
		case err != nil:
		case sockets[to]:
			connections++
		case p.data != "" && strings.HasPrefix(to, p.data+"/"):
			files++
		}
	}
	return connections, files
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
