package transformer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

var (
	// errFenced: Kafka refused a commit, because this member's generation is over.
	errFenced = errors.New("the group's generation is over")
	// errUnknownCommit: a commit was sent and no answer came. It may still arrive,
	// after a later one, and move the offset back. Only a new generation fences it.
	errUnknownCommit = errors.New("the outcome of a commit is unknown")
)

// commitRetry is the pause before a commit that the broker did not take is sent again.
const commitRetry = 100 * time.Millisecond

// commit sets the partition's offset and metadata in the name of the generation.
// It returns nil only when Kafka acknowledged it. It is never cut short by the end
// of the generation: an answer that nobody waits for is an unknown outcome.
func (g *generation) commit(topic string, partition int, offset int64, m mark) error {
	request := &kafka.OffsetCommitRequest{
		Addr: g.t.client.Addr, GroupID: g.t.o.Group, GenerationID: int(g.id), MemberID: g.member,
		Topics: map[string][]kafka.OffsetCommit{topic: {{Partition: partition, Offset: offset, Metadata: m.String()}}},
	}
	for {
		ctx, cancel := context.WithTimeout(g.hard, g.t.o.CommitTimeout)
		response, err := g.t.client.OffsetCommit(ctx, request)
		cancel()
		if err == nil {
			err = commitError(response, topic, partition)
			if err == nil {
				return nil
			}
		}
		err = fmt.Errorf("cannot commit offset %d of %s/%d: %w", offset, topic, partition, err)
		var code kafka.Error
		if !errors.As(err, &code) {
			g.t.stats.UnknownCommits.Add(1)
			return fmt.Errorf("%w: %w", errUnknownCommit, err)
		}
		switch code {
		case kafka.IllegalGeneration, kafka.UnknownMemberId, kafka.RebalanceInProgress, kafka.FencedInstanceID:
			g.t.stats.Fenced.Add(1)
			return fmt.Errorf("%w: %w", errFenced, err)
		case kafka.GroupLoadInProgress, kafka.GroupCoordinatorNotAvailable, kafka.NotCoordinatorForGroup:
			// The broker says that it did not take it: it may be sent again.
			select {
			case <-time.After(commitRetry):
			case <-g.alive.Done():
				return fmt.Errorf("%w: %w", errFenced, err)
			}
		default:
			// Some codes mean that it was written but not replicated in time.
			g.t.stats.UnknownCommits.Add(1)
			return fmt.Errorf("%w: %w", errUnknownCommit, err)
		}
	}
}

func commitError(r *kafka.OffsetCommitResponse, topic string, partition int) error {
	for _, p := range r.Topics[topic] {
		if p.Partition == partition {
			return p.Error
		}
	}
	return errors.New("the answer does not name the partition")
}

// committed reads the partition's offset, -1 when there is none, and its metadata.
func (t *Transformer) committed(ctx context.Context, topic string, partition int) (int64, string, error) {
	ctx, cancel := context.WithTimeout(ctx, t.o.CommitTimeout)
	defer cancel()
	r, err := t.client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{
		Addr: t.client.Addr, GroupID: t.o.Group, Topics: map[string][]int{topic: {partition}},
	})
	if err == nil {
		err = r.Error
	}
	if err == nil {
		err = errors.New("the answer does not name the partition")
		for _, p := range r.Topics[topic] {
			if p.Partition != partition {
				continue
			}
			if p.Error == nil {
				return p.CommittedOffset, p.Metadata, nil
			}
			err = p.Error
		}
	}
	return 0, "", fmt.Errorf("cannot read the committed offset of %s/%d: %w", topic, partition, err)
}

// bounds reads the partition's first offset and its end.
func (t *Transformer) bounds(ctx context.Context, topic string, partition int) (first, end int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, t.o.CommitTimeout)
	defer cancel()
	r, err := t.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{
		Addr: t.client.Addr, Topics: map[string][]kafka.OffsetRequest{topic: {kafka.FirstOffsetOf(partition), kafka.LastOffsetOf(partition)}},
	})
	if err == nil {
		err = errors.New("the answer does not name the partition")
		for _, p := range r.Topics[topic] {
			if p.Partition != partition {
				continue
			}
			if p.Error == nil {
				return p.FirstOffset, p.LastOffset, nil
			}
			err = p.Error
		}
	}
	return 0, 0, fmt.Errorf("cannot read the bounds of %s/%d: %w", topic, partition, err)
}

// partitionCounts are the topics' numbers of partitions; a missing topic has none.
func (t *Transformer) partitionCounts(ctx context.Context) (map[string]int, error) {
	ctx, cancel := context.WithTimeout(ctx, t.o.CommitTimeout)
	defer cancel()
	r, err := t.client.Metadata(ctx, &kafka.MetadataRequest{Addr: t.client.Addr, Topics: t.topics})
	if err != nil {
		return nil, fmt.Errorf("cannot read Kafka's metadata: %w", err)
	}
	counts := map[string]int{}
	for _, topic := range r.Topics {
		if topic.Error == nil {
			counts[topic.Name] = len(topic.Partitions)
		}
	}
	return counts, nil
}

// missing names a topic that counts lacks, or "".
func (t *Transformer) missing(counts map[string]int) string {
	for _, topic := range t.topics {
		if counts[topic] == 0 {
			return topic
		}
	}
	return ""
}
