package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"flowtally/web"
)

// metricsConfig says where /metrics and /healthz are served.
type metricsConfig struct {
	addr  string
	hosts []string // further names
	// health is what /healthz asks; nil, or one that returns nil, is healthy.
	health atomic.Pointer[func() error]
}

// metricsFlag adds --metrics.
func metricsFlag(cmd *cobra.Command, c *metricsConfig) {
	one(cmd.Flags(), &c.addr, "metrics", "", "", listening("tcp", "127.0.0.1", "9100"), "serve /metrics and /healthz on this address, for example 127.0.0.1:9100; a port alone is that of 127.0.0.1")
	many(cmd.Flags(), &c.hosts, "metrics-allow-host", "", nil, hostNames, "further host name under which /metrics may be asked for; repeatable")
}

// metricsIdle are the flags of metricsFlag that need others.
func metricsIdle(c *metricsConfig) []idle {
	return []idle{{"metrics-allow-host", c.addr != "", "with --metrics"}}
}

// setHealth makes /healthz answer 503 with the error that check returns.
func (c *metricsConfig) setHealth(check func() error) { c.health.Store(&check) }

// serveMetrics serves /metrics and /healthz until ctx ends, and returns
// the registry that others fill. Without an address it only returns one.
func serveMetrics(ctx context.Context, c *metricsConfig) (*prometheus.Registry, error) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if c.addr == "" {
		return reg, nil
	}
	hosts := c.hosts
	if name, err := os.Hostname(); err == nil {
		hosts = append([]string{name}, hosts...)
	}
	host, _, err := net.SplitHostPort(c.addr)
	if err != nil {
		return nil, usageError{fmt.Errorf("--metrics %q is not an address with a port, such as 127.0.0.1:9100", c.addr)}
	}
	metrics, err := web.AllowHosts(host, hosts, promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	if err != nil {
		return nil, usageError{err}
	}
	ln, err := net.Listen("tcp", c.addr)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("metrics: TCP %s is in use by another program: choose another address with --metrics", c.addr)
		}
		return nil, fmt.Errorf("metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", metrics)
	// A health probe asks by whatever address it has.
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if check := c.health.Load(); check != nil {
			if err := (*check)(); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		io.WriteString(w, "ok\n")
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go srv.Serve(ln)
	context.AfterFunc(ctx, func() { srv.Close() })
	slog.Info("metrics", "url", "http://"+ln.Addr().String()+"/metrics")
	return reg, nil
}
