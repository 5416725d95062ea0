package topics

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"millrace/internal/config"
	"millrace/schema"
)

// FromConfig are the options for the topics of all kinds, as the configuration
// has them. The transport is one of its own.
func FromConfig(cfg *config.Config) (Options, error) {
	k := &cfg.Kafka
	o := Options{
		Brokers: k.Brokers, Create: k.CreateTopics, Partitions: k.Partitions, Replication: k.Replication,
		Retention: k.Retention, BatchBytes: int(k.BatchBytes),
	}
	for _, kind := range schema.Kinds() {
		o.Topics = append(o.Topics, k.Topic(kind.Topic))
	}
	transport, err := cfg.KafkaTransport(o.Topics...)
	if err != nil {
		return Options{}, err
	}
	o.Transport = transport
	return o, nil
}

// Await calls Ensure until it succeeds or ctx ends, which it reports. A failure is
// logged once, until it is another one.
func Await(ctx context.Context, o Options, log *slog.Logger) error {
	said := ""
	for wait := 200 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		topics, err := Ensure(ctx, o)
		if err == nil {
			for _, t := range topics {
				if t.Created {
					log.Info("topic created", "topic", t.Name, "partitions", t.Partitions)
				}
				for _, note := range t.Notes {
					log.Warn("topic is not as configured", "topic", t.Name, "note", note)
				}
			}
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// The words of being out of reach vary (ports, timeouts), the state does not.
		state := err.Error()
		if errors.Is(err, ErrUnreachable) {
			state = ErrUnreachable.Error()
		}
		if state != said {
			said = state
			log.Warn("topics are not ready, trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// State is the topic of what people have decided: locks, users, what was sent.
const State = "state"

// StateFromConfig are the options for the topic of state: one partition, so that there
// is one order, and compacted, so that what holds is kept for ever.
func StateFromConfig(cfg *config.Config) (Options, error) {
	k := &cfg.Kafka
	o := Options{
		Brokers: k.Brokers, Create: k.CreateTopics, Partitions: 1, Replication: k.Replication,
		Topics: []string{k.Topic(State)}, Compact: true, BatchBytes: StateBatchBytes,
	}
	transport, err := cfg.KafkaTransport(o.Topics...)
	if err != nil {
		return Options{}, err
	}
	o.Transport = transport
	return o, nil
}

// StateBatchBytes bounds one batch of records of state.
const StateBatchBytes = 512 << 10
