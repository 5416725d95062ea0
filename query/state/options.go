package state

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/segmentio/kafka-go"

	"millrace/internal/config"
	"millrace/internal/topics"
)

// Options say where the log is. Brokers, Topic and Group are needed.
type Options struct {
	Brokers []string
	// Transport carries all requests but the group's own; Dialer those.
	Transport *kafka.Transport
	Dialer    *kafka.Dialer
	Topic     string
	Group     string // that elects the acting instance

	RequestTimeout time.Duration // of one request
	AppendTimeout  time.Duration // of an Append, unless its context ends before

	// The group's times, as the transformer's: SessionTimeout bounds how long a dead
	// instance acts for nobody, and must exceed RebalanceTimeout.
	SessionTimeout    time.Duration
	RebalanceTimeout  time.Duration
	HeartbeatInterval time.Duration

	// EnsureTopic makes the topic or says what is wrong with it; nil: it is there.
	EnsureTopic func(context.Context) error
	Logger      *slog.Logger
}

// FromConfig are the options that the section kafka gives.
func FromConfig(cfg *config.Config, log *slog.Logger) (Options, error) {
	wanted, err := topics.StateFromConfig(cfg)
	if err != nil {
		return Options{}, err
	}
	dialer, err := cfg.KafkaDialer()
	if err != nil {
		return Options{}, err
	}
	transport, err := cfg.KafkaTransport(wanted.Topics...)
	if err != nil {
		return Options{}, err
	}
	k := &cfg.Kafka
	return Options{
		Brokers: k.Brokers, Transport: transport, Dialer: dialer, Topic: wanted.Topics[0], Group: k.Group + ".acting",
		RequestTimeout: k.RequestTimeout,
		SessionTimeout: k.SessionTimeout, RebalanceTimeout: k.RebalanceTimeout, HeartbeatInterval: k.HeartbeatInterval,
		EnsureTopic: func(ctx context.Context) error {
			_, err := topics.Ensure(ctx, wanted)
			return err
		},
		Logger: log,
	}, nil
}

func (o Options) withDefaults() (Options, error) {
	switch {
	case len(o.Brokers) == 0:
		return o, errors.New("cannot open the state: kafka.brokers is empty")
	case o.Topic == "":
		return o, errors.New("cannot open the state: it has no topic")
	case o.Group == "":
		return o, errors.New("cannot open the state: kafka.group is empty")
	}
	if o.Transport == nil {
		o.Transport = &kafka.Transport{ClientID: "millrace", MetadataTTL: time.Second, MetadataTopics: []string{o.Topic}}
	}
	if o.Dialer == nil {
		o.Dialer = &kafka.Dialer{ClientID: "millrace", Timeout: 10 * time.Second, DualStack: true}
	}
	o.RequestTimeout = cmp.Or(o.RequestTimeout, 10*time.Second)
	o.AppendTimeout = cmp.Or(o.AppendTimeout, 30*time.Second)
	o.SessionTimeout = cmp.Or(o.SessionTimeout, 60*time.Second)
	o.RebalanceTimeout = cmp.Or(o.RebalanceTimeout, 40*time.Second)
	o.HeartbeatInterval = cmp.Or(o.HeartbeatInterval, 3*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.SessionTimeout <= o.RebalanceTimeout {
		return o, errors.New("cannot open the state: the group's session timeout must exceed its rebalance timeout (kafka.session_timeout, kafka.rebalance_timeout)")
	}
	return o, nil
}
