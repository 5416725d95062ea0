package stack

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"millrace/internal/config"
	"millrace/internal/service"
	"millrace/internal/status"
	"millrace/query"
	"millrace/query/account"
	"millrace/query/api"
	"millrace/query/compat"
	"millrace/query/guard"
	"millrace/query/mailing"
	"millrace/query/state"
	"millrace/query/state/trail"
)

// answers are the parts that people and programs ask: the state, the API, and what the acting
// instance does.
type answers struct {
	cfg      *config.Config
	log      *slog.Logger
	listener net.Listener
	store    *state.Store
	conn     clickhouse.Conn // writes the audit trail
	server   *api.Server
	guard    *guard.Guard
	mailer   *mailing.Mailer
	metrics  answerMetrics
	shown    *api.Certificate
	password string // file of the first password, when it was made now
}

// listenAPI binds the API's address; nil when it is off.
func listenAPI(cfg *config.Config) (net.Listener, error) {
	if !cfg.API.Address.Enabled() {
		return nil, nil
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", cfg.API.Address.String())
	if err != nil {
		return nil, service.ListenError("the API", "tcp", cfg.API.Address.String(), "--api", err)
	}
	return l, nil
}

// startAnswers opens the state and makes the server on the listener. ask is where and as whom
// ClickHouse is asked.
func startAnswers(ctx context.Context, cfg *config.Config, ask query.Options, l net.Listener, log *slog.Logger) (a *answers, err error) {
	a = &answers{cfg: cfg, log: log, listener: l}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	dir, err := cfg.APIDir()
	if err != nil {
		return nil, err
	}
	a.shown, err = api.OpenCertificate(api.CertificateOptions{
		Cert: cfg.API.TLS.Cert, Key: cfg.API.TLS.Key, Dir: dir, Address: l.Addr().String(), Logger: log,
	})
	if err != nil {
		return nil, err
	}
	options, err := state.FromConfig(cfg, log)
	if err != nil {
		return nil, err
	}
	if a.store, err = state.Open(ctx, options); err != nil {
		return nil, err
	}
	a.metrics = newAnswerMetrics(a.store, a.shown)
	accounts := account.New(a.store, account.Options{})
	if a.password, err = accounts.Bootstrap(ctx, dir); err != nil {
		return nil, err
	}
	write, err := cfg.ClickHouseOptions()
	if err != nil {
		return nil, err
	}
	if a.conn, err = clickhouse.Open(write); err != nil {
		return nil, fmt.Errorf("cannot use the ClickHouse options: %w", err)
	}
	reports, err := query.ReadReports(cfg.Reports.Dir)
	if err != nil {
		log.Warn("some reports cannot be asked", "error", err)
	}
	limits := query.Limits{Time: cfg.API.TimeLimit, Rows: uint64(cfg.API.RowsLimit), Memory: uint64(cfg.API.MemoryLimit)}
	history := func(ctx context.Context, f trail.Filter) ([]trail.Change, error) {
		return trail.History(ctx, a.store, a.conn, cfg.ClickHouse.ReadDatabase(), f)
	}
	rules, err := guard.FromConfig(cfg, a.store, ask, log)
	if err != nil {
		return nil, err
	}
	mails, err := mailing.FromConfig(cfg, a.store, ask, log)
	if err != nil {
		return nil, err
	}
	if mails.Relay != nil {
		rules.Mailer = mails.Relay
	}
	a.mailer = mailing.New(mails)
	if a.guard, err = guard.New(rules); err != nil {
		return nil, err
	}
	setRecipient := func(ctx context.Context, by state.By, report, domain, username, recipient string) error {
		return mailing.SetRecipient(ctx, a.store, by, report, domain, username, recipient)
	}
	a.server = api.New(api.Options{
		Query: ask, Store: a.store, Accounts: accounts, Reports: reports, Limits: limits, Exports: cfg.API.MaxExports, Logger: log,
		Recipients: cfg.Reports.Recipients, SetRecipient: setRecipient,
		History: func(ctx context.Context, kinds []string, limit int) (any, error) {
			all, err := history(ctx, trail.Filter{Kinds: kinds, Limit: limit})
			slices.Reverse(all) // the last decision first
			return append([]trail.Change{}, all...), err
		},
		Compat: compat.New(compat.Options{
			Query: ask, Store: a.store, Accounts: accounts, Limits: limits, Classes: cfg.ClassTable(), Syslog: syslogSettings(cfg), History: history, SetRecipient: setRecipient, Logger: log,
		}),
	})
	return a, nil
}

// run answers until soft ends, and then what is open until hard ends.
func (a *answers) run(soft, hard context.Context) error {
	group, running := errgroup.WithContext(soft)
	group.Go(func() error { return a.server.Listen(running, hard, a.listener, a.shown) })
	group.Go(func() error {
		trail.Run(running, a.store, a.conn, trail.Place{Insert: a.cfg.ClickHouse.Database, Read: a.cfg.ClickHouse.ReadDatabase()}, a.log, a.metrics.copyErrors.Inc)
		return nil
	})
	group.Go(func() error { return a.guard.Run(running) })
	group.Go(func() error { return a.mailer.Run(running) })
	return group.Wait()
}

// collectors are the metrics.
func (a *answers) collectors() []prometheus.Collector {
	return append([]prometheus.Collector{a.server, a.guard, a.mailer}, a.metrics.collectors...)
}

func (a *answers) close() {
	if a.store != nil {
		a.store.Close()
	}
	if a.conn != nil {
		_ = a.conn.Close() // nothing is lost: what is missing is copied by the next
	}
	a.listener.Close()
}

// tell says where the first password is, once.
func (a *answers) tell(w io.Writer) {
	if a.password != "" {
		fmt.Fprintf(w, "  the API's first user is %s; the password is in %s\n", account.FirstUser, a.password)
	}
}

// RunServe is `millrace serve`: the API over an existing Kafka and ClickHouse. ask is where and
// as whom ClickHouse is asked.
func RunServe(soft, hard context.Context, o Options, ask query.Options, logTo io.Writer) error {
	log, _, err := logger(o.Config, logTo)
	if err != nil {
		return err
	}
	hangups := service.ListenHangups(log)
	defer hangups.Close()
	go hangups.Each(soft, func() {
		log.Warn("SIGHUP: the API takes renewed certificates by itself and has nothing to reload; a new configuration needs a restart")
	})
	defer logStop(soft, hard, o.Config, log)()
	l, err := listenAPI(o.Config)
	if err != nil {
		return err
	}
	if l == nil {
		return service.WithExitCode(2, fmt.Errorf("cannot serve: api.address is off"))
	}
	a, err := startAnswers(soft, o.Config, ask, l, log)
	if err != nil {
		return err
	}
	defer a.close()
	started := time.Now()
	d, err := startDaemon(o.Config, o.Config.HTTP.Serve, o, func(c *service.Conditions) status.Status { return o.report("serve", started, c, nil, nil) }, a.collectors(), log, kafkaCondition, clickHouseCondition)
	if err != nil {
		return err
	}
	defer d.close()
	defer d.drainAt(soft)()
	d.conditions.Probe(kafkaCondition, a.store.State)
	d.conditions.Probe(clickHouseCondition, func() error {
		ctx, cancel := context.WithTimeout(soft, o.Config.ClickHouse.DialTimeout)
		defer cancel()
		return a.conn.Ping(ctx)
	})
	a.tell(o.Out)
	ready := make(chan struct{})
	go func() {
		if waitReady(soft, d.conditions) {
			close(ready)
		}
	}()
	go d.announce(soft, ready, o, []pair{{"api", l.Addr().String()}})
	return a.run(soft, hard)
}
