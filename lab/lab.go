// Package lab is the whole house in one process: a private PostgreSQL, the
// collector, the web page and, when asked, an exporter that meters a capture file,
// an interface or the packets of package traffic and sends them over loopback like
// any other.
//
// Nothing here is a shortcut: the exporter's records travel as datagrams, the
// collector stores them as the role flow_writer, the page asks as flow_web. What
// works in the lab works apart.
package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"flowtally/collector"
	"flowtally/exporter"
	"flowtally/lab/postgres"
	"flowtally/store"
	"flowtally/web"

	"github.com/prometheus/client_golang/prometheus"
)

// The Observation Domains that the lab's own exporter reports under.
const (
	// DemoDomain is the one of generated packets.
	DemoDomain = 1
	// EdgeDomain is the one of the demo's second exporter.
	EdgeDomain = 4
	// ReadDomain is the one of a capture file.
	ReadDomain = 2
	// InterfaceDomain is the one of a live interface.
	InterfaceDomain = 3
)

const (
	// defaultPace is how many records a second the lab's exporter sends at most.
	defaultPace = 100_000
	// demoPast is how far back the demo's traffic begins.
	demoPast = 24 * time.Hour
	// settle is how long the collector keeps listening after the exporter's last
	// datagram.
	settle = 300 * time.Millisecond
	// stopTimeout is how long PostgreSQL may take to stop cleanly.
	stopTimeout = 30 * time.Second
)

// Config says what to run. The zero value is a lab with nobody in it, that waits for
// exporters from elsewhere.
type Config struct {
	// Dir holds the database. Empty is flowtally-lab in the user's data directory
	// (XDG_DATA_HOME, else ~/.local/share), for root in /var/lib; or the directory of an
	// earlier version, flowtally, when a lab has its data there.
	Dir string
	// Listen is the collector's UDP address; ":9995" when empty.
	Listen string
	// WebListen is the page's TCP address; "127.0.0.1:8080" when empty.
	WebListen string
	// Read is a capture file to meter once, Interface a network interface to meter,
	// Demo asks for generated traffic. At most one of them.
	Read, Interface string
	Demo            bool
	// Stdout takes the banner; nil is silence.
	Stdout io.Writer
	// Logger is slog.Default() when nil.
	Logger *slog.Logger
	// Registerer takes the metrics of all parts; none are kept when nil.
	Registerer prometheus.Registerer
	// Health is given a function that returns nil while what is received is stored, else why
	// not; it may be nil.
	Health func(check func() error)
	// Ready, when not nil, is called once, when everything listens.
	Ready func(Addresses)

	// past is how far back the demo begins; tests have less patience.
	past time.Duration
}

// Addresses are where a running lab is found.
type Addresses struct {
	// Page is the URL of the page.
	Page string
	// Collector is where NetFlow goes.
	Collector netip.AddrPort
	// DSN is the database's URL for the role flow_reader.
	DSN string
	// Dir is the data directory.
	Dir string
}

// Run runs a lab until ctx ends or a part of it fails, and then stops the parts in
// the reverse order of their start, so that what was seen is sent, what was sent is
// stored, and PostgreSQL goes last. A stop that was asked for returns nil.
func Run(ctx context.Context, c Config) (err error) {
	if c, err = c.withDefaults(); err != nil {
		return err
	}
	if err := probe(ctx, c); err != nil {
		return err
	}
	source, domain, err := openSource(c)
	if err != nil {
		return err
	}
	if source != nil {
		defer func() { _ = source.Close() }()
	}
	// Whoever stops a lab that is still starting gets no complaint about what that
	// interrupted.
	ready := false
	defer func() {
		if err != nil && !ready && ctx.Err() != nil {
			c.Logger.Debug("lab: stopped while starting", "error", err)
			err = nil
		}
	}()

	fmt.Fprintf(c.Stdout, "flowtally lab: starting PostgreSQL in %s\n", c.Dir)
	pg, err := startPostgres(ctx, c)
	if err != nil {
		return err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		err = errors.Join(err, pg.Stop(stop))
	}()
	if err := store.Migrate(ctx, pg.SocketDSN(postgres.Admin), store.MigrateConfig{Logger: c.Logger, Passwords: passwords(pg)}); err != nil {
		return err
	}

	h := newHouse(ctx)
	// What fails stops the rest; what it returns then is the reason.
	defer func() { err = errors.Join(err, h.stop()) }()

	here := Addresses{DSN: pg.DSN(store.RoleReader), Dir: c.Dir}
	receives, ok := heard(h, startCollector(h, c, pg.DSN(store.RoleWriter)))
	if !ok {
		return nil // h.stop has the reason
	}
	here.Collector = receives[0]
	webDB, err := store.Open(ctx, pg.DSN(store.RoleWeb))
	if err != nil {
		return err
	}
	h.onStop(webDB.Close)
	serves, ok := heard(h, startPage(h, c, webDB))
	if !ok {
		return nil
	}
	here.Page = "http://" + serves.String()

	if c.Demo {
		if err := startDemo(ctx, h, c, here); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("lab: start the demo: %w", err)
		}
	}
	if source != nil {
		begun := startExporter(h, c, source, "", domain, loopback(here.Collector), func(sum exporter.Summary) {
			if c.Read != "" {
				fmt.Fprintf(c.Stdout, "%s: %d packets, %d bytes, sent as %d flow records\n", c.Read, sum.Packets, sum.Bytes, sum.Records)
			}
		})
		if _, ok := heard(h, begun); !ok {
			return nil
		}
	}
	// All have said that they have begun: nothing pushes the page's address up and away.
	ready = true
	banner(c.Stdout, here)
	if c.Ready != nil {
		c.Ready(here)
	}

	select {
	case <-h.ended():
	case <-pg.Done():
		return fmt.Errorf("lab: PostgreSQL has ended by itself: %s says why", pg.Log())
	}
	fmt.Fprintln(c.Stdout, "flowtally lab: stopping")
	return nil
}

// withDefaults fills in what was left out and refuses what cannot be.
func (c Config) withDefaults() (Config, error) {
	asked := 0
	for _, b := range []bool{c.Read != "", c.Interface != "", c.Demo} {
		if b {
			asked++
		}
	}
	if asked > 1 {
		return c, errors.New("lab: --read, --interface and --demo exclude each other: choose one")
	}
	if c.Listen == "" {
		c.Listen = collector.DefaultListen
	}
	if c.WebListen == "" {
		c.WebListen = web.DefaultListen
	}
	if c.Stdout == nil {
		c.Stdout = io.Discard
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.past == 0 {
		c.past = demoPast
	}
	if c.Dir == "" {
		dir, notice, err := defaultDir()
		if err != nil {
			return c, err
		}
		if notice != "" {
			fmt.Fprintf(c.Stdout, "flowtally lab: %s\n", notice)
		}
		c.Dir = dir
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return c, fmt.Errorf("lab: %w", err)
	}
	c.Dir = dir
	return c, nil
}

// probe asks for the ports before a database is made for nothing.
func probe(ctx context.Context, c Config) error {
	var lc net.ListenConfig
	u, err := lc.ListenPacket(ctx, "udp", c.Listen)
	if err != nil {
		return fmt.Errorf("lab: the collector cannot listen on UDP %s: %w: stop who uses it, or choose another with --listen", c.Listen, reason(err))
	}
	_ = u.Close()
	t, err := lc.Listen(ctx, "tcp", c.WebListen)
	if err != nil {
		return fmt.Errorf("lab: the page cannot listen on TCP %s: %w: stop who uses it, or choose another with --web", c.WebListen, reason(err))
	}
	_ = t.Close()
	return nil
}

// reason is what is left of a network error without the address, which was said.
func reason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// banner tells a person what there is and what to do with it, and where to look last.
func banner(w io.Writer, a Addresses) {
	fmt.Fprintf(w, `
  data       %s
  collector  NetFlow v5, v9 and IPFIX on UDP %d; send it some:
             %s exporter --read FILE.pcap --to %s
             softflowd -i INTERFACE -v 10 -n THIS-HOST:%d
  SQL        psql '%s'
  stop       Ctrl-C stops everything; the data stays
  page       %s
`, a.Dir, a.Collector.Port(), os.Args[0], loopback(a.Collector), a.Collector.Port(), a.DSN, a.Page)
}
