package command

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"flowtally/filter"
	"flowtally/flow"
	"flowtally/query"
	"flowtally/store/answer"
	"flowtally/web"
)

func eventsCommand(stdout io.Writer) *cobra.Command {
	var (
		q         question
		after     string
		ascending bool
	)
	cmd := &cobra.Command{
		Use:  "events [FILTER]",
		Args: cobra.ArbitraryArgs,

		ValidArgsFunction: completeFilter(filter.CompleteEvents),

		Short: "List what firewalls and address translators did",
		Long: `List what firewalls and address translators did, the latest first: connections
created, torn down and denied (NSEL), translations added and deleted (NAT44, NAT64),
blocks of ports given to subscribers (CGN). An event is no flow: no sum has it.`,
		Example: `  flowtally events --from -10m asa event denied
  flowtally events --from -1h src nat ip 203.0.113.7 and src nat port 41022
  flowtally events --from today --output csv 'kind "port block allocated"'`,
		RunE: func(cmd *cobra.Command, words []string) error {
			p, err := q.printer(cmd)
			if err != nil {
				return err
			}
			now := q.now()
			from, to, err := q.times(now)
			if err != nil {
				return err
			}
			meant, err := filter.ParseEventsAt(strings.Join(words, " "), now)
			if err != nil {
				return usageError{err}
			}
			list := query.EventsQuestion{
				From: from, To: to, Exporter: q.exporter, Filter: meant, Limit: q.limit, Ascending: ascending, After: after, Timeout: q.timeout,
			}
			return ask(cmd.Context(), q.dsn, (*answer.Answerer).Events, list, stdout, p.events)
		},
	}
	q.askFlags(cmd, query.DefaultFlows, "how many events to list")
	f := cmd.Flags()
	one(f, &after, "after", "", "", cursors, "go on where a page ended: its next")
	toggle(f, &ascending, "ascending", "", false, "the earliest first")
	return cmd
}

func (jsonLines) events(w io.Writer, e *query.Events) error { return printJSON(w, web.NewEvents(e)) }

func (explanations) events(w io.Writer, e *query.Events) error {
	return printExplanation(w, &e.Provenance)
}

// events prints one row an event.
func (p tables) events(w io.Writer, r *query.Events) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "time\tkind\tproto\tsource\tdestination\tas source\tas destination\tports\tuser\texporter\t")
	for _, row := range r.Rows {
		e := flowRow(r.Columns, row)
		at, _ := e["time"].(time.Time)
		proto := ""
		if n, ok := e["protocol"].(int64); ok {
			proto = flow.Protocol(n).String()
		}
		block := ""
		if e["block_first"] != nil || e["block_last"] != nil {
			block = text(e["block_first"]) + "-" + text(e["block_last"])
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", p.milli(at), text(e["kind"]), proto, endpoint(e["src_addr"], e["src_port"]), endpoint(e["dst_addr"], e["dst_port"]),
			endpoint(e["nat_src_addr"], e["nat_src_port"]), endpoint(e["nat_dst_addr"], e["nat_dst_port"]), block, text(e["user_name"]), text(e["exporter"]))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if r.Next != "" {
		fmt.Fprintf(w, "there are more: --after %s\n", r.Next)
	}
	printCaveats(w, &r.Provenance)
	return nil
}
