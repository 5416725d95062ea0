//go:build kafka

package state

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"millrace/internal/kafkatest"
	"millrace/internal/topics"
)

// TestKafka_State: over Apache Kafka a change survives the broker that leads the topic, the
// group elects one instance and another when that is gone, and one of many wins.
func TestKafka_State(t *testing.T) {
	c := kafkatest.Start(t, kafkatest.Options{Nodes: 3})
	o := options("")
	o.Brokers = c.Brokers()
	// The broker's shortest session is 6 s.
	o.SessionTimeout, o.RebalanceTimeout, o.HeartbeatInterval = 9*time.Second, 6*time.Second, time.Second
	wanted := topics.Options{Brokers: o.Brokers, Topics: []string{topic}, Create: true, Partitions: 1, Compact: true, BatchBytes: topics.StateBatchBytes}
	o.EnsureTopic = func(ctx context.Context) error { _, err := topics.Ensure(ctx, wanted); return err }
	open(t, o).Close()
	for setting, want := range map[string]string{"cleanup.policy": "compact", "min.compaction.lag.ms": "86400000", "min.insync.replicas": "2"} {
		if got := c.Setting(topic, setting); got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
	first, second := open(t, o), open(t, o)
	term, err := first.Leader(within(t))
	must(t, err)
	by := By{Actor: "rule:test", How: Rule}
	must(t, term.Append(within(t), by, lock("a", true)))

	leader := leaderOf(t, o.Brokers)
	c.Kill(leader)
	must(t, first.Append(within(t), root, lock("b", true)))
	must(t, second.Append(within(t), root, lock("c", true)))
	c.Run(leader)
	won := 0
	for _, s := range []*Store{first, second} {
		must(t, s.CatchUp(within(t)))
		err := s.Append(within(t), root, Change{Key: SentKey("daily", "example.com", AllUsers, "x"), Action: "claim", Value: Sent{}, If: Absent()})
		if err == nil {
			won++
		} else if !errors.Is(err, ErrConflict) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d have claimed it", won)
	}
	first.Close()
	next, err := second.Leader(within(t))
	must(t, err)
	if next.Number() <= term.Number() {
		t.Errorf("term %d follows %d", next.Number(), term.Number())
	}
	third := open(t, o)
	must(t, second.CatchUp(within(t)))
	if got, want := third.Snapshot().Locks(), second.Snapshot().Locks(); !reflect.DeepEqual(got, want) || len(got) != 3 {
		t.Errorf("%+v and %+v", got, want)
	}
}

func leaderOf(t *testing.T, brokers []string) int {
	t.Helper()
	client := &kafka.Client{Addr: kafka.TCP(brokers...)}
	m, err := client.Metadata(within(t), &kafka.MetadataRequest{Topics: []string{topic}})
	must(t, err)
	return m.Topics[0].Partitions[0].Leader.ID
}

// TestKafka_Compaction: Apache Kafka's cleaner takes records away, and who reads what is
// left has the same state, versions included.
func TestKafka_Compaction(t *testing.T) {
	c := kafkatest.Start(t, kafkatest.Options{})
	client := &kafka.Client{Addr: kafka.TCP(c.Brokers()...)}
	r, err := client.CreateTopics(within(t), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: topic, NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: []kafka.ConfigEntry{
			{ConfigName: "cleanup.policy", ConfigValue: "compact"}, {ConfigName: "segment.ms", ConfigValue: "100"},
			{ConfigName: "min.cleanable.dirty.ratio", ConfigValue: "0.01"}, {ConfigName: "delete.retention.ms", ConfigValue: "0"},
		},
	}}})
	if err != nil || r.Errors[topic] != nil {
		t.Fatal(err, r)
	}
	o := options("")
	o.Brokers, o.EnsureTopic = c.Brokers(), nil
	s := open(t, o)
	for i := range 60 {
		must(t, s.Append(within(t), root, lock(fmt.Sprint("user", i%5), i%3 > 0)))
	}
	must(t, s.Append(within(t), root, Change{Key: LockKey("example.com", "*", "user0"), Action: "remove"}))
	want := s.Snapshot().Locks()
	count := func() (n int) {
		end := s.Snapshot().Version()
		_ = s.Follow(within(t), func(records []Record, next Version) error {
			for _, r := range records {
				if kind, _, _ := r.Key.Split(); kind == KindLock {
					n++
				}
			}
			if next >= end {
				return errors.New("enough")
			}
			return nil
		})
		return n
	}
	before := count()
	deadline := time.Now().Add(2 * time.Minute)
	for n := before; n > before/2; n = count() {
		if time.Now().After(deadline) {
			t.Fatalf("of %d records %d are left", before, n)
		}
		// The cleaner leaves the segment in use alone: another one begins.
		must(t, s.Append(within(t), root, Change{Key: SentKey("daily", "example.com", AllUsers, fmt.Sprint(time.Now().UnixNano())), Action: "claim", Value: Sent{}}))
		time.Sleep(200 * time.Millisecond)
	}
	fresh := open(t, o)
	if got := fresh.Snapshot().Locks(); !reflect.DeepEqual(got, want) || len(got) != 4 {
		t.Errorf("%+v, want %+v", got, want)
	}
	if fresh.Snapshot().Epoch() != s.Snapshot().Epoch() {
		t.Error("it is another log now")
	}
	must(t, fresh.Append(within(t), root, lock("user1", true)))
}
