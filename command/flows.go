package command

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"flowtally/filter"
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
		Use:  "flows [FILTER]",
		Args: cobra.ArbitraryArgs,

		ValidArgsFunction: completeFilter(filter.Complete),

		Short: "List the flows of a range, and sum them up",
		Example: `  flowtally flows --from -10m host 10.1.4.7 and port ssh
  flowtally flows --from today --sort bytes --limit 100 --output csv
  flowtally flows --from -1h --sort duration 'duration > 600000'
  flowtally flows --from 'yesterday 14:00' --to 'yesterday 15:00' --zone local`,
		RunE: func(cmd *cobra.Command, words []string) error {
			p, err := q.printer(cmd)
			if err != nil {
				return err
			}
			if err := refuseIdle(cmd,
				idle{"raw", !bare, "without --no-summary: the list is always of the flows themselves"},
				idle{"scaled", !bare, "without --no-summary: of each flow both are in the list"}); err != nil {
				return err
			}
			question, err := q.parse(q.now(), words)
			if err != nil {
				return err
			}
			list := query.FlowsQuestion{Question: question, Sort: sort, Ascending: ascending, After: after, NoSummary: bare || q.output == "csv" || q.output == "spreadsheet"}
			return ask(cmd.Context(), q.dsn, (*answer.Answerer).Flows, list, stdout, p.flows)
		},
	}
	q.rangeFlags(cmd, query.DefaultFlows, "how many flows to list")
	f := cmd.Flags()
	one(f, &sort, "sort", "", "flow_start", among("flow_start, flow_end, packets, bytes or duration", "flow_start", "flow_end", "packets", "bytes", "duration"), "what to sort by, the latest or largest first: flow_start, flow_end, packets, bytes or duration")
	toggle(f, &ascending, "ascending", "", false, "the earliest or smallest first")
	one(f, &after, "after", "", "", cursors, "go on where a page ended: its next")
	toggle(f, &bare, "no-summary", "", false, "do not sum up all flows that match, which takes longer than a page")
	return cmd
}

// cursors are where a page ended.
var cursors = kind[string]{
	name: "page", wants: "what a page before said behind --after",
	read: func(text string) (string, error) {
		if text == "" || strings.ContainsFunc(text, func(r rune) bool {
			return r != '-' && r != '_' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
		}) {
			return "", errWanted
		}
		return text, nil
	},
}
