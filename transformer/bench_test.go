package transformer

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/embedded/embeddedtest"
	"millrace/schema"
)

// Kafka to ClickHouse: a topic of realistic size is there, the table is empty.
// The time is from the start of the member to the last row. The broker is in this
// process, and its work is counted too.
func BenchmarkRun(b *testing.B) {
	const rows = 300_000
	server := embeddedtest.ClickHouse(b)
	conn := embeddedtest.Connect(b, "")
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, "bench.message"))
	if err != nil {
		b.Fatal(err)
	}
	defer cluster.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(50_000))
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	k := schema.Message
	e := new(schema.Event)
	var bytes int64
	for n := range rows {
		full(e, n)
		value := schema.AppendRecord(nil, e)
		bytes += int64(len(value))
		client.Produce(context.Background(), &kgo.Record{Topic: "bench.message", Partition: int32(n / 500 % 4), Value: value}, nil)
	}
	if err := client.Flush(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(bytes)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		database := embeddedtest.Database(b)
		for _, k := range schema.Kinds() {
			if err := conn.Exec(context.Background(), k.CreateTable(schema.Layout{Database: database})); err != nil {
				b.Fatal(err)
			}
		}
		t, err := New(Options{
			Brokers: cluster.ListenAddrs(), Group: fmt.Sprintf("bench-%d", n), TopicPrefix: "bench.", Kinds: []*schema.Kind{k},
			Transport:  &kafka.Transport{MetadataTTL: time.Second},
			ClickHouse: &clickhouse.Options{Addr: []string{server.NativeAddr}, Auth: clickhouse.Auth{Username: server.Admin.User, Password: server.Admin.Password}},
			Database:   database,
		})
		if err != nil {
			b.Fatal(err)
		}
		soft, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		b.StartTimer()
		go func() { done <- t.Run(soft, context.Background()) }()
		for t.Stats().Rows(k.Table) < rows {
			time.Sleep(5 * time.Millisecond)
		}
		b.StopTimer()
		stop()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// full is a message with the values that a filter sends.
func full(e *schema.Event, n int) {
	k := schema.Message
	e.Reset(k)
	e.SetMillis(schema.ReceivedAt, epochStart.UnixMilli()+int64(n))
	e.SetMillis(schema.EventTime, epochStart.UnixMilli()+int64(n))
	e.SetText(schema.EventTimeSource, []byte("event"))
	e.SetUint(schema.IDTime, uint64(epochStart.Unix()))
	e.SetText(schema.Listener, []byte("filter"))
	e.SetText(schema.Transport, []byte("tcp"))
	e.SetIP(schema.PeerIP, mustAddr("192.0.2.1"))
	e.SetUint(schema.Severity, 6)
	e.SetText(schema.Format, []byte("m3"))
	e.SetText(schema.Direction, []byte("incoming"))
	for _, f := range [][2]string{
		{"id", fmt.Sprintf("1phfsb-%06d-O4", n)}, {"filtering_host", "mx243.antispamcloud.com"}, {"domain", fmt.Sprintf("d%d.example.com", n%997)},
		{"sender", fmt.Sprintf("bounces+%d@example.org", n*7919%100003)}, {"recipient", fmt.Sprintf("r%d@example.com", n%5003)},
		{"sender_host", "mail.example.net"}, {"sender_location", "NL"}, {"helo", "mail.example.net"}, {"from_header", `"Doe, J" <j@x.org>`},
		{"to_header", "r@example.com"}, {"subject_header", fmt.Sprintf("Re: your order %d", n*104729%1000003)}, {"status", "quarantined"},
		{"main_class", "spam"}, {"sub_class", "dnsbl"}, {"extra_class", "10 / 1m / recipient"},
	} {
		e.SetText(k.Index(f[0]), []byte(f[1]))
	}
	e.SetIP(k.Index("sender_ip"), mustAddr("2001:db8::1"))
	e.SetUint(k.Index("incoming_size"), uint64(20000+n%5000))
}
