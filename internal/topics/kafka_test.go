//go:build kafka

package topics_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"millrace/internal/kafkatest"
	"millrace/internal/topics"
)

// TestKafka_Ensure: what Apache Kafka answers is understood: topics are made with
// their settings, also by two at a time, and found again; what it refuses is said
// with the command that would do it.
func TestKafka_Ensure(t *testing.T) {
	c := kafkatest.Start(t, kafkatest.Options{})
	o := options(c.Brokers())
	if _, err := ensure(t, o); !errors.Is(err, topics.ErrMissing) || !strings.Contains(err.Error(), "kafka.replication is 3") || !strings.Contains(err.Error(), o.Command("a")) {
		t.Errorf("three replicas of one broker: %v", err)
	}
	o.Replication = 1
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			found, err := ensure(t, o)
			if err != nil {
				t.Error(err)
			}
			for _, topic := range found {
				if topic.Partitions != 4 || len(topic.Notes) != 0 {
					t.Errorf("%+v", topic)
				}
			}
		})
	}
	both.Wait()
	for setting, want := range map[string]string{"retention.ms": "172800000", "cleanup.policy": "delete", "compression.type": "producer"} {
		if got := c.Setting("a", setting); got != want {
			t.Errorf("setting %s is %q, want %q", setting, got, want)
		}
	}

	o.Create, o.Partitions = false, 8
	found, err := ensure(t, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 2 || found[0].Created || len(found[0].Notes) != 1 || !strings.Contains(found[0].Notes[0], "has 4 partitions") {
		t.Errorf("more partitions wanted: %+v", found)
	}
	o.BatchBytes = 2 << 20 // above Kafka's own limit
	if _, err := ensure(t, o); !errors.Is(err, topics.ErrUnfit) || !strings.Contains(err.Error(), "max.message.bytes=1048588") {
		t.Errorf("larger batches: %v", err)
	}
	c.Kill(1)
	if _, err := ensure(t, o); !errors.Is(err, topics.ErrUnreachable) {
		t.Errorf("no broker: %v", err)
	}
}
