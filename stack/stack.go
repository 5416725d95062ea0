package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"millrace/ingester"
	"millrace/internal/config"
	"millrace/internal/embedded"
	"millrace/internal/migrate"
	"millrace/internal/service"
	"millrace/internal/status"
	"millrace/schema"
	"millrace/transformer"
)

// Options are what `millrace up` was told.
type Options struct {
	Config  *config.Config                 // the addresses that flags gave are in it
	Load    func() (*config.Config, error) // reads it again, for a reload; nil: there is no file
	Data    string                         // "": up.data or its default; with Demo a temporary directory
	Demo    bool
	Version string
	Commit  string
	Out     io.Writer // what the person sees: addresses, the live line, answers
}

// Stack is the running whole.
type Stack struct {
	o       Options
	hard    context.Context // of Run
	cfg     *config.Config
	log     *slog.Logger
	level   *slog.LevelVar
	hangups *service.Hangups
	data    string
	cleanup []func() // in the order of start; undone backwards
	gate    ingester.Gate
	disk    *disk

	conditions *service.Conditions
	registry   *prometheus.Registry
	line       *statusLine
	quiet      atomic.Bool // the log keeps its usual news to itself
	made       atomic.Bool // ingester and transformer are there
	answered   bool        // the demo has shown its answers

	engine      engine
	clickHouse  *embedded.ClickHouse // the first one: its addresses and users are those of all
	broker      *embedded.Broker
	ingester    *ingester.Ingester
	transformer *transformer.Transformer
	confirming  atomic.Pointer[transformer.Transformer] // the same, for the broker\'s own goroutine
	server      *service.Server
	answers     *answers // nil: api.address is off
	reloads     *reloader
}

// The conditions of being ready.
const (
	kafkaCondition      = "kafka"
	clickHouseCondition = "clickhouse"
	diskCondition       = "disk"
)

// Run starts everything, says that it is ready, serves until soft ends, and
// between soft and hard hands over what has been read.
func Run(soft, hard context.Context, o Options) (err error) {
	s := &Stack{o: o, cfg: o.Config, hard: hard}
	s.line = newStatusLine(o.Out, s.counts)
	if s.log, s.level, err = logger(s.cfg, s.line); err != nil {
		return err
	}
	s.hangups = service.ListenHangups(s.log)
	defer s.hangups.Close()
	toldStop := s.log
	if s.watched() {
		s.quiet.Store(true) // until it is ready
		s.log = slog.New(quietHandler{s.log.Handler(), &s.quiet})
		toldStop = slog.New(quietHandler{s.log.Handler(), always})
		defer s.watchStop(soft)()
	}
	defer logStop(soft, hard, s.cfg, toldStop)()
	defer func() {
		for _, f := range slices.Backward(s.cleanup) {
			f()
		}
	}()
	if err := s.start(soft); err != nil {
		if soft.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)) {
			return nil // stopped while starting, by a signal or by --for
		}
		return err
	}
	return s.serve(soft, hard)
}

// undo notes what the end of Run has to undo.
func (s *Stack) undo(f func()) { s.cleanup = append(s.cleanup, f) }

// start brings everything up in order. Sockets are bound first, so that a taken
// port is known before anything else happens.
func (s *Stack) start(ctx context.Context) error {
	if s.o.Demo && !slices.ContainsFunc(s.cfg.Listeners, func(l config.Listener) bool { return l.Address.Network == "tcp" }) {
		return service.WithExitCode(2, errors.New("cannot run the demo: it sends over TCP, and there is no TCP listener (--syslog-tcp HOST:PORT)"))
	}
	if err := s.cfg.CheckPlain(); err != nil { // a flag may have given the address
		return service.WithExitCode(2, err)
	}
	data := s.o.Data
	if data == "" && !s.o.Demo {
		var err error
		if data, err = s.cfg.Up.DataDir(); err != nil {
			return service.WithExitCode(2, err)
		}
	}
	data, cleanup, err := prepareData(data, s.o.Demo)
	if err != nil {
		return service.WithExitCode(2, err)
	}
	s.data = data
	s.undo(cleanup)
	s.progress("data in %s", data)

	// Each part logs its own changes of state; the conditions would say them again.
	s.conditions = service.NewConditions(nil, kafkaCondition, clickHouseCondition, diskCondition)
	s.registry = service.NewRegistry(s.o.Version, s.o.Commit, s.conditions)
	started := time.Now()
	if s.server, err = service.Serve(service.ServerOptions{
		Address: s.cfg.HTTP.Ingest.String(), Flag: "--http", Registry: s.registry, Conditions: s.conditions, Pprof: s.cfg.HTTP.Pprof, Logger: s.log,
		Status: status.Handler(func() status.Status {
			if !s.made.Load() {
				return s.o.report("up", started, s.conditions, nil, nil)
			}
			return s.o.report("up", started, s.conditions, s.ingester, s.transformer)
		}),
	}); err != nil {
		return err
	}
	s.undo(func() { s.server.Close(context.Background()) })

	listener, err := listenAPI(s.cfg)
	if err != nil {
		return err
	}
	if listener != nil {
		s.undo(func() { listener.Close() })
	}
	if err := s.startBroker(); err != nil {
		return mendable(err)
	}
	if s.ingester, err = ingester.New(ingester.Options{Config: s.cfg, Log: s.log, Gate: &s.gate}); err != nil {
		return mendable(err)
	}
	addTaps(s.server, s.ingester, s.cfg)
	s.progress("starting ClickHouse")
	if err := s.startClickHouse(ctx); err != nil {
		return mendable(err)
	}
	if err := s.applySchema(ctx); err != nil {
		return err
	}
	if s.transformer, err = transformer.FromConfig(s.cfg, promising(s.cfg, s.log)); err != nil {
		return err
	}
	s.confirming.Store(s.transformer)
	if listener != nil {
		if s.answers, err = startAnswers(ctx, s.cfg, s.readerOptions(), listener, s.log); err != nil {
			return err
		}
		s.undo(s.answers.close)
	}
	return s.watch()
}

// mendable gives a taken port and a missing engine the exit code of what the
// person who starts it can mend, and names the flag that chooses another port.
func mendable(err error) error {
	var embeddedPort *embedded.AddressInUseError
	var inUse *embedded.DirInUseError
	var listener *ingester.ListenError
	switch {
	case errors.As(err, &listener) && listener.Network != "udp" && listener.Network != "tcp":
		return service.WithExitCode(2, err) // no flag gives it another
	case errors.As(err, &listener):
		return service.WithExitCode(2, fmt.Errorf("%w; --syslog-%s HOST:PORT chooses another address", err, listener.Network))
	case errors.As(err, &embeddedPort), errors.As(err, &inUse), errors.Is(err, embedded.ErrNoLibrary):
		return service.WithExitCode(2, err)
	}
	return err
}

func (s *Stack) startBroker() error {
	size, err := diskSize(s.data)
	if err != nil {
		return err
	}
	partitions := map[string]int{}
	for _, k := range schema.Kinds() {
		partitions[s.cfg.Kafka.Topic(k.Topic)] = s.cfg.Kafka.Partitions
	}
	address := s.cfg.Up.Kafka.String()
	if !s.cfg.Up.Kafka.Enabled() {
		address = "127.0.0.1:0" // the daemons need it; nobody else is told
	}
	s.broker, err = embedded.StartBroker(embedded.BrokerOptions{
		DataDir: s.data, Address: address, Topics: partitions,
		RetentionAge:   s.cfg.Up.KafkaRetention,
		RetentionBytes: int64(float64(size) * s.cfg.Up.KafkaRetentionDisk),
		RetentionGroup: s.cfg.Kafka.Group,
		RetentionFloor: func(topic string, partition int32) int64 {
			if t := s.confirming.Load(); t != nil {
				return t.Confirmed(topic, int(partition))
			}
			return -1 // not known yet: nothing may go
		},
		Logger: s.log,
	})
	if err != nil {
		return err
	}
	s.undo(s.broker.Close)
	cfg := *s.cfg // from here on the configuration names what runs
	s.cfg = &cfg
	cfg.Up.Data = s.data
	cfg.Kafka.Brokers, cfg.Kafka.Replication, cfg.Kafka.TLS = []string{s.broker.Addr}, 1, config.TLS{}
	if c := s.broker.Credentials; c.User != "" {
		cfg.Kafka.SASL = config.SASL{Mechanism: "plain", Username: c.User, Password: config.NewSecret(c.Password)}
	}
	return nil
}

func (s *Stack) applySchema(ctx context.Context) error {
	m, conn, err := migrate.FromConfig(s.cfg, s.o.Version)
	if err != nil {
		return err
	}
	defer conn.Close()
	// Another retention is new for every row there is, which can take its time.
	defer time.AfterFunc(2*time.Second, func() { s.progress("bringing the tables up to date") }).Stop()
	_, err = m.Apply(ctx)
	return err
}

// watch registers metrics and conditions.
func (s *Stack) watch() error {
	free := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "millrace_disk_free_ratio", Help: "Share of the data directory's disk that is free.",
	})
	s.disk = &disk{
		dir: s.data, minFree: s.cfg.Up.MinFreeDisk, gate: &s.gate, log: s.log,
		report:  func(err error) { s.conditions.Set(diskCondition, err) },
		observe: free.Set,
	}
	s.reloads = newReloader(s.o, s.level, s.log, s.ingester.Reload, "source")
	collectors := []prometheus.Collector{free, s.ingester, s.transformer.Collector(), s.reloads}
	if s.answers != nil {
		collectors = append(collectors, s.answers.collectors()...)
	}
	for _, c := range collectors {
		if err := s.registry.Register(c); err != nil {
			return fmt.Errorf("cannot register metrics: %w", err)
		}
	}
	s.conditions.Probe(kafkaCondition, func() error {
		return errors.Join(s.ingester.State(), s.transformer.State().Kafka)
	})
	s.conditions.Probe(clickHouseCondition, func() error { return s.transformer.State().ClickHouse })
	s.made.Store(true)
	return nil
}

// serve runs the parts until soft ends and drains them in the order of the flow.
func (s *Stack) serve(soft, hard context.Context) error {
	group, running := errgroup.WithContext(soft)
	transforming, ingested := context.WithCancel(context.WithoutCancel(hard))
	defer ingested()
	group.Go(func() error {
		defer ingested() // the transformer goes on until the ingester has handed over all
		err := s.ingester.Run(running, hard)
		if s.o.Demo {
			s.awaitInserted(hard) // its data are gone afterwards: show them whole
		}
		return err
	})
	group.Go(func() error { return s.transformer.Run(transforming, hard) })
	group.Go(func() error { return s.disk.watch(running) })
	group.Go(func() error { s.hangups.Each(running, s.reloads.reload); return nil })
	group.Go(func() error { return s.keepClickHouse(running) })
	if s.answers != nil {
		group.Go(func() error { return s.answers.run(running, hard) })
	}
	defer context.AfterFunc(running, func() { s.conditions.Drain("handing over what has been read") })()
	group.Go(func() error {
		if !waitReady(running, s.conditions) {
			return nil
		}
		s.announce()
		if s.o.Demo {
			return s.demo(running)
		}
		return nil
	})
	if s.o.Demo || s.line.terminal {
		show, done := context.WithCancel(context.WithoutCancel(hard))
		shown := make(chan struct{})
		go func() { defer close(shown); s.line.run(show) }()
		defer func() { done(); <-shown; s.line.end() }()
	}
	err := group.Wait()
	if s.o.Demo && err == nil {
		err = s.answer(hard) // unless it was there for long enough
	}
	return err
}

// awaitInserted waits until everything published is inserted, but not for a
// ClickHouse that stays away: nobody may have asked for a stop that would end hard.
func (s *Stack) awaitInserted(hard context.Context) {
	await(hard, s.cfg.Stop.DrainTimeout, func() bool {
		c := s.counts()
		return c.inserted >= c.published+c.rejected
	})
}

// await waits until done, for at most limit and until ctx ends.
func await(ctx context.Context, limit time.Duration, done func() bool) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// counts read for the live line.
func (s *Stack) counts() counts {
	a := s.ingester.Account()
	c := counts{received: a.Received, published: a.Published, rejected: a.RejectedTotal(), dropped: a.DroppedTotal()}
	stats := s.transformer.Stats()
	for _, k := range schema.Kinds() {
		c.inserted += stats.Rows(k.Table)
	}
	lags := stats.Lags()
	c.lagUnknown = len(lags) == 0 // before the group is joined, and after a stop has left it
	for _, l := range lags {
		c.lag += l.Records
	}
	return c
}

// progress tells a person what is going on; scripts read the ready line.
func (s *Stack) progress(format string, args ...any) {
	s.line.interrupt(func(w io.Writer) { fmt.Fprintf(w, format+"\n", args...) })
}

// announce prints where everything listens, and the line that scripts wait for.
func (s *Stack) announce() {
	pairs := addresses(s.ingester)
	if s.cfg.Up.Kafka.Enabled() {
		pairs = append(pairs, pair{"kafka", s.broker.Addr})
	}
	if s.cfg.Up.ClickHouseNative.Enabled() {
		pairs = append(pairs, pair{"clickhouse_native", s.clickHouse.NativeAddr})
	}
	if s.clickHouse.HTTPAddr != "" {
		pairs = append(pairs, pair{"clickhouse_http", s.clickHouse.HTTPAddr})
	}
	if s.cfg.HTTP.Ingest.Enabled() {
		pairs = append(pairs, pair{"http", s.server.Addr().String()})
	}
	if s.answers != nil {
		pairs = append(pairs, pair{"api", s.answers.listener.Addr().String()})
	}
	s.line.interrupt(func(w io.Writer) {
		for _, l := range s.ingester.Addrs() {
			fmt.Fprintf(w, "  syslog     %s://%s  (listener %s)\n", l.Network, l.Addr, l.Name)
		}
		if s.cfg.Up.Kafka.Enabled() {
			fmt.Fprintf(w, "  kafka      %s", s.broker.Addr)
			if s.broker.Credentials.User != "" {
				fmt.Fprintf(w, "  (from elsewhere too: SASL PLAIN, user and password in %s)", filepath.Join(s.data, "kafka-credentials"))
			}
			fmt.Fprintln(w)
		}
		if s.cfg.Up.ClickHouseNative.Enabled() {
			fmt.Fprintf(w, "  clickhouse %s native\n", s.clickHouse.NativeAddr)
		}
		if s.clickHouse.HTTPAddr != "" {
			fmt.Fprintf(w, "  clickhouse http://%s  (read-only user and password in %s)\n", s.clickHouse.HTTPAddr, s.clickHouse.ReaderFile)
		}
		fmt.Fprintf(w, "  operations http://%s  (/metrics /readyz /healthz /status)\n", s.server.Addr())
		if s.answers != nil {
			fmt.Fprintf(w, "  api        https://%s/api/v1\n", s.answers.listener.Addr())
			s.answers.tell(w)
		}
		if s.cfg.Up.ClickHouseNative.Enabled() {
			fmt.Fprintf(w, "  ask        millrace query%s \"SELECT ...\"\n", s.queryFlags())
		}
		if s.cfg.HTTP.Ingest.Enabled() && s.cfg.HTTP.Tap != "off" {
			fmt.Fprintf(w, "  watch      millrace tap%s\n", s.tapFlags())
		}
		readyLine(w, pairs)
	})
	s.quiet.Store(false)
}

// tapFlags are what `millrace tap` needs likewise.
func (s *Stack) tapFlags() string {
	if address := s.server.Addr().String(); address != config.Default().HTTP.Ingest.String() {
		return " --http " + address
	}
	return ""
}

// queryFlags are what `millrace query` needs in order to ask this stack: nothing
// when address and data directory are those that it takes for granted.
func (s *Stack) queryFlags() string {
	var b strings.Builder
	if usual, err := config.Default().Up.DataDir(); err != nil || usual != s.data {
		b.WriteString(" --data " + s.data)
	}
	if usual := config.Default().ClickHouse.Addresses; !slices.Equal(usual, []string{s.clickHouse.NativeAddr}) {
		b.WriteString(" --server " + s.clickHouse.NativeAddr)
	}
	return b.String()
}
