package stack

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/internal/config"
)

// reloader takes a changed configuration file over into what runs: all that can change
// without a restart, or nothing.
type reloader struct {
	load    func() (*config.Config, error) // the file and the flags; nil: there is no file
	apply   func(*config.Config) error     // an error has changed nothing
	started *config.Config
	current *config.Config // the last that was taken over
	without []string       // sections that the daemon does not use
	level   *slog.LevelVar
	log     *slog.Logger

	good, last prometheus.Gauge
}

func newReloader(o Options, level *slog.LevelVar, log *slog.Logger, apply func(*config.Config) error, without ...string) *reloader {
	r := &reloader{
		load: o.Load, apply: apply, started: o.Config, current: o.Config, without: without, level: level, log: log,
		good: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "millrace_config_reload_success", Help: "1 when the last reading of the configuration was good, 0 when an older one stays in use.",
		}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "millrace_config_last_reload_timestamp_seconds", Help: "When the configuration in use was read.",
		}),
	}
	r.good.Set(1)
	r.last.Set(float64(time.Now().Unix()))
	return r
}

// Describe and Collect make it a prometheus.Collector.
func (r *reloader) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(r, ch) }

// Collect sends both metrics.
func (r *reloader) Collect(ch chan<- prometheus.Metric) { ch <- r.good; ch <- r.last }

// reload reads the file again. It is called by one goroutine.
func (r *reloader) reload() {
	if r.load == nil {
		r.log.Warn("SIGHUP: there is no configuration file to read again (--config)")
		return
	}
	cfg, err := r.load()
	if err == nil {
		err = r.apply(cfg)
	}
	if err != nil {
		r.good.Set(0)
		for _, problem := range problems(err) {
			r.log.Error("cannot reload the configuration: the old one stays in use", "file", r.started.File, "problem", problem)
		}
		return
	}
	r.level.Set(cfg.Log.Level)
	var changed, waiting []string
	for _, c := range config.Changes(r.started, cfg) {
		if !c.Live {
			waiting = append(waiting, c.Key)
		}
	}
	for _, c := range config.Changes(r.current, cfg) {
		if c.Live && !slices.Contains(waiting, c.Key) {
			changed = append(changed, c.Key)
		}
	}
	r.current = cfg
	r.good.Set(1)
	r.last.Set(float64(time.Now().Unix()))
	r.log.Info("configuration reloaded", "file", cfg.File, "changed", strings.Join(changed, ", "))
	for _, key := range waiting {
		section, _, _ := strings.Cut(key, ".")
		if !slices.Contains(r.without, section) {
			r.log.Warn("needs a restart: " + key)
		}
	}
	for _, w := range cfg.Warnings() {
		r.log.Warn(w)
	}
}

// problems are the lines of what is wrong, each for itself.
func problems(err error) []string {
	var all *config.Problems
	if !errors.As(err, &all) {
		return []string{err.Error()}
	}
	lines := make([]string, len(all.List))
	for i, p := range all.List {
		lines[i] = p.Error()
	}
	return lines
}
