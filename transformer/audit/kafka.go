package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"millrace/schema"
	"millrace/transformer"
)

// partition is one of Kafka's.
type partition struct {
	topic string // without prefix
	part  uint16
}

// log is what Kafka says of a partition.
type log struct {
	committed  int64  // the group's confirmed offset; -1: none
	epoch      uint16 // of that, when marked
	marked     bool   // the commit is the transformer's
	start, end int64
}

// broker asks Kafka.
type broker struct {
	client *kafka.Client
	addr   net.Addr
	names  []string
	prefix string
	group  string
}

const (
	requestTimeout = 20 * time.Second
	retries        = 5
	retryAfter     = 400 * time.Millisecond
)

func newBroker(o *Options) *broker {
	addr := kafka.TCP(o.Brokers...)
	return &broker{
		client: &kafka.Client{Addr: addr, Timeout: requestTimeout, Transport: o.Transport},
		addr:   addr, names: o.Brokers, prefix: o.TopicPrefix, group: o.Group,
	}
}

// again repeats what a broker answers for a moment while leaders move or offsets load.
func (b *broker) again(ctx context.Context, f func(context.Context) error) (err error) {
	for n := range retries {
		if n > 0 {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(retryAfter):
			}
		}
		err = f(ctx)
		var code kafka.Error
		if err == nil || !errors.As(err, &code) || !code.Temporary() {
			break
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (b *broker) explain(what string, err error) error {
	var code kafka.Error
	hint := "; --kafka HOST:PORT asks another broker, --kafka off looks at the tables alone"
	if errors.As(err, &code) {
		hint = ""
		if code == kafka.GroupAuthorizationFailed || code == kafka.TopicAuthorizationFailed {
			hint = "; the user needs Describe on the topics and on the group"
		}
	}
	return fmt.Errorf("cannot %s from Kafka at %s: %w%s", what, strings.Join(b.names, ","), err, hint)
}

// partitions are those that the topics of the kinds have; a topic that is not there
// has none.
func (b *broker) partitions(ctx context.Context) (map[string][]int, error) {
	var names []string
	for _, k := range schema.Kinds() {
		names = append(names, b.prefix+k.Topic)
	}
	found := map[string][]int{}
	err := b.again(ctx, func(ctx context.Context) error {
		r, err := b.client.Metadata(ctx, &kafka.MetadataRequest{Topics: names})
		if err != nil {
			return err
		}
		for _, t := range r.Topics {
			switch {
			case errors.Is(t.Error, kafka.UnknownTopicOrPartition):
				continue
			case t.Error != nil:
				return t.Error
			}
			var ids []int
			for _, p := range t.Partitions {
				ids = append(ids, p.ID)
			}
			found[t.Name] = ids
		}
		return nil
	})
	if err != nil {
		return nil, b.explain("read the topics", err)
	}
	return found, nil
}

// logs are what Kafka has, the commits first: what is confirmed then has its rows
// when ClickHouse is asked afterwards.
func (b *broker) logs(ctx context.Context) (map[partition]*log, error) {
	topics, err := b.partitions(ctx)
	if err != nil {
		return nil, err
	}
	all := map[partition]*log{}
	if len(topics) == 0 {
		return all, nil
	}
	none := false
	err = b.again(ctx, func(ctx context.Context) error {
		r, err := b.client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: b.group, Topics: topics})
		if err == nil {
			err = r.Error
		}
		if errors.Is(err, kafka.GroupIdNotFound) {
			none = true // it has never committed anything
			return nil
		}
		if err != nil {
			return err
		}
		for topic, partitions := range r.Topics {
			for _, p := range partitions {
				if errors.Is(p.Error, kafka.GroupIdNotFound) {
					none = true
					continue
				}
				if p.Error != nil {
					return p.Error
				}
				l := &log{committed: p.CommittedOffset}
				l.epoch, l.marked = transformer.CommittedEpoch(p.Metadata)
				all[b.partition(topic, p.Partition)] = l
			}
		}
		return nil
	})
	if err != nil {
		return nil, b.explain(fmt.Sprintf("read the offsets of group %q", b.group), err)
	}
	for topic, ids := range topics {
		for _, id := range ids {
			p := b.partition(topic, id)
			if all[p] == nil && !none {
				return nil, b.explain("read the committed offsets", fmt.Errorf("the answer does not name %s/%d", topic, id))
			}
			if all[p] == nil {
				all[p] = &log{committed: -1}
			}
		}
	}
	first, err := b.offsets(ctx, topics, kafka.FirstOffsetOf)
	if err != nil {
		return nil, err
	}
	last, err := b.offsets(ctx, topics, kafka.LastOffsetOf)
	if err != nil {
		return nil, err
	}
	for p, l := range all {
		l.start, l.end = first[p], last[p]
	}
	return all, nil
}

func (b *broker) partition(topic string, id int) partition {
	return partition{strings.TrimPrefix(topic, b.prefix), uint16(id)}
}

// offsets asks each partition for one offset.
func (b *broker) offsets(ctx context.Context, topics map[string][]int, which func(int) kafka.OffsetRequest) (map[partition]int64, error) {
	request := &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{}}
	for topic, ids := range topics {
		for _, id := range ids {
			request.Topics[topic] = append(request.Topics[topic], which(id))
		}
	}
	found := map[partition]int64{}
	err := b.again(ctx, func(ctx context.Context) error {
		r, err := b.client.ListOffsets(ctx, request)
		if err != nil {
			return err
		}
		for topic, partitions := range r.Topics {
			for _, p := range partitions {
				if p.Error != nil {
					return fmt.Errorf("%s/%d: %w", topic, p.Partition, p.Error)
				}
				offset := max(p.FirstOffset, p.LastOffset)
				for o := range p.Offsets {
					offset = o // the first with that time or a later one; -1: none
				}
				found[b.partition(topic, p.Partition)] = offset
			}
		}
		return nil
	})
	if err != nil {
		return nil, b.explain("read the bounds of the log", err)
	}
	return found, nil
}

// at is by partition the offset of the first record of that time or later, and the
// log's end when there is none. At the log's start nothing is known of those before.
func (b *broker) at(ctx context.Context, logs map[partition]*log, times map[string]time.Time) (map[partition]int64, error) {
	all := map[partition]int64{}
	for topic, t := range times {
		topics := map[string][]int{}
		for p := range logs {
			if p.topic == topic {
				topics[b.prefix+topic] = append(topics[b.prefix+topic], int(p.part))
			}
		}
		if len(topics) == 0 {
			continue
		}
		found, err := b.offsets(ctx, topics, func(id int) kafka.OffsetRequest { return kafka.TimeOffsetOf(id, t) })
		if err != nil {
			return nil, err
		}
		for p, o := range found {
			if o < 0 {
				o = logs[p].end
			}
			all[p] = o
		}
	}
	return all, nil
}

// received is when the ingester took the frame of a record, in milliseconds; ok is
// false when Kafka has no such record, or it is no event.
func (b *broker) received(ctx context.Context, p partition, offset int64) (ms int64, ok bool, err error) {
	err = b.again(ctx, func(ctx context.Context) error {
		r, err := b.client.Fetch(ctx, &kafka.FetchRequest{
			Topic: b.prefix + p.topic, Partition: int(p.part), Offset: offset, MinBytes: 1, MaxBytes: fetchBytes, MaxWait: time.Second,
		})
		if err == nil {
			err = r.Error
		}
		if errors.Is(err, kafka.OffsetOutOfRange) {
			return nil
		}
		if err != nil {
			return err
		}
		for {
			record, err := r.Records.ReadRecord()
			if err != nil || record.Offset > offset {
				return nil // the end of what came
			}
			if record.Offset < offset || record.Value == nil {
				continue
			}
			value, err := io.ReadAll(record.Value)
			var event schema.Event
			if err == nil && (schema.Reader{}).Read(kindOf(p.topic), value, &event) == nil {
				ms, ok = event.Millis(schema.ReceivedAt), true
			}
			return nil
		}
	})
	if err != nil {
		return 0, false, b.explain(fmt.Sprintf("read offset %d of %s/%d", offset, p.topic, p.part), err)
	}
	return ms, ok, nil
}

// fetchBytes hold one record batch, however large kafka.batch_bytes may be.
const fetchBytes = 16 << 20

// kindOf is the kind whose records the topic has, or nil.
func kindOf(topic string) *schema.Kind {
	for _, k := range schema.Kinds() {
		if k.Topic == topic {
			return k
		}
	}
	return nil
}
