package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAway_Memory: Kafka does not answer while senders write as fast as they can.
// The ingester takes what kafka.buffer_bytes holds and no more: TCP senders wait,
// datagrams are dropped and counted. When Kafka answers again all that TCP sent is
// in it once, and each datagram is in the account.
func TestAway_Memory(t *testing.T) {
	t.Parallel()
	cluster, network := troubledCluster(t, 6)
	config := filepath.Join(t.TempDir(), "away.yaml")
	text := fmt.Sprintf(`
listeners:
  - {name: tcp, address: "tcp://127.0.0.1:0"}
  - {name: udp, address: "udp://127.0.0.1:0"}
kafka: {brokers: ["%s"], buffer_bytes: 16MiB, request_timeout: 5s}
http: {ingest: "127.0.0.1:0"}
`, strings.Join(cluster.ListenAddrs(), `", "`))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "ingest", "--config", config)
	p.waitReady()
	flood := func(kind string, more ...string) *process {
		return start(t, append([]string{"generate", "--to", kind + "://" + p.addr["syslog_"+kind], "--connections", "4", "--format", "mixed"}, more...)...)
	}
	// With Kafka there, for what it needs at full rate.
	sent := map[string]int{"tcp": flood("tcp", "--count", "200000").generated()}
	until(t, "all is published", func() bool { return p.published() == sent["tcp"] }, func() string { return fmt.Sprint(p.published()) })
	before := p.usage()

	network.stall(time.Hour)
	floods := map[string]*process{"tcp": flood("tcp", "--count", "0"), "udp": flood("udp", "--count", "0", "--rate", "20000")}
	until(t, "the buffers are full", p.fullOfRecords, func() string { return fmt.Sprint(p.metric("millrace_publish_buffered_bytes")) })
	dropped := func() float64 {
		return p.metric("millrace_frames_dropped_total", `listener="udp"`, `reason="backpressure"`)
	}
	until(t, "datagrams are dropped", func() bool { return dropped() > 1000 }, func() string { return fmt.Sprint(dropped()) })
	const margin = 24 // MiB: garbage until it is collected
	limit := p.metric("millrace_publish_buffer_limit_bytes")
	most, taken := 0.0, p.metric("millrace_frames_in_flight")
	for range 40 {
		if used := p.metric("millrace_publish_buffered_bytes"); used > limit || limit > 16<<20 {
			t.Fatalf("%v bytes are buffered, of %v; kafka.buffer_bytes is 16 MiB", used, limit)
		}
		most = max(most, p.metric("go_memstats_heap_inuse_bytes")/(1<<20))
		time.Sleep(100 * time.Millisecond)
	}
	if most > before.heap+limit/(1<<20)+margin {
		t.Errorf("the heap grew from %.1f to %.1f MiB; kafka.buffer_bytes is 16 MiB", before.heap, most)
	}
	if now := p.metric("millrace_frames_in_flight"); now > 2*taken {
		t.Errorf("%v frames were in flight when the buffers were full, %v are now", taken, now)
	}
	t.Logf("heap %.1f MiB before, %.1f at most; %v frames in flight, %v datagrams dropped", before.heap, most, taken, dropped())

	received := func(listener string) int {
		return int(p.metric("millrace_frames_received_total", `listener="`+listener+`"`))
	}
	waiting := received("tcp")
	network.stall(0)
	// The datagrams end first: TCP has to move again before a sender is stopped,
	// which gives the write under way two seconds.
	for _, kind := range []string{"udp", "tcp"} {
		if kind == "tcp" {
			until(t, "TCP goes on", func() bool { return received("tcp") > waiting+50_000 }, func() string { return fmt.Sprint(received("tcp")) })
		}
		if err := floods[kind].cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		sent[kind] += floods[kind].generated()
	}
	until(t, "all that TCP sent is published", func() bool {
		return received("tcp") == sent["tcp"] && p.metric("millrace_frames_in_flight") == 0
	}, func() string { return fmt.Sprintf("%d received of %d", received("tcp"), sent["tcp"]) })
	// The kernel tells of datagrams that it threw away with the next one it takes.
	until(t, "each datagram is in the account", func() bool {
		if received("udp") == sent["udp"] && p.metric("millrace_frames_in_flight") == 0 {
			return true
		}
		for range 8 {
			c, err := net.Dial("udp", p.addr["syslog_udp"])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write([]byte("<22>" + m1(testID(sent["udp"]), "afterwards"))); err != nil {
				t.Fatal(err)
			}
			c.Close()
			sent["udp"]++
		}
		return false
	}, func() string { return fmt.Sprintf("%d received of %d", received("udp"), sent["udp"]) })
	for _, listener := range []string{"tcp", "udp"} {
		p.checkAccount(listener)
	}
	if n := p.metric("millrace_frames_dropped_total", `listener="tcp"`); n != 0 {
		t.Errorf("%v frames of TCP are dropped", n)
	}
	records := 0
	for _, topic := range topics {
		for _, info := range cluster.PartitionInfos(topic) {
			records += int(info.HighWatermark)
		}
	}
	if acked := p.published(); records != acked {
		t.Errorf("%d records are in Kafka, %d are acknowledged", records, acked)
	}
	if code := p.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
}
