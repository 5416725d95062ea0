package ingester

import (
	"log/slog"
	"os"
	"time"

	"millrace/ingester/activation"
	"millrace/ingester/framing"
	"millrace/ingester/peers"
	"millrace/ingester/publish"
	"millrace/ingester/tap"
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
	hosts     *peers.Table // filtering hosts
	listeners []transport.Listener
	taps      tap.Hub
}

// New compiles the formats and binds the listeners' sockets, so that what is
// wrong with either is known before anything starts.
func New(o Options) (*Ingester, error) {
	in := &Ingester{log: o.Log, cfg: o.Config, hosts: peers.New(peers.Max)}
	plans, err := plan(o.Config)
	if err != nil {
		return nil, err
	}
	if in.topics, err = topics.FromConfig(o.Config); err != nil {
		return nil, err
	}
	if in.publisher, err = in.newPublisher(o.Config); err != nil {
		return nil, err
	}
	passed, err := passed(o.Config)
	if err != nil {
		return nil, err
	}
	for i := range o.Config.Listeners {
		l := &o.Config.Listeners[i]
		plans[i].listening.Passed = passed[i]
		listener, err := listen(l, plans[i].listening, o.Log)
		if err != nil {
			return nil, in.closed(&ListenError{Network: l.Address.Network, Err: err})
		}
		input := &input{
			name: schema.Padded(l.Name), transport: schema.Padded(l.Address.Network), waits: l.Address.Network != "udp",
			tag: i * outcomes, ledger: newLedger(listener.Stats()), gate: o.Gate, publisher: in.publisher, taps: &in.taps,
			rejects: newRejectLimit(l.RejectLimit), samples: newSamples(), peers: peers.New(peers.Max), hosts: in.hosts,
		}
		input.follow(plans[i])
		in.listeners = append(in.listeners, listener)
		in.inputs = append(in.inputs, input)
	}
	return in, nil
}

// passed are the sockets of each listener that systemd opened before the start.
func passed(cfg *config.Config) ([][]*os.File, error) {
	sockets, err := activation.FromEnvironment()
	if err != nil {
		return nil, err
	}
	listeners := make([]activation.Listener, len(cfg.Listeners))
	for i, l := range cfg.Listeners {
		listeners[i] = activation.Listener{Name: l.Name, Stream: l.Address.Stream(), Address: l.Address.HostPort(), Several: l.Address.Network == "udp"}
	}
	return activation.Assign(sockets, listeners)
}

// listen adds to o, which has what a reload can change, the rest.
func listen(l *config.Listener, o transport.Options, log *slog.Logger) (_ transport.Listener, err error) {
	if o.Framing, err = framing.ParseMode(l.Framing); err != nil {
		return nil, err
	}
	o.Name, o.Network, o.Address = l.Name, l.Address.Network, l.Address.HostPort()
	o.MaxFrame, o.FrameIdle = int(l.MaxFrame), l.FrameIdle
	o.MaxConnections, o.Sockets, o.ReceiveBuffer = l.MaxConnections, l.Sockets, int(l.ReceiveBuffer)
	o.MaxConnectionsPerPeer, o.IdleTimeout, o.FrameTimeout, o.OpenFrames = l.MaxConnectionsPerPeer, l.IdleTimeout, l.FrameTimeout, int(l.OpenFrames)
	o.SocketMode, o.ReusePort = l.SocketMode, l.ReusePort
	o.Forward.Network, o.Forward.Address = l.Forward()
	o.AnswerTimeout = l.AnswerTimeout
	o.Logger = log
	return transport.Listen(o)
}

// ListenError says that a listener's address cannot be had.
type ListenError struct {
	Network string // the scheme of its address
	Err     error
}

func (e *ListenError) Error() string { return e.Err.Error() }
func (e *ListenError) Unwrap() error { return e.Err }

// closed releases the sockets bound so far and returns err.
func (in *Ingester) closed(err error) error {
	for _, l := range in.listeners {
		l.Close()
	}
	return err
}

func (in *Ingester) newPublisher(cfg *config.Config) (*publish.Publisher, error) {
	k := &cfg.Kafka
	kafkaTransport, err := cfg.KafkaTransport(publish.Topics(k.TopicPrefix, schema.Kinds())...)
	if err != nil {
		return nil, err
	}
	return publish.New(publish.Options{
		Brokers:     k.Brokers,
		Transport:   kafkaTransport,
		TopicPrefix: k.TopicPrefix,
		Compression: k.Compression,
		BatchBytes:  int(k.BatchBytes),
		StickyBytes: int(k.StickyBytes),
		BufferBytes: int(k.BufferBytes),
		Linger:      max(k.Linger, time.Millisecond), // 0 would be the default
		Timeout:     k.RequestTimeout,
		Tags:        len(cfg.Listeners) * outcomes,
		OnAck:       in.acknowledged,
		OnLost:      in.lost,
		Log:         in.log,
	})
}

// acknowledged is called by the publisher with the counts, by tag, of a batch
// that Kafka has taken.
func (in *Ingester) acknowledged(counts []uint32) {
	for tag, n := range counts {
		if n != 0 {
			in.inputs[tag/outcomes].ledger.acknowledge(tag%outcomes, n)
		}
	}
}

// lost is the same for a batch that is given up at the stop's deadline.
func (in *Ingester) lost(counts []uint32) {
	for tag, n := range counts {
		if n != 0 {
			in.inputs[tag/outcomes].ledger.lose(schema.DropShutdown, n)
		}
	}
}
