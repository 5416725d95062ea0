package state

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"millrace/internal/fetch"
	"millrace/internal/recordbatch"
	"millrace/internal/topics"
)

// journal is the topic, read and written.
type journal struct {
	o      *Options
	client *kafka.Client
}

const (
	// maxRecords bounds what a batch is when it is not compressed.
	maxRecords = 64 << 20
	// fetchWait is how long the broker holds a request that has nothing to answer.
	fetchWait = 500 * time.Millisecond
)

func newJournal(o *Options) *journal {
	return &journal{o: o, client: &kafka.Client{Addr: kafka.TCP(o.Brokers...), Timeout: o.RequestTimeout, Transport: o.Transport}}
}

// bounds are the log's first offset and its end.
func (j *journal) bounds(ctx context.Context) (first, end int64, err error) {
	r, err := j.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{j.o.Topic: {kafka.FirstOffsetOf(0), kafka.LastOffsetOf(0)}},
	})
	if err == nil {
		err = errors.New("the answer does not name the partition")
		for _, p := range r.Topics[j.o.Topic] {
			if p.Partition == 0 {
				first, end, err = p.FirstOffset, p.LastOffset, p.Error
			}
		}
	}
	if err != nil {
		return 0, 0, fmt.Errorf("cannot read the bounds of topic %q at %s: %w", j.o.Topic, strings.Join(j.o.Brokers, ","), err)
	}
	return first, end, nil
}

// reader is told of the records of the log in order.
type reader interface {
	restart()                               // another log begins, or this one was cut: forget all
	record(offset int64, key, value []byte) // key and value are views
	reached(next int64)                     // all before next has been told
	trouble(err error)                      // Kafka does not answer as it should; nil: again it does
}

// follow tells r of the whole log from its beginning and then of what comes, until ctx
// ends.
func (j *journal) follow(ctx context.Context, r reader) {
	d := recordbatch.NewDecompressor(maxRecords)
	next := int64(-1)
	for failures := 0; ctx.Err() == nil; {
		var err error
		if next < 0 {
			next, _, err = j.bounds(ctx)
			if err == nil {
				r.restart()
			} else {
				next = -1
			}
		}
		if err == nil {
			next, err = j.read(ctx, d, next, r)
		}
		if err == nil {
			failures = 0
			r.trouble(nil)
			continue
		}
		if errors.Is(err, fetch.ErrOutOfRange) {
			j.o.Logger.Warn("the log of state was cut or made anew, reading it from its beginning", "topic", j.o.Topic, "error", err)
			next = -1
		}
		if ctx.Err() == nil {
			r.trouble(err)
		}
		failures++
		pause(ctx, min(time.Duration(failures)*100*time.Millisecond, 2*time.Second))
	}
}

// read fetches once and returns where to go on.
func (j *journal) read(ctx context.Context, d *recordbatch.Decompressor, next int64, r reader) (int64, error) {
	ask, cancel := context.WithTimeout(ctx, j.o.RequestTimeout)
	defer cancel()
	chunk, err := fetch.Once(ask, fetch.Options{
		Transport: j.o.Transport, Addr: j.client.Addr, MaxWait: fetchWait, Timeout: j.o.RequestTimeout,
		ResponseBytes: 4 << 20, PartitionBytes: 4 << 20,
	}, j.o.Topic, 0, next)
	if err != nil {
		return next, err
	}
	defer chunk.Release()
	var set recordbatch.Set
	set.Reset(chunk.Records(), next)
	for set.Next() {
		records, _, err := d.Records(set.Batch(), nil)
		if err != nil {
			return next, err
		}
		var rec recordbatch.Record
		for records.Next(&rec) {
			if rec.Offset >= next {
				r.record(rec.Offset, rec.Key, rec.Value)
				next = rec.Offset + 1
			}
		}
		if err := records.Err(); err != nil {
			return next, err
		}
		next = max(next, set.Batch().NextOffset())
	}
	next = max(next, set.NextOffset())
	if err := set.Err(); err != nil {
		return next, err
	}
	r.reached(next)
	return next, nil
}

// record is one to be appended: a nil value is a tombstone.
type outgoing struct {
	key   Key
	value []byte
}

// errRefused: the broker will not take this batch, however often it is sent.
var errRefused = errors.New("refused by Kafka")

// produce appends the records in one batch, or says that it may not have done so.
func (j *journal) produce(ctx context.Context, batch []outgoing) error {
	records := make([]kafka.Record, len(batch))
	for i, b := range batch {
		records[i] = kafka.Record{Time: time.Now(), Key: kafka.NewBytes([]byte(b.key))}
		if b.value != nil {
			records[i].Value = kafka.NewBytes(b.value)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, j.o.RequestTimeout)
	defer cancel()
	r, err := j.client.Produce(ctx, &kafka.ProduceRequest{Topic: j.o.Topic, Partition: 0, RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(records...)})
	if err == nil {
		err = r.Error
	}
	var code kafka.Error
	if errors.As(err, &code) {
		switch code {
		case kafka.MessageSizeTooLarge, kafka.TopicAuthorizationFailed, kafka.ClusterAuthorizationFailed, kafka.InvalidRecord, kafka.PolicyViolation, kafka.InvalidTopic:
			return fmt.Errorf("cannot append to topic %q: %w: %w", j.o.Topic, errRefused, err)
		}
	}
	if err != nil {
		return fmt.Errorf("cannot append to topic %q: %w", j.o.Topic, err)
	}
	return nil
}

// batches cuts what is to be appended at the largest batch. What belongs together stays so.
func batches(groups [][]outgoing) (all [][]outgoing) {
	var batch []outgoing
	size := 0
	for _, g := range groups {
		n := 0
		for _, o := range g {
			n += len(o.key) + len(o.value) + 32
		}
		if len(batch) > 0 && size+n > topics.StateBatchBytes/2 {
			all = append(all, batch)
			batch, size = nil, 0
		}
		batch = append(batch, g...)
		size += n
	}
	if len(batch) > 0 {
		all = append(all, batch)
	}
	return all
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
