package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/spf13/cobra"

	"flowtally/collector"
	"flowtally/service"
	"flowtally/store/ingest"
	"flowtally/store/keeper"
)

func collectorCommand() *cobra.Command {
	var (
		c                  collector.Config
		keep               keeper.Config
		dsn, spool         string
		metrics            metricsConfig
		cert, key, ca      string
		sampling, override []string
		spoolSize          int64
		keeps, noDNS       bool
	)
	cmd := &cobra.Command{
		Use:   "collector --listen :9995 --database URL",
		Short: "Receive NetFlow v5, v9 and IPFIX and store it in PostgreSQL",
		Long: `Receive NetFlow v1, v5, v7, v9 and IPFIX over UDP, and IPFIX over TCP and TLS, and
store it in PostgreSQL. What PostgreSQL cannot take at once waits in the spool.`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if c.Sampling, err = samplingOf(sampling, override); err != nil {
				return err
			}
			if !cmd.Flags().Changed("listen") && len(c.ListenTCP)+len(c.ListenTLS) > 0 {
				c.Listen = nil // TCP alone was asked for
			}
			if err := refuseIdle(cmd, collectorIdle(&c, &metrics, spool, keeps)...); err != nil {
				return err
			}
			if err := listenOnce(&c); err != nil {
				return err
			}
			if len(c.ListenTLS) > 0 {
				if cert == "" || key == "" {
					return usageError{errors.New("collector: --listen-tls takes --tls-cert and --tls-key")}
				}
				if c.TLS, err = collector.TLSConfig(cert, key, ca); err != nil {
					return err
				}
			}
			if !noDNS {
				c.LookUp = net.DefaultResolver.LookupAddr
			}
			if dsn, err = databaseURL(dsn); err != nil {
				return err
			}
			if keep.RetainPath == "auto" {
				keep.RetainPath = ""
			}
			run := service.Config{DSN: dsn, Collector: c, Spool: spool, SpoolBytes: spoolSize}
			if keeps {
				run.Keeper = &keep
			}
			return collect(cmd.Context(), run, &metrics)
		},
	}
	f := cmd.Flags()
	many(f, &c.Listen, "listen", "", []string{collector.DefaultListen}, listeners("udp", "9995"), "UDP address to receive on, or a port alone for all addresses; NAME=ADDRESS calls exporters that come in there so, as edge-1=:9996; repeat it for several")
	many(f, &c.ListenTCP, "listen-tcp", "", nil, listeners("tcp", "4739"), "TCP address to receive IPFIX on, or NAME=ADDRESS; repeat it for several")
	many(f, &c.ListenTLS, "listen-tls", "", nil, listeners("tcp", "4740"), "TCP address to receive IPFIX over TLS on, or NAME=ADDRESS; repeat it for several")
	toggle(f, &noDNS, "no-dns", "", false, "do not ask reverse DNS what exporters are called that have no name")
	one(f, &c.Announce, "announce", "", "", announced, "HOST:PORT that exporters should send to, for the page to say, when it is none of this machine's: behind address translation, or in a container")
	one(f, &cert, "tls-cert", "", "", path("a PEM file with a certificate"), "PEM file with the collector's certificate")
	one(f, &key, "tls-key", "", "", path("a PEM file with the key of the certificate"), "PEM file with its key")
	one(f, &ca, "tls-ca", "", "", path("a PEM file with certificates of authorities"), "PEM file with authorities; whoever connects needs a certificate of one of them")
	many(f, &c.Allow, "allow", "", nil, networks, "address or prefix that may send, anybody when none is given; repeat it for several")
	one(f, &c.RateLimit, "rate-limit", "", 0, counts[int]("records a second, such as 50000 or 50k, and 0 for any number", 0, unlimited), "records a second that one exporter may send, 0 for any number")
	one(f, &c.MaxExporters, "max-exporters", "", collector.DefaultMaxExporters, counts[int]("a number of exporters", 1, unlimited), "exporters to follow; for more, silent ones give way")
	one(f, &c.MaxConnections, "max-connections", "", collector.DefaultMaxConnections, counts[int]("a number of connections", 1, unlimited), "TCP connections to accept, and TLS connections; a quarter from one address")
	one(f, &c.IdleTimeout, "idle-timeout", "", collector.DefaultIdleTimeout, times, "close a TCP or TLS connection that is silent for so long")
	many(f, &sampling, "sampling", "", nil, samplings, "N, or PREFIX=N: sampling is 1:N where the exporter announces nothing; repeat it for several")
	many(f, &override, "sampling-override", "", nil, overrides, "PREFIX=N: sampling is 1:N whatever the exporter announces; repeat it for several")
	one(f, &c.Identity, "identity", "", collector.IdentityAuto, among("auto, source or announced", collector.IdentityAuto, collector.IdentitySource, collector.IdentityAnnounced), "whose name exporters have: source for the address of their packets, announced for the one they announce, auto for that behind this machine's gateway only")
	one(f, &c.Sockets, "sockets", "", 0, counts[int]("a number of sockets", 0, 256), "sockets that share each address, 0 for one a processor (at most 4)")
	one(f, &c.ReceiveBuffer, "receive-buffer", "", collector.DefaultReceiveBuffer, sizes[int]("bytes, or a size such as 32M, 1G at most", 1, 1, 1<<30), "kernel receive buffer to ask for, in bytes or as 32M")
	one(f, &c.BatchRecords, "batch", "", collector.DefaultBatchRecords, counts[int]("a number of records", 1, unlimited), "records that make a batch")
	one(f, &c.BatchAge, "batch-age", "", collector.DefaultBatchAge, times, "longest a record waits for its batch to fill")
	one(f, &c.Writers, "writers", "", collector.DefaultWriters, counts[int]("a number of connections to the database", 1, 1000), "batches written at once, one connection each")
	one(f, &c.Queue, "queue", "", collector.DefaultQueue, counts[int]("a number of batches", 1, unlimited), "batches that may wait for a writer; beyond that they are dropped and counted")
	one(f, &spool, "spool", "", "auto", path("a directory, auto or none"), "directory for what the database cannot take at once, and for templates; auto finds one, none goes without")
	one(f, &spoolSize, "spool-size", "", ingest.DefaultSpoolBytes, sizes[int64](sizeForm, 1, 0, 1<<62), "most that the spool may take, such as 4G; then the oldest gives way and is counted")
	one(f, &keep.RetainRaw, "retain-raw", "", keeper.DefaultRetainRaw, ages, "how long to keep flows, such as 15d; forever keeps them")
	one(f, &keep.Retain1m, "retain-1m", "", keeper.DefaultRetain1m, ages, "how long to keep minutes")
	one(f, &keep.Retain1h, "retain-1h", "", keeper.DefaultRetain1h, ages, "how long to keep hours")
	one(f, &keep.Retain1d, "retain-1d", "", keeper.DefaultRetain1d, ages, "how long to keep days")
	one(f, &keep.RetainEvents, "retain-events", "", keeper.DefaultRetainEvents, ages, "how long to keep events of firewalls and translators, such as 400d")
	one(f, &keep.RetainSize, "retain-size", "", 0, sizes[int64](sizeForm+", and 0 for no limit", 1, 0, 1<<62), "most that the database may take, such as 50G, 0 for no limit; then the oldest flows and events go")
	one(f, &keep.RetainPath, "retain-path", "", "auto", path("a directory, auto or none"), "directory on the database's disk: the oldest flows go, too, when the database has more than 80 % of what others leave of it; auto takes PostgreSQL's own where it can be seen from here, none looks at no disk")
	toggle(f, &keeps, "keeper", "", true, "sum roll-ups, seal and remove what is old; of several collectors one at a time does it")
	databaseFlag(cmd, &dsn)
	metricsFlag(cmd, &metrics)
	return cmd
}

// listenOnce refuses an address to listen on that is given twice, under whatever names.
func listenOnce(c *collector.Config) error {
	had := map[string]bool{}
	for _, network := range []struct {
		flag, name string
		list       []string
	}{{"listen", "UDP ", c.Listen}, {"listen-tcp", "TCP ", c.ListenTCP}, {"listen-tls", "TCP ", c.ListenTLS}} {
		for _, text := range network.list {
			_, addr, err := collector.SplitListen(text)
			if err != nil {
				return err
			}
			if _, port, _ := net.SplitHostPort(addr); port != "0" && had[network.name+addr] {
				return usageError{fmt.Errorf("collector: --%s %s: %s%s is given twice", network.flag, text, network.name, addr)}
			}
			had[network.name+addr] = true
		}
	}
	return nil
}

// collectorIdle are the flags that do something only beside others.
func collectorIdle(c *collector.Config, metrics *metricsConfig, spool string, keeps bool) []idle {
	const streams = "with --listen-tcp or --listen-tls"
	list := append(metricsIdle(metrics),
		idle{"max-connections", len(c.ListenTCP)+len(c.ListenTLS) > 0, streams},
		idle{"idle-timeout", len(c.ListenTCP)+len(c.ListenTLS) > 0, streams},
		idle{"sockets", len(c.Listen) > 0, "with --listen"},
		idle{"receive-buffer", len(c.Listen) > 0, "with --listen"},
		idle{"spool-size", spool != "none", "with a spool"})
	for _, name := range []string{"tls-cert", "tls-key", "tls-ca"} {
		list = append(list, idle{name, len(c.ListenTLS) > 0, "with --listen-tls"})
	}
	for _, name := range []string{"retain-raw", "retain-1m", "retain-1h", "retain-1d", "retain-events", "retain-size", "retain-path"} {
		list = append(list, idle{name, keeps, "with a keeper"})
	}
	return list
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
