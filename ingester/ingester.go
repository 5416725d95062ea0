package ingester

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/ingester/format"
	"millrace/ingester/framing"
	"millrace/ingester/publish"
	"millrace/ingester/transport"
	"millrace/internal/config"
	"millrace/internal/topics"
	"millrace/schema"
)

// Options are what an Ingester needs beside its configuration.
type Options struct {
	Config *config.Config
	Log    *slog.Logger
	Gate   *Gate // nil: always open
}

// Ingester is the daemon. New binds its sockets, Run serves them.
type Ingester struct {
	log       *slog.Logger
	cfg       *config.Config
	topics    topics.Options
	publisher *publish.Publisher
	inputs    []*input
	listeners []transport.Listener
	byTag     []*ledger // the ledger that a tag belongs to
}

// New compiles the formats and binds the listeners' sockets, so that what is
// wrong with either is known before anything starts.
func New(o Options) (*Ingester, error) {
	in := &Ingester{log: o.Log, cfg: o.Config}
	formats, err := CompileFormats(o.Config)
	if err != nil {
		return nil, err
	}
	if in.topics, err = topics.FromConfig(o.Config); err != nil {
		return nil, err
	}
	if in.publisher, err = in.newPublisher(o.Config); err != nil {
		return nil, err
	}
	for i := range o.Config.Listeners {
		l := &o.Config.Listeners[i]
		input, err := newInput(l, formats[i].Set)
		if err != nil {
			return nil, in.closed(err)
		}
		input.gate, input.publisher, input.tag = o.Gate, in.publisher, i*outcomes
		listener, err := listen(l, input.ledger, o.Log)
		if err != nil {
			return nil, in.closed(err)
		}
		in.inputs = append(in.inputs, input)
		in.listeners = append(in.listeners, listener)
		for range outcomes {
			in.byTag = append(in.byTag, input.ledger)
		}
	}
	return in, nil
}

// closed releases the sockets bound so far and returns err.
func (in *Ingester) closed(err error) error {
	for _, l := range in.listeners {
		l.Close()
	}
	return err
}

func (in *Ingester) newPublisher(cfg *config.Config) (*publish.Publisher, error) {
	k := &cfg.Kafka
	codec, err := recordbatch.ParseCodec(k.Compression)
	if err != nil {
		return nil, err
	}
	kafkaTransport, err := cfg.KafkaTransport(publish.Topics(k.TopicPrefix, schema.Kinds())...)
	if err != nil {
		return nil, err
	}
	return publish.New(publish.Options{
		Brokers:     k.Brokers,
		Transport:   kafkaTransport,
		TopicPrefix: k.TopicPrefix,
		Compression: codec,
		BatchBytes:  int(k.BatchBytes),
		BufferBytes: int(k.BufferBytes),
		Linger:      k.Linger,
		AckTimeout:  k.RequestTimeout,
		Tags:        len(cfg.Listeners) * outcomes,
		OnAck:       in.acknowledged,
		OnLost:      in.lost,
		Logger:      in.log,
	})
}

func newInput(l *config.Listener, set *format.Set) *input {
	return &input{
		name: []byte(l.Name), transport: []byte(l.Address.Network), direction: []byte(l.Direction), stream: l.Address.Network == "tcp",
		formats: set, zone: l.TimeZone, raw: l.Raw, ledger: newLedger(),
	}
}

// acknowledged is called by the publisher with the counts, by tag, of a batch
// that Kafka has taken.
func (in *Ingester) acknowledged(counts []uint32) {
	for tag, n := range counts {
		if n == 0 {
			continue
		}
		l := in.byTag[tag]
		l.acked[tag%outcomes].Add(uint64(n))
		l.inFlight.Add(-int64(n))
	}
}

// lost is the same for a batch that is given up at the stop's deadline.
func (in *Ingester) lost(counts []uint32) {
	for tag, n := range counts {
		if n == 0 {
			continue
		}
		l := in.byTag[tag]
		l.drop(schema.DropShutdown, uint64(n))
		l.inFlight.Add(-int64(n))
	}
}
