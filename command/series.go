package command

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"flowtally/query"
	"flowtally/store/answer"
)

func seriesCommand(stdout io.Writer) *cobra.Command {
	var (
		q            question
		step, period string
		layOver      int
		share, all   bool
	)
	cmd := &cobra.Command{
		Use:   "series [FILTER]",
		Args:  cobra.ArbitraryArgs,
		Short: "Flows, packets and bytes over time, in all or by a key",
		Example: `  flowtally series --from -24h --step 1h
  flowtally series --key protocol --by bytes --from -6h --output csv not port ssh
  flowtally series --from -24h --step 1h --lay-over 4 --period 1w
  flowtally series --from -1mo --step 1d --zone Europe/Berlin
  flowtally series --share --from -24h`,
		RunE: func(cmd *cobra.Command, words []string) error {
			p, err := q.printer()
			if err != nil {
				return err
			}
			question, err := q.parse(q.zone.now(), words)
			if err != nil {
				return err
			}
			if question.Step, question.StepMonths, err = query.ParseStep(step); err != nil {
				return usageError{fmt.Errorf("--step: %w", err)}
			}
			if question.Step > 0 || question.StepMonths > 0 {
				question.MaxBuckets = query.MaxBuckets
			}
			if question.LayOver = layOver; layOver > 0 && period != "auto" {
				if question.Period, question.PeriodMonths, err = query.ParseStep(period); err != nil {
					return usageError{fmt.Errorf("--period: %w", err)}
				}
			}
			if share && (q.key != "" || layOver > 0) {
				return usageError{errors.New("--share takes no --key and no --lay-over")}
			}
			if all && !share {
				return usageError{errors.New("--all is for --share: a series prints each bucket anyway")}
			}
			if t, ok := p.(tables); ok {
				t.all = all
				p = t
			}
			if share {
				return ask(cmd.Context(), q.dsn, (*answer.Answerer).Share, question, stdout, p.share)
			}
			return ask(cmd.Context(), q.dsn, (*answer.Answerer).Series, question, stdout, p.series)
		},
	}
	q.flags(cmd, "", 8)
	f := cmd.Flags()
	f.StringVar(&step, "step", "auto", "length of a bucket, such as 60s, 1h, 1d, 1w or 1mo")
	f.IntVar(&layOver, "lay-over", 0, "show so many earlier periods beside it, 8 at most")
	f.StringVar(&period, "period", "auto", "length of such a period, such as 1d, 7d or 1mo, on the clock of the zone; auto: the range's, in whole days")
	f.BoolVar(&share, "share", false, "when one host had at least half of all flows, and which; as csv and json, the busiest host of each bucket")
	f.BoolVar(&all, "all", false, "with --share, print the busiest host of each bucket also in the table")
	return cmd
}
