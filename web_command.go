package main

import (
	"context"
	"flowtally/store"
	"flowtally/web"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
)

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
