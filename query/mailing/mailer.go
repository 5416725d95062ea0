package mailing

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"millrace/internal/config"
	"millrace/query"
	"millrace/query/state"
	"millrace/schema"
)

// Options say what is sent, and how. Store is needed.
type Options struct {
	Store      *state.Store
	ClickHouse query.Options // as a user that only reads
	Relay      *Relay        // nil: nothing is sent

	Recipients    []config.Recipient
	InvalidSender []schema.Invalid
	Zone          *time.Location // of the days; default UTC
	Delay         time.Duration  // from the end of a period until it is counted

	Now    func() time.Time // default time.Now
	Every  time.Duration    // between two looks at what is due; default 30 s
	Logger *slog.Logger
}

// FromConfig are the options that the sections reports and mail give.
func FromConfig(cfg *config.Config, store *state.Store, ch query.Options, log *slog.Logger) (Options, error) {
	relay, err := RelayFromConfig(cfg)
	if err != nil {
		return Options{}, err
	}
	r := &cfg.Reports
	return Options{
		Store: store, ClickHouse: ch, Relay: relay,
		Recipients: r.Recipients, InvalidSender: invalidOf(r.InvalidSender), Zone: r.TimeZone, Delay: r.MailDelay,
		Logger: log,
	}, nil
}

func invalidOf(list []config.Invalid) []schema.Invalid {
	all := []schema.Invalid{}
	for _, i := range list {
		all = append(all, schema.Invalid(i))
	}
	return all
}

// Mailer sends reports. It is a prometheus.Collector.
type Mailer struct {
	o Options
	metrics

	looked func() // told of each round of Run, in tests
}

// New makes a Mailer, which does nothing until Run.
func New(o Options) *Mailer {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Every = cmp.Or(o.Every, 30*time.Second)
	return &Mailer{o: o, metrics: newMetrics()}
}

// Run sends what is due, while this instance acts, until ctx ends. A mail that is on its way
// then is waited for, no longer than its timeout.
func (m *Mailer) Run(ctx context.Context) error {
	if m.o.Relay == nil {
		for _, s := range Schedules(m.o.Store.Snapshot(), m.o.Recipients) {
			if s.Recipient != "" {
				m.o.Logger.Warn("reports by mail are set and are not sent: there is no mail.relay", "report", s.Report, "domain", s.Domain, "user", s.User)
				break
			}
		}
		<-ctx.Done()
		return nil
	}
	for ctx.Err() == nil {
		term, err := m.o.Store.Leader(ctx)
		if err != nil {
			if ctx.Err() == nil {
				m.o.Logger.Warn("cannot tell whether this instance acts, trying again", "error", err)
				pause(ctx, m.o.Every)
			}
			continue
		}
		acting, cancel := context.WithCancel(ctx)
		stop := context.AfterFunc(term.Context(), cancel)
		for acting.Err() == nil {
			m.round(acting, term)
			if m.looked != nil {
				m.looked()
			}
			pause(acting, m.o.Every)
		}
		stop()
		cancel()
	}
	return nil
}

// pause waits, and ends with ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// round sends everything that is due, once.
func (m *Mailer) round(ctx context.Context, log Log) {
	now := m.o.Now()
	d := m.due(log.Snapshot(), now)
	m.finish(ctx, log, d.over)
	for _, group := range d.groups {
		if ctx.Err() != nil {
			return
		}
		var domains []string
		for _, j := range group {
			if n := len(domains); n == 0 || domains[n-1] != j.Domain { // they are in order
				domains = append(domains, j.Domain)
			}
		}
		report, period := group[0].Report, group[0].period
		all, err := m.count(ctx, report, period, domains)
		if err != nil {
			if ctx.Err() == nil {
				m.errors.WithLabelValues(report, "count").Inc()
				m.o.Logger.Warn("cannot count a report, trying again", "report", report, "period", period.Name, "error", err)
			}
			continue
		}
		for _, j := range group {
			if ctx.Err() != nil {
				return
			}
			_, err := m.send(ctx, log, j, all)
			if errors.Is(err, state.ErrFenced) {
				return
			}
			var away unreachable
			if errors.As(err, &away) {
				return // the others would fare alike
			}
		}
	}
}
