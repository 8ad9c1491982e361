// Command flowtally turns mirrored packets into answers: an exporter meters
// packets into NetFlow v5, v9 or IPFIX, a collector stores what any exporter
// sends in PostgreSQL, and a web console, this command line and plain SQL ask
// who talks, how much, and how many flows.
//
// This file is the door: it turns flags into a Config and calls Run of the
// package that does the work.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"flowtally/collector"
	"flowtally/exporter"
	"flowtally/exporter/capture"
	"flowtally/exporter/meter"
	"flowtally/flow"
	"flowtally/lab"
	"flowtally/lab/traffic"
	"flowtally/netflow"
	"flowtally/store"
	"flowtally/web"
)

// version is set by the build (-ldflags "-X main.version=…").
var version = ""

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// usageError is a mistake in how the program was called: exit status 2. Every
// other error is 1.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// run is the program; it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand(stdout, stderr)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "flowtally: "+strings.ReplaceAll(err.Error(), "\n", "; "))
	var usage usageError
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}

func rootCommand(stdout, stderr io.Writer) *cobra.Command {
	var logLevel, logFormat, config string
	root := &cobra.Command{
		Use:   "flowtally",
		Short: "Turn mirrored packets into answers: who talks, how much, and how many flows",
		Long: `flowtally meters packets into NetFlow v5, v9 or IPFIX (exporter), stores what any
exporter sends in PostgreSQL (collector), and answers who talks, how much, and how
many flows: on a web page (web), on the command line (top, series) and in SQL.

"flowtally lab" runs all of it in one process with a private PostgreSQL.

Every flag can also be set by the environment variable FLOWTALLY_<COMMAND>_<FLAG>
or, under the command's name, in the YAML file given by --config.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := applySettings(cmd, os.LookupEnv); err != nil {
				return err
			}
			return setLogger(stderr, logLevel, logFormat)
		},
	}
	root.PersistentFlags().StringVar(&logLevel, "log-level", "info", "least level to log: debug, info, warn or error")
	root.PersistentFlags().StringVar(&logFormat, "log-format", "text", "how to log: text or json")
	root.PersistentFlags().StringVar(&config, "config", "", "YAML file with a section for each command")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (flowtally %s --help lists the flags)", err, cmd.Name())}
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(exporterCommand(stdout), collectorCommand(), webCommand(), labCommand(stdout), migrateCommand(),
		topCommand(stdout), seriesCommand(stdout), versionCommand(stdout))
	for _, c := range root.Commands() {
		if c.Args == nil {
			c.Args = noArguments
		}
	}
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError{fmt.Errorf("there is no command %q (flowtally --help lists them)", args[0])}
		}
		return cmd.Help()
	}
	root.Args = cobra.ArbitraryArgs
	return root
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no argument %q (flowtally %s --help lists the flags)", cmd.Name(), args[0], cmd.Name())}
	}
	return nil
}

func setLogger(w io.Writer, level, format string) error {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return usageError{fmt.Errorf("--log-level %q: want debug, info, warn or error", level)}
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		slog.SetDefault(slog.New(slog.NewTextHandler(w, opts)))
	case "json":
		slog.SetDefault(slog.New(slog.NewJSONHandler(w, opts)))
	default:
		return usageError{fmt.Errorf("--log-format %q: want text or json", format)}
	}
	return nil
}

// databaseFlag adds --database, whose default is DATABASE_URL.
func databaseFlag(cmd *cobra.Command, dsn *string) {
	cmd.Flags().StringVar(dsn, "database", "", "PostgreSQL URL or DSN (default: DATABASE_URL)")
}

// databaseURL returns the DSN to use.
func databaseURL(dsn string) (string, error) {
	if dsn == "" {
		dsn = os.Getenv("DATABASE_URL")
	}
	if dsn == "" {
		return "", usageError{errors.New("no database: give --database or set DATABASE_URL, for example postgres://flow_reader:secret@localhost:5432/flowtally")}
	}
	return dsn, nil
}

func metricsFlag(cmd *cobra.Command, addr *string) {
	cmd.Flags().StringVar(addr, "metrics", "", "serve /metrics and /healthz on this address, for example 127.0.0.1:9100")
}

// serveMetrics serves /metrics and /healthz on addr until ctx ends, and returns
// the registry that others fill. Without an address it only returns one.
func serveMetrics(ctx context.Context, addr string) (*prometheus.Registry, error) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if addr == "" {
		return reg, nil
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("metrics: TCP %s is in use by another program: choose another address with --metrics", addr)
		}
		return nil, fmt.Errorf("metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go srv.Serve(ln)
	context.AfterFunc(ctx, func() { srv.Close() })
	slog.Info("metrics", "url", "http://"+ln.Addr().String()+"/metrics")
	return reg, nil
}

// withStore runs a service that needs the database and serves metrics.
func withStore(ctx context.Context, dsn, metrics string, service func(context.Context, *store.DB, *prometheus.Registry) error) error {
	dsn, err := databaseURL(dsn)
	if err != nil {
		return err
	}
	reg, err := serveMetrics(ctx, metrics)
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	return service(ctx, db, reg)
}

func exporterCommand(stdout io.Writer) *cobra.Command {
	var (
		read, iface, metrics      string
		to                        []string
		demo, asJSON, promiscuous bool
		ver, mtu                  int
		domain, ifIndex           uint32
		maxFlows, pace, bufferMiB int
		active, idle, linger      time.Duration
		duplicates                string
	)
	cmd := &cobra.Command{
		Use:   "exporter (--read FILE|- | --interface IF | --demo) --to HOST:PORT",
		Short: "Meter packets into flows and send them as NetFlow v5, v9 or IPFIX",
		Example: `  flowtally exporter --read trace.pcap --to 127.0.0.1:9995
  tcpdump -w - | flowtally exporter --read - --to 127.0.0.1:9995 --version 9
  flowtally exporter --interface eth1 --to 192.0.2.10:9995 --metrics 127.0.0.1:9101`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			sources := 0
			for _, set := range []bool{read != "", iface != "", demo} {
				if set {
					sources++
				}
			}
			if sources != 1 {
				return usageError{errors.New("exporter: give one of --read FILE, --interface IF and --demo")}
			}
			if ver != 5 && ver != 9 && ver != 10 {
				return usageError{fmt.Errorf("exporter: --version %d: want 5, 9 or 10 (IPFIX)", ver)}
			}
			if duplicates != "keep" && duplicates != "drop" {
				return usageError{fmt.Errorf("exporter: --duplicates %q: want keep or drop", duplicates)}
			}
			if mtu < 576 || mtu > 65535 {
				return usageError{fmt.Errorf("exporter: --mtu %d: want 576 to 65535", mtu)}
			}
			for name, n := range map[string]int{"pace": pace, "max-flows": maxFlows} {
				if n < 0 {
					return usageError{fmt.Errorf("exporter: --%s %d: cannot be negative", name, n)}
				}
			}
			for name, d := range map[string]time.Duration{"active-timeout": active, "idle-timeout": idle, "linger": linger} {
				if d < time.Millisecond {
					return usageError{fmt.Errorf("exporter: --%s %v: want at least 1ms", name, d)}
				}
			}
			ctx := cmd.Context()
			reg, err := serveMetrics(ctx, metrics)
			if err != nil {
				return err
			}
			var source capture.Source
			switch {
			case read != "":
				source, err = capture.OpenFile(read)
			case iface != "":
				source, err = capture.OpenInterface(iface, capture.InterfaceConfig{Promiscuous: promiscuous, BufferBytes: bufferMiB << 20, IgnoreOutgoing: iface == "lo"})
			default:
				source = traffic.New(traffic.Config{})
			}
			if err != nil {
				return err
			}
			defer source.Close()
			sum, err := exporter.Run(ctx, exporter.Config{
				Source: source, To: to, Version: netflow.Version(ver), Domain: domain, InIf: ifIndex,
				Meter:          meter.Config{ActiveTimeout: flow.Time(active.Milliseconds()), IdleTimeout: flow.Time(idle.Milliseconds()), Linger: flow.Time(linger.Milliseconds()), MaxFlows: maxFlows},
				Pace:           pace,
				MaxMessage:     mtu - 28,
				Live:           iface != "",
				DropDuplicates: duplicates == "drop",
				Registerer:     reg,
				Logger:         slog.Default(),
			})
			if asJSON {
				b, jerr := json.Marshal(sum)
				if jerr != nil {
					return jerr
				}
				fmt.Fprintln(stdout, string(b))
			}
			// What the version cannot say is no failure; what nobody took is, when
			// there will be no further attempt.
			if lost := sum.NotSent - sum.NotSentBy.NotExpressible; err == nil && read != "" && lost > 0 {
				return fmt.Errorf("exporter: %d of %d records were not sent to %s: is a collector listening there?", lost, sum.Records, strings.Join(to, " and "))
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&read, "read", "", "read packets from a pcap or pcapng file, - for standard input")
	f.StringVar(&iface, "interface", "", "meter the packets of a network interface (Linux; needs CAP_NET_RAW)")
	f.BoolVar(&demo, "demo", false, "meter generated traffic: the last 24 hours, then live")
	f.StringArrayVar(&to, "to", []string{"127.0.0.1:9995"}, "collector to send to; repeat it to send to several")
	f.IntVar(&ver, "version", 10, "export format: 5 (IPv4 only), 9 or 10 (IPFIX)")
	f.Uint32Var(&domain, "domain", 0, "observation domain (v5: engine type and id)")
	f.Uint32Var(&ifIndex, "in-if", 0, "ingress interface index to report")
	f.DurationVar(&active, "active-timeout", 300*time.Second, "a flow that goes on is reported at least this often")
	f.DurationVar(&idle, "idle-timeout", 60*time.Second, "a flow without packets for so long has ended")
	f.DurationVar(&linger, "linger", 5*time.Second, "how long after FIN or RST a flow takes further packets")
	f.IntVar(&maxFlows, "max-flows", 0, "flows kept at once, the oldest is evicted and counted beyond; 0 is the default of about a million")
	f.StringVar(&duplicates, "duplicates", "keep", "copies of the same packet: keep (and count) or drop")
	f.IntVar(&pace, "pace", 100_000, "records sent a second at most, 0 for no limit")
	f.IntVar(&mtu, "mtu", 1400, "largest IP packet to send")
	f.BoolVar(&promiscuous, "promiscuous", true, "see packets that are not for this machine")
	f.IntVar(&bufferMiB, "capture-buffer", 0, "capture ring in MiB, 0 for the default")
	f.BoolVar(&asJSON, "json", false, "print one JSON summary on the last line of standard output")
	metricsFlag(cmd, &metrics)
	return cmd
}

func collectorCommand() *cobra.Command {
	var (
		listen                                 []string
		dsn, metrics                           string
		sockets, buffer, batch, writers, queue int
		age                                    time.Duration
	)
	cmd := &cobra.Command{
		Use:   "collector --listen :9995 --database URL",
		Short: "Receive NetFlow v5, v9 and IPFIX and store it in PostgreSQL",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd.Context(), dsn, metrics, func(ctx context.Context, db *store.DB, reg *prometheus.Registry) error {
				return collector.Run(ctx, collector.Config{
					Listen: listen, Sink: store.NewWriter(db, store.WriterConfig{Logger: slog.Default(), Registerer: reg}),
					Sockets: sockets, ReceiveBuffer: buffer, BatchRecords: batch, BatchAge: age, Writers: writers, Queue: queue,
					Logger: slog.Default(), Registerer: reg,
				})
			})
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&listen, "listen", []string{":9995"}, "UDP address to receive on; repeat it for several")
	f.IntVar(&sockets, "sockets", 0, "sockets that share each address, 0 for one a processor (at most 4)")
	f.IntVar(&buffer, "receive-buffer", 32<<20, "kernel receive buffer to ask for, in octets")
	f.IntVar(&batch, "batch", 16384, "records that make a batch")
	f.DurationVar(&age, "batch-age", time.Second, "longest a record waits for its batch to fill")
	f.IntVar(&writers, "writers", 2, "batches written at once, one connection each")
	f.IntVar(&queue, "queue", 64, "batches that may wait for a writer; beyond that they are dropped and counted")
	databaseFlag(cmd, &dsn)
	metricsFlag(cmd, &metrics)
	return cmd
}

func webCommand() *cobra.Command {
	var (
		listen, dsn, metrics, collectorAddr string
		allowHosts                          []string
		insecure                            bool
	)
	cmd := &cobra.Command{
		Use:   "web --listen 127.0.0.1:8080 --database URL",
		Short: "Serve the web console and the HTTP API",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd.Context(), dsn, metrics, func(ctx context.Context, db *store.DB, reg *prometheus.Registry) error {
				return web.Run(ctx, web.Config{
					Listen: listen, DB: db, AllowHosts: allowHosts, Insecure: insecure, CollectorListen: collectorAddr,
					Logger: slog.Default(), Registerer: reg,
				})
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:8080", "TCP address of the page")
	f.StringArrayVar(&allowHosts, "allow-host", nil, "further host name under which the page may be asked for; repeatable")
	f.BoolVar(&insecure, "insecure", false, "allow listening beyond loopback although the page has no login")
	f.StringVar(&collectorAddr, "collector", ":9995", "address of the collector, shown to who has no exporter yet")
	databaseFlag(cmd, &dsn)
	metricsFlag(cmd, &metrics)
	return cmd
}

func labCommand(stdout io.Writer) *cobra.Command {
	var c lab.Config
	var metrics string
	cmd := &cobra.Command{
		Use:   "lab [--data DIR] [--demo | --read FILE | --interface IF]",
		Short: "Run everything in one process, with a private PostgreSQL",
		Long: `Run everything in one process: a private PostgreSQL in the data directory, the
collector, the web console and, if asked for, an exporter that meters a capture
file, an interface or generated traffic (--demo) and sends it over loopback like
any other. Ctrl-C stops everything; the data stays.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			reg, err := serveMetrics(ctx, metrics)
			if err != nil {
				return err
			}
			c.Registerer = reg
			c.Logger = slog.Default()
			c.Stdout = stdout
			return lab.Run(ctx, c)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Dir, "data", "", "data directory (default: flowtally in the user's data directory)")
	f.StringVar(&c.Listen, "listen", ":9995", "UDP address of the collector")
	f.StringVar(&c.WebListen, "web", "127.0.0.1:8080", "TCP address of the page")
	f.StringVar(&c.Read, "read", "", "meter a capture file once")
	f.StringVar(&c.Interface, "interface", "", "meter a network interface (Linux; needs CAP_NET_RAW)")
	f.BoolVar(&c.Demo, "demo", false, "meter generated traffic: the last 24 hours, then live")
	metricsFlag(cmd, &metrics)
	return cmd
}

func migrateCommand() *cobra.Command {
	var dsn string
	passwords := map[string]*string{}
	cmd := &cobra.Command{
		Use:   "migrate --database URL",
		Short: "Make or update the schema and its three roles",
		Long: `Make or update the schema. The database's owner, able to create roles, must run it.
A role that is given a password may log in; give it by the environment
(FLOWTALLY_MIGRATE_READER_PASSWORD), where other users cannot see it.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dsn, err := databaseURL(dsn)
			if err != nil {
				return err
			}
			c := store.MigrateConfig{Passwords: map[string]string{}, Logger: slog.Default()}
			for role, p := range passwords {
				if *p != "" {
					c.Passwords[role] = *p
				}
			}
			return store.Migrate(cmd.Context(), dsn, c)
		},
	}
	for _, r := range []struct{ flag, role, who string }{
		{"writer-password", "flow_writer", "the collector"},
		{"web-password", "flow_web", "the web console"},
		{"reader-password", "flow_reader", "people and Grafana"},
	} {
		passwords[r.role] = cmd.Flags().String(r.flag, "", "let the role "+r.role+" ("+r.who+") log in with this password")
	}
	databaseFlag(cmd, &dsn)
	return cmd
}

func versionCommand(stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(stdout, "flowtally %s %s %s/%s\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// buildVersion is what the build said, else what Go recorded.
func buildVersion() string {
	if version != "" {
		return version
	}
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "(development)"
}
