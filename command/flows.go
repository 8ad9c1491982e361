package command

import (
	"io"

	"github.com/spf13/cobra"

	"flowtally/query"
	"flowtally/store/answer"
)

func flowsCommand(stdout io.Writer) *cobra.Command {
	var (
		q               question
		sort, after     string
		ascending, bare bool
	)
	cmd := &cobra.Command{
		Use:   "flows [FILTER]",
		Args:  cobra.ArbitraryArgs,
		Short: "List the flows of a range, and sum them up",
		Example: `  flowtally flows --from -10m host 10.1.4.7 and port ssh
  flowtally flows --from today --sort bytes --limit 100 --output csv
  flowtally flows --from -1h --sort duration 'duration > 600000'
  flowtally flows --from 'yesterday 14:00' --to 'yesterday 15:00' --zone local`,
		RunE: func(cmd *cobra.Command, words []string) error {
			p, err := q.printer()
			if err != nil {
				return err
			}
			question, err := q.parse(q.zone.now(), words)
			if err != nil {
				return err
			}
			list := query.FlowsQuestion{Question: question, Sort: sort, Ascending: ascending, After: after, NoSummary: bare || q.output == "csv"}
			return ask(cmd.Context(), q.dsn, (*answer.Answerer).Flows, list, stdout, p.flows)
		},
	}
	q.rangeFlags(cmd, query.DefaultFlows, "how many flows to list")
	f := cmd.Flags()
	f.StringVar(&sort, "sort", "flow_start", "what to sort by, the latest or largest first: flow_start, flow_end, packets, bytes or duration")
	f.BoolVar(&ascending, "ascending", false, "the earliest or smallest first")
	f.StringVar(&after, "after", "", "go on where a page ended: its next")
	f.BoolVar(&bare, "no-summary", false, "do not sum up all flows that match, which takes longer than a page")
	return cmd
}
