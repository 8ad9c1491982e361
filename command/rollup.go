package command

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"flowtally/query"
	"flowtally/store"
	"flowtally/store/keeper"
)

// rollupCommand is what the collector does by itself, once and by hand.
func rollupCommand(stdout io.Writer) *cobra.Command {
	var (
		dsn, from, to   string
		rebuild, asJSON bool
		zone            *time.Location
	)
	cmd := &cobra.Command{
		Use:   "rollup [--rebuild --from T --to T] --database URL",
		Short: "Sum flows into the roll-ups now, or whole days of them anew",
		Long: `Sum what is stored and not yet summed, settle the minutes, hours and days that are
past, and give past hours of flows their indexes: as a collector leaves a database
a quarter of an hour after the last flow, without the wait for late ones. It
removes nothing. A collector does all this by itself; this is for a database that
none fills, after a load or a restore.

With --rebuild the days (UTC) from --from to --to are summed anew from the flows,
which have to be there: after a restore, or a fault. A running collector goes on
storing meanwhile.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			const with = "with --rebuild: it says what to sum anew"
			if err := refuseIdle(cmd, idle{"from", rebuild, with}, idle{"to", rebuild, with}, idle{"zone", rebuild, with}); err != nil {
				return err
			}
			if rebuild && from == "" {
				return usageError{fmt.Errorf("rollup: --rebuild takes --from, the begin of what to sum anew")}
			}
			now := time.Now().In(zone)
			var begin, end time.Time
			if rebuild {
				var err error
				if begin, err = query.ParseTime(from, now); err != nil {
					return usageError{fmt.Errorf("--from: %w", err)}
				}
				if end, err = query.ParseTime(to, now); err != nil {
					return usageError{fmt.Errorf("--to: %w", err)}
				}
				if !begin.Before(end) {
					return usageError{fmt.Errorf("--from %s is not before --to %s", from, to)}
				}
			}
			return withStore(cmd.Context(), dsn, new(metricsConfig), func(ctx context.Context, db *store.DB, reg *prometheus.Registry) error {
				k := keeper.New(db, keeper.Config{Logger: slog.Default(), Registerer: reg})
				var flows int64
				if rebuild {
					var err error
					if flows, err = k.Rebuild(ctx, begin, end); err != nil {
						return err
					}
				}
				done, err := k.CatchUp(ctx)
				if err != nil {
					return err
				}
				took := time.Since(now).Round(time.Millisecond)
				if asJSON {
					return json.NewEncoder(stdout).Encode(struct {
						keeper.Done
						Rebuilt int64 `json:"rebuilt_flows"`
						Took    int64 `json:"took_ms"`
					}{done, flows, took.Milliseconds()})
				}
				slog.Info("the roll-ups are up to date", "summed_flows", done.Flows, "summed_batches", done.Batches, "settled_buckets", done.Settled,
					"sealed_hours", done.Sealed, "waiting_buckets", done.Waiting, "rebuilt_flows", flows, "took", took)
				return nil
			})
		},
	}
	f := cmd.Flags()
	toggle(f, &rebuild, "rebuild", "", false, "sum the days from --from to --to anew")
	one(f, &from, "from", "", "", moments, "begin of what to rebuild, such as 2026-11-21 or -3d")
	one(f, &to, "to", "", "now", moments, "end of what to rebuild")
	one(f, &zone, "zone", "", time.UTC, zones, zoneUsage)
	toggle(f, &asJSON, "json", "", false, "print a summary in JSON on the last line")
	databaseFlag(cmd, &dsn)
	return cmd
}
