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

// Errors of Ensure wrap one of these.
var (
	// ErrUnreachable: Kafka does not answer. Worth trying again.
	ErrUnreachable = errors.New("cannot reach Kafka")
	// ErrMissing: a topic is missing and could or should not be created.
	ErrMissing = errors.New("missing Kafka topic")
	// ErrUnfit: a topic has settings with which it would refuse our records or
	// forget them.
	ErrUnfit = errors.New("unfit Kafka topic")
)

// Options say what the topics should be.
type Options struct {
	Brokers     []string
	Transport   kafka.RoundTripper // nil: plain TCP
	Topics      []string           // full names
	Create      bool               // create missing ones
	Partitions  int                // of a created topic
	Replication int                // of a created topic; 0: three, or as many as there are brokers
	Retention   time.Duration      // of a created topic
	BatchBytes  int                // largest batch that will be sent; 0: not checked
	// Compact: of each key the last record is kept for ever, and Retention is of no account.
	Compact bool
}

// Topic is what Ensure found or made.
type Topic struct {
	Name       string
	Partitions int
	Created    bool
	// Notes say what differs from Options though it does no harm, with the
	// command that would change it.
	Notes []string
}

const (
	requestTimeout = 20 * time.Second
	// settle is how long a topic may take from its creation to be known.
	settle = 10 * time.Second
)

// Ensure checks the topics once and creates missing ones if o.Create is set.
// Another process that creates them at the same time is no error.
func Ensure(ctx context.Context, o Options) ([]Topic, error) {
	client, done := o.client()
	defer done()
	found, missing, err := o.look(ctx, client)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		if !o.Create {
			return nil, o.missing(missing, errors.New("kafka.create_topics is false"))
		}
		if err := o.create(ctx, client, missing); err != nil {
			return nil, err
		}
		created := missing
		if found, err = o.await(ctx, client); err != nil {
			return nil, err
		}
		for i := range found {
			found[i].Created = slices.Contains(created, found[i].Name)
		}
	}
	if err := o.inspect(ctx, client, found); err != nil {
		return nil, err
	}
	return found, nil
}

// client makes requests; done ends its connections, unless they are the caller's.
func (o *Options) client() (c *kafka.Client, done func()) {
	done = func() {}
	if o.Transport == nil {
		t := &kafka.Transport{ClientID: "millrace", MetadataTTL: time.Second, MetadataTopics: o.Topics}
		done = t.CloseIdleConnections
		o.Transport = t
	}
	return &kafka.Client{Addr: kafka.TCP(o.Brokers...), Timeout: requestTimeout, Transport: o.Transport}, done
}

// look asks which topics there are.
func (o *Options) look(ctx context.Context, client *kafka.Client) (found []Topic, missing []string, err error) {
	res, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: o.Topics})
	if err != nil {
		return nil, nil, o.unreachable(err)
	}
	if o.Replication == 0 {
		o.Replication = min(enoughCopies, len(res.Brokers))
	}
	for i := range res.Topics {
		t := &res.Topics[i]
		switch {
		case errors.Is(t.Error, kafka.UnknownTopicOrPartition):
			missing = append(missing, t.Name)
		case errors.Is(t.Error, kafka.TopicAuthorizationFailed):
			return nil, nil, fmt.Errorf("%w: cannot describe %q: %w; grant it: kafka-acls.sh --bootstrap-server %s --add --allow-principal User:NAME --operation Describe --operation Write --operation Read --topic %s",
				ErrMissing, t.Name, t.Error, o.Brokers[0], t.Name)
		case t.Error != nil && !temporary(t.Error):
			return nil, nil, fmt.Errorf("%w: cannot describe %q: %w", ErrMissing, t.Name, t.Error)
		default:
			found = append(found, Topic{Name: t.Name, Partitions: len(t.Partitions)})
		}
	}
	return found, missing, nil
}

func temporary(err error) bool {
	var e kafka.Error
	return errors.As(err, &e) && e.Temporary()
}

func (o *Options) unreachable(err error) error {
	return fmt.Errorf("%w at %s: %w; check that it runs and that kafka.brokers names it", ErrUnreachable, strings.Join(o.Brokers, ","), err)
}

// missing is the error that tells an operator what to create.
func (o *Options) missing(names []string, why error) error {
	var b strings.Builder
	for _, name := range names {
		b.WriteString("\n  ")
		b.WriteString(o.Command(name))
	}
	return fmt.Errorf("%w %s: %w; create with:%s", ErrMissing, strings.Join(names, ", "), why, b.String())
}

// CompactionLag is how long each record of a compacted topic stays although a later one
// has its key.
const CompactionLag = 24 * time.Hour

// policy is what cleans the topic.
func (o *Options) policy() string {
	if o.Compact {
		return "compact"
	}
	return "delete"
}

// settings are those of a created topic.
func (o *Options) settings() []kafka.ConfigEntry {
	s := []kafka.ConfigEntry{
		{ConfigName: "cleanup.policy", ConfigValue: o.policy()},
		{ConfigName: "compression.type", ConfigValue: "producer"},
	}
	if o.Compact {
		s = append(s, kafka.ConfigEntry{ConfigName: "min.compaction.lag.ms", ConfigValue: strconv.FormatInt(CompactionLag.Milliseconds(), 10)})
	} else if o.Retention > 0 {
		s = append(s, kafka.ConfigEntry{ConfigName: "retention.ms", ConfigValue: strconv.FormatInt(o.Retention.Milliseconds(), 10)})
	}
	if o.Replication > 1 {
		// With acks=all this is what makes an acknowledgement worth something.
		s = append(s, kafka.ConfigEntry{ConfigName: "min.insync.replicas", ConfigValue: strconv.Itoa(o.Replication/2 + 1)})
	}
	return s
}

// Command is the command line that creates a topic.
func (o *Options) Command(name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "kafka-topics.sh --bootstrap-server %s --create --topic %s --partitions %d --replication-factor %d", o.Brokers[0], name, o.Partitions, o.Replication)
	for _, s := range o.settings() {
		fmt.Fprintf(&b, " --config %s=%s", s.ConfigName, s.ConfigValue)
	}
	return b.String()
}

func (o *Options) create(ctx context.Context, client *kafka.Client, names []string) error {
	// kafka-go waits in this call until it sees the topics: bound that.
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req := &kafka.CreateTopicsRequest{}
	for _, name := range names {
		req.Topics = append(req.Topics, kafka.TopicConfig{
			Topic: name, NumPartitions: o.Partitions, ReplicationFactor: o.Replication, ConfigEntries: o.settings(),
		})
	}
	res, err := client.CreateTopics(ctx, req)
	if err != nil {
		return o.unreachable(err)
	}
	var failed []string
	var why error
	for _, name := range names {
		err := res.Errors[name]
		switch {
		case err == nil, errors.Is(err, kafka.TopicAlreadyExists):
		case errors.Is(err, kafka.RequestTimedOut):
			// It may have been created all the same: await tells.
		default:
			failed, why = append(failed, name), err
		}
	}
	if failed == nil {
		return nil
	}
	if temporary(why) {
		return o.unreachable(why)
	}
	if errors.Is(why, kafka.InvalidReplicationFactor) {
		why = fmt.Errorf("%w (kafka.replication is %d: there must be as many brokers)", why, o.Replication)
	}
	return o.missing(failed, fmt.Errorf("cannot create: %w", why))
}

// await waits until all topics are known, which follows their creation.
func (o *Options) await(ctx context.Context, client *kafka.Client) ([]Topic, error) {
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	for {
		found, missing, err := o.look(ctx, client)
		if err == nil && len(missing) == 0 {
			return found, nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
			continue
		case <-ctx.Done():
		}
		if err != nil {
			return nil, err
		}
		return nil, o.unreachable(fmt.Errorf("topics %s were created and are not known yet: %w", strings.Join(missing, ", "), ctx.Err()))
	}
}

// inspect compares what is there with what is needed.
func (o *Options) inspect(ctx context.Context, client *kafka.Client, found []Topic) error {
	req := &kafka.DescribeConfigsRequest{Addr: client.Addr}
	for i := range found {
		t := &found[i]
		if t.Partitions < o.Partitions {
			t.Notes = append(t.Notes, fmt.Sprintf("it has %d partitions, kafka.partitions is %d: kafka-topics.sh --bootstrap-server %s --alter --topic %s --partitions %d",
				t.Partitions, o.Partitions, o.Brokers[0], t.Name, o.Partitions))
		}
		req.Resources = append(req.Resources, kafka.DescribeConfigRequestResource{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: t.Name, ConfigNames: o.inspected(),
		})
	}
	res, err := client.DescribeConfigs(ctx, req)
	if err != nil {
		return o.unreachable(err)
	}
	for _, r := range res.Resources {
		i := slices.IndexFunc(found, func(t Topic) bool { return t.Name == r.ResourceName })
		if i < 0 {
			continue
		}
		if r.Error != nil {
			// Reading settings is a right of its own, which publishing does not need.
			found[i].Notes = append(found[i].Notes, fmt.Sprintf("its settings cannot be read: %s", r.Error))
			continue
		}
		for _, s := range r.ConfigEntries {
			if err := o.unfit(r.ResourceName, s.ConfigName, s.ConfigValue); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *Options) inspected() []string {
	names := []string{"cleanup.policy", "max.message.bytes"}
	if o.Compact {
		names = append(names, "min.compaction.lag.ms")
	}
	return names
}

func (o *Options) unfit(topic, setting, value string) error {
	change := ""
	switch setting {
	case "cleanup.policy":
		// Compaction keeps one record per key, and those of events have none. Deletion
		// forgets what nobody has changed for long.
		if value == o.policy() || !o.Compact && !strings.Contains(value, "compact") {
			return nil
		}
		change = "cleanup.policy=" + o.policy()
	case "min.compaction.lag.ms":
		if ms, err := strconv.ParseInt(value, 10, 64); err != nil || ms >= CompactionLag.Milliseconds()/24 {
			return nil
		}
		change = fmt.Sprintf("min.compaction.lag.ms=%d", CompactionLag.Milliseconds())
	case "max.message.bytes":
		if n, err := strconv.Atoi(value); err != nil || n >= o.BatchBytes {
			return nil
		}
		change = fmt.Sprintf("max.message.bytes=%d (or a smaller kafka.batch_bytes)", o.BatchBytes)
	default:
		return nil
	}
	return fmt.Errorf("%w: %q has %s=%s; set %s: kafka-configs.sh --bootstrap-server %s --alter --entity-type topics --entity-name %s --add-config %s",
		ErrUnfit, topic, setting, value, change, o.Brokers[0], topic, strings.Fields(change)[0])
}
