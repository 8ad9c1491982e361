package console

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store"
)

// maxLossRows is the most rows that Loss lists.
const maxLossRows = 20000

// Losses is the ledger of a range: what was lost, by minute and cause, and how many
// records came to each step from the exporter's packets to the rows stored.
type Losses struct {
	From, To time.Time
	// Exporter is the one asked for, "" for all.
	Exporter string
	// Rows are the latest rows of the ledger in the range; Truncated says that there are
	// more. Totals sum up all of them, but for those of exporters that are left out (LeaveOut)
	// unless it is asked for one.
	Rows      []LossRow
	Truncated bool
	Totals    []LossTotal
	// Steps are the way of a flow, in its order: seen, metered, sent, received, decoded,
	// stored. A step has what the one before has, less its own Lost.
	Steps []LossStep
}

// LossRow is a row of the ledger.
type LossRow struct {
	Minute     time.Time
	ExporterID flow.ExporterID
	// Exporter is its label, "" when the loss cannot be attributed to one.
	Exporter           string
	Stage, Cause, Unit string
	Count              int64
}

// LossTotal is how much was lost for one cause at one stage. Unit is "" when units of
// several kinds were summed.
type LossTotal struct {
	Stage, Cause, Unit string
	Count              int64
}

// LossStep is a step of the way of a flow.
type LossStep struct {
	// Name is seen, metered, sent, received, decoded or stored.
	Name string
	// Records is how many flow records came to this step, nil for seen, where there are
	// only packets, whose number the collector does not know.
	Records *int64
	// Exact says that everything lost on the way to it, and after it, is counted in
	// records; else Records is a lower bound.
	Exact bool
	// Lost is what the step before has and this one does not. OfWhich is a part of Lost
	// that is known by another count: sequence numbers miss what the kernel dropped.
	Lost, OfWhich []LossTotal
}

// Loss returns the ledger between two times, of one exporter (a name, an address or a
// number) or of all when that is "". The range is widened to whole minutes.
func (c *Console) Loss(ctx context.Context, from, to time.Time, exporter string) (*Losses, error) {
	if !from.Before(to) {
		return nil, &query.Error{Parameter: "to", Reason: "the range ends before it begins"}
	}
	from, to = from.UTC().Truncate(time.Minute), to.UTC().Add(time.Minute-1).Truncate(time.Minute)
	l := &Losses{From: from, To: to, Exporter: exporter, Rows: []LossRow{}, Totals: []LossTotal{}}
	err := c.db.Ask(ctx, store.DefaultTimeout, func(tx pgx.Tx) error {
		var ids []int32
		if exporter != "" {
			var err error
			if ids, err = exportersOf(ctx, tx, exporter); err != nil {
				return err
			}
		}
		rows, err := tx.Query(ctx, `
select l.minute, l.exporter_id, coalesce(e.label, ''), l.stage, l.cause, l.unit, l.count
from loss l left join exporters e on e.id = l.exporter_id
where l.minute >= $1 and l.minute < $2 and ($3::int[] is null or l.exporter_id = any($3))
order by l.minute desc, l.exporter_id, l.stage, l.cause, l.unit
limit $4`, from, to, ids, maxLossRows+1)
		if err != nil {
			return fmt.Errorf("loss: %w", err)
		}
		l.Rows, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r LossRow, err error) {
			err = row.Scan(&r.Minute, &r.ExporterID, &r.Exporter, &r.Stage, &r.Cause, &r.Unit, &r.Count)
			r.Minute = r.Minute.UTC()
			return r, err
		})
		if err != nil {
			return fmt.Errorf("loss: %w", err)
		}
		if len(l.Rows) > maxLossRows {
			l.Rows, l.Truncated = l.Rows[:maxLossRows], true
		}
		rows, err = tx.Query(ctx, `
select stage, cause, unit, least(sum(count), 9223372036854775807)::bigint
from loss
where minute >= $1 and minute < $2 and (exporter_id = any($3) or $3::int[] is null and exporter_id not in (select id from console.left_out))
group by 1, 2, 3
order by array_position(array['exporter', 'way', 'receive', 'decode', 'store'], stage), 4 desc, 2, 3`, from, to, ids)
		if err != nil {
			return fmt.Errorf("loss: %w", err)
		}
		l.Totals, err = pgx.CollectRows(rows, pgx.RowToStructByPos[LossTotal])
		if err != nil {
			return fmt.Errorf("loss: %w", err)
		}
		stored, err := storedRecords(ctx, tx, from, to, ids)
		if err != nil {
			return fmt.Errorf("loss: %w", err)
		}
		l.Steps = waterfall(stored, l.Totals)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// storedRecords counts the flows that were received in a range. The batches of the range
// bound flow_end, so that few partitions are read.
func storedRecords(ctx context.Context, tx pgx.Tx, from, to time.Time, ids []int32) (n int64, err error) {
	var first, last *time.Time
	if err := tx.QueryRow(ctx, `select min(min_end), max(max_end) from batches where received_to >= $1 and received_from < $2`, from, to).
		Scan(&first, &last); err != nil || first == nil {
		return 0, err
	}
	err = tx.QueryRow(ctx, `select count(*) from flows where flow_end >= $1 and flow_end <= $2
		and received_at >= $3 and received_at < $4 and ($5::int[] is null or exporter_id = any($5))`, *first, *last, from, to, ids).Scan(&n)
	return n, err
}

// waterfall makes the steps from the last to the first: a step has what the next one has
// and what was lost between the two.
func waterfall(stored int64, totals []LossTotal) []LossStep {
	of := func(stage string) (list []LossTotal, records int64, exact bool) {
		list, exact = []LossTotal{}, true
		for _, t := range totals {
			switch {
			case t.Stage != stage:
				continue
			case t.Unit == "record":
				records += t.Count
			default:
				exact = false
			}
			list = append(list, t)
		}
		return list, records, exact
	}
	none := []LossTotal{}
	var steps []LossStep
	n, exact := stored, true
	for _, s := range []struct{ name, stage, ofWhich string }{
		{"stored", "store", ""}, {"decoded", "decode", ""}, {"received", "way", "receive"},
	} {
		lost, records, whole := of(s.stage)
		ofWhich, _, _ := of(s.ofWhich)
		steps = append(steps, LossStep{s.name, new(n), exact, lost, ofWhich})
		n, exact = n+records, exact && whole
	}
	// The exporter tells records that it did not send from packets that it did not meter.
	notSent, notMetered := []LossTotal{}, []LossTotal{}
	all, records, _ := of("exporter")
	for _, t := range all {
		if t.Unit == "packet" {
			notMetered = append(notMetered, t)
		} else {
			notSent = append(notSent, t)
		}
	}
	steps = append(steps, LossStep{"sent", new(n), exact, notSent, none},
		LossStep{"metered", new(n + records), exact, notMetered, none},
		LossStep{"seen", nil, false, none, none})
	slices.Reverse(steps)
	return steps
}
