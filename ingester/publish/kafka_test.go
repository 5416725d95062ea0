//go:build kafka

package publish_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"millrace/ingester/publish"
	"millrace/internal/kafkatest"
	"millrace/internal/recordbatch"
	"millrace/schema"
)

// TestKafka_Publish: what the publisher takes for granted is what Apache Kafka does.
func TestKafka_Publish(t *testing.T) {
	c := kafkatest.Start(t, kafkatest.Options{Settings: map[string]string{"producer.id.expiration.check.interval.ms": "200"}})
	topics := func(prefix string, partitions int) {
		c.CreateTopics(partitions, publish.Topics(prefix, schema.Kinds())...)
	}
	begin := func(t *testing.T, prefix string, change func(*publish.Options)) *running {
		return start(t, c.Brokers(), func(o *publish.Options) {
			o.TopicPrefix, o.Timeout = prefix, 10*time.Second
			if change != nil {
				change(o)
			}
		})
	}

	t.Run("codecs", func(t *testing.T) {
		topics("codecs.", 3)
		const count = 2000
		var names []string
		for _, codec := range []string{"none", "snappy", "lz4", "zstd"} {
			r := begin(t, "codecs.", func(o *publish.Options) { o.Compression = codec })
			for tag, k := range three {
				name := codec + "-" + k.Name
				names = append(names, name)
				r.send(k, name, 0, count, tag)
			}
			r.drain()
			// A new broker has to ask for its first producer ids.
			if n := r.Stats().Retries.Load(); n != 0 && codec != "none" {
				t.Errorf("%s: %d retries", codec, n)
			}
		}
		exactlyOnce(t, consumeFrom(t, c.Brokers(), "codecs.", count*len(names)), count, names...)
	})

	// Requests are lost, torn, late and repeated: the broker knows them again.
	t.Run("network", func(t *testing.T) {
		topics("network.", 3)
		seed := uint64(time.Now().UnixNano())
		x := newChaos(nil, seed, publish.Topics("network.", schema.Kinds()), time.Second)
		r := begin(t, "network.", func(o *publish.Options) {
			o.Transport, o.Timeout, o.Metadata = x, x.net.timeout, 200*time.Millisecond
			o.BatchBytes = 4 << 10
		})
		count := 1500
		if os.Getenv("MILLRACE_KAFKA_MINUTES") != "" {
			count = 5000
		}
		r.send(schema.Message, "a", 0, count, 0)
		r.drain()
		x.calm.Store(true)
		exactlyOnce(t, consumeFrom(t, c.Brokers(), "network.", count), count, "a")
		s := r.Stats()
		t.Logf("seed %d: %v, late or torn %d, retries %d, producer ids %d", seed, x.did, x.net.held.Load(), s.Retries.Load(), s.ProducerIDs.Load())
		if s.Retries.Load() == 0 || s.PossibleDuplicates.Load() != 0 {
			t.Errorf("%d retries, %d possible duplicates", s.Retries.Load(), s.PossibleDuplicates.Load())
		}
	})

	// Somebody has used our next sequence number: the broker refuses the batch as
	// out of order, and it goes there under a new identity.
	t.Run("out of order", func(t *testing.T) {
		topics("order.", 1)
		r := begin(t, "order.", nil)
		r.send(schema.Message, "a", 0, 100, 0)
		eventually(t, "all is acknowledged", func() bool { return sum(&r.acked) == 100 })
		p := producer(t, c, "order.message")
		_, err := sendBatch(t, c, "order.message", p.ProducerID, int16(p.ProducerEpoch), p.LastSequence+1, "foreign")
		if err != nil {
			t.Fatal(err)
		}
		r.send(schema.Message, "a", 100, 200, 0)
		r.drain()
		seen := consumeFrom(t, c.Brokers(), "order.", 201)
		if seen["foreign-0"] != 1 {
			t.Errorf("the foreign record is there %d times", seen["foreign-0"])
		}
		delete(seen, "foreign-0")
		exactlyOnce(t, seen, 200, "a")
		if s := r.Stats(); s.ProducerIDs.Load() != 2 || s.PossibleDuplicates.Load() != 0 {
			t.Errorf("%d producer ids, %d possible duplicates", s.ProducerIDs.Load(), s.PossibleDuplicates.Load())
		}
	})

	// After a long silence, by default a day, the broker has forgotten the producer,
	// and takes its next batch as it is.
	t.Run("forgotten", func(t *testing.T) {
		topics("forgotten.", 1)
		c.Set("producer.id.expiration.ms", "1000")
		defer c.Set("producer.id.expiration.ms", "86400000")
		r := begin(t, "forgotten.", nil)
		r.send(schema.Message, "a", 0, 100, 0)
		eventually(t, "all is acknowledged", func() bool { return sum(&r.acked) == 100 })
		eventually(t, "the broker has forgotten", func() bool { return len(producers(t, c, "forgotten.message")) == 0 })
		r.send(schema.Message, "a", 100, 200, 0)
		r.drain()
		exactlyOnce(t, consumeFrom(t, c.Brokers(), "forgotten.", 200), 200, "a")
	})

	t.Run("sequences", func(t *testing.T) {
		topics("sequences.", 1)
		const topic = "sequences.message"
		id, epoch := producerID(t, c)
		f := func(what string, epoch int16, sequence int32, want error, offset int64) {
			t.Helper()
			at, code := sendBatch(t, c, topic, id, epoch, sequence, what)
			if code != want || at != offset {
				t.Errorf("%s: %v at %d, want %v at %d", what, code, at, want, offset)
			}
		}
		f("first", epoch, 0, nil, 0)
		f("again", epoch, 0, nil, 0)
		f("a gap", epoch, 5, kerr.OutOfOrderSequenceNumber, -1)
		for n := range int32(5) {
			f("next", epoch, 1+n, nil, int64(1+n))
		}
		f("five batches ago", epoch, 1, nil, 1)
		f("six batches ago", epoch, 0, kerr.OutOfOrderSequenceNumber, -1)
		f("a new epoch", epoch+1, 0, nil, 6)
		f("the old one", epoch, 6, kerr.InvalidProducerEpoch, -1)
	})
}

func producerID(t *testing.T, c *kafkatest.Cluster) (id int64, epoch int16) {
	t.Helper()
	r := kmsg.NewPtrInitProducerIDRequest()
	r.ProducerID, r.ProducerEpoch = -1, -1
	res := c.Request(r).(*kmsg.InitProducerIDResponse)
	if err := kerr.ErrorForCode(res.ErrorCode); err != nil {
		t.Fatal(err)
	}
	return res.ProducerID, res.ProducerEpoch
}

// producers are those whose sequence the topic's first partition knows.
func producers(t *testing.T, c *kafkatest.Cluster, topic string) []kmsg.DescribeProducersResponseTopicPartitionActiveProducer {
	t.Helper()
	r := kmsg.NewPtrDescribeProducersRequest()
	asked := kmsg.NewDescribeProducersRequestTopic()
	asked.Topic, asked.Partitions = topic, []int32{0}
	r.Topics = append(r.Topics, asked)
	p := c.Request(r).(*kmsg.DescribeProducersResponse).Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
		t.Fatal(err)
	}
	return p.ActiveProducers
}

func producer(t *testing.T, c *kafkatest.Cluster, topic string) kmsg.DescribeProducersResponseTopicPartitionActiveProducer {
	t.Helper()
	all := producers(t, c, topic)
	if len(all) != 1 {
		t.Fatalf("%d producers, want 1", len(all))
	}
	return all[0]
}

// sendBatch sends a batch of one event to the topic's first partition.
func sendBatch(t *testing.T, c *kafkatest.Cluster, topic string, id int64, epoch int16, sequence int32, name string) (offset int64, code error) {
	t.Helper()
	var s source
	var b recordbatch.Builder
	b.Reset(make([]byte, 0, 1<<16), 1<<15)
	event := s.make(schema.Message, name, 0)
	if err := b.Append(event.Millis(schema.ReceivedAt), schema.AppendRecord(nil, event)); err != nil {
		t.Fatal(err)
	}
	batch := b.Seal()
	recordbatch.Stamp(batch, id, epoch, sequence)
	r := kmsg.NewPtrProduceRequest()
	r.Acks, r.TimeoutMillis = -1, 10_000
	to, p := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	p.Records = batch
	to.Topic, to.Partitions = topic, append(to.Partitions, p)
	r.Topics = append(r.Topics, to)
	// The newest versions name topics by their ids.
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers()...), kgo.MaxVersions(kversion.V3_7_0()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	res, err := client.SeedBrokers()[0].Request(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	answer := res.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	return answer.BaseOffset, kerr.ErrorForCode(answer.ErrorCode)
}
