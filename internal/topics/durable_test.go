package topics_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/topics"
)

func durable(t *testing.T, o topics.Options) ([]string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return topics.Durable(ctx, o)
}

func TestDurable(t *testing.T) {
	t.Parallel()
	f := func(name string, brokers, replication int, settings map[string]string, unfit bool, want ...string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := cluster(t, kfake.NumBrokers(brokers))
			o := options(c.ListenAddrs())
			o.Topics, o.Replication, o.Partitions = []string{"a"}, replication, 2
			if settings == nil {
				if _, err := ensure(t, o); err != nil {
					t.Fatal(err)
				}
			} else {
				create(t, c, "a", 2, replication, settings)
			}
			notes, err := durable(t, o)
			if unfit != errors.Is(err, topics.ErrUnfit) || !unfit && err != nil {
				t.Fatalf("notes %q, error %v", notes, err)
			}
			said := strings.Join(notes, "\n")
			if err != nil {
				said += err.Error()
			}
			for _, w := range want {
				if !strings.Contains(said, w) {
					t.Errorf("%q is not in: %s", w, said)
				}
			}
			if len(want) == 0 && said != "" {
				t.Errorf("it says %s", said)
			}
		})
	}
	f("as we make them", 3, 3, nil, false)
	f("as many copies as there are brokers", 2, 0, nil, false)
	f("one broker, and meant", 1, 1, nil, false)
	f("one broker", 1, 0, nil, false, `the cluster is one broker: "a" would be lost`, "kafka.replication: 1")
	f("one copy", 3, 1, map[string]string{}, true, `"a" has one copy of a partition, on 3 brokers`,
		`{"version":1,"partitions":[{"topic":"a","partition":0,"replicas":[`, `]},{"topic":"a","partition":1,"replicas":[`, "kafka-reassign-partitions.sh --bootstrap-server ", " --execute")
	f("one has it when it is acknowledged", 3, 3, map[string]string{"min.insync.replicas": "1"}, true,
		`"a" has min.insync.replicas=1`, "--entity-name a --add-config min.insync.replicas=2")
	f("compaction and little time", 3, 3, map[string]string{"min.insync.replicas": "2", "cleanup.policy": "compact,delete", "retention.ms": "60000"}, true,
		"cleanup.policy=compact,delete", "--add-config cleanup.policy=delete", "retention.ms=60000", "--add-config retention.ms=172800000")
	f("a few hours", 3, 3, map[string]string{"min.insync.replicas": "2", "retention.ms": "7200000"}, false, `"a" keeps records for 2h0m0s`)
}

// The broker of the tests does not know this setting, so its answer is made here.
func TestDurable_UncleanElection(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	o := options(c.ListenAddrs())
	o.Topics = []string{"a"}
	create(t, c, "a", 1, 3, map[string]string{"min.insync.replicas": "2"})
	answer := "true"
	c.ControlKey(int16(kmsg.DescribeConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		res := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
		r := kmsg.NewDescribeConfigsResponseResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, "a"
		s := kmsg.NewDescribeConfigsResponseResourceConfig()
		s.Name, s.Value = "unclean.leader.election.enable", &answer
		r.Configs = append(r.Configs, s)
		res.Resources = append(res.Resources, r)
		return res, nil, true
	})
	if _, err := durable(t, o); !errors.Is(err, topics.ErrUnfit) || !strings.Contains(err.Error(), "--add-config unclean.leader.election.enable=false") {
		t.Errorf("%v", err)
	}
	answer = "false"
	if notes, err := durable(t, o); err != nil || len(notes) > 0 {
		t.Errorf("%q, %v", notes, err)
	}
}

// Who may not read settings hears that, and is not refused.
func TestDurable_NotPermitted(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	o := options(c.ListenAddrs())
	o.Topics = []string{"a"}
	create(t, c, "a", 1, 3, nil)
	c.ControlKey(int16(kmsg.DescribeConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		res := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
		r := kmsg.NewDescribeConfigsResponseResource()
		r.ResourceType, r.ResourceName, r.ErrorCode = kmsg.ConfigResourceTypeTopic, "a", kerr.TopicAuthorizationFailed.Code
		res.Resources = append(res.Resources, r)
		return res, nil, true
	})
	notes, err := durable(t, o)
	if err != nil || len(notes) != 1 || !strings.Contains(notes[0], `the settings of "a" cannot be read`) {
		t.Errorf("%q, %v", notes, err)
	}
}

// create makes a topic as an operator would.
func create(t *testing.T, c *kfake.Cluster, name string, partitions, replication int, settings map[string]string) {
	t.Helper()
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(c.ListenAddrs()...), Transport: transport, Timeout: time.Minute}
	topic := kafka.TopicConfig{Topic: name, NumPartitions: partitions, ReplicationFactor: replication}
	for k, v := range settings {
		topic.ConfigEntries = append(topic.ConfigEntries, kafka.ConfigEntry{ConfigName: k, ConfigValue: v})
	}
	res, err := client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{topic}})
	if err == nil {
		err = res.Errors[name]
	}
	if err != nil {
		t.Fatal(err)
	}
}
