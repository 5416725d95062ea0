package transformer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"millrace/internal/fetch"
	"millrace/schema"
	"millrace/transformer/block"
	"millrace/transformer/insert"
)

// Transformer is one member of the consumer group.
type Transformer struct {
	o      Options
	log    *slog.Logger
	client *kafka.Client
	topics []string                // with the prefix
	kinds  map[string]*schema.Kind // by topic
	stats  *Stats

	shards   []*shard
	decoders chan *decoder
	blocks   blockPool
	turns    chan struct{} // of partitions that gather large blocks
	maxRows  int           // of a block: block.MaxRows, in tests fewer
	version  int           // of the reader: readerVersion, in tests another

	group, fetching health

	mutex   sync.Mutex
	blocked map[topicPartition]error

	step func(step string, topic string, partition int) // tests stop here; nil otherwise
}

// New checks the options. Nothing is connected before Run.
func New(o Options) (*Transformer, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	t := &Transformer{
		o: o, log: o.Logger,
		client:   &kafka.Client{Addr: kafka.TCP(o.Brokers...), Timeout: 2 * o.CommitTimeout, Transport: o.Transport},
		kinds:    map[string]*schema.Kind{},
		stats:    newStats(o.Kinds),
		decoders: newDecoders(),
		maxRows:  block.MaxRows,
		version:  readerVersion,
		turns:    make(chan struct{}, turnsOf(&o, len(o.Shards))),
		blocked:  map[topicPartition]error{},
	}
	for _, s := range o.Shards {
		x, err := openShard(s, &o, t.log)
		if err != nil {
			return nil, err
		}
		t.shards = append(t.shards, x)
	}
	for _, k := range o.Kinds {
		t.topics = append(t.topics, o.TopicPrefix+k.Topic)
		t.kinds[o.TopicPrefix+k.Topic] = k
	}
	t.group.init(t.log, "Kafka (consumer group)", errors.New("the consumer group has not been joined yet"))
	t.fetching.init(t.log, "Kafka (fetch)", nil)
	return t, nil
}

// Stats are live; Stats is also a prometheus.Collector.
func (t *Transformer) Stats() *Stats { return t.stats }

// Confirmed is the offset of a partition below which everything is in ClickHouse
// and Kafka knows it; -1 when this member does not know. The topic is named as the
// broker names it.
func (t *Transformer) Confirmed(topic string, partition int) int64 {
	return t.stats.partition(topic, partition).confirmed.Load()
}

// State says what stands in the way.
type State struct {
	Kafka      error   // nil: reachable, and this member has joined the group
	ClickHouse error   // nil: every shard is reachable, and its last answer was not a failure to connect
	Blocked    []error // partitions that wait because ClickHouse refuses their block
}

// Err is the first reason why the transformer cannot work, or nil. A blocked
// partition is none: the others go on.
func (s State) Err() error {
	if s.Kafka != nil {
		return s.Kafka
	}
	return s.ClickHouse
}

// State is for readiness checks.
func (t *Transformer) State() State {
	s := State{Kafka: t.group.get()}
	for _, x := range t.shards {
		if s.ClickHouse = x.health.get(); s.ClickHouse != nil {
			break
		}
	}
	if s.Kafka == nil {
		s.Kafka = t.fetching.get()
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	for p, err := range t.blocked {
		s.Blocked = append(s.Blocked, fmt.Errorf("%s/%d waits: %w", p.topic, p.partition, err))
	}
	return s
}

// block notes that ClickHouse refuses the partition's block, or (nil) no longer.
func (t *Transformer) block(p topicPartition, err error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	was := t.blocked[p]
	switch {
	case err != nil && was == nil:
		t.log.Error("a partition waits, others go on", "topic", p.topic, "partition", p.partition, "error", err)
		t.stats.BlockedParts.Add(1)
		t.blocked[p] = err
	case err != nil:
		t.blocked[p] = err
	case was != nil:
		t.log.Info("a partition goes on", "topic", p.topic, "partition", p.partition)
		t.stats.BlockedParts.Add(-1)
		delete(t.blocked, p)
	}
}

// Run works until soft ends; then it stops fetching, inserts and confirms what is
// open, leaves the group and returns nil. The end of hard, or of DrainTimeout,
// cuts that short: what was announced is finished by whoever is next. It returns
// an error only for what waiting does not mend: tables that are not fit.
func (t *Transformer) Run(soft, hard context.Context) error {
	hard, cancel := context.WithCancel(hard)
	defer cancel()
	defer t.closeShards()
	defer context.AfterFunc(soft, func() {
		timer := time.AfterFunc(t.o.DrainTimeout, cancel)
		context.AfterFunc(hard, func() { timer.Stop() })
	})()

	var wg sync.WaitGroup
	defer wg.Wait()
	watch, stop := context.WithCancel(soft)
	defer stop()
	for _, s := range t.shards {
		if err := t.checkTables(soft, s); err != nil {
			return err
		}
	}
	for _, s := range t.shards {
		wg.Go(func() { s.ping(watch) })
	}
	checked := t.o.CheckTopics == nil
	for soft.Err() == nil && hard.Err() == nil {
		counts := t.waitForTopics(soft)
		if counts == nil {
			continue
		}
		if !checked {
			if err := t.promise(t.o.CheckTopics(soft)); err != nil {
				return err
			}
			checked = true
		}
		t.member(soft, hard, counts)
	}
	return nil
}

// promise is err, which says why rows may be lost or doubled, unless that was accepted.
func (t *Transformer) promise(err error) error {
	if err == nil {
		return nil
	}
	if t.o.AtLeastOnce {
		t.log.Warn("rows may be doubled or lost", "error", err)
		return nil
	}
	return fmt.Errorf("%w\nor take what that may cost: millrace transform --delivery at-least-once (transform.delivery)", err)
}

// checkTables waits until the shard answers and returns what is wrong with its tables.
func (t *Transformer) checkTables(ctx context.Context, s *shard) error {
	for n := 0; ; n++ {
		ask, cancel := context.WithTimeout(ctx, t.o.CommitTimeout)
		err := s.server.Check(ask, t.o.Kinds)
		cancel()
		switch {
		case errors.Is(err, insert.ErrUnfit):
			return err
		case errors.Is(err, insert.ErrForgetful):
			s.health.set(nil)
			return t.promise(err)
		}
		if ctx.Err() != nil {
			return nil
		}
		s.health.set(err)
		if err == nil || !sleep(ctx, backoff(n)) {
			return nil
		}
	}
}

// waitForTopics returns the topics' numbers of partitions when all exist, and nil when ctx ends:
// a missing one would leave the whole group without partitions.
func (t *Transformer) waitForTopics(ctx context.Context) map[string]int {
	for n := 0; ctx.Err() == nil; n++ {
		counts, err := t.partitionCounts(ctx)
		if err == nil {
			missing := t.missing(counts)
			if missing == "" {
				return counts
			}
			err = fmt.Errorf("topic %q does not exist; create it, or let `kafka.create_topics` do it", missing)
			if t.o.EnsureTopics != nil {
				if made := t.o.EnsureTopics(ctx); made != nil {
					err = made
				}
			}
		}
		if ctx.Err() == nil {
			t.group.set(err)
		}
		sleep(ctx, min(backoff(n), time.Second))
	}
	return nil
}

func (t *Transformer) fetchOptions() fetch.Options {
	return fetch.Options{
		Transport: t.o.Transport, Addr: t.client.Addr,
		MaxWait: 250 * time.Millisecond, Timeout: t.o.CommitTimeout,
		ResponseBytes: 16 << 20, PartitionBytes: 1 << 20, QueueBytes: 2 << 20, LimitBytes: t.o.BufferBytes,
		Used: &t.stats.HeldBytes, OnState: t.fetching.set,
	}
}

// blockPool keeps blocks for the next partition that needs one: memory follows
// the blocks that are filled, not the partitions that there are.
type blockPool struct {
	mutex sync.Mutex
	free  map[*schema.Kind][]*block.Block
}

// keepBlocks is how many blocks of a kind are kept.
const keepBlocks = 8

func (p *blockPool) get(k *schema.Kind, place block.Place) *block.Block {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	var b *block.Block
	if free := p.free[k]; len(free) > 0 {
		b = free[len(free)-1]
		p.free[k] = free[:len(free)-1]
	} else {
		b = block.New(k)
	}
	b.Reset(place)
	return b
}

func (p *blockPool) put(b *block.Block) {
	if b == nil {
		return
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.free == nil {
		p.free = map[*schema.Kind][]*block.Block{}
	}
	if free := p.free[b.Kind()]; len(free) < keepBlocks {
		p.free[b.Kind()] = append(free, b)
	}
}
