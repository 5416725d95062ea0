package transformer

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"millrace/internal/embedded"
	"millrace/internal/embedded/embeddedtest"
	"millrace/schema"
)

// The tests wait for timeouts more than they compute: more of them at a time.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.parallel").Value.String() == fmt.Sprint(runtime.GOMAXPROCS(0)) {
		flag.Set("test.parallel", "8")
	}
	os.Exit(embeddedtest.Main(m))
}

// world is a broker, a database and what was produced.
type world struct {
	t        *testing.T
	cluster  *kfake.Cluster // nil over Apache Kafka
	broker   string
	prefix   string // of the topics
	server   *embedded.ClickHouse
	database string
	conn     clickhouse.Conn
	shards   []testShard // where there are several, server being the first
	client   *kgo.Client
	group    string

	mutex sync.Mutex
	want  map[string][]string // ids by table
	seq   int
}

const partitions = 3

// onKafka, when it is set, gives a world topics of its own in Apache Kafka.
var onKafka func(*world)

// topic is the name of the kind's topic.
func (w *world) topic(k *schema.Kind) string { return w.prefix + k.Topic }

func newWorld(t *testing.T) *world {
	t.Helper()
	server := embeddedtest.ClickHouse(t)
	return newWorldOn(t, server, embeddedtest.Database(t), embeddedtest.Connect(t, ""), 1)
}

func newWorldOn(t *testing.T, server *embedded.ClickHouse, database string, conn clickhouse.Conn, brokers int) *world {
	t.Helper()
	var topics []string
	for _, k := range schema.Kinds() {
		topics = append(topics, DefaultTopicPrefix+k.Topic)
		if err := conn.Exec(context.Background(), k.CreateTable(schema.Layout{Database: database})); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{
		t: t, server: server, prefix: DefaultTopicPrefix,
		database: database, conn: conn, group: "millrace", want: map[string][]string{},
	}
	if onKafka != nil {
		onKafka(w)
	} else {
		cluster, err := kfake.NewCluster(kfake.NumBrokers(brokers), kfake.SeedTopics(partitions, topics...), kfake.GroupMinSessionTimeout(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cluster.Close)
		w.cluster, w.broker = cluster, cluster.ListenAddrs()[0]
	}
	w.connect()
	return w
}

// connect makes a new client: one does not take to a topic that was made again.
func (w *world) connect() {
	w.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(w.broker), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(1<<20),
		kgo.UnknownTopicRetries(-1),                                                 // Apache Kafka's brokers learn of a topic after its creation
		kgo.MetadataMinAge(10*time.Millisecond), kgo.MaxVersions(kversion.V3_7_0())) // commits by name, not by topic id
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(client.Close)
	w.client = client
}

// start time of all events: a Wednesday, so that a block touches one or two weeks.
var epochStart = time.Date(2026, 11, 4, 12, 0, 0, 0, time.UTC)

// event is a message or status with a unique id; every tenth lies in another week.
func event(k *schema.Kind, id string, n int) *schema.Event {
	e := new(schema.Event)
	e.Reset(k)
	received := epochStart.Add(time.Duration(n) * time.Millisecond)
	if n%10 == 0 {
		received = received.AddDate(0, 0, 7)
	}
	e.SetMillis(schema.ReceivedAt, received.UnixMilli())
	e.SetMillis(schema.EventTime, received.UnixMilli())
	e.SetText(schema.Listener, []byte("test"))
	if k == schema.Reject {
		e.SetText(k.Index("reason"), []byte("no_template"))
		e.SetText(schema.Raw, []byte(id))
		return e
	}
	e.SetText(k.Index("id"), []byte(id))
	e.SetText(k.Index("domain"), []byte("example.com"))
	return e
}

// produce sends n events of the kind, spread over the partitions.
func (w *world) produce(k *schema.Kind, n int) {
	w.t.Helper()
	var records []*kgo.Record
	w.mutex.Lock()
	for range n {
		w.seq++
		id := fmt.Sprintf("%s-%06d", k.Name, w.seq)
		w.want[k.Table] = append(w.want[k.Table], id)
		records = append(records, w.record(k, int32(w.seq%partitions), schema.AppendRecord(nil, event(k, id, w.seq))))
	}
	w.mutex.Unlock()
	w.send(records...)
}

func (w *world) record(k *schema.Kind, partition int32, value []byte) *kgo.Record {
	return &kgo.Record{Topic: w.topic(k), Partition: partition, Value: value, Timestamp: epochStart}
}

func (w *world) send(records ...*kgo.Record) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := w.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

// request sends an admin request.
func request[R kmsg.Response](w *world, r kmsg.Request) R {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	resp, err := w.client.Request(ctx, r)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.(R)
}

// options are those of every member: short times.
func (w *world) options() Options {
	return Options{
		Brokers: []string{w.broker}, TopicPrefix: w.prefix, Group: w.group,
		ClickHouse: &clickhouse.Options{
			Addr: []string{w.server.NativeAddr},
			Auth: clickhouse.Auth{Username: w.server.Admin.User, Password: w.server.Admin.Password},
		},
		Database: w.database,
		BlockAge: 100 * time.Millisecond, InsertTimeout: 5 * time.Second, CommitTimeout: 3 * time.Second,
		Lease: 1500 * time.Millisecond, ReconcileAfter: 10 * time.Second, // over Lease and InsertTimeout: a late INSERT is not asked about before it ends
		SessionTimeout: 3 * time.Second, RebalanceTimeout: 2 * time.Second, HeartbeatInterval: 300 * time.Millisecond,
		WatchInterval: 300 * time.Millisecond,
	}
}

// member is a transformer as a process of its own: kill cuts all its connections
// at once and it makes no more.
type member struct {
	*Transformer
	w          *world
	soft, hard context.CancelFunc
	done       chan error

	mutex sync.Mutex
	dead  bool
	conns map[net.Conn]struct{}
}

var errDead = errors.New("this process is dead")

func (m *member) dial(ctx context.Context, network, address string) (net.Conn, error) {
	m.mutex.Lock()
	dead := m.dead
	m.mutex.Unlock()
	if dead { // what is left of it goes on trying, which is work for nothing
		return nil, errDead
	}
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.dead { // it died in between
		c.Close()
		return nil, errDead
	}
	m.conns[c] = struct{}{}
	return c, nil
}

// kill ends the member the way a kill -9 looks from outside.
func (m *member) kill() {
	m.mutex.Lock()
	m.dead = true
	for c := range m.conns {
		c.Close()
	}
	m.mutex.Unlock()
	m.hard()
	m.soft()
}

// start runs a member; both functions may be nil.
func (w *world) start(change func(*Options), step func(m *member, step, topic string, partition int)) *member {
	w.t.Helper()
	return w.startWith(change, step, nil)
}

// startWith is start with a last word before it runs.
func (w *world) startWith(change func(*Options), step func(m *member, step, topic string, partition int), last func(*Transformer)) *member {
	w.t.Helper()
	m := &member{w: w, done: make(chan error, 1), conns: map[net.Conn]struct{}{}}
	o := w.options()
	o.Transport = &kafka.Transport{Dial: m.dial, MetadataTTL: 200 * time.Millisecond, DialTimeout: 2 * time.Second}
	o.Dialer = &kafka.Dialer{DialFunc: m.dial, Timeout: 2 * time.Second}
	o.ClickHouse.DialContext = func(ctx context.Context, address string) (net.Conn, error) { return m.dial(ctx, "tcp", address) }
	o.Shards = w.shardOptions(o.ClickHouse)
	if os.Getenv("MILLRACE_TEST_LOG") != "" {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("test", w.t.Name())
	}
	if change != nil {
		change(&o)
	}
	t, err := New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	m.Transformer = t
	if step != nil {
		t.step = func(s, topic string, partition int) { step(m, s, topic, partition) }
	}
	if last != nil {
		last(t)
	}
	var soft, hard context.Context
	soft, m.soft = context.WithCancel(context.Background())
	hard, m.hard = context.WithCancel(context.Background())
	go func() { m.done <- t.Run(soft, hard) }()
	w.t.Cleanup(func() { m.kill(); m.wait() })
	return m
}

// stop ends the member in order.
func (m *member) stop() {
	m.w.t.Helper()
	m.soft()
	if err := m.wait(); err != nil {
		m.w.t.Errorf("Run: %v", err)
	}
}

func (m *member) wait() error {
	select {
	case err := <-m.done:
		m.done <- err
		return err
	case <-time.After(40 * time.Second):
		stacks := make([]byte, 4<<20)
		m.w.t.Errorf("the transformer did not stop:\n%s", stacks[:runtime.Stack(stacks, true)])
		return nil
	}
}

// eventually waits until f is true.
func (w *world) eventually(what string, f func() bool) {
	w.t.Helper()
	pause := 20 * time.Millisecond // less and less often: most ask ClickHouse, which takes what the others need
	for deadline := time.Now().Add(2 * time.Minute); !f(); {
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: not within the time", what)
		}
		time.Sleep(pause)
		pause = min(pause*5/4, 250*time.Millisecond)
	}
}

func (w *world) count(query string, args ...any) int64 {
	w.t.Helper()
	var sum int64
	query = "SELECT toInt64(assumeNotNull((" + strings.ReplaceAll(query, "DB", w.database) + ")))"
	for _, conn := range w.conns() {
		var n int64
		if err := conn.QueryRow(context.Background(), query, args...).Scan(&n); err != nil {
			w.t.Fatal(err)
		}
		sum += n
	}
	return sum
}

// arrived waits until all that was produced is in the tables.
func (w *world) arrived() {
	w.t.Helper()
	for table, ids := range w.want {
		where := ""
		if table == schema.Reject.Table {
			where = " WHERE reason != 'bad_record'"
		}
		w.eventually(fmt.Sprintf("%d rows of %s", len(ids), table), func() bool {
			return w.count("SELECT uniqExact(k_topic, k_epoch, k_part, k_off) FROM DB."+table+where) >= int64(len(ids))
		})
	}
}

// outcome is what the end check finds.
type outcome struct{ missing, doubled, foreign int }

// check compares the tables with what was produced, by the events' own ids and by
// their Kafka places.
func (w *world) check() outcome {
	w.t.Helper()
	var o outcome
	for _, k := range schema.Kinds() {
		id := "id"
		where := ""
		switch {
		case k == schema.Reject:
			id, where = "raw", " WHERE reason != 'bad_record'"
		case k.Index(id) < 0:
			id = "raw"
		}
		got := map[string]uint64{}
		for _, conn := range w.conns() {
			rows, err := conn.Query(context.Background(), fmt.Sprintf("SELECT %s, count() FROM %s.%s%s GROUP BY 1", id, w.database, k.Table, where))
			if err != nil {
				w.t.Fatal(err)
			}
			for rows.Next() {
				var id string
				var n uint64
				if err := rows.Scan(&id, &n); err != nil {
					w.t.Fatal(err)
				}
				got[id] += n
			}
			if err := errors.Join(rows.Err(), rows.Close()); err != nil {
				w.t.Fatal(err)
			}
		}
		for _, id := range w.want[k.Table] {
			switch n := got[id]; {
			case n == 0:
				o.missing++
			case n > 1:
				o.doubled += int(n) - 1
			}
			delete(got, id)
		}
		o.foreign += len(got)
		o.doubled += int(w.count("SELECT count() - uniqExact(k_topic, k_epoch, k_part, k_off) FROM DB." + k.Table))
	}
	return o
}

// exactlyOnce fails unless every event is there, once.
func (w *world) exactlyOnce() {
	w.t.Helper()
	w.arrived()
	o := w.check()
	w.t.Logf("missing=%d doubled=%d", o.missing, o.doubled)
	if o != (outcome{}) {
		w.t.Errorf("it is not exactly once; %d rows are of nobody", o.foreign)
	}
}

// committed are the group's offsets and metadata by topic and partition.
func (w *world) committed() map[topicPartition]string {
	w.t.Helper()
	r := kmsg.NewPtrOffsetFetchRequest()
	r.Group = w.group
	for _, k := range schema.Kinds() {
		t := kmsg.NewOffsetFetchRequestTopic()
		t.Topic = w.topic(k)
		for p := range int32(partitions) {
			t.Partitions = append(t.Partitions, p)
		}
		r.Topics = append(r.Topics, t)
	}
	found := map[topicPartition]string{}
	for _, t := range request[*kmsg.OffsetFetchResponse](w, r).Topics {
		for _, p := range t.Partitions {
			metadata := ""
			if p.Metadata != nil {
				metadata = *p.Metadata
			}
			found[topicPartition{t.Topic, int(p.Partition)}] = fmt.Sprintf("%d %s", p.Offset, metadata)
		}
	}
	return found
}

func mustAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

func (w *world) createTopic(name string, partitions int32) {
	w.t.Helper()
	r := kmsg.NewPtrCreateTopicsRequest()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, 1
	r.Topics = append(r.Topics, t)
	for _, t := range request[*kmsg.CreateTopicsResponse](w, r).Topics {
		if t.ErrorCode != 0 {
			w.t.Fatalf("create topic %s: code %d", t.Topic, t.ErrorCode)
		}
	}
}
