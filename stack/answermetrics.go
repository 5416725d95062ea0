package stack

import (
	"github.com/prometheus/client_golang/prometheus"

	"millrace/query/api"
	"millrace/query/state"
)

// answerMetrics are those of an instance that answers which none of its parts counts itself.
type answerMetrics struct {
	copyErrors prometheus.Counter
	collectors []prometheus.Collector
}

func newAnswerMetrics(store *state.Store, shown *api.Certificate) answerMetrics {
	m := answerMetrics{copyErrors: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "millrace_state_copy_errors_total", Help: "Attempts to copy changes of the state to ClickHouse that failed and are made again.",
	})}
	m.collectors = []prometheus.Collector{
		m.copyErrors,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "millrace_state_up", Help: "1 while the log of the state is followed in Kafka, else 0.",
		}, func() float64 {
			if store.State() != nil {
				return 0
			}
			return 1
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "millrace_api_certificate_expiry_timestamp_seconds", Help: "When the API's certificate, or one of its chain, expires.",
		}, func() float64 { return float64(shown.Expires().Unix()) }),
	}
	return m
}
