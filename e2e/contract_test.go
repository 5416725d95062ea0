package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
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

// TestUpContract holds what scripts rely on: the ready line, the addresses, the
// reader's file, readiness, a fresh event visible soon, exit codes.
func TestUpContract(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	p := up(t, data)
	for _, key := range []string{"syslog_udp", "syslog_tcp", "kafka", "clickhouse_native", "clickhouse_http", "http"} {
		if _, _, err := net.SplitHostPort(p.addr[key]); err != nil {
			t.Errorf("ready line has %s=%q", key, p.addr[key])
		}
	}
	if info, err := os.Stat(filepath.Join(data, "clickhouse-reader")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("clickhouse-reader: %v, %v", info, err)
	}
	if body, code := p.get("/readyz"); code != 200 {
		t.Errorf("/readyz answers %d: %s", code, body)
	}
	if _, code := p.get("/healthz"); code != 200 {
		t.Errorf("/healthz answers %d", code)
	}
	conn, err := net.Dial("tcp", p.addr["syslog_tcp"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "<22>%s\x00", m1(testID(1), "first"))
	p.eventually("1", "SELECT count() FROM message_events WHERE subject_header = 'first'")

	// The reader reads, and does nothing else.
	for _, sql := range []string{
		"INSERT INTO message_events (id) VALUES ('x')",
		"DROP TABLE message_events",
		"SELECT * FROM file('/etc/passwd', 'LineAsString')",
		"SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
	} {
		if _, err := p.tryQuery(sql); err == nil {
			t.Errorf("the read-only user may do %s", sql)
		}
	}
	// A second one on the same ports and on the same data says what is in its way.
	_, port, _ := net.SplitHostPort(p.addr["syslog_tcp"])
	_, stderr, code := run(t, append([]string{"up", "--data", filepath.Join(t.TempDir(), "other")}, append(freePorts([]string{"--syslog-tcp"}), "--syslog-tcp", p.addr["syslog_tcp"])...)...)
	if code != 2 || !strings.Contains(stderr, port) || !strings.Contains(stderr, "--syslog-tcp") {
		t.Errorf("a taken port: exit code %d, %s", code, stderr)
	}
	_, stderr, code = run(t, append([]string{"up", "--data", filepath.Join(t.TempDir(), "other")}, append(freePorts([]string{"--kafka"}), "--kafka", p.addr["kafka"])...)...)
	if code != 2 || !strings.Contains(stderr, "--kafka") {
		t.Errorf("a taken Kafka port: exit code %d, %s", code, stderr)
	}
	if _, stderr, code = run(t, append([]string{"up", "--demo", "--data", data}, freePorts(nil)...)...); code != 2 || !strings.Contains(stderr, "real data") {
		t.Errorf("a demo on real data: exit code %d, %s", code, stderr)
	}
	if code := p.signal(syscall.SIGINT); code != 0 {
		t.Errorf("exit code %d after SIGINT", code)
	}
}

// TestOff starts the stack with every listener off that can be.
func TestOff(t *testing.T) {
	t.Parallel()
	p := up(t, t.TempDir(), "--syslog-udp", "off", "--kafka", "off", "--clickhouse-native", "off", "--clickhouse-http", "off")
	for _, key := range []string{"syslog_udp", "kafka", "clickhouse_native", "clickhouse_http"} {
		if addr, ok := p.addr[key]; ok {
			t.Errorf("%s is off and the ready line has %s", key, addr)
		}
	}
	conn, err := net.Dial("tcp", p.addr["syslog_tcp"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "<22>%s\x00", m1(testID(1), "first"))
	until(t, "one row is inserted", func() bool { return p.metric("millrace_rows_inserted_total") == 1 },
		func() string { return fmt.Sprint(p.metric("millrace_rows_inserted_total")) })
	if code := p.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestDemo runs the first command of README until it has shown what README promises.
func TestDemo(t *testing.T) {
	t.Parallel()
	p := start(t, append([]string{"up", "--demo"}, freePorts(nil)...)...)
	p.waitReady()
	for _, want := range []string{"received", "published", "inserted", "rejected", "lag", "sender", "status"} {
		until(t, fmt.Sprintf("the demo shows %q", want), func() bool { return strings.Contains(strings.ToLower(p.text()), want) }, p.text)
	}
	if code := p.signal(syscall.SIGINT); code != 0 {
		t.Errorf("exit code %d after SIGINT", code)
	}
}

// With --for it ends by itself, wherever it is by then.
func TestDemo_For(t *testing.T) {
	t.Parallel()
	stdout, stderr, code := run(t, append([]string{"up", "--demo", "--for", "6s"}, freePorts(nil)...)...)
	if code != 0 {
		t.Fatalf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
}

// TestMillion sends a million events and compares the counts by kind with what
// the sender says that it sent.
func TestMillion(t *testing.T) {
	t.Parallel()
	p := up(t, t.TempDir())
	const million = 1_000_000
	stdout, stderr, code := run(t, "generate", "--to", "tcp://"+p.addr["syslog_tcp"], "--count", strconv.Itoa(million), "--connections", "4", "--seed", "7",
		"--wait-published", "http://"+p.addr["http"])
	if code != 0 {
		t.Fatalf("generate: exit code %d\n%s\n%s", code, stdout, stderr)
	}
	sent := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^\s*(message|status)\s+(\d+)`).FindAllStringSubmatch(stdout, -1) {
		sent[m[1]], _ = strconv.Atoi(m[2])
	}
	if sent["message"]+sent["status"] != million {
		t.Fatalf("generate says it sent %v:\n%s", sent, stdout)
	}
	p.caughtUp()
	p.eventually(strconv.Itoa(million), "SELECT (SELECT count() FROM message_events) + (SELECT count() FROM status_events)")
	for kind, n := range sent {
		if rows := p.count("SELECT count() FROM " + kind + "_events"); rows != n {
			t.Errorf("%d %s events were sent and %d are in ClickHouse", n, kind, rows)
		}
	}
	if n := p.count("SELECT count() FROM rejects"); n != 0 {
		t.Errorf("%d rejects: %q", n, p.query("SELECT reason, detail, raw FROM rejects LIMIT 3"))
	}
	p.checkPlaces()
}

// TestDiskFull fills the disk under the data: intake stops, TCP waits, datagrams
// are counted, /readyz says why; with room again it goes on by itself.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	data := smallDisk(t, 512<<20)
	p := up(t, filepath.Join(data, "millrace"))
	ballast := filepath.Join(data, "ballast")
	fill(t, ballast, data)
	until(t, "/readyz tells of the disk", func() bool {
		body, code := p.get("/readyz")
		return code == 503 && strings.Contains(body, "disk")
	}, func() string { body, code := p.get("/readyz"); return fmt.Sprint(code, body) })

	tcp, err := net.Dial("tcp", p.addr["syslog_tcp"])
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	fmt.Fprintf(tcp, "<22>%s\x00", m1(testID(1), "waits"))
	udp, err := net.Dial("udp", p.addr["syslog_udp"])
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	fmt.Fprintf(udp, "<22>%s\x00", m1(testID(2), "dropped"))
	until(t, "the datagram is counted", func() bool { return p.metric("millrace_frames_dropped_total", `reason="disk_full"`) == 1 },
		func() string { return fmt.Sprint(p.metric("millrace_frames_dropped_total")) })
	if n := p.count("SELECT count() FROM message_events"); n != 0 {
		t.Errorf("%d rows came through", n)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	p.eventually("waits", "SELECT subject_header FROM message_events")
	until(t, "/readyz answers 200", func() bool { _, code := p.get("/readyz"); return code == 200 }, func() string { body, _ := p.get("/readyz"); return body })
	if code := p.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// smallDisk mounts a tmpfs of the given size; the test's end unmounts it.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("millrace-test", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", size)); err != nil {
		t.Fatalf("cannot mount a tmpfs of %d bytes: %v (this test needs root, or a user namespace: unshare -rm)", size, err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill leaves 3% of the disk free.
func fill(t *testing.T, ballast, dir string) {
	t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		t.Fatal(err)
	}
	size := int64(s.Bavail)*s.Bsize - int64(s.Blocks)*s.Bsize*3/100
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for ; size > 0; size -= int64(len(block)) {
		if _, err := f.Write(block[:min(int64(len(block)), size)]); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMetricNames finds every metric that the dashboard, the alerts and the pages
// name in /metrics of a stack that has seen traffic.
func TestMetricNames(t *testing.T) {
	t.Parallel()
	// With a certificate and a RELP listener, which have metrics of their own.
	p := upSecured(t, "  - {name: relay, address: 'relp://127.0.0.1:0'}\n  - {name: abuse, address: 'smtp://127.0.0.1:0'}\n",
		"effects: [{name: note, kind: command, command: [/bin/true]}]\n")
	conn, err := (&tls.Dialer{Config: p.authority.Client(p.client)}).Dial("tcp", p.addr["syslog_tls"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "<22>%s\x00<22>nonsense\x00", m1(testID(1), "first"))
	p.eventually("1", "SELECT count() FROM message_events")
	p.eventually("1", "SELECT count() FROM rejects")
	body, _ := p.get("/metrics")
	have := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^(?:# TYPE )?(millrace_\w+)`).FindAllStringSubmatch(body, -1) {
		have[m[1]] = true // a histogram by its name too
	}
	named := 0
	for _, pattern := range []string{"../deploy/grafana/*.json", "../deploy/prometheus/*.yaml", "../deploy/*.json", "../deploy/*alerts*.y*ml", "../docs/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(file, ".json") && !json.Valid(text) {
				t.Errorf("%s is not JSON", file)
			}
			pattern := `\b(millrace_\w+)`
			if strings.HasSuffix(file, ".md") {
				pattern = "`(millrace_\\w+)" // other such words are users in SQL
			}
			for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
				named++
				if !have[m[1]] {
					t.Errorf("%s names %s, which is not in /metrics", file, m[1])
				}
			}
		}
	}
	if named < 10 {
		t.Errorf("only %d metric names were found in deploy/", named)
	}
}

// TestChildDoesNotOutliveParent kills the parent with kill -9.
func TestChildDoesNotOutliveParent(t *testing.T) {
	t.Parallel()
	p := up(t, t.TempDir())
	address := p.addr["clickhouse_native"]
	p.signal(syscall.SIGKILL)
	until(t, "ClickHouse is gone with its parent", func() bool {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			conn.Close()
		}
		return err != nil
	}, func() string { return "it still answers" })
}
