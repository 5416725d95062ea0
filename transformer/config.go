package transformer

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/internal/config"
	"millrace/internal/crashpoint"
	"millrace/internal/topics"
)

// FromConfig makes a Transformer of the sections kafka, clickhouse and transform.
func FromConfig(cfg *config.Config, log *slog.Logger) (*Transformer, error) {
	wanted, err := topics.FromConfig(cfg)
	if err != nil {
		return nil, err
	}
	transport, err := cfg.KafkaTransport(wanted.Topics...)
	if err != nil {
		return nil, err
	}
	dialer, err := cfg.KafkaDialer()
	if err != nil {
		return nil, err
	}
	clickHouse, err := cfg.ClickHouseOptions()
	if err != nil {
		return nil, err
	}
	var shards []Shard
	for _, s := range cfg.ClickHouse.Shards {
		options, err := cfg.ShardOptions(s)
		if err != nil {
			return nil, err
		}
		shards = append(shards, Shard{Name: s.Name, ClickHouse: options})
	}
	k := &cfg.Kafka
	return New(Options{
		Brokers: k.Brokers, Transport: transport, Dialer: dialer, TopicPrefix: k.TopicPrefix, Group: k.Group,
		ClickHouse: clickHouse, Shards: shards, Database: cfg.ClickHouse.Database, InsertTimeout: cfg.ClickHouse.InsertTimeout,
		BlockRows: cfg.Transform.BlockRows, BlockBytes: int(cfg.Transform.BlockBytes), BlockAge: cfg.Transform.BlockAge,
		BufferBytes:    int64(cfg.Transform.BufferBytes),
		ReconcileAfter: crashpoint.ReconcileAfter(), // 0 but in a build for tests
		SessionTimeout: k.SessionTimeout, RebalanceTimeout: k.RebalanceTimeout, HeartbeatInterval: k.HeartbeatInterval,
		DrainTimeout: cfg.Stop.DrainTimeout,
		EnsureTopics: func(ctx context.Context) error {
			_, err := topics.Ensure(ctx, wanted)
			return err
		},
		CheckTopics: func(ctx context.Context) error {
			notes, err := topics.AwaitDurable(ctx, wanted)
			for _, note := range notes {
				log.Warn("Kafka may lose what it has acknowledged", "note", note)
			}
			return err
		},
		AtLeastOnce: cfg.Transform.Delivery == config.AtLeastOnce,
		Logger:      log,
	})
}

var (
	kafkaUpDesc = prometheus.NewDesc("millrace_kafka_up", "1 while the daemon can work with Kafka, else 0.", nil, prometheus.Labels{"daemon": "transform"})
	tablesDesc  = prometheus.NewDesc("millrace_clickhouse_up", "1 while the ClickHouse shard answers, else 0.", []string{"shard"}, nil)
)

// Describe and Collect make a Transformer a prometheus.Collector: its Stats, and
// whether Kafka and ClickHouse can be reached.
func (t *Transformer) Describe(ch chan<- *prometheus.Desc) {
	ch <- kafkaUpDesc
	ch <- tablesDesc
	t.stats.Describe(ch)
}

// Collect implements prometheus.Collector.
func (t *Transformer) Collect(ch chan<- prometheus.Metric) {
	s := t.State()
	ch <- prometheus.MustNewConstMetric(kafkaUpDesc, prometheus.GaugeValue, up(s.Kafka))
	for _, x := range t.shards {
		ch <- prometheus.MustNewConstMetric(tablesDesc, prometheus.GaugeValue, up(x.health.get()), x.name)
	}
	t.stats.Collect(ch)
}

// Collector is the Transformer as one, of whose metrics each says so when less than
// exactly once is promised.
func (t *Transformer) Collector() prometheus.Collector {
	if !t.o.AtLeastOnce {
		return t
	}
	return prometheus.WrapCollectorWith(prometheus.Labels{"delivery": config.AtLeastOnce}, t)
}

func up(err error) float64 {
	if err != nil {
		return 0
	}
	return 1
}
