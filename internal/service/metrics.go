package service

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// NewRegistry holds the metrics of the Go runtime and the process, millrace_ready
// and millrace_build_info. A daemon registers its own beside them.
func NewRegistry(version, commit string, c *Conditions) *prometheus.Registry {
	r := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "millrace_build_info",
		Help:        "1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version, "commit": commit, "go": runtime.Version()},
	})
	build.Set(1)
	ready := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "millrace_ready",
		Help: "1 while /readyz answers 200, else 0.",
	}, func() float64 {
		if len(c.Unmet()) > 0 {
			return 0
		}
		return 1
	})
	r.MustRegister(build, ready,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}
