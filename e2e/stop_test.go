package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// TestStop_KafkaAway: the ingester is asked to stop while Kafka is gone, or does
// not answer. It tries until the drain timeout is over or the second signal comes;
// then it ends with an exit code that is not 0, and its log and its last line say
// how many frames could not be sent: to the frame.
func TestStop_KafkaAway(t *testing.T) {
	t.Parallel()
	f := func(name string, away func(*kfake.Cluster, *troubledNetwork), timeout string, signals int, says string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster, network := troubledCluster(t, 3)
			config := filepath.Join(t.TempDir(), "stop.yaml")
			text := fmt.Sprintf(`
listeners:
  - {name: in, address: "tcp://127.0.0.1:0"}
kafka: {brokers: ["%s"], replication: 1, partitions: 3}
http: {ingest: "127.0.0.1:0"}
stop: {drain_timeout: %s}
`, strings.Join(cluster.ListenAddrs(), `", "`), timeout)
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			p := start(t, "ingest", "--config", config)
			p.waitReady()
			const before, after = 400, 900
			id := 0
			send := func(n int) {
				c, err := net.Dial("tcp", p.addr["syslog_tcp"])
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				for range n {
					id++
					if _, err := io.WriteString(c, "<22>"+m1(testID(id), "stop")+"\x00"); err != nil {
						t.Fatal(err)
					}
				}
			}
			send(before)
			until(t, "the first are published", func() bool { return p.published() == before }, func() string { return fmt.Sprint(p.published()) })
			away(cluster, network)
			send(after)
			until(t, "the others are taken", func() bool { return p.metric("millrace_frames_received_total") == before+after }, func() string { return fmt.Sprint(p.metric("millrace_frames_received_total")) })
			if in := p.metric("millrace_frames_in_flight"); in != after {
				t.Errorf("%v frames in flight, want %d", in, after)
			}
			for n := range signals {
				if n > 0 {
					until(t, "/readyz tells of the stop", func() bool { body, code := p.get("/readyz"); return code == 503 && strings.Contains(body, "drain") },
						func() string { body, _ := p.get("/readyz"); return body })
					// The account closes meanwhile, with all of them in flight.
					if in, published := p.metric("millrace_frames_in_flight"), p.published(); in != after || published != before {
						t.Errorf("while it drains: %v frames in flight, %d published", in, published)
					}
				}
				if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
			}
			if code := p.wait(); code != 1 {
				t.Errorf("exit code %d", code)
			}
			for _, words := range []string{
				says,
				fmt.Sprintf("received=%d published=%d rejected=0 dropped=%d in_flight=0", before+after, before, after),
				fmt.Sprintf("records were not acknowledged by Kafka: %d records", after),
			} {
				if !strings.Contains(p.text(), words) {
					t.Errorf("the log does not say: %s", words)
				}
			}
		})
	}
	gone := func(c *kfake.Cluster, _ *troubledNetwork) { c.Close() }
	silent := func(_ *kfake.Cluster, n *troubledNetwork) { n.stall(time.Hour) }
	cut := func(_ *kfake.Cluster, n *troubledNetwork) {
		n.stall(time.Hour)
		n.cut()
	}
	f("gone, drain timeout", gone, "1s", 1, "the drain timeout is over")
	f("silent, drain timeout", silent, "1s", 1, "the drain timeout is over")
	f("gone, second signal", gone, "1h", 2, "stopping at once")
	f("silent after a cut, second signal", cut, "1h", 2, "stopping at once")
}
