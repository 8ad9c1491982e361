package command

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"flowtally/filter"
	"flowtally/query"
	"flowtally/store/answer"
)

func seriesCommand(stdout io.Writer) *cobra.Command {
	var (
		q            question
		step, period string
		layOver      int
		share        bool
	)
	cmd := &cobra.Command{
		Use:  "series [FILTER]",
		Args: cobra.ArbitraryArgs,

		ValidArgsFunction: completeFilter(filter.Complete),

		Short: "Flows, packets and bytes over time, in all or by a key",
		Example: `  flowtally series --from -24h --step 1h
  flowtally series --key protocol --by bytes --from -6h --output csv not port ssh
  flowtally series --from -24h --step 1h --lay-over 4 --period 1w
  flowtally series --from -1mo --step 1d --zone Europe/Berlin
  flowtally series --share --from -24h`,
		RunE: func(cmd *cobra.Command, words []string) error {
			p, err := q.printer(cmd)
			if err != nil {
				return err
			}
			if err := refuseIdle(cmd, seriesIdle(&q, share, layOver)...); err != nil {
				return err
			}
			question, err := q.parse(q.now(), words)
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
			if share {
				return ask(cmd.Context(), q.dsn, (*answer.Answerer).Share, question, stdout, p.share)
			}
			return ask(cmd.Context(), q.dsn, (*answer.Answerer).Series, question, stdout, p.series)
		},
	}
	q.flags(cmd, "", 8)
	f := cmd.Flags()
	one(f, &step, "step", "", "auto", steps, "length of a bucket, such as 60s, 1h, 1d, 1w or 1mo")
	one(f, &layOver, "lay-over", "", 0, counts[int]("a number of periods", 0, 8), "show so many earlier periods beside it, 8 at most")
	one(f, &period, "period", "", "auto", steps, "length of such a period, such as 1d, 7d or 1mo, on the clock of the zone; auto: the range's, in whole days")
	toggle(f, &share, "share", "", false, "of each bucket, which host had the largest part of all flows")
	return cmd
}

// seriesIdle are the flags that do something only beside others.
func seriesIdle(q *question, share bool, layOver int) []idle {
	const one = "without --share, which is of the hosts with most flows"
	return []idle{
		{"key", !share, one}, {"lay-over", !share, one}, {"by", !share, one}, {"scaled", !share, one},
		{"limit", q.key != "", "with --key"},
		{"having", q.key != "", "with --key"},
		{"period", layOver > 0, "with --lay-over"},
	}
}
