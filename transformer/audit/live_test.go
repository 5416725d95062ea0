package audit_test

import (
	"context"
	"fmt"
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
	"millrace/transformer"
	"millrace/transformer/audit"
)

// live is a transformer at work.
type live struct {
	t        *testing.T
	cluster  *kfake.Cluster
	database string
	servers  []*embedded.ClickHouse // a shard each
	sent     int64
}

const patience = 2 * time.Minute

// TestLive audits what a transformer has made of events, of records that are none,
// and of a topic that was made again.
func TestLive(t *testing.T) {
	t.Parallel()
	l := newLive(t, embeddedtest.ClickHouse(t))
	conn := embeddedtest.Connect(t, l.database)

	l.produce(schema.Message, 1000)
	l.produce(schema.Status, 1000)
	l.produce(schema.Reject, 100)
	l.record(schema.Status, []byte("no event"))
	if r := l.audit(); !r.OK || r.Lag != l.sent {
		t.Errorf("before anything is inserted: %s", r.Verdict())
	}
	stop := l.transform()
	l.settled()
	stop()
	r := l.audit()
	if !r.OK || r.Rows != l.sent || refused(r) != 1 {
		t.Errorf("%d records are in Kafka: %s, %d refused", l.sent, r.Verdict(), refused(r))
	}

	l.remake("millrace.message")
	l.sent -= 1000
	l.produce(schema.Message, 1200)
	stop = l.transform()
	l.settled()
	stop()
	r = l.audit()
	if want := l.sent + 1000; !r.OK || r.Rows != want {
		t.Errorf("%d rows should be of the old topic and the new: %s", want, r.Verdict())
	}
	logs := map[string]int64{}
	for _, p := range r.Places {
		if p.Topic == "message" {
			logs[fmt.Sprint(p.Epoch, " ", p.Log)] += p.Rows
		}
	}
	if got := fmt.Sprint(logs); got != "map[1 replaced:1000 2 current:1200]" {
		t.Errorf("the topic's rows: %s", got)
	}
	// A row that goes behind the pipeline's back is missed.
	if err := conn.Exec(t.Context(), "INSERT INTO message_events SELECT * FROM message_events WHERE k_epoch = 2 AND k_off = 5"); err != nil {
		t.Fatal(err)
	}
	if r = l.audit(); r.OK || r.Doubled != 2 || r.Missing != 0 {
		t.Errorf("with two rows doubled: %s", r.Verdict())
	}
}

// TestShards audits rows that lie on two servers.
func TestShards(t *testing.T) {
	t.Parallel()
	l := newLive(t, embeddedtest.ClickHouse(t), embeddedtest.Second(t))
	second := embeddedtest.ConnectTo(t, l.servers[1], l.database)
	l.produce(schema.Message, 1000)
	l.produce(schema.Status, 1000)
	stop := l.transform()
	l.settled()
	stop()
	if r := l.audit(); !r.OK || r.Rows != l.sent {
		t.Errorf("%d records are in Kafka: %s", l.sent, r.Verdict())
	}
	// A row of one shard that is on the other too is doubled, though each has it once.
	if err := second.Exec(t.Context(), "INSERT INTO message_events (received_at, k_topic, k_epoch, k_part, k_off) SELECT now64(3), 'message', 1, 0, 7"); err != nil {
		t.Fatal(err)
	}
	if r := l.audit(); r.OK || r.Doubled != 1 || r.Missing != 0 {
		t.Errorf("with a row on two shards: %s", r.Verdict())
	}
	// What one shard has lost is missing.
	if err := second.Exec(t.Context(), "TRUNCATE TABLE message_events"); err != nil {
		t.Fatal(err)
	}
	if r := l.audit(); r.OK || r.Doubled != 0 || r.Missing != 500 {
		t.Errorf("with an empty shard: %s", r.Verdict())
	}
}

// newLive has empty topics, and empty tables on each server.
func newLive(t *testing.T, servers ...*embedded.ClickHouse) *live {
	t.Helper()
	l := &live{t: t, database: embeddedtest.Database(t), servers: servers}
	var topics []string
	for _, k := range schema.Kinds() {
		topics = append(topics, "millrace."+k.Topic)
	}
	for i, server := range servers {
		conn := embeddedtest.ConnectTo(t, server, "")
		if i > 0 {
			if err := conn.Exec(t.Context(), "CREATE DATABASE "+l.database); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Exec(context.Background(), "DROP DATABASE "+l.database+" SYNC") })
		}
		for _, k := range schema.Kinds() {
			if err := conn.Exec(t.Context(), k.CreateTable(schema.Layout{Database: l.database})); err != nil {
				t.Fatal(err)
			}
		}
	}
	var err error
	if l.cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, topics...), kfake.GroupMinSessionTimeout(time.Second)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.cluster.Close)
	return l
}

func refused(r *audit.Report) (n int64) {
	for _, p := range r.Places {
		n += p.Refused
	}
	return n
}

func (l *live) client() *kgo.Client {
	l.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(l.cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxVersions(kversion.V3_7_0()))
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(client.Close)
	return client
}

func (l *live) produce(k *schema.Kind, n int) {
	l.t.Helper()
	var e schema.Event
	var records []*kgo.Record
	now := time.Now()
	for i := range n {
		e.Reset(k)
		e.SetMillis(schema.ReceivedAt, now.UnixMilli()+int64(i))
		records = append(records, &kgo.Record{Topic: "millrace." + k.Topic, Partition: int32(i % 2), Value: schema.AppendRecord(nil, &e), Timestamp: now})
	}
	l.send(records...)
}

func (l *live) record(k *schema.Kind, value []byte) {
	l.t.Helper()
	l.send(&kgo.Record{Topic: "millrace." + k.Topic, Value: value})
}

func (l *live) send(records ...*kgo.Record) {
	l.t.Helper()
	if err := l.client().ProduceSync(l.t.Context(), records...).FirstErr(); err != nil {
		l.t.Fatal(err)
	}
	l.sent += int64(len(records))
}

// remake deletes a topic and makes it again, empty.
func (l *live) remake(name string) {
	l.t.Helper()
	deletion := kmsg.NewPtrDeleteTopicsRequest()
	deletion.TopicNames = []string{name}
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = &name
	deletion.Topics = append(deletion.Topics, topic)
	gone, err := deletion.RequestWith(l.t.Context(), l.client())
	if err != nil || gone.Topics[0].ErrorCode != 0 {
		l.t.Fatalf("%v, %+v", err, gone)
	}
	if err := l.cluster.CreateTopic(name, 2, nil); err != nil {
		l.t.Fatal(err)
	}
}

func asUser(server *embedded.ClickHouse, user embedded.Credentials) *clickhouse.Options {
	return &clickhouse.Options{Addr: []string{server.NativeAddr}, Auth: clickhouse.Auth{Username: user.User, Password: user.Password}}
}

// transform runs a transformer until the returned function stops it.
func (l *live) transform() (stop func()) {
	l.t.Helper()
	var shards []transformer.Shard
	for i, s := range l.servers {
		shards = append(shards, transformer.Shard{Name: fmt.Sprint("s", i), ClickHouse: asUser(s, s.Admin)})
	}
	t, err := transformer.New(transformer.Options{
		Brokers: l.cluster.ListenAddrs(), Transport: &kafka.Transport{MetadataTTL: 200 * time.Millisecond}, Dialer: &kafka.Dialer{Timeout: 2 * time.Second},
		TopicPrefix: "millrace.", Group: "millrace", Shards: shards, Database: l.database, BlockAge: 50 * time.Millisecond,
		InsertTimeout: 5 * time.Second, CommitTimeout: 3 * time.Second, Lease: 1500 * time.Millisecond, ReconcileAfter: 100 * time.Millisecond,
		SessionTimeout: 3 * time.Second, RebalanceTimeout: 2 * time.Second, HeartbeatInterval: 300 * time.Millisecond,
	})
	if err != nil {
		l.t.Fatal(err)
	}
	soft, end := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- t.Run(soft, context.Background()) }()
	return func() {
		l.t.Helper()
		end()
		select {
		case err := <-done:
			if err != nil {
				l.t.Error(err)
			}
		case <-time.After(patience):
			l.t.Fatal("the transformer did not stop")
		}
	}
}

// settled waits until nothing is left to insert. Meanwhile nothing is ever amiss.
func (l *live) settled() {
	l.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		r := l.audit()
		if !r.OK {
			l.t.Fatalf("while the transformer works: %s\n%+v", r.Verdict(), r.Places)
		}
		if r.Lag == 0 && r.Rows >= l.sent {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("not within %v: %s", patience, r.Verdict())
		}
	}
}

func (l *live) audit() *audit.Report {
	l.t.Helper()
	var readers []*clickhouse.Options
	for _, s := range l.servers {
		readers = append(readers, asUser(s, s.Reader))
	}
	r, err := audit.Run(l.t.Context(), audit.Options{
		ClickHouse: readers, Database: l.database, Brokers: l.cluster.ListenAddrs(), Transport: &kafka.Transport{}, TopicPrefix: "millrace.", Group: "millrace",
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return r
}
