package command

import (
	"io"

	"github.com/spf13/cobra"

	"flowtally/filter"
	"flowtally/store/answer"
)

func topCommand(stdout io.Writer) *cobra.Command {
	var q question
	cmd := &cobra.Command{
		Use:  "top [FILTER]",
		Args: cobra.ArbitraryArgs,

		ValidArgsFunction: completeFilter(filter.Complete),

		Short: "Rank who or what had most flows, packets or bytes in a range",
		Example: `  flowtally top --key src-addr --by flows --from -1h
  flowtally top --key src-addr,dst-addr --by bytes --from yesterday --to today --limit 20 proto tcp and port https
  flowtally top --key dst-addr/24 --by bps --having 'flows > 100' src net 10.0.0.0/8
  flowtally top --key port --by packets --output csv`,
		RunE: func(cmd *cobra.Command, words []string) error {
			p, err := q.printer(cmd)
			if err != nil {
				return err
			}
			question, err := q.parse(q.now(), words)
			if err != nil {
				return err
			}
			return ask(cmd.Context(), q.dsn, (*answer.Answerer).Top, question, stdout, p.top)
		},
	}
	q.flags(cmd, "src-addr", 10)
	return cmd
}
