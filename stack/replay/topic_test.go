package replay_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/config"
	"millrace/internal/embedded/embeddedtest"
	"millrace/schema"
	"millrace/stack/replay"
	"millrace/transformer"
	"millrace/transformer/audit"
)

// Rows that the pipeline has inserted, and a hand has dropped, come back from Kafka while
// transformers work. The audit finds them missing before, and nothing after.
func TestTopic(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var topics []string
	for _, k := range schema.Kinds() {
		topics = append(topics, "millrace."+k.Topic)
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, topics...), kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	ch := &w.cfg.ClickHouse
	cfg, err := config.Parse("millrace.yaml", fmt.Appendf(nil, `
kafka: {brokers: ["%s"], replication: 1}
transform: {delivery: at-least-once}
clickhouse: {addresses: ["%s"], database: %s, username: %s, password: "%s"}
`, cluster.ListenAddrs()[0], ch.Addresses[0], w.database, ch.Username, ch.Password.Reveal()), func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	const n = 400
	var records []*kgo.Record
	for i := range n {
		var e schema.Event
		e.Reset(schema.Message)
		e.SetMillis(schema.ReceivedAt, arrived(i).UnixMilli())
		e.SetText(schema.Message.Index("id"), fmt.Append(nil, i))
		records = append(records, &kgo.Record{Topic: "millrace.message", Partition: int32(i % 2), Value: schema.AppendRecord(nil, &e), Timestamp: arrived(i)})
	}
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	worker, err := transformer.FromConfig(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	soft, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(soft, context.Background()) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	look := func() *audit.Report {
		t.Helper()
		o := audit.Options{Database: w.database, Brokers: cluster.ListenAddrs(), TopicPrefix: "millrace.", Group: "millrace"}
		if o.ClickHouse, err = cfg.ShardReaderOptions(); err != nil {
			t.Fatal(err)
		}
		server := embeddedtest.ClickHouse(t)
		o.ClickHouse[0].Auth.Username, o.ClickHouse[0].Auth.Password = server.Reader.User, server.Reader.Password
		if o.Transport, err = cfg.KafkaTransport(); err != nil {
			t.Fatal(err)
		}
		r, err := audit.Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		r := look()
		confirmed := int64(0)
		for _, p := range r.Places {
			confirmed += *p.Committed
		}
		if confirmed == n {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(r.Verdict())
		}
	}

	if err := w.conn.Exec(t.Context(), "ALTER TABLE "+w.database+".message_events DROP PARTITION '2026-11-02'"); err != nil {
		t.Fatal(err)
	}
	if r := look(); r.OK || r.Missing == 0 {
		t.Errorf("a week is gone: %s", r.Verdict())
	}
	o := replay.TopicOptions{Options: replay.Options{Config: cfg}, Kind: schema.Message, Partition: -1, From: transformer.AtTime(wednesday)}
	const gone = n - n/10
	if r, err := replay.Topic(t.Context(), o); err != nil || r != (transformer.RefillResult{Records: n, There: n - gone, Events: gone}) {
		t.Errorf("dry run: %+v, %v", r, err)
	}
	o.Insert = true
	done := uint64(0)
	o.Progress = func(n, _ uint64) { done = n }
	if r, err := replay.Topic(t.Context(), o); err != nil || r != (transformer.RefillResult{Records: n, There: n - gone, Events: gone, Inserted: gone}) || done != n {
		t.Errorf("%+v, %v; progress %d", r, err, done)
	}
	if r := look(); !r.OK || r.Rows != n || r.Removed != 0 {
		t.Errorf("after it: %s", r.Verdict())
	}
	if r, err := replay.Topic(t.Context(), o); err != nil || r != (transformer.RefillResult{Records: n, There: n}) {
		t.Errorf("again: %+v, %v", r, err)
	}
}
