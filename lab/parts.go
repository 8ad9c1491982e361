package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"flowtally/collector"
	"flowtally/exporter"
	"flowtally/exporter/capture"
	"flowtally/lab/postgres"
	"flowtally/netflow"
	"flowtally/service"
	"flowtally/store"
	"flowtally/store/keeper"
	"flowtally/web"

	"github.com/prometheus/client_golang/prometheus"
)

// startPostgres starts the private server.
func startPostgres(ctx context.Context, c Config) (*postgres.Server, error) {
	if os.Geteuid() != 0 {
		// Flow data is nobody else's business.
		if err := os.MkdirAll(c.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("lab: data directory: %w", err)
		}
	}
	pg, err := postgres.Start(ctx, postgres.Config{
		Dir:   filepath.Join(c.Dir, "postgres"),
		Roles: []string{store.RoleWriter, store.RoleWeb, store.RoleReader},
		Settings: map[string]string{
			// One machine, many rows in, few questions at once: see
			// deploy/postgresql.conf for the reasons.
			"shared_buffers":               "256MB",
			"work_mem":                     "32MB",
			"max_wal_size":                 "4GB",
			"wal_level":                    "minimal",
			"max_wal_senders":              "0",
			"wal_compression":              "on",
			"checkpoint_timeout":           "15min",
			"checkpoint_completion_target": "0.9",
			"jit":                          "off",
		},
	})
	switch {
	case errors.Is(err, postgres.ErrRunning):
		return nil, fmt.Errorf("lab: another flowtally lab works in %s: stop it, or choose another directory with --data", c.Dir)
	case errors.Is(err, postgres.ErrNoBinaries):
		return nil, fmt.Errorf("lab: %w", err)
	}
	return pg, err
}

// passwords returns those of the three roles.
func passwords(pg *postgres.Server) map[string]string {
	p := map[string]string{}
	for _, role := range []string{store.RoleWriter, store.RoleWeb, store.RoleReader} {
		p[role] = pg.Password(role)
	}
	return p
}

// quiet is a part's log without what the part has begun and ended: the banner says that,
// and what comes after it pushes the page's address away.
type quiet struct{ slog.Handler }

// partLogger returns the log that parts get: warnings and errors, or all where debug was
// asked for.
func partLogger(l *slog.Logger) *slog.Logger {
	if l.Enabled(context.Background(), slog.LevelDebug) {
		return l
	}
	return slog.New(quiet{l.Handler()})
}

// Enabled reports whether the level is one that somebody should act on.
func (q quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && q.Handler.Enabled(ctx, level)
}

// WithAttrs returns a quiet log that says the attributes, too.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }

// WithGroup returns a quiet log for a group.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }

// startCollector starts what receives and stores, and returns where it will say
// its addresses.
func startCollector(h *house, c Config, dsn string) <-chan []netip.AddrPort {
	listening := make(chan []netip.AddrPort, 1)
	h.start(func(ctx context.Context) error {
		return service.Run(ctx, service.Config{
			DSN: dsn, Spool: filepath.Join(c.Dir, "spool"), Keeper: &keeper.Config{}, Logger: partLogger(c.Logger), Registerer: c.Registerer, Health: c.Health,
			Collector: collector.Config{
				Listen: []string{c.Listen},
				LookUp: net.DefaultResolver.LookupAddr,
				Ready:  func(a []netip.AddrPort) { listening <- a },
			},
		})
	})
	return listening
}

// startPage starts the page, and returns where it will say its address.
func startPage(h *house, c Config, db *store.DB) <-chan netip.AddrPort {
	serving := make(chan netip.AddrPort, 1)
	h.start(func(ctx context.Context) error {
		return web.Run(ctx, web.Config{
			Listen: c.WebListen, DB: web.NewDatabase(db), Logger: partLogger(c.Logger), Registerer: c.Registerer,
			Ready: func(a netip.AddrPort) { serving <- a },
		})
	})
	return serving
}

// heard waits for what a part says. It is not ok when the house ends before.
func heard[T any](h *house, said <-chan T) (v T, ok bool) {
	select {
	case v = <-said:
		return v, true
	case <-h.ended():
		return v, false
	}
}

// openSource opens what is to be metered; generated traffic comes later, because it
// has to look into the database first.
func openSource(c Config) (capture.Source, uint32, error) {
	switch {
	case c.Read != "":
		s, err := capture.OpenFile(c.Read)
		return s, ReadDomain, err
	case c.Interface != "":
		s, err := capture.OpenInterface(c.Interface, capture.InterfaceConfig{Promiscuous: true, IgnoreOutgoing: c.Interface == "lo"})
		return s, InterfaceDomain, err
	}
	return nil, DemoDomain, nil
}

// startExporter starts an exporter that meters the source and sends to an address on
// loopback, and returns where it will say that it has begun; ended is told what it did, and
// may be nil.
func startExporter(h *house, c Config, source capture.Source, name string, domain uint32, to string, ended func(exporter.Summary)) <-chan struct{} {
	begun := make(chan struct{}, 1)
	// Of several, each has its metrics under its domain.
	metrics := c.Registerer
	if c.Demo && metrics != nil {
		metrics = prometheus.WrapRegistererWith(prometheus.Labels{"domain": strconv.Itoa(int(domain))}, metrics)
	}
	h.start(func(ctx context.Context) error {
		defer time.Sleep(settle)
		// Generated traffic is metered like a file: it never falls silent, and a
		// day at full speed has to wait for who sends it. It tells what it did not meter and
		// did not send, its interfaces, and that it does not sample.
		sum, err := exporter.Run(ctx, exporter.Config{
			Source: source, To: []string{to}, Version: netflow.IPFIX, Name: name, Domain: domain, Options: true, Sample: 1,
			Pace: defaultPace, Live: c.Interface != "", Logger: partLogger(c.Logger), Registerer: metrics,
			Ready: func() { begun <- struct{}{} },
		})
		if err != nil {
			return err
		}
		if ended != nil {
			ended(sum)
		}
		return nil
	})
	return begun
}

// loopback is where this process reaches what listens on a.
func loopback(a netip.AddrPort) string {
	host := "127.0.0.1"
	if ip := a.Addr().Unmap(); ip.IsValid() && !ip.IsUnspecified() {
		host = ip.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(int(a.Port())))
}
