package command

import (
	"io"
	"log/slog"

	"flowtally/collector"
	"flowtally/exporter/capture"
	"flowtally/lab"

	"github.com/spf13/cobra"
)

func labCommand(stdout io.Writer) *cobra.Command {
	var c lab.Config
	var metrics metricsConfig
	cmd := &cobra.Command{
		Use:   "lab [--data DIR] [--demo | --read FILE | --interface IF]",
		Short: "Run everything in one process, with a private PostgreSQL",
		Long: `Run everything in one process: a private PostgreSQL in the data directory, the
collector, the web console and, if asked for, an exporter that meters a capture
file, an interface or generated traffic (--demo) and sends it over loopback like
any other. Ctrl-C stops everything; the data stays.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := refuseIdle(cmd, metricsIdle(&metrics)...); err != nil {
				return err
			}
			ctx := cmd.Context()
			if c.Interface != "" {
				if err := capture.AwaitInterface(ctx, c.Interface, slog.Default()); err != nil {
					if ctx.Err() != nil {
						return nil // stopped before there was anything
					}
					return err
				}
			}
			reg, err := serveMetrics(ctx, &metrics)
			if err != nil {
				return err
			}
			c.Registerer, c.Health = reg, metrics.setHealth
			c.Logger = slog.Default()
			c.Stdout = stdout
			return lab.Run(ctx, c)
		},
	}
	f := cmd.Flags()
	one(f, &c.Dir, "data", "", "", path("a directory"), "data directory (default: flowtally-lab in the user's data directory, for root /var/lib/flowtally-lab)")
	one(f, &c.Listen, "listen", "", collector.DefaultListen, listening("udp", "", "9995"), "UDP address of the collector, or a port alone for all addresses")
	one(f, &c.WebListen, "web", "", "127.0.0.1:8080", listening("tcp", "127.0.0.1", "8080"), "TCP address of the page; a port alone is that of 127.0.0.1")
	one(f, &c.Read, "read", "r", "", path("a capture file, or - for standard input"), "meter a capture file once")
	one(f, &c.Interface, "interface", "i", "", interfaceNames, "meter a network interface (Linux; needs CAP_NET_RAW)")
	toggle(f, &c.Demo, "demo", "", false, "meter generated traffic: the last 24 hours, then live")
	metricsFlag(cmd, &metrics)
	return cmd
}
