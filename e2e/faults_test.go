package e2e

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"millrace/internal/porttest"
	"millrace/schema"
)

func decode64(t *testing.T, s string) string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// sender sends numbered frames over one TCP connection until it is stopped or
// the connection breaks, and tells how many it had written.
type sender struct {
	stop chan struct{}
	done chan struct{}
	sent int
}

func startSender(t *testing.T, addr string, first int) *sender {
	t.Helper()
	return startPaced(t, addr, first, 0)
}

// startPaced is startSender with a pause after every 100 frames.
func startPaced(t *testing.T, addr string, first int, pause time.Duration) *sender {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &sender{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		defer conn.Close()
		for n := first; ; n++ {
			select {
			case <-s.stop:
				return
			default:
			}
			frames := "<22>" + m1(testID(n), "number "+strconv.Itoa(n)) + "\x00<22>" + s1(testID(n), "delivered", "250 ok") + "\x00"
			if _, err := conn.Write([]byte(frames)); err != nil {
				return
			}
			if s.sent += 2; s.sent%100 == 0 {
				time.Sleep(pause)
			}
		}
	}()
	t.Cleanup(func() { s.end() })
	return s
}

func (s *sender) end() int {
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	<-s.done
	return s.sent
}

// checkPlaces proves by the rows' Kafka places that none is missing and none is
// there twice: every partition's offsets run from 0 to the last without a gap. The
// program's own audit has to find the same.
func (p *process) checkPlaces() (rows int) {
	p.t.Helper()
	missing, doubled := 0, 0
	for _, row := range p.query(`
		SELECT k_topic, k_epoch, k_part, count(), uniqExact(k_off), max(k_off) + 1 FROM (
			SELECT k_topic, k_epoch, k_part, k_off FROM message_events
			UNION ALL SELECT k_topic, k_epoch, k_part, k_off FROM status_events
			UNION ALL SELECT k_topic, k_epoch, k_part, k_off FROM rejects)
		GROUP BY ALL ORDER BY ALL`) {
		if row[3] != row[4] || row[3] != row[5] {
			p.t.Errorf("topic %s epoch %s partition %s: %s rows, %s distinct offsets, offsets up to %s", row[0], row[1], row[2], row[3], row[4], row[5])
		}
		n, _ := strconv.Atoi(row[3])
		distinct, _ := strconv.Atoi(row[4])
		end, _ := strconv.Atoi(row[5])
		rows, missing, doubled = rows+n, missing+end-distinct, doubled+n-distinct
	}
	p.t.Logf("%d places in Kafka: missing=%d doubled=%d", rows-doubled, missing, doubled)
	if got := p.audit(); got.Rows < rows {
		p.t.Errorf("the audit counts %d rows, after there were %d", got.Rows, rows)
	}
	return rows
}

func (p *process) published() int {
	return int(p.metric("millrace_frames_published_total") + p.metric("millrace_frames_rejected_total"))
}

// partitions are those of all topics by default: a partition's lag is known once
// it has been recovered and fetched.
var partitions = len(schema.Kinds()) * topicPartitions

const topicPartitions = 6

// caughtUp waits until everything in Kafka is in ClickHouse.
func (p *process) caughtUp() {
	p.t.Helper()
	until(p.t, "no lag", func() bool {
		return p.samples("millrace_consumer_lag") == partitions && p.metric("millrace_frames_in_flight") == 0 && p.metric("millrace_consumer_lag") == 0 && p.metric("millrace_kafka_up") == 2
	}, func() string {
		return fmt.Sprintf("lag %v, in flight %v, kafka up %v of 2 daemons",
			p.metric("millrace_consumer_lag"), p.metric("millrace_frames_in_flight"), p.metric("millrace_kafka_up"))
	})
}

// TestKillAndRestart kills the whole stack, kill -9, again and again in mid
// traffic: what Kafka had acknowledged is in ClickHouse afterwards, once.
func TestKillAndRestart(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	acknowledged := 0
	for round := range 3 {
		p := up(t, data)
		s := startSender(t, p.addr["syslog_tcp"], 100_000*(round+1))
		begin := p.published()
		until(t, "some traffic is acknowledged", func() bool {
			acknowledged = max(acknowledged, p.published()-begin)
			return acknowledged > 4000
		}, func() string { return fmt.Sprint(acknowledged) })
		atKill := p.published() - begin
		p.signal(syscall.SIGKILL)
		s.end()

		p = up(t, data)
		until(t, "acknowledged events are in ClickHouse", func() bool {
			return p.count(fmt.Sprintf(`SELECT (SELECT count() FROM message_events WHERE toUInt64OrZero(substring(subject_header, 8)) BETWEEN %[1]d AND %[2]d)
				+ (SELECT count() FROM status_events WHERE id BETWEEN '%[3]s' AND '%[4]s')`,
				100_000*(round+1), 100_000*(round+2)-1, testID(100_000*(round+1)), testID(100_000*(round+2)-1))) >= atKill
		}, func() string { return "fewer" })
		p.caughtUp()
		p.checkPlaces()
		if code := p.signal(syscall.SIGTERM); code != 0 {
			t.Errorf("exit code %d after SIGTERM", code)
		}
		acknowledged = 0
	}
}

// TestStopUnderLoad stops the stack with SIGTERM under load: everything that was
// read from the sockets is in ClickHouse after the next start.
func TestStopUnderLoad(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := up(t, data)
	s := startSender(t, p.addr["syslog_tcp"], 1_000_000)
	until(t, "some traffic", func() bool { return p.published() > 5000 }, func() string { return fmt.Sprint(p.published()) })
	if code := p.signal(syscall.SIGTERM); code != 0 {
		t.Fatalf("exit code %d after SIGTERM", code)
	}
	s.end()
	// The account at the end is in the log: received=N published=N rejected=N dropped=0 in_flight=0.
	received := loggedNumber(t, p.text(), "received")
	for _, name := range []string{"dropped", "in_flight"} {
		if n := loggedNumber(t, p.text(), name); n != 0 {
			t.Errorf("%s=%d at the end", name, n)
		}
	}
	p = up(t, data)
	p.caughtUp()
	if rows := p.checkPlaces(); rows != received {
		t.Errorf("%d frames were read from the sockets and %d rows are in ClickHouse", received, rows)
	}
}

// loggedNumber is the last `name=N` in the log.
func loggedNumber(t *testing.T, log, name string) int {
	t.Helper()
	i := strings.LastIndex(log, " "+name+"=")
	if i < 0 {
		t.Fatalf("%s= is not in the log", name)
	}
	text := log[i+len(name)+2:]
	end := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(text)
	}
	n, err := strconv.Atoi(text[:end])
	if err != nil {
		t.Fatalf("%s in the log: %v", name, err)
	}
	return n
}

// TestGarbage sends random bytes, and frames with random damage, to every
// listener in every framing: the process stays up, the account of every
// listener closes, and rejects and drops are where the bytes went.
func TestGarbage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := filepath.Join(dir, "garbage.yaml")
	var listeners strings.Builder
	for _, framing := range []string{"auto", "nul", "lf", "octet"} {
		fmt.Fprintf(&listeners, "  - {name: %s, address: 'tcp://%s', framing: %s}\n", framing, porttest.TCP(t), framing)
	}
	fmt.Fprintf(&listeners, "  - {name: datagrams, address: 'udp://%s'}\n", porttest.UDP(t))
	if err := os.WriteFile(config, []byte("listeners:\n"+listeners.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "up", "--config", config, "--data", filepath.Join(dir, "data"), "--kafka", "127.0.0.1:0", "--clickhouse-native", "127.0.0.1:0", "--clickhouse-http", "127.0.0.1:0", "--http", "127.0.0.1:0", "--api", "127.0.0.1:0")
	p.data = filepath.Join(dir, "data")
	p.waitReady()
	var addresses []string
	for line := range strings.Lines(listeners.String()) {
		_, rest, _ := strings.Cut(line, "address: '")
		address, _, _ := strings.Cut(rest, "'")
		addresses = append(addresses, address)
	}
	r := rand.New(rand.NewPCG(1, 9))
	for round := range 40 {
		for _, address := range addresses {
			network, hostPort, _ := strings.Cut(address, "://")
			conn, err := net.Dial(network, hostPort)
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(patience))
			for range 8 {
				// The listener may close the connection on us: that is its right.
				if _, err := conn.Write(damaged(r, round)); err != nil {
					break
				}
			}
			conn.Close()
		}
	}
	// Good events still pass on each listener.
	for i, address := range addresses {
		network, hostPort, _ := strings.Cut(address, "://")
		conn, err := net.Dial(network, hostPort)
		if err != nil {
			t.Fatal(err)
		}
		frame := "<22>" + m1(testID(9000+i), "good")
		switch {
		case strings.Contains(listeners.String(), hostPort) && i == 3:
			frame = fmt.Sprintf("%d %s", len(frame), frame)
		case i == 2:
			frame += "\n"
		default:
			frame += "\x00"
		}
		if _, err := conn.Write([]byte(frame)); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	p.eventually(strconv.Itoa(len(addresses)), "SELECT count() FROM message_events WHERE subject_header = 'good'")
	p.caughtUp()
	for _, name := range []string{"auto", "nul", "lf", "octet", "datagrams"} {
		label := `listener="` + name + `"`
		received := p.metric("millrace_frames_received_total", label)
		rest := p.metric("millrace_frames_published_total", label) + p.metric("millrace_frames_rejected_total", label) +
			p.metric("millrace_frames_dropped_total", label) + p.metric("millrace_frames_in_flight", label)
		if received != rest || received < 40 {
			t.Errorf("%s: received %v, accounted for %v", name, received, rest)
		}
	}
	rejected := int(p.metric("millrace_frames_rejected_total"))
	if rows := p.count("SELECT count() FROM rejects"); rows != rejected || rows == 0 {
		t.Errorf("%d rejects were published and %d are in the table", rejected, rows)
	}
	if n := p.count("SELECT countIf(NOT isValidUTF8(subject_header) OR NOT isValidUTF8(sender)) FROM message_events"); n != 0 {
		t.Errorf("%d rows hold text that is not UTF-8", n)
	}
	p.checkPlaces()
}

// damaged is random bytes, or a good frame with something wrong in it.
func damaged(r *rand.Rand, round int) []byte {
	b := []byte("<22>" + m1(testID(round), "damaged") + "\x00")
	switch r.IntN(6) {
	case 0:
		b = make([]byte, r.IntN(3000)+1)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
	case 1:
		for range 1 + r.IntN(20) {
			b[r.IntN(len(b))] = byte(r.Uint32())
		}
	case 2:
		b = b[:r.IntN(len(b))+1]
	case 3:
		b = append([]byte(fmt.Sprintf("%d ", r.IntN(1<<20))), b...)
	case 4:
		b = append(b[:20], append(b[10:200:200], b...)...)
	case 5:
		b = []byte(strings.Repeat("A", r.IntN(60_000)) + "\n\x00\n<999>")
	}
	return b
}
