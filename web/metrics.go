package web

import (
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts requests. Labels are fixed words of ours, never a path or a
// name a stranger sent.
type metrics struct {
	requests *prometheus.CounterVec   // route, class of status
	seconds  *prometheus.HistogramVec // route, API only
	refused  *prometheus.CounterVec   // reason
	inFlight prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "flowtally_web_requests_total",
			Help: "HTTP requests answered, by route and class of status.",
		}, []string{"route", "class"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "flowtally_web_request_seconds",
			Help:    "Time from a question to the end of its answer, by route of the API.",
			Buckets: []float64{0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30},
		}, []string{"route"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "flowtally_web_refused_total",
			Help: "HTTP requests refused before they were looked at, by reason.",
		}, []string{"reason"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "flowtally_web_requests_in_flight",
			Help: "HTTP requests being answered now.",
		}),
	}
	for _, reason := range []string{"host", "site", "origin", "content_type"} {
		m.refused.WithLabelValues(reason)
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.refused, m.inFlight} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// route returns the fixed word under which a path is counted.
func route(path string) string {
	switch path {
	case pathTop:
		return "top"
	case pathSeries:
		return "series"
	case pathExporters:
		return "exporters"
	case pathOpenAPI:
		return "openapi"
	case pathHealth:
		return "healthz"
	}
	if isAPI(path) {
		return "unknown"
	}
	return "page"
}

// observe counts every request and, at level debug, logs it.
func (s *server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		s.metrics.inFlight.Inc()
		defer s.metrics.inFlight.Dec()
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		next.ServeHTTP(ww, r)

		status := ww.Status()
		if status == 0 {
			status = http.StatusOK
		}
		name, took := route(r.URL.Path), time.Since(began)
		s.metrics.requests.WithLabelValues(name, strconv.Itoa(status/100)+"xx").Inc()
		switch name {
		case "top", "series", "exporters":
			s.metrics.seconds.WithLabelValues(name).Observe(took.Seconds())
		}
		s.log.Debug("request", "method", r.Method, "path", r.URL.Path, "query", r.URL.RawQuery,
			"status", status, "bytes", ww.BytesWritten(), "took", took, "remote", r.RemoteAddr)
	})
}
