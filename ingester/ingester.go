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
	gate      *Gate
	files     *fileInputs // nil: none are followed
	ledgers   []*ledger   // of all inputs
}

// newInput is what the n-th of all inputs has, listeners first.
func (in *Ingester) newInput(l *config.Listener, transportName string, n int, stats *transport.Stats) *input {
	if stats == nil {
		stats = new(transport.Stats)
	}
	return &input{
		name: schema.Padded(l.Name), transport: schema.Padded(transportName), waits: transportName != "udp",
		tag: n * outcomes, ledger: newLedger(stats), gate: in.gate, publisher: in.publisher, taps: &in.taps,
		rejects: newRejectLimit(l.RejectLimit), samples: newSamples(), peers: peers.New(peers.Max), hosts: in.hosts,
	}
}

// every is all inputs: the listeners, and the files.
func (in *Ingester) every() []*input {
	all := in.inputs[:len(in.inputs):len(in.inputs)]
	if in.files != nil {
		for _, f := range in.files.all {
			all = append(all, f.input)
		}
	}
	return all
}

// New compiles the formats and binds the listeners' sockets, so that what is
// wrong with either is known before anything starts.
func New(o Options) (*Ingester, error) {
	in := &Ingester{log: o.Log, cfg: o.Config, gate: o.Gate, hosts: peers.New(peers.Max)}
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
	if in.files, err = in.openFiles(o.Config); err != nil {
		return nil, err
	}
	passed, err := passed(o.Config)
	if err != nil {
		return nil, in.closed(err)
	}
	for i := range o.Config.Listeners {
		l := &o.Config.Listeners[i]
		plans[i].listening.Passed = passed[i]
		listener, err := listen(l, plans[i].listening, o.Log)
		if err != nil {
			return nil, in.closed(&ListenError{Network: l.Address.Network, Err: err})
		}
		input := in.newInput(l, l.Address.Network, i, listener.Stats())
		input.follow(plans[i])
		in.listeners = append(in.listeners, listener)
		in.inputs = append(in.inputs, input)
	}
	for _, input := range in.every() {
		in.ledgers = append(in.ledgers, input.ledger)
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
	if in.files != nil {
		in.files.state.Close()
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
		Tags:        (len(cfg.Listeners) + len(cfg.Files)) * outcomes,
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
			in.ledgers[tag/outcomes].acknowledge(tag%outcomes, n)
		}
	}
}

// lost is the same for a batch that is given up at the stop's deadline.
func (in *Ingester) lost(counts []uint32) {
	for tag, n := range counts {
		if n != 0 {
			in.ledgers[tag/outcomes].lose(schema.DropShutdown, n)
		}
	}
}
