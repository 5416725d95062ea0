package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"os/exec"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/benchmarks/frames"
	"millrace/benchmarks/process"
	"millrace/schema"
)

// The topics: our records of messages, and the same messages as lines of CSV.
const (
	topicPrefix = "bench."
	ourTopic    = topicPrefix + "message"
	csvTopic    = "csv"
)

// newTopics starts a broker with topics of so many partitions, and lets our ingester fill
// ours with so many records, with its default settings.
func (b *bench) newTopics(ctx context.Context, in *frames.Input, partitions, records int) (*kfake.Cluster, error) {
	topics := []string{csvTopic}
	for _, k := range schema.Kinds() {
		topics = append(topics, topicPrefix+k.Topic)
	}
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(int32(partitions), topics...))
	if err != nil {
		return nil, err
	}
	if err := b.fill(ctx, broker, in, records); err != nil {
		broker.Close()
		return nil, fmt.Errorf("cannot fill the topic: %w", err)
	}
	return broker, nil
}

func (b *bench) fill(ctx context.Context, broker *kfake.Cluster, in *frames.Input, records int) error {
	dir, err := os.MkdirTemp("", "bench-transform-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	port, err := process.FreePort()
	if err != nil {
		return err
	}
	config := fmt.Sprintf(`listeners:
  - {name: bench, address: "tcp://127.0.0.1:%d", framing: lf, formats: [m1, s1]}
kafka: {brokers: ["%s"], topic_prefix: "%s"}
http: {ingest: off}
`, port, broker.ListenAddrs()[0], topicPrefix)
	ingest, err := b.start(dir, config, "ingest")
	if err != nil {
		return err
	}
	defer ingest.Stop()
	var conn net.Conn
	err = ingest.Await("listening", 15*time.Second, func() bool {
		conn, err = net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		return err == nil
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	for n := 0; n < records; {
		for _, p := range in.Pieces {
			if n+p.Frames > records {
				p.Bytes, p.Frames = bytes.Join(in.Frames[:records-n], nil), records-n
			}
			if _, err := conn.Write(p.Bytes); err != nil {
				return ingest.Failed(err)
			}
			if n += p.Frames; n == records || ctx.Err() != nil {
				break
			}
		}
	}
	return ingest.Await("all in Kafka", time.Minute, func() bool { return recordsOf(broker, ourTopic) >= uint64(records) })
}

// recordsOf is how many records a topic has.
func recordsOf(broker *kfake.Cluster, topic string) (n uint64) {
	for _, p := range broker.PartitionInfos(topic) {
		n += uint64(p.HighWatermark)
	}
	return n
}

// fillCSV writes the messages as lines of CSV, with the same codec. What the template makes
// of them is none: it does not double a quote within a value, and the Kafka engine stops at
// the first such subject. So the engine gets what a friendlier source would write.
func fillCSV(ctx context.Context, broker *kfake.Cluster, in *frames.Input, records int) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.ListenAddrs()...), kgo.DefaultProduceTopic(csvTopic),
		kgo.ProducerBatchCompression(kgo.SnappyCompression()), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		return err
	}
	defer client.Close()
	var lines [][]byte
	for _, frame := range in.Frames {
		if line := asCSV(frame); line != nil {
			lines = append(lines, line)
		}
	}
	failed := make(chan error, 1)
	for n := range records {
		client.Produce(ctx, &kgo.Record{Value: lines[n%len(lines)]}, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// asCSV is a frame's values as CSV, nil where a value holds the columns' separator.
func asCSV(frame []byte) []byte {
	_, values, _ := bytes.Cut(bytes.TrimSuffix(frame, []byte("\"\n")), []byte(`"`))
	columns := bytes.Split(values, []byte(`","`))
	if len(columns) != len(csvEngine.columns) {
		return nil
	}
	for i, c := range columns {
		columns[i] = bytes.ReplaceAll(c, []byte(`"`), []byte(`""`))
	}
	return fmt.Appendf(nil, "\"%s\"\n", bytes.Join(columns, []byte(`","`)))
}

// configFile is the configuration's name in the directory of a program.
const configFile = "millrace.yaml"

// start runs our program with a configuration of its own.
func (b *bench) start(dir, config string, arguments ...string) (*process.Process, error) {
	file := filepath.Join(dir, configFile)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	return process.Start(ours, dir, exec.Command(b.o.millrace, append(arguments, "--config", file)...))
}
