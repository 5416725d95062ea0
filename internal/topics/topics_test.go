package topics_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/topics"
)

func cluster(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(3)}, opts...)...)
	if err != nil {
		t.Fatalf("cannot start a broker: %s", err)
	}
	t.Cleanup(c.Close)
	return c
}

func options(brokers []string) topics.Options {
	return topics.Options{
		Brokers: brokers, Topics: []string{"a", "b"}, Create: true,
		Partitions: 4, Replication: 3, Retention: 48 * time.Hour, BatchBytes: 900 << 10,
	}
}

func ensure(t *testing.T, o topics.Options) ([]topics.Topic, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return topics.Ensure(ctx, o)
}

func TestEnsure_Success(t *testing.T) {
	t.Parallel()
	f := func(name string, o topics.Options, c *kfake.Cluster, created, notes string) {
		t.Helper()
		found, err := ensure(t, o)
		if err != nil {
			t.Errorf("%s: %s", name, err)
			return
		}
		var made []string
		var said strings.Builder
		for _, topic := range found {
			if topic.Created {
				made = append(made, topic.Name)
			}
			said.WriteString(strings.Join(topic.Notes, "\n"))
			there := len(c.PartitionInfos(topic.Name))
			if there == 0 || topic.Partitions != there {
				t.Errorf("%s: topic %+v has %d partitions", name, topic, there)
			}
		}
		if len(found) != len(o.Topics) {
			t.Errorf("%s: %d topics reported of %d", name, len(found), len(o.Topics))
		}
		if got := strings.Join(made, " "); got != created {
			t.Errorf("%s: created %q, want %q", name, got, created)
		}
		if !strings.Contains(said.String(), notes) || notes == "" && said.Len() != 0 {
			t.Errorf("%s: notes %q, want %q", name, said.String(), notes)
		}
	}

	c := cluster(t)
	o := options(c.ListenAddrs())
	f("both missing", o, c, "a b", "")
	for setting, want := range map[string]string{
		"retention.ms": "172800000", "cleanup.policy": "delete", "compression.type": "producer", "min.insync.replicas": "2",
	} {
		if got := c.TopicInfo("a").Configs[setting]; got == nil || *got != want {
			t.Errorf("setting %s is %v, want %s", setting, got, want)
		}
	}
	f("both there", o, c, "", "")

	if err := c.DeleteTopic("b"); err != nil {
		t.Fatal(err)
	}
	f("one missing", o, c, "b", "")

	o.Create = false
	f("nothing to create", o, c, "", "")
	o.Partitions = 8
	f("fewer partitions", o, c, "", "has 4 partitions, kafka.partitions is 8: kafka-topics.sh --bootstrap-server "+o.Brokers[0]+" --alter --topic a --partitions 8")

	c = cluster(t)
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: "a", Err: kerr.RequestTimedOut})
	f("created though the answer says timed out", options(c.ListenAddrs()), c, "a b", "")
}

func TestEnsure_Failure(t *testing.T) {
	t.Parallel()
	f := func(name string, o topics.Options, kind error, words ...string) {
		t.Helper()
		_, err := ensure(t, o)
		if !errors.Is(err, kind) {
			t.Errorf("%s: got %v, want %v", name, err, kind)
			return
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q is not in: %s", name, w, err)
			}
		}
	}

	c := cluster(t)
	o := options(c.ListenAddrs())
	o.Create = false
	f("not allowed", o, topics.ErrMissing, "kafka.create_topics is false",
		"\n  kafka-topics.sh --bootstrap-server "+o.Brokers[0]+" --create --topic a --partitions 4 --replication-factor 3 --config cleanup.policy=delete --config compression.type=producer --config retention.ms=172800000 --config min.insync.replicas=2",
		"--create --topic b ")

	o.Create = true
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: "a", Err: kerr.TopicAuthorizationFailed})
	f("not permitted", o, topics.ErrMissing, "cannot create", "--create --topic a ")
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: "a", Err: kerr.InvalidReplicationFactor})
	f("too few brokers", o, topics.ErrMissing, "kafka.replication is 3")
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: "a", Err: kerr.NotController})
	f("election", o, topics.ErrUnreachable)

	small, compacted := "100000", "compact"
	for _, topic := range []struct{ name, setting, value string }{
		{"small", "max.message.bytes", small}, {"compacted", "cleanup.policy", compacted},
	} {
		if err := c.CreateTopic(topic.name, 1, map[string]string{topic.setting: topic.value}); err != nil {
			t.Fatal(err)
		}
	}
	o.Topics = []string{"small"}
	f("batches do not fit", o, topics.ErrUnfit, `"small" has max.message.bytes=100000`, "kafka.batch_bytes", "--add-config max.message.bytes=921600")
	o.Topics = []string{"compacted"}
	f("compaction", o, topics.ErrUnfit, "cleanup.policy=compact", "--add-config cleanup.policy=delete")

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address := l.Addr().String()
	l.Close()
	f("no broker", options([]string{address}), topics.ErrUnreachable, address, "kafka.brokers")
}

func TestEnsure_AtTheSameTime(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if _, err := ensure(t, options(c.ListenAddrs())); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestAwait: trouble is said once, and ends by itself.
func TestAwait(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	o := options(c.ListenAddrs())
	fault := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.NotController, Count: 2})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := topics.Await(ctx, o, log); err != nil {
		t.Fatal(err)
	}
	if fault.Hits() != 2 || strings.Count(out.String(), "trying again") != 1 || strings.Count(out.String(), "topic created") != 2 {
		t.Errorf("%d faults, log:\n%s", fault.Hits(), out.String())
	}
	cancel()
	o.Create, o.Topics = false, []string{"none"}
	if err := topics.Await(ctx, o, log); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}

// A compacted topic is made as such; one that would forget is refused.
func TestEnsure_Compacted(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	o := options(c.ListenAddrs())
	o.Topics, o.Partitions, o.Compact = []string{"state"}, 1, true
	if _, err := ensure(t, o); err != nil {
		t.Fatal(err)
	}
	settings := c.TopicInfo("state").Configs
	for setting, want := range map[string]string{"cleanup.policy": "compact", "min.compaction.lag.ms": "86400000", "min.insync.replicas": "2"} {
		if got := settings[setting]; got == nil || *got != want {
			t.Errorf("setting %s is %v, want %s", setting, got, want)
		}
	}
	if settings["retention.ms"] != nil {
		t.Error("it has a retention")
	}
	found, err := ensure(t, o)
	if err != nil || len(found) != 1 || found[0].Created || len(found[0].Notes) != 0 {
		t.Errorf("again: %+v %v", found, err)
	}
	for value, want := range map[string]string{"delete": "cleanup.policy=delete; set cleanup.policy=compact", "compact,delete": "set cleanup.policy=compact"} {
		name := "made-" + strings.ReplaceAll(value, ",", "-")
		if err := c.CreateTopic(name, 1, map[string]string{"cleanup.policy": value, "min.compaction.lag.ms": "86400000"}); err != nil {
			t.Fatal(err)
		}
		o.Topics = []string{name}
		if _, err := ensure(t, o); !errors.Is(err, topics.ErrUnfit) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", value, err)
		}
	}
	if err := c.CreateTopic("hasty", 1, map[string]string{"cleanup.policy": "compact", "min.compaction.lag.ms": "0"}); err != nil {
		t.Fatal(err)
	}
	o.Topics = []string{"hasty"}
	if _, err := ensure(t, o); !errors.Is(err, topics.ErrUnfit) || !strings.Contains(err.Error(), "--add-config min.compaction.lag.ms=86400000") {
		t.Errorf("%v", err)
	}
}
