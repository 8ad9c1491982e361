package command

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"flowtally/collector"
	"flowtally/service"
	"flowtally/store/ingest"
	"flowtally/store/keeper"
)

func collectorCommand() *cobra.Command {
	var (
		c                     collector.Config
		keep                  keeper.Config
		dsn, spool            string
		metrics               metricsConfig
		cert, key, ca         string
		allow                 []string
		sampling, override    []string
		spoolSize, retainSize size
		raw, min, hour, day   age
		events                age
		keeps, noDNS          bool
	)
	cmd := &cobra.Command{
		Use:   "collector --listen :9995 --database URL",
		Short: "Receive NetFlow v5, v9 and IPFIX and store it in PostgreSQL",
		Long: `Receive NetFlow v1, v5, v7, v9 and IPFIX over UDP, and IPFIX over TCP and TLS, and
store it in PostgreSQL. What PostgreSQL cannot take at once waits in the spool.`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if c.Allow, err = parseAllow(allow); err != nil {
				return err
			}
			if c.Sampling, err = samplingOf(sampling, override); err != nil {
				return err
			}
			if !cmd.Flags().Changed("listen") && len(c.ListenTCP)+len(c.ListenTLS) > 0 {
				c.Listen = nil // TCP alone was asked for
			}
			switch {
			case len(c.ListenTLS) > 0 && (cert == "" || key == ""):
				return usageError{fmt.Errorf("--listen-tls takes --tls-cert and --tls-key")}
			case len(c.ListenTLS) > 0:
				if c.TLS, err = collector.TLSConfig(cert, key, ca); err != nil {
					return err
				}
			}
			switch c.Identity {
			case collector.IdentityAuto, collector.IdentitySource, collector.IdentityAnnounced:
			default:
				return usageError{fmt.Errorf("--identity %q: want auto, source or announced", c.Identity)}
			}
			for _, at := range slices.Concat(c.Listen, c.ListenTCP, c.ListenTLS) {
				if _, _, err := collector.SplitListen(at); err != nil {
					return usageError{err}
				}
			}
			if !noDNS {
				c.LookUp = net.DefaultResolver.LookupAddr
			}
			if dsn, err = databaseURL(dsn); err != nil {
				return err
			}
			keep.RetainRaw, keep.Retain1m, keep.Retain1h, keep.Retain1d = time.Duration(raw), time.Duration(min), time.Duration(hour), time.Duration(day)
			keep.RetainEvents = time.Duration(events)
			keep.RetainSize = int64(retainSize)
			if keep.RetainPath == "auto" {
				keep.RetainPath = ""
			}
			run := service.Config{DSN: dsn, Collector: c, Spool: spool, SpoolBytes: int64(spoolSize)}
			if keeps {
				run.Keeper = &keep
			}
			return collect(cmd.Context(), run, &metrics)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&c.Listen, "listen", []string{collector.DefaultListen}, "UDP address to receive on, or NAME=ADDRESS to call exporters that come in there so, as edge-1=:9996; repeat it for several")
	f.StringArrayVar(&c.ListenTCP, "listen-tcp", nil, "TCP address to receive IPFIX on, or NAME=ADDRESS; repeat it for several")
	f.StringArrayVar(&c.ListenTLS, "listen-tls", nil, "TCP address to receive IPFIX over TLS on, or NAME=ADDRESS; repeat it for several")
	f.BoolVar(&noDNS, "no-dns", false, "do not ask reverse DNS what exporters are called that have no name")
	f.StringVar(&cert, "tls-cert", "", "PEM file with the collector's certificate")
	f.StringVar(&key, "tls-key", "", "PEM file with its key")
	f.StringVar(&ca, "tls-ca", "", "PEM file with authorities; whoever connects needs a certificate of one of them")
	f.StringArrayVar(&allow, "allow", nil, "address or prefix that may send, anybody when none is given; repeat it for several")
	f.IntVar(&c.RateLimit, "rate-limit", 0, "records a second that one exporter may send, 0 for any number")
	f.IntVar(&c.MaxExporters, "max-exporters", collector.DefaultMaxExporters, "exporters to follow; for more, silent ones give way")
	f.IntVar(&c.MaxConnections, "max-connections", collector.DefaultMaxConnections, "TCP connections to accept, and TLS connections; a quarter from one address")
	f.DurationVar(&c.IdleTimeout, "idle-timeout", collector.DefaultIdleTimeout, "close a TCP or TLS connection that is silent for so long")
	f.StringArrayVar(&sampling, "sampling", nil, "N, or PREFIX=N: sampling is 1:N where the exporter announces nothing; repeat it for several")
	f.StringArrayVar(&override, "sampling-override", nil, "PREFIX=N: sampling is 1:N whatever the exporter announces; repeat it for several")
	f.StringVar((*string)(&c.Identity), "identity", "auto", "whose name exporters have: source for the address of their packets, announced for the one they announce, auto for that behind this machine's gateway only")
	f.IntVar(&c.Sockets, "sockets", 0, "sockets that share each address, 0 for one a processor (at most 4)")
	f.IntVar(&c.ReceiveBuffer, "receive-buffer", collector.DefaultReceiveBuffer, "kernel receive buffer to ask for, in bytes")
	f.IntVar(&c.BatchRecords, "batch", collector.DefaultBatchRecords, "records that make a batch")
	f.DurationVar(&c.BatchAge, "batch-age", collector.DefaultBatchAge, "longest a record waits for its batch to fill")
	f.IntVar(&c.Writers, "writers", collector.DefaultWriters, "batches written at once, one connection each")
	f.IntVar(&c.Queue, "queue", collector.DefaultQueue, "batches that may wait for a writer; beyond that they are dropped and counted")
	f.StringVar(&spool, "spool", "auto", "directory for what the database cannot take at once, and for templates; auto finds one, none goes without")
	spoolSize = size(ingest.DefaultSpoolBytes)
	f.Var(&spoolSize, "spool-size", "most that the spool may take, such as 4G; then the oldest gives way and is counted")
	raw, min, hour, day = age(keeper.DefaultRetainRaw), age(keeper.DefaultRetain1m), age(keeper.DefaultRetain1h), age(keeper.DefaultRetain1d)
	f.Var(&raw, "retain-raw", "how long to keep flows, such as 15d; forever keeps them")
	f.Var(&min, "retain-1m", "how long to keep minutes")
	f.Var(&hour, "retain-1h", "how long to keep hours")
	f.Var(&day, "retain-1d", "how long to keep days")
	events = age(keeper.DefaultRetainEvents)
	f.Var(&events, "retain-events", "how long to keep events of firewalls and translators, such as 400d")
	f.Var(&retainSize, "retain-size", "most that the database may take, such as 50G, 0 for no limit; then the oldest flows and events go")
	f.StringVar(&keep.RetainPath, "retain-path", "auto", "directory on the database's disk: the oldest flows go, too, when the database has more than 80 % of what others leave of it; auto takes PostgreSQL's own where it can be seen from here, none looks at no disk")
	f.BoolVar(&keeps, "keeper", true, "sum roll-ups, seal and remove what is old; of several collectors one at a time does it")
	databaseFlag(cmd, &dsn)
	metricsFlag(cmd, &metrics)
	return cmd
}

// collect runs the service, with its metrics, until ctx ends.
func collect(ctx context.Context, c service.Config, metrics *metricsConfig) (err error) {
	c.Logger = slog.Default()
	switch c.Spool {
	case "auto":
		if c.Spool = ingest.DefaultSpool(); c.Spool == "" {
			c.Logger.Warn("there is no directory for a spool: what the database cannot take waits in memory; give one with --spool")
		}
	case "none":
		c.Spool = ""
	}
	if c.Registerer, err = serveMetrics(ctx, metrics); err != nil {
		return err
	}
	c.Health = metrics.setHealth
	return service.Run(ctx, c)
}
