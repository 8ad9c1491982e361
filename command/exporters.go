package command

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"flowtally/flow"
	"flowtally/store"
	"flowtally/store/console"
	"flowtally/web"
)

func exportersCommand(stdout io.Writer) *cobra.Command {
	var dsn string
	cmd := &cobra.Command{
		Use:   "exporters",
		Short: "List the exporters and how each fares, or forget those that a stranger made up",
		Example: `  flowtally exporters
  flowtally exporters forget 192.0.2.77`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withConsole(cmd.Context(), dsn, func(ctx context.Context, c *console.Console) error {
				list, err := c.Exporters(ctx)
				if err != nil {
					return err
				}
				states, err := c.ExporterStates(ctx)
				if err != nil {
					return err
				}
				fmt.Fprintf(stdout, "%-11s %-24s %-24s %10s %12s  %-20s  %s\n", "id", "exporter", "address", "domain", "records", "last seen", "state")
				for _, e := range list {
					fmt.Fprintf(stdout, "%-11d %-24s %-24s %10d %12d  %-20s  %s\n", e.ID, e.Label, e.Addr, e.ObservationDomain, e.Records, e.LastSeen.Format(time.RFC3339), web.HealthText(states[e.ID].Findings))
				}
				return nil
			})
		},
	}
	databaseFlag(cmd, &dsn)
	cmd.AddCommand(exportersForgetCommand())
	return cmd
}

func exportersForgetCommand() *cobra.Command {
	var dsn string
	cmd := &cobra.Command{
		Use:   "forget EXPORTER…",
		Short: "Delete what is known of exporters, and their part of the ledger",
		Long: `Deletes what is known of exporters, what people said about them, and their part
of the ledger. EXPORTER is a name, an address, which means all its observation
domains, or an id. Flows stay, under the id. An exporter that sends again is new.
It takes the role flow_web.`,
		Example: `  flowtally exporters forget 192.0.2.77`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{fmt.Errorf("exporters forget takes the exporters to forget: names, addresses or ids")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, words []string) error {
			return withConsole(cmd.Context(), dsn, func(ctx context.Context, c *console.Console) error {
				var all []flow.ExporterID
				for _, word := range words {
					ids, err := c.FindExporters(ctx, word)
					if err != nil {
						return err
					}
					all = append(all, ids...)
				}
				for _, id := range all {
					if err := c.ForgetExporter(ctx, id); err != nil {
						return fmt.Errorf("exporter %s: %w", strconv.Itoa(int(id)), err)
					}
				}
				slog.Info("forgotten", "exporters", len(all))
				return nil
			})
		},
	}
	databaseFlag(cmd, &dsn)
	return cmd
}

// withConsole runs f with the console of a database.
func withConsole(ctx context.Context, dsn string, f func(context.Context, *console.Console) error) error {
	dsn, err := databaseURL(dsn)
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	return f(ctx, console.New(db))
}
