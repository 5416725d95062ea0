package publish

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"millrace/internal/recordbatch"
	"millrace/schema"
)

// Defaults and limits of Options.
const (
	// DefaultBatchBytes stays under the default of max.message.bytes
	// (1,048,588), which brokers compare with a whole batch.
	DefaultBatchBytes  = 900 << 10
	DefaultStickyBytes = 32 << 20
	MinBatchBytes      = 4 << 10
	MaxBatchBytes      = 64 << 20
	DefaultBufferBytes = 64 << 20
	DefaultLinger      = 50 * time.Millisecond
	DefaultTimeout     = 20 * time.Second
	DefaultMetadata    = 2 * time.Second

	// slack is what a buffer holds beyond a full batch, so that the record that
	// turns out not to fit is seldom written elsewhere.
	slack = 16 << 10
)

// Options say where and how to publish. The zero value of each field but
// Brokers is a default.
type Options struct {
	Brokers []string // host:port, any of which may answer

	// Transport makes the connections (TLS, SASL). nil: plain TCP. A
	// *kafka.Transport learns of new brokers within its MetadataTTL: make that
	// no more than 2 s, and set its MetadataTopics to Topics, or it asks for every
	// topic of the cluster each time.
	Transport kafka.RoundTripper

	TopicPrefix string
	Kinds       []*schema.Kind // nil: all
	Compression string         // none (the default), snappy, lz4, zstd
	BatchBytes  int            // most bytes of a batch, uncompressed; at most the topic's max.message.bytes
	StickyBytes int            // bytes, uncompressed, that go to one partition before the next
	BufferBytes int            // most bytes of all buffers together
	Linger      time.Duration  // longest that a batch stays open
	Timeout     time.Duration  // longest that a request may take; replicas have two thirds of it
	Metadata    time.Duration  // interval of asking for partition leaders
	Lanes       int            // 0: GOMAXPROCS, fewer when BufferBytes is small

	// Tags is how many tags there are: those of Append are 0 to Tags-1.
	Tags int
	// OnAck gets the number of records per tag of a batch that Kafka
	// acknowledged, OnLost of one that was given up because the hard context
	// ended. counts is valid during the call. They are called from many
	// goroutines, never with a lock held, and must not block.
	OnAck  func(counts []uint32)
	OnLost func(counts []uint32)

	Log *slog.Logger

	codec recordbatch.Codec
}

// Topics are the names of the topics of kinds.
func Topics(prefix string, kinds []*schema.Kind) []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = prefix + k.Topic
	}
	return names
}

func (o *Options) setDefaults() error {
	if len(o.Brokers) == 0 {
		return errors.New("cannot publish without a broker: set kafka.brokers")
	}
	for _, b := range o.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			return fmt.Errorf("cannot use broker %q of kafka.brokers: %w", b, err)
		}
	}
	if o.Kinds == nil {
		o.Kinds = schema.Kinds()
	}
	setDefault(&o.BatchBytes, DefaultBatchBytes)
	setDefault(&o.StickyBytes, DefaultStickyBytes)
	setDefault(&o.BufferBytes, DefaultBufferBytes)
	setDefault(&o.Linger, DefaultLinger)
	setDefault(&o.Timeout, DefaultTimeout)
	setDefault(&o.Metadata, DefaultMetadata)
	setDefault(&o.Tags, 1)
	setDefault(&o.Compression, "none")
	var err error
	if o.codec, err = recordbatch.ParseCodec(o.Compression); err != nil {
		return fmt.Errorf("%w (kafka.compression)", err)
	}
	if o.BatchBytes < MinBatchBytes || o.BatchBytes > MaxBatchBytes {
		return fmt.Errorf("cannot use batches of %d bytes: kafka.batch_bytes must be between %d and %d", o.BatchBytes, MinBatchBytes, MaxBatchBytes)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.OnAck == nil {
		o.OnAck = func([]uint32) {}
	}
	if o.OnLost == nil {
		o.OnLost = func([]uint32) {}
	}
	if o.Transport == nil {
		o.Transport = &kafka.Transport{ClientID: "millrace", MetadataTTL: o.Metadata, MetadataTopics: Topics(o.TopicPrefix, o.Kinds)}
	}
	return o.divide()
}

func setDefault[T int | string | time.Duration](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// buffers is how many batches the budget holds beside those of the packers.
func (o *Options) buffers() int { return o.BufferBytes/(o.BatchBytes+slack) - o.packers() }

// packers is how many batches are compressed at a time; each needs a buffer.
func (o *Options) packers() int {
	if o.codec == recordbatch.None {
		return 0
	}
	return o.Lanes
}

// busyKinds is how many kinds one ingester's traffic is of, but for a few events: messages,
// statuses and rejects, or three logs of a host. A batch of another kind is open for Linger
// at most.
const busyKinds = 3

// divide finds how many lanes the budget can feed: each may hold an open batch
// of every busy kind, and as many again should be on their way.
func (o *Options) divide() error {
	setDefault(&o.Lanes, runtime.GOMAXPROCS(0))
	busy := min(len(o.Kinds), busyKinds)
	for o.Lanes > 1 && o.buffers() < 2*o.Lanes*busy {
		o.Lanes--
	}
	if o.buffers() < busy+1 {
		least := (busy + 1 + o.packers()) * (o.BatchBytes + slack)
		return fmt.Errorf("cannot publish with buffers of %d bytes: kafka.buffer_bytes must be at least %d for kafka.batch_bytes %d",
			o.BufferBytes, least, o.BatchBytes)
	}
	return nil
}

// address is what kafka-go calls a cluster: all bootstrap brokers.
func (o *Options) address() net.Addr { return kafka.TCP(o.Brokers...) }

func (o *Options) where() string { return strings.Join(o.Brokers, ",") }

// Stats are counters since the start, for the caller to export.
type Stats struct {
	Batches     atomic.Uint64 // acknowledged
	Records     atomic.Uint64 // acknowledged
	Bytes       atomic.Uint64 // acknowledged, as sent
	RecordBytes atomic.Uint64 // acknowledged, uncompressed
	Retries     atomic.Uint64 // attempts to send a batch that failed
	ProducerIDs atomic.Uint64 // producer ids asked for
	// PossibleDuplicates counts records that were sent again under a new
	// producer id or to another partition after an attempt of unknown outcome.
	PossibleDuplicates atomic.Uint64
	ThrottleMillis     atomic.Uint64 // asked for by brokers
	Lost               atomic.Uint64 // records given up at a hard stop
}
