//go:build kafka

package transformer

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"millrace/internal/kafkatest"
	"millrace/schema"
)

// TestKafka_Protocol runs the tests of the protocol over Apache Kafka, with
// topics and a group of its own for each. Those that need a broker that lies are
// not among them. With MILLRACE_KAFKA_MINUTES all run, else some.
func TestKafka_Protocol(t *testing.T) {
	broker := kafkatest.Start(t, kafkatest.Options{Settings: map[string]string{"group.min.session.timeout.ms": "1000"}})
	var worlds atomic.Int32
	onKafka = func(w *world) {
		n := worlds.Add(1)
		w.broker, w.prefix, w.group = broker.Brokers()[0], fmt.Sprintf("w%d.", n), fmt.Sprintf("group-%d", n)
		var topics []string
		for _, k := range schema.Kinds() {
			topics = append(topics, w.topic(k))
		}
		broker.CreateTopics(partitions, topics...)
	}
	defer func() { onKafka = nil }()
	tests := []struct {
		name  string
		f     func(*testing.T)
		quick bool
	}{
		{"AllKinds", TestRun_AllKinds, true},
		{"SessionBeyondLimit", sessionBeyondLimit, true},
		{"TopicsAppearLater", TestRun_TopicsAppearLater, false},
		{"StopInMidChunk", TestRun_StopInMidChunk, false},
		{"KilledAtEveryStep", TestFault_KilledAtEveryStep, false},
		{"InsertAnswerLost", TestFault_InsertAnswerLost, false},
		{"ZombieInsert", TestFault_ZombieInsert, true},
		{"MembersComeAndGo", TestGroup_MembersComeAndGo, true},
		{"KafkaAway", TestGroup_KafkaAway, false},
		{"PartitionsAdded", TestGroup_PartitionsAdded, true},
		{"OffsetsWiped", TestRecover_OffsetsWiped, true},
		{"KilledWhileReconciling", TestRecover_KilledWhileReconciling, false},
		{"TopicMadeAgain", TestRecover_TopicMadeAgain, true},
		{"Truncated", TestRecover_Truncated, true},
		{"TruncatedIntent", TestRecover_TruncatedIntent, false},
		{"TruncatedWhileReconciling", TestRecover_TruncatedWhileReconciling, false},
	}
	// The group ends when all of its parallel tests have.
	t.Run("over Kafka", func(t *testing.T) {
		for _, test := range tests {
			if test.quick || os.Getenv("MILLRACE_KAFKA_MINUTES") != "" {
				t.Run(test.name, test.f)
			}
		}
	})
}

// The brokers bound the session's timeout: the state says which of ours it is.
func sessionBeyondLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.start(func(o *Options) { o.SessionTimeout = 31 * time.Minute }, nil)
	w.eventually("the reason", func() bool {
		err := m.State().Kafka
		return err != nil && strings.Contains(strings.ToLower(err.Error()), "session timeout")
	})
}
