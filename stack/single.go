package stack

import (
	"context"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/ingester"
	"millrace/internal/config"
	"millrace/internal/service"
	"millrace/internal/status"
	"millrace/transformer"
)

// daemon is what one daemon needs around it: metrics, health, a log.
type daemon struct {
	conditions *service.Conditions
	registry   *prometheus.Registry
	server     *service.Server
	log        *slog.Logger
}

func startDaemon(cfg *config.Config, address config.Endpoint, o Options, report func(*service.Conditions) status.Status, collectors []prometheus.Collector, log *slog.Logger, conditions ...string) (*daemon, error) {
	if err := cfg.CheckPlain(); err != nil { // a flag may have given the address
		return nil, service.WithExitCode(2, err)
	}
	d := &daemon{conditions: service.NewConditions(nil, conditions...), log: log}
	d.registry = service.NewRegistry(o.Version, o.Commit, d.conditions)
	for _, c := range collectors {
		if err := d.registry.Register(c); err != nil {
			return nil, err
		}
	}
	if !address.Enabled() {
		return d, nil
	}
	var err error
	d.server, err = service.Serve(service.ServerOptions{
		Address: address.String(), Flag: "--http", Registry: d.registry, Conditions: d.conditions, Pprof: cfg.HTTP.Pprof, Logger: log,
		Status: status.Handler(func() status.Status { return report(d.conditions) }),
	})
	return d, err
}

// addTaps lets people watch the ingester's frames.
func addTaps(s *service.Server, in *ingester.Ingester, cfg *config.Config) {
	if s == nil {
		return
	}
	pages := in.Taps()
	s.Add(service.Page{Path: "/tap", Who: cfg.HTTP.Tap, Key: "http.tap", Handler: pages.Tap})
	s.Add(service.Page{Path: "/capture", Who: cfg.HTTP.Tap, Key: "http.tap", Handler: pages.Capture})
}

func (d *daemon) close() {
	if d.server != nil {
		_ = d.server.Close(context.Background()) // nothing is lost with an answer to a scrape
	}
}

// drainAt makes the daemon not ready when soft ends.
func (d *daemon) drainAt(soft context.Context) (stop func() bool) {
	return context.AfterFunc(soft, func() { d.conditions.Drain("handing over what has been read") })
}

// logStop says in the log that a stop has begun, and that it is cut short. The
// function that it returns ends that.
func logStop(soft, hard context.Context, cfg *config.Config, log *slog.Logger) func() {
	begun := context.AfterFunc(soft, func() {
		log.Info("stopping: handing over what has been read", "because", context.Cause(soft), "drain_timeout", cfg.Stop.DrainTimeout)
	})
	cut := context.AfterFunc(hard, func() { log.Warn("stopping at once", "because", context.Cause(hard)) })
	return func() { begun(); cut() }
}

// logger writes lines of the configured form, and of the level that a reload changes.
func logger(cfg *config.Config, to io.Writer) (*slog.Logger, *slog.LevelVar, error) {
	level := new(slog.LevelVar)
	level.Set(cfg.Log.Level)
	log, err := service.NewLogger(to, level, cfg.Log.Format)
	return log, level, err
}

// promising says in each line of a transformer's log when less than exactly once is
// promised.
func promising(cfg *config.Config, log *slog.Logger) *slog.Logger {
	if cfg.Transform.Delivery == config.AtLeastOnce {
		return log.With("delivery", config.AtLeastOnce)
	}
	return log
}

// RunIngest is `millrace ingest`: an ingester over an existing Kafka.
func RunIngest(soft, hard context.Context, o Options, logTo io.Writer) error {
	log, level, err := logger(o.Config, logTo)
	if err != nil {
		return err
	}
	hangups := service.ListenHangups(log)
	defer hangups.Close()
	defer logStop(soft, hard, o.Config, log)()
	in, err := ingester.New(ingester.Options{Config: o.Config, Log: log})
	if err != nil {
		return err
	}
	started := time.Now()
	report := func(c *service.Conditions) status.Status { return o.report("ingest", started, c, in, nil) }
	d, err := startDaemon(o.Config, o.Config.HTTP.Ingest, o, report, []prometheus.Collector{in}, log, kafkaCondition)
	if err != nil {
		return err
	}
	defer d.close()
	defer d.drainAt(soft)()
	d.conditions.Probe(kafkaCondition, in.State)
	reloads := newReloader(o, level, log, in.Reload, "clickhouse", "transform", "retention", "up", "source")
	if err := d.registry.Register(reloads); err != nil {
		return err
	}
	go hangups.Each(soft, reloads.reload)
	addTaps(d.server, in, o.Config)
	go d.announce(soft, in.Ready(), o, addresses(in))
	return in.Run(soft, hard)
}

// transformGC is GOGC of a transformer, where the environment does not say another. What it
// holds are some dozens of large buffers without pointers, which are used again: to look
// through them costs little (8% of its CPU, beside 40), and with Go's default of 100 nearly
// as much again lies about as garbage.
const transformGC = 25

// RunTransform is `millrace transform`: a transformer between an existing Kafka
// and an existing ClickHouse.
func RunTransform(soft, hard context.Context, o Options, logTo io.Writer) error {
	log, _, err := logger(o.Config, logTo)
	if err != nil {
		return err
	}
	log = promising(o.Config, log)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(transformGC)
	}
	hangups := service.ListenHangups(log)
	defer hangups.Close()
	go hangups.Each(soft, func() { log.Warn("SIGHUP: a transformer has nothing to reload; a new configuration needs a restart") })
	defer logStop(soft, hard, o.Config, log)()
	t, err := transformer.FromConfig(o.Config, log)
	if err != nil {
		return err
	}
	started := time.Now()
	report := func(c *service.Conditions) status.Status { return o.report("transform", started, c, nil, t) }
	d, err := startDaemon(o.Config, o.Config.HTTP.Transform, o, report, []prometheus.Collector{t.Collector()}, log, kafkaCondition, clickHouseCondition)
	if err != nil {
		return err
	}
	defer d.close()
	defer d.drainAt(soft)()
	d.conditions.Probe(kafkaCondition, func() error { return t.State().Kafka })
	d.conditions.Probe(clickHouseCondition, func() error { return t.State().ClickHouse })
	ready := make(chan struct{})
	go func() {
		if waitReady(soft, d.conditions) {
			close(ready)
		}
	}()
	go d.announce(soft, ready, o, nil)
	return t.Run(soft, hard)
}

// announce prints the line that scripts wait for, once the daemon is ready.
func (d *daemon) announce(ctx context.Context, ready <-chan struct{}, o Options, pairs []pair) {
	select {
	case <-ctx.Done():
	case <-ready:
		if d.server != nil {
			pairs = append(pairs, pair{"http", d.server.Addr().String()})
		}
		readyLine(o.Out, pairs)
	}
}
