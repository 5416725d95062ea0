package transformer

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

// What a partition is about, for who looks why it does not get on.
const (
	doingLook      = "asking Kafka for its offset and bounds"
	doingCompare   = "comparing Kafka's log with ClickHouse's rows"
	doingRedo      = "making an announced block again"
	doingReconcile = "asking ClickHouse which rows are missing"
	doingZombies   = "waiting until no insert of an earlier owner can run any more"
	doingMemory    = "waiting for memory"
	doingTurn      = "waiting for the large blocks of other partitions"
	doingFetch     = "waiting for records"
	doingDecode    = "decoding"
	doingCommit    = "committing"
	doingPlace     = "waiting for the INSERTs of other partitions"
	doingInsert    = "inserting"
	doingPause     = "pausing after a failure"
)

// doing notes what the partition is about now.
func (p *partition) doing(what string) { p.stats.doing.Store(what) }

// watch looks, until ctx ends, whether every partition gets on: it asks Kafka for
// the partitions' ends, so that lag is true also when nothing is fetched, and says
// so when one with records left has not inserted any for StallAfter.
func (g *generation) watch(ctx context.Context, partitions []*partition) {
	seen := make([]progress, len(partitions))
	now := time.Now()
	for i := range seen {
		seen[i] = progress{inserted: -1, since: now}
	}
	defer func() {
		for i := range seen {
			if seen[i].stalled {
				g.t.stats.StalledParts.Add(-1)
			}
		}
	}()
	for sleep(ctx, g.t.o.WatchInterval) {
		_ = g.t.updateEnds(ctx, partitions) // the partitions themselves say when Kafka is away
		for i, p := range partitions {
			seen[i].look(p, g.t.o.StallAfter)
		}
	}
}

// progress is what watch knows of a partition.
type progress struct {
	inserted int64
	since    time.Time // when inserted last changed, or nothing was left
	stalled  bool

	said  string        // what it was about when the log last told of it
	again time.Duration // how long behind since the log tells of it again, if that has changed
}

func (s *progress) look(p *partition, limit time.Duration) {
	inserted, end := p.stats.inserted.Load(), p.stats.end.Load()
	doing, _ := p.stats.doing.Load().(string)
	// Who waits for a turn waits for others, which are looked at themselves.
	if inserted != s.inserted || inserted >= end || doing == doingTurn {
		if s.stalled {
			s.stalled = false
			p.t.stats.StalledParts.Add(-1)
			p.log().Info("a partition gets on again", "after", time.Since(s.since).Round(time.Second))
		}
		s.inserted, s.since = inserted, time.Now()
		return
	}
	stood := time.Since(s.since)
	switch {
	case !s.stalled && stood >= limit:
		s.stalled = true
		p.t.stats.StalledParts.Add(1)
		s.again = limit
	case !s.stalled || doing == s.said || stood < s.again:
		return
	}
	s.said, s.again = doing, 2*s.again
	trouble, _ := p.stats.trouble.Load().(string)
	p.log().Warn("a partition does not get on", "for", stood.Round(time.Second),
		"inserted", inserted, "end", end, "doing", doing, "last_failure", trouble, "stream", p.stream.String())
}

// updateEnds asks Kafka for the ends of partitions.
func (t *Transformer) updateEnds(ctx context.Context, partitions []*partition) error {
	if len(partitions) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, t.o.CommitTimeout)
	defer cancel()
	wanted := map[string][]kafka.OffsetRequest{}
	for _, p := range partitions {
		wanted[p.topic] = append(wanted[p.topic], kafka.LastOffsetOf(p.id))
	}
	r, err := t.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Addr: t.client.Addr, Topics: wanted})
	if err != nil {
		return fmt.Errorf("cannot read the ends of %d partitions: %w", len(partitions), err)
	}
	for topic, list := range r.Topics {
		for _, o := range list {
			if o.Error == nil {
				t.stats.partition(topic, o.Partition).saw(o.LastOffset)
			}
		}
	}
	return nil
}
