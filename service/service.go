// Package service assembles what receives and stores flows: a Writer with its
// spool, a Keeper and a Collecting Process, started and stopped in the order that
// loses nothing. The command collector and the lab run the same one.
package service

import (
	"context"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"flowtally/collector"
	"flowtally/store"
	"flowtally/store/ingest"
	"flowtally/store/keeper"
	"flowtally/store/rollup"
)

// Config says what to assemble.
type Config struct {
	// DSN names the database that takes the flows.
	DSN string
	// Collector says what to receive. Run sets its Sink, StateDir, Logger and
	// Registerer.
	Collector collector.Config
	// Spool is the directory for what the database cannot take at once, and for
	// templates. Without one the database has to answer when Run begins.
	Spool string
	// SpoolBytes limits the spool; ingest.DefaultSpoolBytes when 0.
	SpoolBytes int64
	// Keeper says what to keep of sums and flows; nil keeps no house here. Run sets
	// its Logger, Registerer and Handoff.
	Keeper *keeper.Config
	// Logger is slog.Default() when nil.
	Logger *slog.Logger
	// Registerer takes the metrics of all parts; none are kept when nil.
	Registerer prometheus.Registerer
	// Health is given, before anything is received, a function that returns nil while what
	// is received is stored, else why not and since when; it may be nil.
	Health func(check func() error)
}

// Run receives and stores flows until ctx ends. What was received by then is
// stored or in the spool when it returns nil. A spool that cannot be opened ends
// it: who gave a spool relies on it.
func Run(ctx context.Context, c Config) error {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	open := store.Open
	if c.Spool != "" {
		open = store.OpenOffline // the spool takes what comes until the database answers
	}
	db, err := open(ctx, c.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	// What the Writer stores goes to the Keeper through memory, too.
	handoff := rollup.NewHandoff()
	w := ingest.NewWriter(db, ingest.WriterConfig{Logger: c.Logger, Registerer: c.Registerer, Spool: c.Spool, SpoolBytes: c.SpoolBytes, Handoff: handoff})
	defer w.Close()
	if c.Health != nil {
		c.Health(w.Health)
	}

	// Writer and Keeper end after the last batch is written, whoever ends.
	behind, stop := context.WithCancel(context.WithoutCancel(ctx))
	var working sync.WaitGroup
	defer working.Wait()
	defer stop()
	receiving, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	working.Go(func() {
		if err := w.Run(behind); err != nil {
			fail(err)
		}
	})
	if c.Keeper != nil {
		keep := *c.Keeper
		keep.Logger, keep.Registerer, keep.Handoff = c.Logger, c.Registerer, handoff
		k := keeper.New(db, keep)
		working.Go(func() {
			if err := k.Run(behind); err != nil {
				c.Logger.Error("the Keeper failed; roll-ups and retention have stopped", "error", err)
			}
		})
	}
	receive := c.Collector
	receive.Sink, receive.StateDir, receive.Logger, receive.Registerer = w, c.Spool, c.Logger, c.Registerer
	err = collector.Run(receiving, receive)
	if cause := context.Cause(receiving); ctx.Err() == nil && cause != nil {
		return cause // why the collector had to end, whatever it says of that
	}
	return err
}
