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

	"flowtally/store"
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
		topCommand(stdout), flowsCommand(stdout), seriesCommand(stdout), inspectCommand(), rollupCommand(stdout), versionCommand(stdout))
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
