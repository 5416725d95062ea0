package embedded_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl/plain"

	"millrace/internal/embedded"
)

func startBroker(t *testing.T, o embedded.BrokerOptions) *embedded.Broker {
	t.Helper()
	b, err := embedded.StartBroker(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// produce sends n records of the given size, one batch each, and returns when
// all are acknowledged.
func produce(t *testing.T, addr, topic string, n, size int) {
	t.Helper()
	client := &kafka.Client{Addr: kafka.TCP(addr)}
	value := strings.Repeat("x", size)
	for range n {
		response, err := client.Produce(context.Background(), &kafka.ProduceRequest{
			Topic: topic, RequiredAcks: kafka.RequireAll,
			Records: kafka.NewRecordReader(kafka.Record{Value: kafka.NewBytes([]byte(value))}),
		})
		if err == nil {
			err = response.Error
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func offsets(t *testing.T, b *embedded.Broker, topic string) (first, end int64) {
	t.Helper()
	p := b.Cluster().PartitionInfo(topic, 0)
	if p == nil {
		t.Fatalf("no topic %q", topic)
	}
	return p.LogStartOffset, p.HighWatermark
}

func commit(t *testing.T, addr, group, topic string, offset int64, metadata string) {
	t.Helper()
	client := &kafka.Client{Addr: kafka.TCP(addr)}
	response, err := client.OffsetCommit(context.Background(), &kafka.OffsetCommitRequest{
		GroupID: group, GenerationID: -1,
		Topics: map[string][]kafka.OffsetCommit{topic: {{Partition: 0, Offset: offset, Metadata: metadata}}},
	})
	if err == nil {
		err = response.Topics[topic][0].Error
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestBroker_KeepsWhatItAcknowledgedOverKill9(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	topics := map[string]int{"events": 1}
	parent, first := startParent(t, parentOptions{DataDir: dir, Kafka: "127.0.0.1:0", Topics: topics})

	commit(t, first.Kafka, "millrace", "events", 7, "the metadata")
	// Records are on their way when the broker is killed: those that it has
	// acknowledged by then must be there.
	var acknowledged int64
	var sender sync.WaitGroup
	enough := make(chan struct{})
	sender.Go(func() {
		client := &kafka.Client{Addr: kafka.TCP(first.Kafka), Timeout: 2 * time.Second}
		for {
			response, err := client.Produce(context.Background(), &kafka.ProduceRequest{
				Topic: "events", RequiredAcks: kafka.RequireAll,
				Records: kafka.NewRecordReader(kafka.Record{Value: kafka.NewBytes([]byte(strconv.FormatInt(acknowledged, 10)))}),
			})
			if err != nil || response.Error != nil {
				return
			}
			acknowledged++
			if acknowledged == 500 {
				close(enough)
			}
		}
	})
	<-enough
	kill9(t, parent)
	sender.Wait()

	// Another port, and a topic more; the known one keeps its one partition.
	b := startBroker(t, embedded.BrokerOptions{DataDir: dir, Topics: map[string]int{"events": 4, "status": 2}})
	if got := len(b.Cluster().PartitionInfos("events")); got != 1 {
		t.Errorf("topic events has %d partitions, want 1", got)
	}
	if got := len(b.Cluster().PartitionInfos("status")); got != 2 {
		t.Errorf("topic status has %d partitions, want 2", got)
	}
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{b.Addr}, Topic: "events", MaxWait: 100 * time.Millisecond})
	defer reader.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for i := range acknowledged {
		m, err := reader.ReadMessage(ctx)
		if err != nil {
			t.Fatalf("record %d of %d acknowledged: %v", i, acknowledged, err)
		}
		if string(m.Value) != strconv.FormatInt(i, 10) {
			t.Fatalf("record %d is %q", i, m.Value)
		}
	}
	if got := b.Cluster().GroupInfo("millrace").Commits["events"][0]; got.Offset != 7 || got.Metadata != "the metadata" {
		t.Errorf("the commit is %+v", got)
	}
}

func TestBroker_KeepsItsStateOverClose(t *testing.T) {
	t.Parallel()
	o := embedded.BrokerOptions{DataDir: t.TempDir(), Topics: map[string]int{"events": 1}}
	b := startBroker(t, o)
	produce(t, b.Addr, "events", 10, 100)
	o.Address = b.Addr
	b.Close()
	b.Close()
	b = startBroker(t, o)
	if b.Addr != o.Address {
		t.Errorf("serves on %s, want %s", b.Addr, o.Address)
	}
	if _, end := offsets(t, b, "events"); end != 10 {
		t.Errorf("the log ends at %d, want 10", end)
	}
}

func TestBroker_DeletesNothingAboveTheLowWaterMark(t *testing.T) {
	t.Parallel()
	o := embedded.BrokerOptions{
		DataDir: t.TempDir(), Topics: map[string]int{"events": 1},
		SegmentBytes: 10_000, RetentionBytes: 30_000, RetentionAge: time.Hour, RetentionInterval: time.Hour,
	}
	b := startBroker(t, o)
	produce(t, b.Addr, "events", 100, 1000)
	now := time.Now()
	apply := func(now time.Time) (first, size int64) {
		t.Helper()
		if err := b.ApplyRetention(now); err != nil {
			t.Fatal(err)
		}
		first, end := offsets(t, b, "events")
		if end != 100 {
			t.Fatalf("the log ends at %d, want 100", end)
		}
		size, err := b.LogBytes()
		if err != nil {
			t.Fatal(err)
		}
		return first, size
	}

	if first, _ := apply(now.Add(48 * time.Hour)); first != 0 {
		t.Fatalf("without a commit the log begins at %d, want 0", first)
	}
	commit(t, b.Addr, "millrace", "events", 35, "")
	if first, size := apply(now); first == 0 || first > 35 || size < 60_000 {
		t.Fatalf("with offset 35 committed the log begins at %d and has %d bytes", first, size)
	}
	commit(t, b.Addr, "millrace", "events", 100, "")
	first, size := apply(now)
	if first <= 35 || size > 40_000 || size < 15_000 {
		t.Fatalf("with all committed the log begins at %d and has %d bytes, want about 30000", first, size)
	}
	if again, _ := apply(now); again != first {
		t.Fatalf("applied twice, the log begins at %d, then at %d", first, again)
	}
	old, _ := apply(now.Add(2 * time.Hour))
	if old <= first || old >= 100 {
		t.Fatalf("two hours later the log begins at %d, want all but the last segment gone", old)
	}

	// The offsets go on after a restart: none is given twice.
	b.Close()
	b = startBroker(t, o)
	if first, end := offsets(t, b, "events"); first != old || end != 100 {
		t.Fatalf("after a restart the log has offsets %d to %d, want %d to 100", first, end, old)
	}
}

func TestBroker_AsksTheGivenFloor(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	floor := int64(-1)
	b := startBroker(t, embedded.BrokerOptions{
		DataDir: t.TempDir(), Topics: map[string]int{"events": 1},
		SegmentBytes: 10_000, RetentionBytes: 20_000, RetentionInterval: 10 * time.Millisecond,
		RetentionFloor: func(topic string, partition int32) int64 {
			mu.Lock()
			defer mu.Unlock()
			if topic != "events" || partition != 0 {
				t.Errorf("asked for %s/%d", topic, partition)
			}
			return floor
		},
	})
	produce(t, b.Addr, "events", 50, 1000)
	commit(t, b.Addr, "millrace", "events", 50, "") // not asked
	if err := b.ApplyRetention(time.Now()); err != nil {
		t.Fatal(err)
	}
	if first, _ := offsets(t, b, "events"); first != 0 {
		t.Fatalf("the log begins at %d, want 0", first)
	}
	mu.Lock()
	floor = 20
	mu.Unlock()
	eventually(t, "the log begins above 0", func() bool {
		first, _ := offsets(t, b, "events")
		if first > 20 {
			t.Fatalf("the log begins at %d, above the floor", first)
		}
		return first > 0
	})
}

// The broker's own retention would delete what has not been inserted.
func TestBroker_DoesNotApplyRetentionOfTopics(t *testing.T) {
	t.Parallel()
	b := startBroker(t, embedded.BrokerOptions{DataDir: t.TempDir(), SegmentBytes: 10_000, RetentionInterval: 10 * time.Millisecond})
	client := &kafka.Client{Addr: kafka.TCP(b.Addr)}
	response, err := client.CreateTopics(context.Background(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: "events", NumPartitions: 1, ReplicationFactor: 1,
		ConfigEntries: []kafka.ConfigEntry{{ConfigName: "retention.ms", ConfigValue: "1"}, {ConfigName: "retention.bytes", ConfigValue: "1"}},
	}}})
	if err != nil || response.Errors["events"] != nil {
		t.Fatal(err, response)
	}
	produce(t, b.Addr, "events", 50, 1000)
	time.Sleep(200 * time.Millisecond)
	if first, end := offsets(t, b, "events"); first != 0 || end != 50 {
		t.Fatalf("the log has offsets %d to %d, want 0 to 50", first, end)
	}
}

// What is kept by key is not shortened by age or size, whatever is committed or said.
func TestBroker_NeverShortensACompactedTopic(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := embedded.BrokerOptions{
		DataDir: dir, Topics: map[string]int{"events": 1},
		SegmentBytes: 10_000, RetentionBytes: 20_000, RetentionAge: time.Millisecond, RetentionInterval: 10 * time.Millisecond,
		RetentionFloor: func(string, int32) int64 { return 1 << 40 },
	}
	b := startBroker(t, o)
	client := &kafka.Client{Addr: kafka.TCP(b.Addr)}
	response, err := client.CreateTopics(context.Background(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: "state", NumPartitions: 1, ReplicationFactor: 1,
		ConfigEntries: []kafka.ConfigEntry{{ConfigName: "cleanup.policy", ConfigValue: "compact"}, {ConfigName: "min.compaction.lag.ms", ConfigValue: "86400000"}},
	}}})
	if err != nil || response.Errors["state"] != nil {
		t.Fatal(err, response)
	}
	produce(t, b.Addr, "state", 50, 1000)
	produce(t, b.Addr, "events", 50, 1000)
	eventually(t, "retention shortens the other topic", func() bool {
		first, _ := offsets(t, b, "events")
		return first > 20
	})
	// Nor after a restart, which reads the topic's settings back.
	b.Close()
	b = startBroker(t, o)
	produce(t, b.Addr, "events", 50, 1000)
	eventually(t, "retention shortens the other topic again", func() bool {
		first, _ := offsets(t, b, "events")
		return first > 70
	})
	if first, end := offsets(t, b, "state"); first != 0 || end != 50 {
		t.Fatalf("the log has offsets %d to %d, want 0 to 50", first, end)
	}
}

func TestBroker_DemandsCredentialsBeyondLoopback(t *testing.T) {
	t.Parallel()
	if _, err := embedded.StartBroker(embedded.BrokerOptions{Address: "0.0.0.0:0"}); err == nil || !strings.Contains(err.Error(), "credentials") {
		t.Fatalf("without a data directory: %v", err)
	}
	dir := t.TempDir()
	b := startBroker(t, embedded.BrokerOptions{DataDir: dir, Address: "0.0.0.0:0", Topics: map[string]int{"events": 1}, Advertise: "127.0.0.1"})
	text, err := os.ReadFile(filepath.Join(dir, "kafka-credentials"))
	if err != nil || string(text) != b.Credentials.User+":"+b.Credentials.Password+"\n" {
		t.Fatalf("the file has %q (%v)", text, err)
	}
	ask := func(transport *kafka.Transport) error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		client := &kafka.Client{Addr: kafka.TCP(b.Addr), Transport: transport}
		defer transport.CloseIdleConnections()
		_, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{"events"}})
		return err
	}
	if err := ask(&kafka.Transport{}); err == nil {
		t.Error("without credentials: no error")
	}
	if err := ask(&kafka.Transport{SASL: plain.Mechanism{Username: b.Credentials.User, Password: "wrong"}}); err == nil {
		t.Error("with a wrong password: no error")
	}
	if err := ask(&kafka.Transport{SASL: plain.Mechanism{Username: b.Credentials.User, Password: b.Credentials.Password}}); err != nil {
		t.Error(err)
	}
}

func TestStartBroker_Failure(t *testing.T) {
	t.Parallel()
	running := startBroker(t, embedded.BrokerOptions{DataDir: t.TempDir()})
	dir := t.TempDir()
	owner := startBroker(t, embedded.BrokerOptions{DataDir: dir})
	f := func(o embedded.BrokerOptions, want ...string) {
		t.Helper()
		b, err := embedded.StartBroker(o)
		if err == nil {
			b.Close()
			t.Fatalf("%+v: no error", o)
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("the error does not contain %q: %v", w, err)
			}
		}
	}
	f(embedded.BrokerOptions{Address: running.Addr}, running.Addr, "--kafka", "taken")
	f(embedded.BrokerOptions{DataDir: dir}, strconv.Itoa(os.Getpid()), dir)
	f(embedded.BrokerOptions{Address: "nonsense"}, `"nonsense"`, "--kafka")
	f(embedded.BrokerOptions{RetentionBytes: -1}, "-1 bytes")
	f(embedded.BrokerOptions{Topics: map[string]int{"events": 0}}, `"events"`, "0 partitions")
	owner.Close()
	startBroker(t, embedded.BrokerOptions{DataDir: dir})

	_, err := embedded.StartBroker(embedded.BrokerOptions{Address: running.Addr})
	var inUse *embedded.AddressInUseError
	if !errors.As(err, &inUse) || inUse.Listener != "kafka" {
		t.Fatalf("got %v", err)
	}
}

func TestBroker_CutsRequestsThatAreTooBig(t *testing.T) {
	t.Parallel()
	b := startBroker(t, embedded.BrokerOptions{Topics: map[string]int{"events": 1}})
	for _, text := range []string{"GET / HTTP/1.1\r\n", "\xff\xff\xff\xff", "\x16\x03\x01\x00\x00"} {
		conn, err := net.Dial("tcp", b.Addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q: the connection stays (%v)", text, err)
		}
		conn.Close()
	}
	produce(t, b.Addr, "events", 1, 1<<20)
}

func TestGuard_FollowsTheFraming(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	guard := embedded.Guard(ln, 10)
	defer guard.Close()
	if got := guard.Addr().String(); got != "127.0.0.1:9092" {
		t.Errorf("advertises %s", got)
	}
	frame := func(size, bytes int) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(size)), make([]byte, bytes)...)
	}
	var sent []byte
	for _, size := range []int{0, 1, 10, 7} {
		sent = append(sent, frame(size, size)...)
	}
	good := len(sent)
	sent = append(sent, frame(11, 11)...)

	for _, step := range []int{1, 2, 3, 5, good} {
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		server, err := guard.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Write(sent); err != nil {
			t.Fatal(err)
		}
		client.Close()
		read, buf := 0, make([]byte, step)
		for {
			n, err := server.Read(buf)
			read += n
			if err != nil {
				if errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "request of 11 bytes") {
					t.Errorf("step %d: got %v", step, err)
				}
				break
			}
		}
		if read < good || read > good+4 {
			t.Errorf("step %d: read %d bytes, want %d and no body after", step, read, good)
		}
		server.Close()
	}
}

func TestAdvertised_IsNeverAWildcard(t *testing.T) {
	t.Parallel()
	f := func(address, host, want string) {
		t.Helper()
		got, err := embedded.Advertised(address, host)
		if err != nil {
			t.Fatal(err)
		}
		if want == "" {
			if h, _, _ := net.SplitHostPort(got); net.ParseIP(h) == nil || net.ParseIP(h).IsUnspecified() {
				t.Errorf("%q is advertised as %q", address, got)
			}
		} else if got != want {
			t.Errorf("%q is advertised as %q, want %q", address, got, want)
		}
	}
	f("127.0.0.1:9092", "", "127.0.0.1:9092")
	f("192.0.2.1:9092", "", "192.0.2.1:9092")
	f("0.0.0.0:9092", "kafka.example.net", "kafka.example.net:9092")
	f("0.0.0.0:9092", "", "")
	f("[::]:9092", "", "")
	f(":9092", "", "")
}
