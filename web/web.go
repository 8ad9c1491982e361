// Package web is the HTTP API and the console's server: it asks the store what
// people ask it, and says in every answer how to ask the same in SQL and on the
// command line.
//
// On loopback nobody has to log in. Beyond it people do, with a password
// (Users) or by the word of a proxy in front, and scripts with a person's token. What keeps other sites out is the
// Host header (DNS rebinding), Sec-Fetch-Site and Origin (cross-site requests),
// the content type of bodies (forms), cookies that other sites' requests do not
// carry, and a Content-Security-Policy that lets the page talk to this server
// alone.
package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
)

// The addresses of the API.
const (
	pathTop       = "/api/v1/top"
	pathSeries    = "/api/v1/series"
	pathExporters = "/api/v1/exporters"
	pathOpenAPI   = "/openapi.json"
	pathHealth    = "/healthz"
)

// isAPI reports whether path belongs to the API, known there or not.
func isAPI(path string) bool {
	return path == "/api" || strings.HasPrefix(path, "/api/") || path == pathOpenAPI
}

// Defaults of Config.
const (
	DefaultListen  = "127.0.0.1:8080"
	DefaultTimeout = 30 * time.Second

	// DefaultProxyUserHeader is where a proxy says who is asking.
	DefaultProxyUserHeader = "X-Remote-User"
)

// shutdownGrace is how long answers under way may take once Run is to end.
const shutdownGrace = 2 * time.Second

// Config is what Run needs. DB must be set; the zero value of everything else
// has a meaning.
type Config struct {
	// Listen is the address to serve on, host:port; port 0 takes a free one.
	// Empty means DefaultListen.
	Listen string
	// DB answers the questions.
	DB Database
	// AllowHosts are further host names this server answers to, beside the
	// host of Listen, localhost and the loopback addresses.
	AllowHosts []string
	// Insecure permits listening beyond loopback although there is no login.
	Insecure bool
	// Users are those who may log in with a password; nil: nobody has to.
	Users *Users
	// TrustProxy are the addresses of a proxy that logs people in and says who
	// they are, in the header ProxyUserHeader (empty: DefaultProxyUserHeader).
	// ProxyRoleHeader, when set, says whether one is an editor; else all are.
	// Requests from elsewhere that have these headers are nobody's.
	TrustProxy                       []netip.Prefix
	ProxyUserHeader, ProxyRoleHeader string
	// SecureCookies says that people come by TLS although this server does not
	// see it: cookies are then for TLS only.
	SecureCookies bool
	// SessionIdle is after what time without a request a session ends,
	// SessionLife after what time in any case; zero are the defaults.
	SessionIdle, SessionLife time.Duration
	// TLSCert and TLSKey are files of a certificate and its key in PEM; empty is
	// plain HTTP. They are read anew when they change.
	TLSCert, TLSKey string
	// CollectorListen is where the collector takes datagrams; the empty page
	// shows it to those who are about to point an exporter here.
	CollectorListen string
	// NoDNS keeps the names of addresses from being looked up. DNS is the name
	// server to ask, host or host:port; empty is the system's.
	NoDNS bool
	DNS   string
	// Timeout bounds one question to the database. Zero means DefaultTimeout.
	Timeout time.Duration
	// Logger takes what people should know; nil discards it. Requests are
	// logged at level debug only.
	Logger *slog.Logger
	// Registerer takes the metrics flowtally_web_*; nil keeps them private.
	Registerer prometheus.Registerer
	// Ready, when set, is called once with the address being served.
	Ready func(netip.AddrPort)
}

// server is one configured instance: everything the handlers share.
type server struct {
	config  Config
	log     *slog.Logger
	metrics *metrics
	hosts   *hostList
	page    *page
	openAPI []byte
	now     func() time.Time

	logins     *logins
	names      *names
	lately     lately
	statements chan struct{} // people's statements under way
}

// newServer checks the configuration and prepares what does not change between
// requests. The page's files come from the root of files.
func newServer(c Config, files fs.FS) (*server, error) {
	if c.DB.AnswerStore == nil || c.DB.ExporterStore == nil || c.DB.ViewStore == nil || c.DB.SQLStore == nil || c.DB.TokenStore == nil {
		return nil, errors.New("web: no database to ask: Config.DB is not set")
	}
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Registerer == nil {
		c.Registerer = prometheus.NewRegistry()
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return nil, fmt.Errorf("web: cannot listen on %q: write it as address:port, for example %s", c.Listen, DefaultListen)
	}
	s := &server{config: c, log: c.Logger, now: time.Now, statements: make(chan struct{}, maxStatements)}
	s.logins = newLogins(&s.config)
	if s.names, err = newNames(c.NoDNS, c.DNS); err != nil {
		return nil, err
	}
	if s.hosts, err = newHostList(host, c.AllowHosts); err != nil {
		return nil, err
	}
	if s.page, err = newPage(files); err != nil {
		return nil, err
	}
	if s.metrics, err = newMetrics(c.Registerer); err != nil {
		return nil, fmt.Errorf("web: metrics: %w", err)
	}
	return s, nil
}

// handler puts the rooms behind the guards. The order is the policy: what is
// refused for its host is refused before anything looks at its path.
func (s *server) handler() (http.Handler, error) {
	r := chi.NewRouter()
	r.Use(s.observe, s.recoverPanics, secureHeaders, s.requireHost, s.refuseTokensInAddress,
		forAPI(s.requireSameOrigin), forAPI(s.requireJSON), forAPI(s.requireLogin), forAPI(noStore), forAPI(weighEncodings),
		forAPI(middleware.Compress(5, "application/json", "application/problem+json", "application/openapi+json", mediaCSV)),
		middleware.GetHead)
	r.NotFound(s.notFound)
	r.MethodNotAllowed(func(w http.ResponseWriter, req *http.Request) { methodNotAllowed(r, w, req) })
	r.Get(pathHealth, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		fmt.Fprintln(w, "ok")
	})
	r.Get("/*", func(w http.ResponseWriter, req *http.Request) {
		switch {
		case !isAPI(req.URL.Path):
			s.page.ServeHTTP(w, req)
		case len(allowed(r, req.URL.Path)) > 0:
			methodNotAllowed(r, w, req)
		default:
			s.notFound(w, req)
		}
	})
	return r, s.routeAPI(r)
}

// allowed lists the methods that a path takes, none when there is nothing.
func allowed(r chi.Routes, path string) []string {
	var list []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		at := chi.NewRouteContext()
		if !r.Match(at, method, path) || isAPI(path) && at.RoutePattern() == "/*" {
			continue
		}
		list = append(list, method)
		if method == http.MethodGet {
			list = append(list, http.MethodHead)
		}
	}
	return list
}

func methodNotAllowed(router chi.Routes, w http.ResponseWriter, r *http.Request) {
	methods := allowed(router, r.URL.Path)
	if len(methods) == 0 { // not GET, and nothing there
		writeProblem(w, r, http.StatusNotFound, fmt.Sprintf("There is nothing at %s; %s lists what there is.", r.URL.Path, pathOpenAPI))
		return
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	writeProblem(w, r, http.StatusMethodNotAllowed, fmt.Sprintf("%s does not take %s; use %s.", r.URL.Path, r.Method, methods[0]))
}

// forAPI puts a middleware before the API alone, known path or not.
func forAPI(m func(http.Handler) http.Handler) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		guarded := m(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isAPI(r.URL.Path) {
				guarded.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func (s *server) notFound(w http.ResponseWriter, r *http.Request) {
	writeProblem(w, r, http.StatusNotFound, fmt.Sprintf("There is nothing at %s; %s lists what there is.", r.URL.Path, pathOpenAPI))
}

func noStore(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// Run serves the API and the console until ctx ends, then lets answers under
// way finish for a moment, and returns nil. A configuration that cannot work, a
// port in use, an address others could reach: an error of one sentence.
func Run(ctx context.Context, c Config) error {
	page, err := fs.Sub(dist, "dist")
	if err != nil {
		return fmt.Errorf("web: console: %w", err)
	}
	s, err := newServer(c, page)
	if err != nil {
		return err
	}
	h, err := s.handler()
	if err != nil {
		return err
	}
	certificate, err := loadCertificate(c.TLSCert, c.TLSKey)
	if err != nil {
		return err
	}
	l, err := listen(ctx, s.config.Listen, c.Insecure || s.logins.required())
	if err != nil {
		return err
	}

	// Questions under way outlive ctx by the grace period, no longer.
	base, cancelQuestions := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelQuestions()
	srv := &http.Server{
		Handler:           h,
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      s.config.Timeout + 30*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	addr := addrPort(l)
	if certificate != nil {
		srv.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate.get}
	}
	failed := make(chan error, 1)
	go func() {
		if certificate != nil {
			failed <- srv.ServeTLS(tlsListener{l}, "", "")
			return
		}
		failed <- srv.Serve(l)
	}()
	s.warnOfPlainPasswords(addr)
	s.log.Info("web: serving", "address", addr.String(), "console", s.page.index != nil)
	if c.Ready != nil {
		c.Ready(addr)
	}
	select {
	case err := <-failed:
		return fmt.Errorf("web: serve %s: %w", addr, err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(base, shutdownGrace)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		cancelQuestions()
		_ = srv.Close() // listeners and connections: nothing left to say about them
	}
	<-failed
	return nil
}
