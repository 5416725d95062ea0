package transformer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"

	"millrace/schema"
)

// refillRange is what Refill looks at of one partition.
type refillRange struct {
	*partition
	known    bool  // the group has confirmed something
	first    int64 // of the log
	from, to int64
	beyond   int64 // how many offsets of the range are not confirmed
}

// refillRanges are those that are meant, none of them beyond what the group has confirmed:
// the members insert that, and would not know of a second hand.
func (t *Transformer) refillRanges(ctx context.Context, o *RefillOptions) ([]refillRange, error) {
	topic := t.o.TopicPrefix + o.Kind.Topic
	counts, err := t.partitionCounts(ctx)
	if err != nil {
		return nil, err
	}
	if counts[topic] == 0 {
		return nil, fmt.Errorf("cannot read topic %q: Kafka does not have it; kafka.brokers and kafka.topic_prefix say which it is", topic)
	}
	if o.Partition >= counts[topic] {
		return nil, fmt.Errorf("cannot read partition %d of topic %q: it has %d, 0 to %d", o.Partition, topic, counts[topic], counts[topic]-1)
	}
	var all []refillRange
	known := false
	for id := range counts[topic] {
		if o.Partition >= 0 && id != o.Partition {
			continue
		}
		r, err := t.refillRange(ctx, o, topic, id)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
		known = known || r.known
	}
	if !known {
		return nil, fmt.Errorf("cannot read again: group %q has confirmed nothing of topic %q, and what is not confirmed the transformers insert; is kafka.group right?", t.o.Group, topic)
	}
	return all, nil
}

func (t *Transformer) refillRange(ctx context.Context, o *RefillOptions, topic string, id int) (r refillRange, err error) {
	p := &partition{t: t, kind: o.Kind, topic: topic, id: id, home: t.shardOf(id)}
	r.partition = p
	committed, metadata, err := t.committed(ctx, topic, id)
	if errors.Is(err, kafka.GroupIdNotFound) {
		committed, err = -1, nil
	}
	if err != nil {
		return r, err
	}
	r.known = committed >= 0
	first, end, err := t.bounds(ctx, topic, id)
	if err != nil {
		return r, err
	}
	r.first = first
	m, marked := parseMark(metadata)
	if p.epoch = m.epoch; !marked {
		if p.epoch, err = t.newestEpoch(ctx, p); err != nil {
			return r, err
		}
	}
	same := committed <= end
	if same && marked {
		if same, err = p.hasAnchor(ctx, &found{mark: m, first: first}); err != nil {
			return r, err
		}
	}
	if !same {
		return r, fmt.Errorf("cannot read %s/%d again: it is another log than the one that group %q has confirmed up to offset %d; a transformer has to look at it first", topic, id, t.o.Group, committed)
	}
	if r.from, err = t.resolve(ctx, o.From, topic, id, first, end); err != nil {
		return r, err
	}
	if r.to, err = t.resolve(ctx, o.To, topic, id, max(committed, 0), end); err != nil {
		return r, err
	}
	switch {
	case committed < 0 && (o.From.offset || o.To.offset):
		return r, fmt.Errorf("cannot read %s/%d again: group %q has confirmed nothing of it, and what is not confirmed the transformers insert; is kafka.group right?", topic, id, t.o.Group)
	case o.To.offset && r.to > committed, o.From.offset && r.from > committed:
		return r, fmt.Errorf("cannot read offsets %d to %d of %s/%d again: group %q has confirmed those below %d alone, and the others the transformers insert; use --to-offset %d",
			r.from, r.to, topic, id, t.o.Group, committed, committed)
	}
	if limit := max(committed, 0); r.to > limit {
		r.beyond, r.to = r.to-max(r.from, limit), limit
	}
	r.to = max(r.from, r.to)
	return r, nil
}

func (t *Transformer) newestEpoch(ctx context.Context, p *partition) (uint16, error) {
	newest := uint16(1)
	for _, s := range t.shards {
		epoch, _, any, err := s.server.Last(ctx, p.kind, shortTopic(p.kind), uint16(p.id))
		if err != nil {
			return 0, err
		}
		if any {
			newest = max(newest, epoch)
		}
	}
	return newest, nil
}

// RefillBound is one end of a range. The zero value is as far as there is anything.
type RefillBound struct {
	offset bool
	at     int64
	time   time.Time
}

// AtOffset is a bound in offsets.
func AtOffset(o int64) RefillBound { return RefillBound{offset: true, at: o} }

// AtTime is a bound between the records of before t and the others, by the time that
// Kafka has of them.
func AtTime(t time.Time) RefillBound { return RefillBound{time: t} }

func (t *Transformer) resolve(ctx context.Context, b RefillBound, topic string, id int, otherwise, end int64) (int64, error) {
	switch {
	case b.offset:
		return b.at, nil
	case b.time.IsZero():
		return otherwise, nil
	}
	ctx, cancel := context.WithTimeout(ctx, t.o.CommitTimeout)
	defer cancel()
	r, err := t.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Addr: t.client.Addr, Topics: map[string][]kafka.OffsetRequest{topic: {kafka.TimeOffsetOf(id, b.time)}}})
	if err == nil {
		err = errors.New("the answer does not name the partition")
		for _, p := range r.Topics[topic] {
			if p.Partition != id {
				continue
			}
			if p.Error != nil {
				err = p.Error
				break
			}
			for o := range p.Offsets {
				if o >= 0 {
					return o, nil
				}
			}
			return end, nil // none as late as that
		}
	}
	return 0, fmt.Errorf("cannot find the first offset of %s in %s/%d: %w", b.time.Format(time.RFC3339), topic, id, err)
}

// isKind tells a kind from those that the transformer has no topic of.
func (t *Transformer) isKind(k *schema.Kind) bool { return slices.Contains(t.o.Kinds, k) }
