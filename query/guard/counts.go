package guard

import (
	"github.com/prometheus/client_golang/prometheus"

	"millrace/internal/config"
)

// counts are the metrics.
type counts struct {
	acting  prometheus.Gauge
	rounds  *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	fired   *prometheus.CounterVec
	ended   prometheus.Counter
	runs    *prometheus.CounterVec
	waiting *prometheus.GaugeVec
	imports *prometheus.CounterVec
}

func newCounts(rules []Rule, effects []config.Effect) *counts {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	c := &counts{
		acting:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "millrace_guard_acting", Help: "1 while this instance acts on rules and effects, else 0."}),
		rounds:  counter("millrace_rule_rounds_total", "Rounds of a rule, by result: ok, failed.", "rule", "result"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "millrace_rule_seconds", Help: "Time of a round of a rule.", Buckets: []float64{.01, .03, .1, .3, 1, 3, 10, 30}}, []string{"rule"}),
		fired:   counter("millrace_rule_fired_total", "What a rule has done, by result: locked, dry_run, held (locked already), failed.", "rule", "result"),
		ended:   prometheus.NewCounter(prometheus.CounterOpts{Name: "millrace_locks_ended_total", Help: "Locks and blocks whose time was over."}),
		runs:    counter("millrace_effect_runs_total", "Runs of an effect, by result: done, skipped (not for it), failed (tried again), given_up.", "effect", "result"),
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "millrace_effect_waiting", Help: "Changes that an effect has not run for yet."}, []string{"effect"}),
		imports: counter("millrace_locks_imported_total", "Locks taken over from the filter's panel, by action: lock, unlock.", "action"),
	}
	// What has not happened yet is 0, and not unknown.
	for _, r := range rules {
		c.seconds.WithLabelValues(r.Name)
		for _, result := range []string{"ok", "failed"} {
			c.rounds.WithLabelValues(r.Name, result)
		}
		for _, result := range []string{"locked", "dry_run", "held", "failed"} {
			c.fired.WithLabelValues(r.Name, result)
		}
	}
	for _, e := range effects {
		c.waiting.WithLabelValues(e.Name)
		for _, result := range []string{"done", "skipped", "failed", "given_up"} {
			c.runs.WithLabelValues(e.Name, result)
		}
	}
	for _, action := range []string{"lock", "unlock"} {
		c.imports.WithLabelValues(action)
	}
	return c
}

func (c *counts) all() []prometheus.Collector {
	return []prometheus.Collector{c.acting, c.rounds, c.seconds, c.fired, c.ended, c.runs, c.waiting, c.imports}
}

func (c *counts) describe(ch chan<- *prometheus.Desc) {
	for _, x := range c.all() {
		x.Describe(ch)
	}
}

func (c *counts) collect(ch chan<- prometheus.Metric) {
	for _, x := range c.all() {
		x.Collect(ch)
	}
}
