package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"millrace/internal/certtest"
	"millrace/internal/porttest"
	"millrace/internal/status"
)

// TestHAProxy: HAProxy in front of a tcp:// and of a tls:// listener, which it passes
// through as bytes, with both versions of the PROXY protocol and its health checks. The
// sender of an event is who has sent it, its balancer nowhere; allow means that one too.
func TestHAProxy(t *testing.T) {
	t.Parallel()
	haproxy := needs(t, "haproxy", "`make tools` unpacks Debian's package haproxy under .tools", "../.tools/debian/usr/sbin/haproxy")
	a := certtest.New(t)
	server := a.Issue(t, certtest.Subject{})
	// HAProxy's checks with version 1 name HAProxy itself as the sender, as docs/operations.md says.
	const keys = `proxy_from: [127.0.0.1], allow: [127.0.0.16/28, 127.0.0.1]`
	file := write(t, filepath.Join(t.TempDir(), "millrace.yaml"), fmt.Sprintf(`
listeners:
  - {name: plain, address: "tcp://127.0.0.1:0", framing: nul, %[1]s}
  - {name: secured, address: "tls://127.0.0.1:0", framing: nul, tls: {cert: %[2]s, key: %[3]s}, %[1]s}
`, keys, server.Cert, server.Key))
	p := up(t, t.TempDir(), "--config", file, "--syslog-udp", "off", "--syslog-tcp", "127.0.0.1:0")

	type way struct{ network, version, in, from string }
	var ways []way
	for i, network := range []string{"tcp", "tls"} {
		for j, version := range []string{"send-proxy", "send-proxy-v2"} {
			ways = append(ways, way{network, version, porttest.TCP(t), fmt.Sprintf("127.0.0.%d", 16+2*i+j)})
		}
	}
	sections := ""
	for i, w := range ways {
		sections += fmt.Sprintf("listen way%d\n  bind %s\n  server millrace %s %s check inter 50ms\n", i, w.in, p.addr["syslog_"+w.network], w.version)
	}
	control := runHAProxy(t, haproxy, sections)
	for _, w := range ways {
		until(t, "haproxy listens", func() bool {
			// From where nobody may send: the ingester refuses it, if haproxy passes it on.
			c, err := dialFrom("127.0.0.3", w.in)
			if err == nil {
				c.Close()
			}
			return err == nil
		}, func() string { return "connection refused" })
	}

	const frames = 20
	for i, w := range ways {
		c, err := dialFrom(w.from, w.in)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if w.network == "tls" {
			c = tls.Client(c, a.Client())
		}
		for n := range frames {
			if _, err := c.Write([]byte("<22>" + m1(testID(i*frames+n), "by way of haproxy") + "\x00")); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Who may send need not do it by way of a balancer, and then has no header.
	direct, err := dialFrom("127.0.0.20", p.addr["syslog_tcp"])
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	if _, err := direct.Write([]byte("PROXY TCP4 127.0.0.21 127.0.0.1 1 2\r\n\x00<22>" + m1(testID(1000), "direct") + "\x00")); err != nil {
		t.Fatal(err)
	}
	p.eventually(strconv.Itoa(len(ways)*frames+1), "SELECT count() FROM message_events")
	p.eventually("1", "SELECT count() FROM rejects")
	for _, w := range ways {
		got := p.query(fmt.Sprintf("SELECT transport, count() FROM message_events WHERE peer_ip = toIPv6('%s') GROUP BY transport", w.from))
		if want := fmt.Sprint([][]string{{w.network, strconv.Itoa(frames)}}); fmt.Sprint(got) != want {
			t.Errorf("%s over %s: of %s there are %q, want %s", w.version, w.network, w.from, got, want)
		}
	}
	if n := p.count("SELECT count() FROM message_events WHERE peer_ip = toIPv6('127.0.0.20')"); n != 1 {
		t.Errorf("%d events of who sends directly", n)
	}
	if got := p.query("SELECT toString(peer_ip), startsWith(raw, 'PROXY TCP4') FROM rejects"); fmt.Sprint(got) != fmt.Sprint([][]string{{"::ffff:127.0.0.20", "1"}}) {
		t.Errorf("the header of who is no balancer: %q", got)
	}

	// One that may not send is refused by name, behind a balancer as well.
	for _, w := range ways {
		before := p.metric("millrace_frames_dropped_total", `reason="not_allowed"`)
		c, err := dialFrom("127.0.0.2", w.in)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		until(t, "it is refused", func() bool { return p.metric("millrace_frames_dropped_total", `reason="not_allowed"`) > before }, p.text)
	}
	stdout, stderr, code := run(t, "status", "--http", p.addr["http"], "--json")
	var s status.Status
	if err := json.Unmarshal([]byte(stdout), &s); code != 0 || err != nil {
		t.Fatalf("exit code %d, %v\n%s\n%s", code, err, stdout, stderr)
	}
	for _, l := range s.Listeners {
		network, _, _ := strings.Cut(l.Address, "://")
		seen := map[string]uint64{}
		for _, sender := range l.Peers.Shown {
			if sender.Frames > 0 {
				seen[sender.Name] = sender.Frames
			}
		}
		want := map[string]uint64{}
		for _, w := range ways {
			if w.network == network {
				want[w.from] = frames
			}
		}
		if network == "tcp" {
			want["127.0.0.20"] = 2
		}
		if fmt.Sprint(seen) != fmt.Sprint(want) || !l.Closes {
			t.Errorf("%s: the status names the senders %v, want %v", l.Name, seen, want)
		}
	}
	// The checks of haproxy are connections too, and none of them a mistake.
	until(t, "haproxy has checked each server", func() bool { return strings.Count(tell(t, control, "show stat"), ",L4OK,") == len(ways) },
		func() string { return tell(t, control, "show stat") })
	if n := p.metric("millrace_listener_proxy_header_failures_total"); n != 0 {
		t.Errorf("%v connections of haproxy have no header", n)
	}
	const refused = 2 // of each way
	if n := p.metric("millrace_frames_received_total"); n > float64(len(ways)*(frames+refused)+2) {
		t.Errorf("%v frames are received, those of checks among them", n)
	}
}

// runHAProxy runs it with sections of its configuration until the test ends, and returns
// the socket on which it answers questions.
func runHAProxy(t *testing.T, haproxy, sections string) (control string) {
	t.Helper()
	dir := t.TempDir()
	control = filepath.Join(dir, "control")
	file := write(t, filepath.Join(dir, "haproxy.cfg"), `
global
  maxconn 200
  stats socket `+control+`
defaults
  mode tcp
  timeout connect 10s
  timeout client 10m
  timeout server 10m
`+sections)
	cmd := exec.Command(haproxy, "-db", "-f", file)
	if root, ok := strings.CutSuffix(haproxy, "/usr/sbin/haproxy"); ok && root != "" {
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+root+"/usr/lib/x86_64-linux-gnu")
	}
	runRelay(t, cmd)
	return control
}

// tell is haproxy's answer.
func tell(t *testing.T, control, question string) string {
	t.Helper()
	c, err := net.Dial("unix", control)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, question+"\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

// dialFrom connects from an address of ours.
func dialFrom(address, to string) (net.Conn, error) {
	return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).Dial("tcp", to)
}
