package discard

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/recordbatch"
)

func listen(t *testing.T, o Options) *Broker {
	t.Helper()
	b, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// TestCounts: what a producer that we did not write sends is counted, and Acked is shown
// all of it. librdkafka's are rsyslog's and syslog-ng's, in the benchmark's own test.
func TestCounts(t *testing.T) {
	t.Parallel()
	var seen atomic.Uint64
	b := listen(t, Options{Partitions: 3, Acked: func(_ string, records []byte, _ time.Time) {
		var set recordbatch.Set
		for set.Reset(records, 0); set.Next(); {
			seen.Add(uint64(set.Batch().Count))
		}
	}})
	const records = 500

	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.DefaultProduceTopic("franz"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for range records {
		client.Produce(t.Context(), kgo.StringRecord("value"), func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := client.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}

	if c := b.Counts("franz"); c.Records != records || c.Duplicates != 0 || c.Batches == 0 || c.Bytes == 0 {
		t.Errorf("%+v", c)
	}
	for end := time.Now().Add(time.Minute); seen.Load() < records && time.Now().Before(end); {
		time.Sleep(time.Millisecond) // Acked comes after the acknowledgement
	}
	if n := seen.Load(); n != records {
		t.Errorf("Acked was shown %d records", n)
	}
}

// TestSequence: a batch that comes again counts once, and one that comes too early not at all.
func TestSequence(t *testing.T) {
	t.Parallel()
	b := listen(t, Options{Partitions: 1})
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	produce := func(sequence int32) int16 {
		t.Helper()
		var builder recordbatch.Builder
		builder.Reset(make([]byte, 1<<10), 1<<10)
		for range 3 {
			if err := builder.Append(1, []byte("value")); err != nil {
				t.Fatal(err)
			}
		}
		batch := builder.Seal()
		recordbatch.Stamp(batch, 7, 0, sequence)
		p := kmsg.NewProduceRequestTopicPartition()
		p.Records = batch
		topic := kmsg.NewProduceRequestTopic()
		topic.Topic, topic.Partitions = "t", []kmsg.ProduceRequestTopicPartition{p}
		req := kmsg.NewPtrProduceRequest()
		req.Acks, req.Topics = -1, []kmsg.ProduceRequestTopic{topic}
		res, err := client.Broker(node).Request(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		return res.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode
	}
	if _, err := client.Request(t.Context(), kmsg.NewPtrMetadataRequest()); err != nil { // brokers become known
		t.Fatal(err)
	}
	for i, c := range []struct {
		sequence int32
		code     int16
		counts   uint64
	}{{0, 0, 3}, {3, 0, 6}, {3, 0, 6}, {9, kerr.OutOfOrderSequenceNumber.Code, 6}, {0, 0, 6}, {6, 0, 9}} {
		if code := produce(c.sequence); code != c.code || b.Counts("t").Records != c.counts {
			t.Errorf("batch %d was answered with %d, and %+v are counted", i, code, b.Counts("t"))
		}
	}
	if c := b.Counts("t"); c.Duplicates != 6 {
		t.Errorf("%+v", c)
	}
}

// TestFreeze: nothing is acknowledged until Thaw, and all is afterwards.
func TestFreeze(t *testing.T) {
	t.Parallel()
	b := listen(t, Options{Partitions: 1})
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.DefaultProduceTopic("t"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(t.Context(), kgo.StringRecord("before")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	b.Freeze()
	acked := make(chan error, 1)
	client.Produce(context.Background(), kgo.StringRecord("meanwhile"), func(_ *kgo.Record, err error) { acked <- err })
	select {
	case err := <-acked:
		t.Errorf("acknowledged while frozen: %v", err)
	case <-time.After(100 * time.Millisecond): // shows little by itself; the count below shows more
	}
	if n := b.Counts("t").Records; n != 1 {
		t.Errorf("%d records are counted while frozen", n)
	}
	b.Thaw()
	if err := <-acked; err != nil {
		t.Error(err)
	}
	if n := b.Counts("t").Records; n != 2 {
		t.Errorf("%d records are counted in the end", n)
	}
}
