//go:build kafka

package kafkatest_test

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/kafkatest"
)

// TestKafka_Nodes: what is acknowledged by three nodes is there after each of
// them was killed or stopped, and started again.
func TestKafka_Nodes(t *testing.T) {
	c := kafkatest.Start(t, kafkatest.Options{Nodes: 3})
	c.CreateTopics(3, "numbers")
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers()...), kgo.DefaultProduceTopic("numbers"), kgo.ConsumeTopics("numbers"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for id := 1; id <= 3; id++ {
		if id == 2 {
			c.Stop(id)
		} else {
			c.Kill(id)
		}
		if err := client.ProduceSync(ctx, kgo.StringRecord("one")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		c.Run(id)
	}
	for n := 0; n < 3; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		n += fetches.NumRecords()
	}
}
