package web

import (
	"net/http"
	"strconv"
	"strings"
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
	logins   *prometheus.CounterVec   // result
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
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "flowtally_web_logins_total",
			Help: "Tries to log in with a password, by result.",
		}, []string{"result"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "flowtally_web_requests_in_flight",
			Help: "HTTP requests being answered now.",
		}),
	}
	for _, reason := range []string{"host", "site", "origin", "content_type", "login", "role", "token", "token_tries", "token_in_address"} {
		m.refused.WithLabelValues(reason)
	}
	for _, result := range []string{"right", "wrong", "throttled"} {
		m.logins.WithLabelValues(result)
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.refused, m.logins, m.inFlight} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// routes are the words of paths without parameters.
var routes = map[string]string{
	pathTop: "top", pathSeries: "series", pathFlows: "flows", pathShare: "share", pathSummary: "summary", pathHeatMap: "heatmap",
	pathExporters: "exporters", pathInterfaces: "interfaces", pathLoss: "loss", pathViews: "views",
	pathFilterCheck: "filter_check", pathFilterComplete: "filter_complete", pathSQL: "sql", pathHunts: "hunts", pathSchema: "schema",
	pathNames: "names", pathTokens: "tokens", pathPreferences: "preferences", pathKeys: "keys", pathEvents: "events", pathMe: "me", pathLogin: "login", pathLogout: "logout", pathOpenAPI: "openapi", pathHealth: "healthz",
}

// route returns the fixed word under which a path is counted.
func route(path string) string {
	if word, ok := routes[path]; ok {
		return word
	}
	for prefix, word := range map[string]string{
		pathExporters + "/": "exporter", pathInterfaces + "/": "interface", pathViews + "/": "view", pathTokens + "/": "token", "/api/v1/address/": "address",
	} {
		if strings.HasPrefix(path, prefix) {
			return word
		}
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
		case "page", "unknown", "openapi", "healthz":
		default:
			s.metrics.seconds.WithLabelValues(name).Observe(took.Seconds())
		}
		path, query := r.URL.Path, r.URL.RawQuery
		if inAddress(r.URL) {
			path, query = withoutTokens(path), "not shown: it had a token"
		}
		s.log.Debug("request", "method", r.Method, "path", path, "query", query,
			"status", status, "bytes", ww.BytesWritten(), "took", took, "remote", r.RemoteAddr)
	})
}
