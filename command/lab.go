package command

import (
	"io"
	"log/slog"

	"flowtally/collector"
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
			ctx := cmd.Context()
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
	f.StringVar(&c.Dir, "data", "", "data directory (default: flowtally-lab in the user's data directory, for root /var/lib/flowtally-lab)")
	f.StringVar(&c.Listen, "listen", collector.DefaultListen, "UDP address of the collector")
	f.StringVar(&c.WebListen, "web", "127.0.0.1:8080", "TCP address of the page")
	f.StringVar(&c.Read, "read", "", "meter a capture file once")
	f.StringVar(&c.Interface, "interface", "", "meter a network interface (Linux; needs CAP_NET_RAW)")
	f.BoolVar(&c.Demo, "demo", false, "meter generated traffic: the last 24 hours, then live")
	metricsFlag(cmd, &metrics)
	return cmd
}
