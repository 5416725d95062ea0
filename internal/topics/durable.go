package topics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	// enoughCopies survive the loss of one broker's disk while another is down.
	enoughCopies = 3
	// shortestRetention is what a topic's records stay at least: what ClickHouse does not
	// take meanwhile is lost.
	shortestRetention = time.Hour
	// fairRetention outlasts a night.
	fairRetention = 24 * time.Hour
)

// Durable looks whether the topics keep what they have acknowledged, which exactly-once
// rests on: copies on several brokers, of which two have a record before it is
// acknowledged, no leader that lacks some, no compaction, and time to read. An error that
// wraps ErrUnfit names every setting that is not so, and the command that mends it. Notes
// say what nobody can mend by a command: one broker can hold one copy, unless
// o.Replication is 1 and says so, and settings may be hidden from this user.
func Durable(ctx context.Context, o Options) (notes []string, err error) {
	client, done := o.client()
	defer done()
	metadata, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: o.Topics})
	if err != nil {
		return nil, o.unreachable(err)
	}
	d := durability{o: &o, brokers: brokerIDs(metadata.Brokers), copies: map[string]int{}}
	req := &kafka.DescribeConfigsRequest{Addr: client.Addr}
	for _, t := range metadata.Topics {
		if t.Error != nil {
			return nil, fmt.Errorf("%w: cannot describe %q: %w", ErrMissing, t.Name, t.Error)
		}
		d.replicas(t)
		req.Resources = append(req.Resources, kafka.DescribeConfigRequestResource{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: t.Name,
			ConfigNames: []string{"cleanup.policy", "min.insync.replicas", "unclean.leader.election.enable", "retention.ms"},
		})
	}
	res, err := client.DescribeConfigs(ctx, req)
	if err != nil {
		return nil, o.unreachable(err)
	}
	for _, r := range res.Resources {
		if r.Error != nil {
			d.hidden, d.why = append(d.hidden, strconv.Quote(r.ResourceName)), r.Error
			continue
		}
		for _, s := range r.ConfigEntries {
			d.setting(r.ResourceName, s.ConfigName, s.ConfigValue)
		}
	}
	if len(d.single) > 0 {
		d.notes = append(d.notes, fmt.Sprintf("the cluster is one broker: %s would be lost with its disk (kafka.replication: 1 says that this is meant)", strings.Join(d.single, ", ")))
	}
	if len(d.hidden) > 0 {
		d.notes = append(d.notes, fmt.Sprintf("the settings of %s cannot be read, so nobody knows whether they keep what they acknowledge: %s", strings.Join(d.hidden, ", "), d.why))
	}
	if len(d.wrong) == 0 {
		return d.notes, nil
	}
	slices.Sort(d.wrong)
	return d.notes, fmt.Errorf("%w: Kafka may forget what it has acknowledged:\n  %s", ErrUnfit, strings.Join(d.wrong, "\n  "))
}

// durability collects what Durable finds.
type durability struct {
	o            *Options
	brokers      []int
	copies       map[string]int // by topic: those of the partition that has the fewest
	notes, wrong []string

	single, hidden []string // topics that are on the one broker; whose settings are not to be read,
	why            error    // and why
}

func brokerIDs(brokers []kafka.Broker) []int {
	var ids []int
	for _, b := range brokers {
		ids = append(ids, b.ID)
	}
	slices.Sort(ids)
	return ids
}

// replicas looks at a topic's copies.
func (d *durability) replicas(t kafka.Topic) {
	enough := min(enoughCopies, len(d.brokers))
	fewest := len(d.brokers)
	var moves []string
	for _, p := range t.Partitions {
		fewest = min(fewest, len(p.Replicas))
		if len(p.Replicas) >= enough {
			continue
		}
		moves = append(moves, fmt.Sprintf(`{"topic":"%s","partition":%d,"replicas":[%s]}`, t.Name, p.ID, strings.Join(d.spread(p, enough), ",")))
	}
	d.copies[t.Name] = fewest
	switch {
	case len(d.brokers) == 1 && d.o.Replication != 1:
		d.single = append(d.single, strconv.Quote(t.Name))
	case len(moves) > 0 && fewest < 2:
		d.wrong = append(d.wrong, fmt.Sprintf(`%q has one copy of a partition, on %d brokers; run: echo '{"version":1,"partitions":[%s]}' > replicas.json && kafka-reassign-partitions.sh --bootstrap-server %s --reassignment-json-file replicas.json --execute`,
			t.Name, len(d.brokers), strings.Join(moves, ","), d.o.Brokers[0]))
	}
}

// spread adds brokers to a partition's own, others for each partition.
func (d *durability) spread(p kafka.Partition, copies int) []string {
	var ids []string
	has := map[int]bool{}
	for _, b := range p.Replicas {
		ids, has[b.ID] = append(ids, strconv.Itoa(b.ID)), true
	}
	for i := range d.brokers {
		id := d.brokers[(p.ID+i)%len(d.brokers)]
		if len(ids) < copies && !has[id] {
			ids = append(ids, strconv.Itoa(id))
		}
	}
	return ids
}

func (d *durability) setting(topic, name, value string) {
	wrong := func(what, setting string) {
		d.wrong = append(d.wrong, fmt.Sprintf("%q has %s=%s: %s; run: kafka-configs.sh --bootstrap-server %s --alter --entity-type topics --entity-name %s --add-config %s",
			topic, name, value, what, d.o.Brokers[0], topic, setting))
	}
	switch name {
	case "cleanup.policy":
		if strings.Contains(value, "compact") {
			wrong("compaction keeps one record per key, and ours have none", "cleanup.policy=delete")
		}
	case "min.insync.replicas":
		if n, err := strconv.Atoi(value); err == nil && n < 2 && d.copies[topic] > 1 {
			wrong("a record may be acknowledged that one broker alone has", "min.insync.replicas=2")
		}
	case "unclean.leader.election.enable":
		if value == "true" && d.copies[topic] > 1 {
			wrong("a broker that lacks records may become the leader, and they are gone", "unclean.leader.election.enable=false")
		}
	case "retention.ms":
		ms, err := strconv.ParseInt(value, 10, 64)
		if err != nil || ms < 0 {
			return
		}
		switch kept := time.Duration(ms) * time.Millisecond; {
		case ms < shortestRetention.Milliseconds():
			wrong("what ClickHouse does not take in that time is lost", fmt.Sprintf("retention.ms=%d", max(d.o.Retention, fairRetention).Milliseconds()))
		case ms < fairRetention.Milliseconds():
			d.notes = append(d.notes, fmt.Sprintf("%q keeps records for %v: what ClickHouse does not take in that time is lost", topic, kept))
		}
	}
}

// AwaitDurable asks Durable until Kafka answers or ctx ends, which is no error.
func AwaitDurable(ctx context.Context, o Options) (notes []string, err error) {
	for wait := 200 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		notes, err := Durable(ctx, o)
		if err == nil || errors.Is(err, ErrUnfit) {
			return notes, err
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(wait):
		}
	}
}
