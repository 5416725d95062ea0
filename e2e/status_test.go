package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"millrace/internal/status"
)

// TestStatusCommand asks a running stack who has sent what, and whether it adds up.
func TestStatusCommand(t *testing.T) {
	t.Parallel()
	p := up(t, t.TempDir())
	for key, text := range map[string]string{
		"syslog_tcp": "<22>" + m1(testID(1), "secret subject") + "\x00<22>garbage\x00<22>\x00",
		"syslog_udp": "<22>garbage, too",
	} {
		network := strings.TrimPrefix(key, "syslog_")
		conn, err := net.Dial(network, p.addr[key])
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, text)
	}
	p.eventually("1", "SELECT count() FROM message_events")
	p.eventually("2", "SELECT count() FROM rejects")

	stdout, stderr, code := run(t, "status", "--http", p.addr["http"], "--json")
	var s status.Status
	if err := json.Unmarshal([]byte(stdout), &s); code != 0 || err != nil {
		t.Fatalf("exit code %d, %v\n%s\n%s", code, err, stdout, stderr)
	}
	if s.Daemon != "up" || !s.Ready || len(s.Listeners) != 2 || s.Transformer == nil || s.Publisher.Error != "" {
		t.Errorf("%s", stdout)
	}
	for _, l := range s.Listeners {
		sum := l.Published + l.Rejected["no_template"] + l.Dropped["empty"]
		want := uint64(3)
		if strings.HasPrefix(l.Address, "udp://") {
			want = 1
		}
		if l.Received != want || sum != want || l.InFlight != 0 || !l.Closes || l.Rejected["no_template"] != 1 || len(l.Peers.Shown) != 1 || l.Peers.Shown[0].Name != "127.0.0.1" || l.Peers.Shown[0].Rejects != 1 {
			t.Errorf("%+v", l)
		}
	}
	for _, table := range s.Transformer.Tables {
		if rows := uint64(p.count("SELECT count() FROM " + table.Name)); table.Rows != rows || table.Partitions == 0 {
			t.Errorf("%+v; the table has %d rows", table, rows)
		}
	}
	stdout, stderr, code = run(t, "status", "--http", p.addr["http"])
	for _, part := range []string{"millrace up ", ": ready", "adds up", "no_template", "message_events", "127.0.0.1", "filter1.example.net"} {
		if !strings.Contains(stdout, part) {
			t.Errorf("no %q in\n%s", part, stdout)
		}
	}
	if code != 0 || strings.Contains(stdout, "secret") || strings.Contains(stdout, "@") {
		t.Errorf("exit code %d; of mails nothing may be seen here:\n%s%s", code, stdout, stderr)
	}
	if code := p.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, stderr, code := run(t, "status", "--http", p.addr["http"]); code != 1 || !strings.Contains(stderr, "connection refused; millrace up") {
		t.Errorf("nobody is there: exit code %d, %s", code, stderr)
	}
}
