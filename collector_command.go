package main

import (
	"context"
	"flowtally/collector"
	"flowtally/store"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
)

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
