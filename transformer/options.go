package transformer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/segmentio/kafka-go"

	"millrace/schema"
	"millrace/transformer/block"
)

// Options configure a Transformer. Brokers, ClickHouse and Database are needed;
// the rest has defaults.
type Options struct {
	Brokers []string
	// Transport carries all requests but the group's own; Dialer those. Both hold
	// TLS and SASL. Transport.MetadataTTL bounds how long a moved leader is not
	// noticed: a second or two is right.
	Transport   *kafka.Transport
	Dialer      *kafka.Dialer
	TopicPrefix string
	Group       string         // consumer group; also part of every token
	Kinds       []*schema.Kind // default: all

	ClickHouse     *clickhouse.Options // Compression nil: none on loopback, lz4 beyond
	Shards         []Shard             // in place of ClickHouse: partition p goes to shard p modulo their number
	Database       string
	InsertSettings clickhouse.Settings // more settings of each INSERT

	BlockRows   int           // a block is sealed at so many rows,
	BlockBytes  int           // or bytes,
	BlockAge    time.Duration // or when its first row has waited so long
	BufferBytes int64         // fetched and not yet inserted, over all partitions: then fetching stops
	Inserters   int           // INSERTs at a time, of each shard

	InsertTimeout time.Duration // of one attempt
	CommitTimeout time.Duration // of one request to Kafka
	// Lease is how old an announcement may be when an attempt to insert begins: less than
	// RebalanceTimeout, half of it or 10 s by default.
	Lease time.Duration
	// ReconcileAfter is how long to wait before ClickHouse is asked what is missing
	// of a range whose insert by another member may still be running. It is more
	// than Lease and twice InsertTimeout: the server stops an INSERT some seconds
	// after the client has given it up.
	ReconcileAfter time.Duration
	DrainTimeout   time.Duration // from the soft stop to the hard one

	// The group's times. SessionTimeout bounds how long a dead member's partitions
	// wait; it must exceed RebalanceTimeout, and that InsertTimeout.
	SessionTimeout    time.Duration
	RebalanceTimeout  time.Duration
	HeartbeatInterval time.Duration
	// WatchInterval is how often topics are looked at for new partitions.
	WatchInterval time.Duration
	// StallAfter is how long a partition with records left may insert none before
	// the log says so.
	StallAfter time.Duration

	// EnsureTopics is called when topics are missing; nil: wait for them.
	EnsureTopics func(context.Context) error
	// CheckTopics is called once, when the topics are there: an error of it says that Kafka
	// may lose what it has acknowledged. nil: nobody looks.
	CheckTopics func(context.Context) error
	// AtLeastOnce goes on although CheckTopics, or the tables' deduplication windows, do not
	// allow to promise more.
	AtLeastOnce bool
	Logger      *slog.Logger
}

// Defaults of Options.
const (
	DefaultGroup       = "millrace"
	DefaultTopicPrefix = "millrace."
	DefaultBlockRows   = 250_000
	DefaultBlockBytes  = 64 << 20
	DefaultBlockAge    = time.Second
	DefaultBufferBytes = 256 << 20
)

func (o Options) withDefaults() (Options, error) {
	switch {
	case len(o.Brokers) == 0:
		return o, errors.New("cannot transform: kafka.brokers is empty")
	case o.Database == "":
		return o, errors.New("cannot transform: clickhouse.database is empty")
	}
	if len(o.Shards) == 0 {
		o.Shards = []Shard{{ClickHouse: o.ClickHouse}}
	}
	for _, s := range o.Shards {
		if s.ClickHouse == nil || len(s.ClickHouse.Addr) == 0 {
			return o, fmt.Errorf("cannot transform: shard %q has no address (clickhouse.addresses, clickhouse.shards)", s.Name)
		}
	}
	if o.Transport == nil {
		o.Transport = &kafka.Transport{MetadataTTL: 2 * time.Second}
	}
	if o.Dialer == nil {
		o.Dialer = &kafka.Dialer{Timeout: 10 * time.Second, DualStack: true}
	}
	o.Group = cmp.Or(o.Group, DefaultGroup)
	if len(o.Kinds) == 0 {
		o.Kinds = schema.Kinds()
	}
	o.BlockRows = min(cmp.Or(o.BlockRows, DefaultBlockRows), block.MaxRows)
	o.BlockBytes = min(cmp.Or(o.BlockBytes, DefaultBlockBytes), block.MaxBytes/2)
	o.BlockAge = cmp.Or(o.BlockAge, DefaultBlockAge)
	o.BufferBytes = cmp.Or(o.BufferBytes, DefaultBufferBytes)
	o.Inserters = cmp.Or(o.Inserters, min(max(runtime.GOMAXPROCS(0), 2), 8))
	o.InsertTimeout = cmp.Or(o.InsertTimeout, 20*time.Second)
	o.CommitTimeout = cmp.Or(o.CommitTimeout, 10*time.Second)
	o.SessionTimeout = cmp.Or(o.SessionTimeout, 60*time.Second)
	o.RebalanceTimeout = cmp.Or(o.RebalanceTimeout, 40*time.Second)
	o.Lease = cmp.Or(o.Lease, min(10*time.Second, o.RebalanceTimeout/2))
	o.ReconcileAfter = cmp.Or(o.ReconcileAfter, max(60*time.Second, o.Lease+2*o.InsertTimeout+10*time.Second))
	o.DrainTimeout = cmp.Or(o.DrainTimeout, 30*time.Second)
	o.HeartbeatInterval = cmp.Or(o.HeartbeatInterval, 3*time.Second)
	o.WatchInterval = cmp.Or(o.WatchInterval, 5*time.Second)
	o.StallAfter = cmp.Or(o.StallAfter, 30*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.SessionTimeout <= o.RebalanceTimeout {
		return o, errors.New("cannot transform: the group's session timeout must exceed its rebalance timeout, or members that wait to rejoin are expelled")
	}
	if o.RebalanceTimeout <= o.Lease { // transformer/model: "slow takeover"
		return o, errors.New("cannot transform: the group's rebalance timeout must exceed the lease, or the next owner asks what is there while an attempt of the last one may still begin")
	}
	return o, nil
}
