package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
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

// TestSoak runs the stack under steady mixed traffic with garbage beside it:
// memory, goroutines and descriptors stay where they are, the accounts close,
// everything sent over TCP is there once. MILLRACE_SOAK_MINUTES makes it long.
func TestSoak(t *testing.T) {
	t.Parallel()
	const tcpRate, udpRate = 2000, 500
	lasts := minutes(t, "MILLRACE_SOAK_MINUTES", 20*time.Second)
	dir := t.TempDir()
	garbage := map[string]string{}
	listeners := "listeners:\n  - {name: steady-udp, address: 'udp://127.0.0.1:0'}\n  - {name: steady-tcp, address: 'tcp://127.0.0.1:0'}\n"
	for _, network := range []string{"tcp", "udp"} {
		garbage[network] = fmt.Sprintf("127.0.0.1:%d", freePort(t, network))
		listeners += fmt.Sprintf("  - {name: garbage-%s, address: '%s://%s'}\n", network, network, garbage[network])
	}
	config := filepath.Join(dir, "soak.yaml")
	if err := os.WriteFile(config, []byte(listeners), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	p := start(t, "up", "--config", config, "--data", data, "--kafka", "127.0.0.1:0", "--clickhouse-native", "127.0.0.1:0", "--clickhouse-http", "127.0.0.1:0", "--http", "127.0.0.1:0")
	p.data = data
	p.waitReady()

	generate := func(network string, rate int) *process {
		return start(t, "generate", "--to", network+"://"+p.addr["syslog_"+network], "--rate", strconv.Itoa(rate),
			"--count", strconv.Itoa(int(float64(rate)*lasts.Seconds())), "--connections", "4", "--format", "mixed", "--seed", "11")
	}
	steady := map[string]*process{"tcp": generate("tcp", tcpRate), "udp": generate("udp", udpRate)}
	stop, stopped := make(chan struct{}), make(chan int)
	go func() { stopped <- spray(t, garbage, stop) }()

	// The first third warms up: what every second and third part has at most is compared.
	type usage struct{ memory, goroutines, descriptors float64 }
	most := [3]usage{}
	for begin := time.Now(); time.Since(begin) < lasts; time.Sleep(200 * time.Millisecond) {
		m := &most[min(int(3*time.Since(begin)/lasts), 2)]
		m.memory = max(m.memory, p.metric("process_resident_memory_bytes"))
		m.goroutines = max(m.goroutines, p.metric("go_goroutines"))
		m.descriptors = max(m.descriptors, p.metric("process_open_fds"))
	}
	t.Logf("memory %.0f %.0f %.0f MiB, goroutines %v %v %v, descriptors %v %v %v",
		most[0].memory/(1<<20), most[1].memory/(1<<20), most[2].memory/(1<<20),
		most[0].goroutines, most[1].goroutines, most[2].goroutines, most[0].descriptors, most[1].descriptors, most[2].descriptors)
	if before, after := most[1].memory, most[2].memory; after > before*1.25+64<<20 {
		t.Errorf("memory grew from %.0f to %.0f MiB", before/(1<<20), after/(1<<20))
	}
	if before, after := most[1].goroutines, most[2].goroutines; after > before*1.25+20 {
		t.Errorf("goroutines grew from %v to %v", before, after)
	}
	if before, after := most[1].descriptors, most[2].descriptors; after > before*1.25+20 {
		t.Errorf("open descriptors grew from %v to %v", before, after)
	}

	sent := map[string]int{}
	for network, g := range steady {
		if code := g.wait(); code != 0 {
			t.Fatalf("generate over %s: exit code %d\n%s", network, code, g.text())
		}
		for _, m := range regexp.MustCompile(`(?m)^\s*(message|status)\s+(\d+)`).FindAllStringSubmatch(g.text(), -1) {
			n, _ := strconv.Atoi(m[2])
			sent[network] += n
		}
	}
	close(stop)
	if sprayed := <-stopped; sprayed < 100 {
		t.Errorf("only %d pieces of garbage were sent", sprayed)
	}
	p.caughtUp()
	for _, name := range []string{"steady-udp", "steady-tcp", "garbage-udp", "garbage-tcp"} {
		p.checkAccount(name)
	}
	rows := func(listener string) int {
		return p.count(fmt.Sprintf("SELECT (SELECT count() FROM message_events WHERE listener = '%[1]s') + (SELECT count() FROM status_events WHERE listener = '%[1]s')", listener))
	}
	if n := rows("steady-tcp"); n != sent["tcp"] || n == 0 {
		t.Errorf("%d events were sent over TCP and %d are in ClickHouse", sent["tcp"], n)
	}
	lost := int(p.metric("millrace_frames_dropped_total", `listener="steady-udp"`))
	if n := rows("steady-udp"); n+lost != sent["udp"] || n == 0 {
		t.Errorf("%d events were sent over UDP, %d are in ClickHouse and %d are counted as dropped", sent["udp"], n, lost)
	}
	if n := p.count("SELECT count() FROM rejects WHERE listener LIKE 'steady%'"); n != 0 {
		t.Errorf("%d rejects of good traffic: %q", n, p.query("SELECT reason, detail, raw FROM rejects WHERE listener LIKE 'steady%' LIMIT 3"))
	}
	p.checkPlaces()
	if code := p.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
}

// checkAccount fails unless what a listener received is accounted for, with
// nothing in flight.
func (p *process) checkAccount(listener string) {
	p.t.Helper()
	label := `listener="` + listener + `"`
	received := p.metric("millrace_frames_received_total", label)
	published, rejected := p.metric("millrace_frames_published_total", label), p.metric("millrace_frames_rejected_total", label)
	dropped, flying := p.metric("millrace_frames_dropped_total", label), p.metric("millrace_frames_in_flight", label)
	if received != published+rejected+dropped || flying != 0 || received == 0 {
		p.t.Errorf("%s: received %v, published %v, rejected %v, dropped %v, in flight %v", listener, received, published, rejected, dropped, flying)
	}
}

// spray sends garbage to the addresses, by network, over ever new connections
// until stop.
func spray(t *testing.T, to map[string]string, stop <-chan struct{}) (sent int) {
	r := rand.New(rand.NewPCG(4, 2))
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for round := 0; ; round++ {
		select {
		case <-stop:
			return sent
		case <-tick.C:
		}
		for network, address := range to {
			conn, err := net.Dial(network, address)
			if err != nil {
				t.Errorf("garbage cannot be sent any more: %v", err)
				return sent
			}
			for range 1 + r.IntN(4) {
				// The listener may close the connection on us: that is its right.
				if _, err := conn.Write(damaged(r, round)); err != nil {
					break
				}
				sent++
			}
			conn.Close()
		}
	}
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
