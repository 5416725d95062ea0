package api

import (
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count answers.
type metrics struct {
	answers *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

func newMetrics() *metrics {
	return &metrics{
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_api_answers_total", Help: "Answers of the API, by endpoint and status (2xx, 3xx, 4xx, 5xx).",
		}, []string{"endpoint", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "millrace_api_answer_seconds", Help: "How long the API's answers took, by endpoint.", Buckets: []float64{.01, .1, 1, 10},
		}, []string{"endpoint"}),
	}
}

// Describe and Collect make the server a prometheus.Collector.
func (s *Server) Describe(c chan<- *prometheus.Desc) {
	s.metrics.answers.Describe(c)
	s.metrics.seconds.Describe(c)
}

// Collect is Describe's twin.
func (s *Server) Collect(c chan<- prometheus.Metric) {
	s.metrics.answers.Collect(c)
	s.metrics.seconds.Collect(c)
}

// measured counts what a handler answers, under the endpoint's name.
func (s *Server) measured(endpoint string, next http.Handler) http.Handler {
	s.metrics.answers.WithLabelValues(endpoint, "2xx") // 0, and not unknown
	s.metrics.seconds.WithLabelValues(endpoint)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun, answer := time.Now(), &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			s.metrics.answers.WithLabelValues(endpoint, fmt.Sprintf("%dxx", answer.status/100)).Inc()
			s.metrics.seconds.WithLabelValues(endpoint).Observe(time.Since(begun).Seconds())
		}()
		next.ServeHTTP(answer, r)
	})
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// patience is how long a client may take to read what is written at once: one that reads
// nothing does not hold an export for ever.
const patience = time.Minute

func (w *statusWriter) Write(p []byte) (int, error) {
	// A writer without deadlines, as tests have, has no client that is slow.
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(patience))
	return w.ResponseWriter.Write(p)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
