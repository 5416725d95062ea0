package guard

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/internal/config"
	"millrace/query"
	"millrace/query/state"
)

// Mailer sends what mail effects say.
type Mailer interface {
	Send(ctx context.Context, to, subject, body string) error
}

// Vendor is the filter's own API; a source.Client is one.
type Vendor interface {
	LockIdentity(ctx context.Context, domain, user, identity string) error
	UnlockIdentity(ctx context.Context, domain, user, identity string) error
	BlockSender(ctx context.Context, domain, user, sender string) error
	UnblockSender(ctx context.Context, domain, user, sender string) error
	LockedIdentities(ctx context.Context, domain, user string) ([]string, error)
}

// Options of a Guard. Store is needed, and Query when there are rules.
type Options struct {
	Store   *state.Store
	Query   query.Options // as a user that may read
	Rules   []Rule
	Effects []config.Effect
	Mailer  Mailer // nil: mail effects fail
	Vendor  Vendor // nil: vendor effects fail, and nothing is imported
	Import  time.Duration

	Interval time.Duration    // between two rounds of the rules; default 3 s
	Pause    time.Duration    // before an effect's second attempt, doubled for each more; default 1 s
	Now      func() time.Time // default time.Now
	Logger   *slog.Logger
}

// longestPause is before any attempt of an effect.
const longestPause = 5 * time.Minute

// FromConfig are the options that the configuration gives.
func FromConfig(cfg *config.Config, store *state.Store, reader query.Options, log *slog.Logger) (Options, error) {
	o := Options{Store: store, Query: reader, Effects: cfg.Effects, Import: cfg.Source.ImportLocks, Logger: log}
	for _, r := range cfg.Rules {
		o.Rules = append(o.Rules, NewRule(cfg, r))
	}
	vendor, err := vendorOf(cfg)
	if err != nil {
		return Options{}, err
	}
	if vendor != nil {
		o.Vendor = vendor
	}
	return o, nil
}

// Guard acts while its instance is elected.
type Guard struct {
	o       Options
	effects []*effect
	counts  *counts
}

// New prepares a guard; it does nothing yet.
func New(o Options) (*Guard, error) {
	if o.Store == nil {
		return nil, errors.New("cannot guard: there is no state")
	}
	if o.Interval <= 0 {
		o.Interval = 3 * time.Second
	}
	if o.Pause <= 0 {
		o.Pause = time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Guard{o: o, counts: newCounts(o.Rules, o.Effects)}
	for i := range o.Effects {
		e, err := newEffect(&o.Effects[i], &o)
		if err != nil {
			return nil, err
		}
		g.effects = append(g.effects, e)
	}
	return g, nil
}

// Run acts whenever this instance is elected, until ctx ends.
func (g *Guard) Run(ctx context.Context) error {
	for {
		term, err := g.o.Store.Leader(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		g.act(ctx, term)
		if ctx.Err() != nil {
			return nil
		}
	}
}

// act is one term.
func (g *Guard) act(ctx context.Context, term *state.Term) {
	acting, cancel := context.WithCancel(term.Context())
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	g.counts.acting.Set(1)
	defer g.counts.acting.Set(0)
	var work sync.WaitGroup
	work.Go(func() { g.every(acting, g.o.Interval, func() error { return g.round(acting, term) }) })
	if len(g.effects) > 0 {
		work.Go(func() { g.runEffects(acting, term) })
	}
	if g.o.Import > 0 && g.o.Vendor != nil {
		work.Go(func() { g.every(acting, g.o.Import, func() error { return g.importLocks(acting, term) }) })
	}
	work.Wait()
}

// every calls f at once and then after each interval, until ctx ends. It says what is wrong
// when it begins to be, and when it ends.
func (g *Guard) every(ctx context.Context, interval time.Duration, f func() error) {
	said := ""
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for ctx.Err() == nil {
		err := f()
		switch {
		case ctx.Err() != nil || errors.Is(err, state.ErrFenced):
		case err == nil && said != "":
			g.o.Logger.Info("rules and imports work again", "after", said)
			said = ""
		case err != nil && err.Error() != said:
			said = err.Error()
			g.o.Logger.Warn("cannot act on all that rules and imports say, trying again", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// Describe and Collect make it a prometheus.Collector.
func (g *Guard) Describe(ch chan<- *prometheus.Desc) { g.counts.describe(ch) }

// Collect tells what it has done.
func (g *Guard) Collect(ch chan<- prometheus.Metric) { g.counts.collect(ch) }
