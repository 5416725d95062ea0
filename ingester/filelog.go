package ingester

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"

	"millrace/ingester/files"
	"millrace/ingester/publish"
	"millrace/internal/fetch"
	"millrace/internal/recordbatch"
	"millrace/schema"
)

// kafkaLogs reads the topics that the ingester writes: what is in them of a file already.
type kafkaLogs struct {
	client   *kafka.Client
	fetching fetch.Options
	topics   map[string]bool
}

const (
	fetchBytes    = 8 << 20
	maxFetchBytes = 1 << 28
	fetchWait     = 500 * time.Millisecond
	// tries is how often a partition is asked that does not answer, with a wait between.
	tries    = 20
	tryAfter = time.Second
)

func (in *Ingester) openLogs() (*kafkaLogs, error) {
	k := &in.cfg.Kafka
	transport, err := in.cfg.KafkaTransport(publish.Topics(k.TopicPrefix, schema.Kinds())...)
	if err != nil {
		return nil, err
	}
	l := &kafkaLogs{
		client: &kafka.Client{Addr: kafka.TCP(k.Brokers...), Timeout: k.RequestTimeout, Transport: transport},
		topics: map[string]bool{},
	}
	l.fetching = fetch.Options{
		Transport: transport, Addr: l.client.Addr, MaxWait: fetchWait, Timeout: k.RequestTimeout,
		ResponseBytes: fetchBytes, PartitionBytes: fetchBytes,
	}
	for _, kind := range schema.Kinds() {
		l.topics[k.Topic(kind.Topic)] = true
	}
	return l, nil
}

func (l *kafkaLogs) close() {
	if c, ok := l.client.Transport.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// again calls f until it succeeds, or has failed too often.
func again(ctx context.Context, f func() error) (err error) {
	for range tries {
		if err = f(); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(tryAfter):
		}
	}
	return err
}

// ends are where the partitions end now.
func (l *kafkaLogs) ends(ctx context.Context) (all map[string]map[int32]int64, err error) {
	err = again(ctx, func() error {
		all, err = l.tryEnds(ctx)
		return err
	})
	return all, err
}

func (l *kafkaLogs) tryEnds(ctx context.Context) (map[string]map[int32]int64, error) {
	var names []string
	for name := range l.topics {
		names = append(names, name)
	}
	metadata, err := l.client.Metadata(ctx, &kafka.MetadataRequest{Topics: names})
	if err != nil {
		return nil, fmt.Errorf("cannot ask Kafka for its partitions: %w", err)
	}
	req := &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{}}
	for _, t := range metadata.Topics {
		if t.Error != nil {
			return nil, fmt.Errorf("cannot ask Kafka for the partitions of %q: %w", t.Name, t.Error)
		}
		for _, p := range t.Partitions {
			req.Topics[t.Name] = append(req.Topics[t.Name], kafka.LastOffsetOf(p.ID))
		}
	}
	res, err := l.client.ListOffsets(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("cannot ask Kafka where its partitions end: %w", err)
	}
	all := map[string]map[int32]int64{}
	for topic, partitions := range res.Topics {
		all[topic] = map[int32]int64{}
		for _, p := range partitions {
			if p.Error != nil {
				return nil, fmt.Errorf("cannot ask Kafka where partition %d of %q ends: %w", p.Partition, topic, p.Error)
			}
			all[topic][int32(p.Partition)] = p.LastOffset
		}
	}
	return all, nil
}

// offsetsOf finds the events of a source, from a line on, that stand at places or later:
// the offsets of their lines in it.
func (l *kafkaLogs) offsetsOf(ctx context.Context, source string, from int64, places map[string][]files.Place) (offsets, error) {
	found, err := l.sourcesAt(ctx, places)
	all := found[source]
	return sorted(slices.DeleteFunc(all, func(offset int64) bool { return offset < from })), err
}

// sourcesAt are the offsets of all sources' events that stand at places or later.
func (l *kafkaLogs) sourcesAt(ctx context.Context, places map[string][]files.Place) (map[string][]int64, error) {
	found := map[string][]int64{}
	for topic, list := range places {
		if !l.topics[topic] {
			continue // of a prefix that is not configured any more
		}
		for _, p := range list {
			err := l.read(ctx, topic, p, func(value []byte) {
				if source, offset, err := schema.SourceOf(value); err == nil && len(source) > 0 { // the transformer tells of an error
					found[string(source)] = append(found[string(source)], int64(offset))
				}
			})
			if err != nil {
				return nil, fmt.Errorf("cannot read partition %d of %q: %w", p.Partition, topic, err)
			}
		}
	}
	return found, nil
}

// uninserted is where, in all partitions, what a group of transformers has not confirmed
// begins.
func (l *kafkaLogs) uninserted(ctx context.Context, group string) (map[string][]files.Place, error) {
	ends, err := l.ends(ctx)
	if err != nil {
		return nil, err
	}
	req := &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{}}
	for topic, partitions := range ends {
		for id := range partitions {
			req.Topics[topic] = append(req.Topics[topic], int(id))
		}
	}
	places := map[string][]files.Place{}
	err = again(ctx, func() error {
		res, err := l.client.OffsetFetch(ctx, req)
		if err == nil {
			err = res.Error
		}
		clear(places)
		if errors.Is(err, kafka.GroupIdNotFound) { // no transformer has ever confirmed anything
			for topic, partitions := range ends {
				for id := range partitions {
					places[topic] = append(places[topic], files.Place{Partition: id})
				}
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot ask Kafka what is inserted (kafka.group %q): %w", group, err)
		}
		for topic, partitions := range res.Topics {
			for _, p := range partitions {
				if p.Error != nil {
					return fmt.Errorf("cannot ask Kafka what is inserted of %q (kafka.group %q): %w", topic, group, p.Error)
				}
				places[topic] = append(places[topic], files.Place{Partition: int32(p.Partition), Offset: max(p.CommittedOffset, 0)})
			}
		}
		return nil
	})
	return places, err
}

// read calls f with the records of a partition from a place to where it ends now. value
// is borrowed.
func (l *kafkaLogs) read(ctx context.Context, topic string, from files.Place, f func(value []byte)) error {
	var at, end int64
	bounds := func() (err error) {
		var first int64
		first, end, err = l.bounds(ctx, topic, int(from.Partition))
		at = max(at, first)
		return err
	}
	at = from.Offset
	if err := again(ctx, bounds); err != nil {
		return err
	}
	o, u := l.fetching, unpacker{d: recordbatch.NewDecompressor(maxFetchBytes)}
	for at < end {
		var c fetch.Chunk
		err := again(ctx, func() (err error) {
			if c, err = fetch.Once(ctx, o, topic, from.Partition, at); errors.Is(err, fetch.ErrOutOfRange) {
				err = errors.Join(err, bounds()) // retention has removed it meanwhile
			}
			return err
		})
		if err != nil {
			return err
		}
		next, whole, err := u.records(&c, at, f)
		c.Release()
		switch {
		case err != nil:
			return err
		case !whole && o.PartitionBytes < maxFetchBytes: // a batch is larger than what was asked for
			o.PartitionBytes *= 2
			o.ResponseBytes = max(o.ResponseBytes, o.PartitionBytes)
		case ctx.Err() != nil:
			return ctx.Err()
		}
		at = next
	}
	return nil
}

// unpacker has what batches are decompressed to.
type unpacker struct {
	d   *recordbatch.Decompressor
	buf []byte
}

// records calls f with those of a chunk, from an offset on, and says where the next ones
// are. It is not whole when there is only the beginning of a batch.
func (u *unpacker) records(c *fetch.Chunk, from int64, f func(value []byte)) (next int64, whole bool, err error) {
	var set recordbatch.Set
	for set.Reset(c.Records(), from); set.Next(); {
		var records recordbatch.Records
		if records, u.buf, err = u.d.Records(set.Batch(), u.buf); err != nil {
			return 0, true, err
		}
		var r recordbatch.Record
		for records.Next(&r) {
			if r.Offset >= from && r.Value != nil {
				f(r.Value)
			}
		}
		if err := records.Err(); err != nil {
			return 0, true, err
		}
	}
	next = max(from, set.NextOffset())
	return next, next > from || set.Partial() == 0, set.Err()
}

func (l *kafkaLogs) bounds(ctx context.Context, topic string, partition int) (first, end int64, err error) {
	res, err := l.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{topic: {kafka.FirstOffsetOf(partition), kafka.LastOffsetOf(partition)}},
	})
	if err != nil {
		return 0, 0, err
	}
	for _, p := range res.Topics[topic] {
		if p.Partition == partition {
			return p.FirstOffset, p.LastOffset, p.Error
		}
	}
	return 0, 0, fmt.Errorf("it is not there: %w", kafka.UnknownTopicOrPartition)
}
