package transformer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"millrace/internal/fetch"
	"millrace/internal/kafkagroup"
	"millrace/schema"
)

// member joins the group and works through its generations, until soft or hard
// ends, a topic is missing, or the membership must be given up. counts are the topics'
// numbers of partitions before it joins.
func (t *Transformer) member(soft, hard context.Context, counts map[string]int) {
	dialer := kafkagroup.NewDialer(t.o.Dialer)
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: t.o.Group, Brokers: t.o.Brokers, Dialer: dialer.Dialer, Topics: t.topics,
		SessionTimeout: t.o.SessionTimeout, RebalanceTimeout: t.o.RebalanceTimeout,
		HeartbeatInterval: t.o.HeartbeatInterval, JoinGroupBackoff: time.Second,
		Timeout: t.o.SessionTimeout, StartOffset: kafka.FirstOffset,
		// Topics are watched by watchTopics: kafka-go's watcher rejoins without a
		// pause while a topic is missing.
	})
	if err != nil { // only for options that withDefaults has passed
		t.group.set(err)
		sleep(soft, time.Second)
		return
	}
	defer dialer.Leave(group)
	ctx, cancel := context.WithCancel(soft)
	defer cancel()
	defer context.AfterFunc(hard, cancel)()
	for n := 0; ctx.Err() == nil; n++ {
		gen, err := group.Next(ctx)
		if err != nil {
			// A rebalance while joining is no failure: kafka-go joins again by itself.
			if ctx.Err() == nil && !errors.Is(err, kafka.RebalanceInProgress) {
				t.group.set(fmt.Errorf("cannot join consumer group %q: %w", t.o.Group, err))
				sleep(ctx, backoff(n))
			}
			continue
		}
		n = 0
		result := make(chan error, 1)
		// One function for all partitions: the first one that returns ends the generation.
		gen.Start(func(ended context.Context) {
			var err error
			counts, err = t.generation(ended, gen, soft, hard, counts)
			result <- err
		})
		err = <-result
		if errors.Is(err, errUnknownCommit) {
			// A member that rejoins as it is may be given the same generation again,
			// in which the late commit would be good. Leaving makes a new one.
			t.log.Warn("leaving the consumer group", "error", err)
			return
		}
		if errors.Is(err, errTopicMissing) {
			t.group.set(err)
			return
		}
		if err != nil && !errors.Is(err, errFenced) {
			t.log.Error("leaving the group's generation", "error", err)
			sleep(ctx, backoff(n))
		}
	}
}

var errTopicMissing = errors.New("a topic does not exist any more")

// generation is this member's share of the group until the next rebalance.
type generation struct {
	t      *Transformer
	id     int32
	member string

	// active ends when nothing new is to be begun: at the soft stop, and with alive.
	// alive ends when the generation is over: then nothing is announced any more.
	// hard ends when everything is to be dropped.
	active, alive, hard context.Context
	failed              chan error
	broken              atomic.Bool // a commit's outcome is unknown: no other is sent
}

// fail ends the generation for all partitions. The first reason is kept, but a
// commit of unknown outcome before all: it decides that the group must be left.
func (g *generation) fail(err error) {
	if errors.Is(err, errUnknownCommit) {
		g.broken.Store(true)
	}
	select {
	case g.failed <- err:
	default:
	}
}

// generation runs the assigned partitions until the generation ends or one fails. before are the
// topics' numbers of partitions of a time before it joined; those that it knows in the end are returned.
//
// The group's leader shares out the partitions that it sees while all join. Were there
// more of them when this generation began, some may belong to nobody: they are shared out anew.
func (t *Transformer) generation(ended context.Context, gen *kafka.Generation, soft, hard context.Context, before map[string]int) (map[string]int, error) {
	alive, die := context.WithCancel(hard)
	defer die()
	active, deactivate := context.WithCancel(alive)
	defer deactivate()
	defer context.AfterFunc(ended, die)()
	defer context.AfterFunc(soft, deactivate)()

	g := &generation{t: t, id: gen.ID, member: gen.MemberID, active: active, alive: alive, hard: hard, failed: make(chan error, 1)}
	counts, err := t.partitionCounts(active)
	if err != nil {
		return before, err
	}
	if missing := t.missing(counts); missing != "" {
		return counts, fmt.Errorf("%w: %q", errTopicMissing, missing)
	}
	if t.changed(before, counts) {
		return counts, errFenced
	}
	fetcher := fetch.New(t.fetchOptions())
	var partitions []*partition
	for topic, assigned := range gen.Assignments {
		kind := t.kinds[topic]
		for _, a := range assigned {
			partitions = append(partitions, newPartition(g, kind, topic, a.ID, fetcher.Add(topic, int32(a.ID)), fetcher))
		}
	}
	t.stats.Generations.Add(1)
	t.group.set(nil)
	t.fetching.set(nil) // what the last generation's fetcher could not do is over
	t.log.Info("joined the consumer group", "group", t.o.Group, "generation", gen.ID, "partitions", len(partitions))

	var fetching, working sync.WaitGroup
	fetching.Go(func() { fetcher.Run(active) })
	for _, p := range partitions {
		working.Go(p.run)
	}
	fetching.Go(func() { g.watch(active, partitions) })
	idle := make(chan struct{})
	go func() { working.Wait(); close(idle) }()
	watch := t.watchTopics(active, counts)
	var result error
	if len(partitions) == 0 {
		idle = nil // a member without a share waits for the next generation
	}
	select {
	case <-idle: // all have stopped: the soft or the hard stop
	case <-active.Done():
	case result = <-g.failed:
		die()
	case c := <-watch:
		counts, result = c.counts, c.err
		die()
	}
	working.Wait()
	deactivate()
	fetching.Wait()
	if g.broken.Load() {
		return counts, errUnknownCommit
	}
	return counts, result
}

// topicChange is why a generation has to end, and the numbers of partitions then.
type topicChange struct {
	counts map[string]int
	err    error
}

// watchTopics tells when a topic disappears or gets another number of partitions:
// the group must share them out anew. That is said a look later: the group's leader may ask
// a broker that has not heard of it yet.
func (t *Transformer) watchTopics(ctx context.Context, counts map[string]int) <-chan topicChange {
	change := make(chan topicChange, 1)
	go func() {
		for sleep(ctx, t.o.WatchInterval) {
			now, err := t.partitionCounts(ctx)
			if err != nil {
				continue
			}
			if missing := t.missing(now); missing != "" {
				change <- topicChange{now, fmt.Errorf("%w: %q", errTopicMissing, missing)}
				return
			}
			if t.changed(counts, now) {
				if sleep(ctx, t.o.WatchInterval) {
					change <- topicChange{now, errFenced}
				}
				return
			}
		}
	}()
	return change
}

// changed tells whether a topic has another number of partitions than before.
func (t *Transformer) changed(before, now map[string]int) bool {
	for topic, n := range before {
		if now[topic] != n {
			t.log.Info("a topic's partitions changed", "topic", topic, "from", n, "to", now[topic])
			return true
		}
	}
	return false
}

// shortTopic is the topic's name in rows and tokens: without the prefix.
func shortTopic(k *schema.Kind) string { return k.Topic }
