package mailing

import (
	"github.com/prometheus/client_golang/prometheus"

	"millrace/internal/config"
)

type metrics struct {
	sent, resent, errors, missed *prometheus.CounterVec
	last                         *prometheus.GaugeVec
}

func newMetrics() metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"report"}, labels...))
	}
	m := metrics{
		sent:   counter("millrace_report_mails_sent_total", "Reports that the relay has taken."),
		resent: counter("millrace_report_mails_resent_total", "Reports handed over a second time, since nobody noted what became of the first."),
		errors: counter("millrace_report_mail_errors_total", "Attempts that failed and are made again, by the step: count, claim, relay.", "step"),
		missed: counter("millrace_report_mails_missed_total", "Reports that are not sent any more, by the reason: skipped, failed, unsure.", "reason"),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "millrace_report_mail_last_sent_timestamp_seconds", Help: "When the relay last took a report.",
		}, []string{"report"}),
	}
	// What has not happened yet is 0, and not unknown.
	for _, report := range []string{config.DailyReport, config.IdentitiesReport} {
		m.sent.WithLabelValues(report)
		m.resent.WithLabelValues(report)
		m.last.WithLabelValues(report)
		for _, step := range []string{"count", "claim", "relay"} {
			m.errors.WithLabelValues(report, step)
		}
		for _, reason := range []string{"skipped", "failed", "unsure"} {
			m.missed.WithLabelValues(report, reason)
		}
	}
	return m
}

func (m metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.sent, m.resent, m.errors, m.missed, m.last}
}

// Describe implements prometheus.Collector.
func (m metrics) Describe(to chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(to)
	}
}

// Collect implements prometheus.Collector.
func (m metrics) Collect(to chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(to)
	}
}
