package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store"
	"flowtally/store/console"
	"flowtally/web"
)

func exportersCommand(stdout io.Writer) *cobra.Command {
	var dsn string
	cmd := &cobra.Command{
		Use:   "exporters",
		Short: "List the exporters and how each fares, rename one, or forget those that a stranger made up",
		Example: `  flowtally exporters
  flowtally exporters rename '192.0.2.1 domain 42' edge-1
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
				tw := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
				fmt.Fprintln(tw, "id\texporter\taddress\tdomain\trecords\tlast seen\tnamed by\tstate")
				for _, e := range list {
					fmt.Fprintf(tw, "%d\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", e.ID, e.Label, e.Addr, e.ObservationDomain, e.Records, e.LastSeen.Format(time.RFC3339), namedBy(e.NamedBy), web.HealthText(states[e.ID].Findings))
				}
				return tw.Flush()
			})
		},
	}
	databaseFlag(cmd, &dsn)
	cmd.AddCommand(exportersRenameCommand(), exportersForgetCommand())
	return cmd
}

// namedBy says for people whose name an exporter has.
func namedBy(by console.NamedBy) string {
	switch by {
	case console.NamedByItself:
		return "itself"
	case console.NamedByDNS:
		return "DNS"
	case console.NamedByItsAddress:
		return none
	}
	return string(by)
}

func exportersRenameCommand() *cobra.Command {
	var dsn string
	cmd := &cobra.Command{
		Use:   "rename EXPORTER NAME",
		Short: "Say what to call an exporter",
		Long: `Says what to call an exporter, wherever it is shown; what else people said about it
stays. EXPORTER is what it is called now, its address or its id; an address that
several observation domains share does not say which. An empty NAME takes the name
back: then it is called as its listener, as it announces, or as DNS says, else by its
address. It takes the role flow_web.`,
		Example: `  flowtally exporters rename 192.0.2.1 edge-1
  flowtally exporters rename '192.0.2.1 domain 42' edge-1
  flowtally exporters rename edge-1 ''`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError{fmt.Errorf("exporters rename takes the exporter and what to call it: two words, quoted where they have blanks")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, words []string) error {
			return withConsole(cmd.Context(), dsn, func(ctx context.Context, c *console.Console) error {
				ids, err := c.FindExporters(ctx, words[0])
				if err != nil {
					return mistaken(err)
				}
				if len(ids) > 1 {
					return usageError{fmt.Errorf("%d exporters have the address %s: say which, as it is called in \"flowtally exporters\"", len(ids), words[0])}
				}
				if err := c.RenameExporter(ctx, ids[0], words[1]); err != nil {
					if errors.Is(err, console.ErrTaken) {
						return usageError{fmt.Errorf("another exporter is called %q: choose another name, or rename that one first", words[1])}
					}
					return mistaken(err)
				}
				list, err := c.Exporters(ctx)
				if err != nil {
					return err
				}
				for _, e := range list {
					if e.ID == ids[0] {
						slog.Info("renamed", "exporter", words[0], "label", e.Label)
					}
				}
				return nil
			})
		},
	}
	databaseFlag(cmd, &dsn)
	cmd.ValidArgsFunction = completeExporters
	return cmd
}

// completeExporters completes the first word, which exporter is meant.
func completeExporters(_ *cobra.Command, words []string, begin string) ([]string, cobra.ShellCompDirective) {
	if len(words) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return suggest(exporterNames, begin), cobra.ShellCompDirectiveNoFileComp
}

// mistaken makes what the store refuses for its content a mistake of the call.
func mistaken(err error) error {
	if _, ok := errors.AsType[*query.Error](err); ok {
		return usageError{err}
	}
	return err
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
						return mistaken(err)
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
	cmd.ValidArgsFunction = func(cmd *cobra.Command, _ []string, begin string) ([]string, cobra.ShellCompDirective) {
		return completeExporters(cmd, nil, begin)
	}
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
