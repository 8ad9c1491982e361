package console

import (
	"context"
	"fmt"
	"math"
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
	// Owner says whose loss it is. Drawn says that the answers asked for are too low because
	// of it, as a graph shows: not so of what strangers sent, of what an exporter leaves out by
	// design, and, unless it is asked for, of an exporter that is left out or of which not one
	// flow was ever read.
	Owner Owner
	Drawn bool
}

// Owner says whose a loss is.
type Owner string

// The owners.
const (
	OwnerExporter  Owner = "exporter"  // one exporter's
	OwnerCollector Owner = "collector" // the collector's own: any exporter's flows may be among it
	OwnerStranger  Owner = "stranger"  // of who is no exporter: no flow of anybody is missing
)

// LossTotal is how much was lost for one cause at one stage, in one unit.
type LossTotal struct {
	Stage, Cause, Unit string
	Count              int64
}

// Lost reports whether that is a loss: what an exporter does not meter by design is none.
func (t LossTotal) Lost() bool { return t.Stage != "exporter" || t.Cause != "ignored" }

// ownerOf says whose a loss is that stands under an exporter, 0 for nobody.
func (t LossTotal) ownerOf(id flow.ExporterID) Owner {
	switch {
	case id != 0:
		return OwnerExporter
	case t.Stage == "receive" && t.Cause == "not_allowed", t.Stage == "decode" && t.Cause != "too_many_exporters":
		return OwnerStranger
	}
	return OwnerCollector
}

// LossStep is a step of the way of a flow.
type LossStep struct {
	// Name is seen, metered, sent, received, decoded or stored.
	Name string
	// Records is how many flow records came to this step; for seen how many packets the
	// exporters saw, nil where one of them does not tell what it did not meter.
	Records *int64
	// Exact says that everything lost on the way to it, and after it, is counted in
	// records; else Records is a lower bound.
	Exact bool
	// Of is how many exporters there were in the range, and ToldBy how many of them tell what
	// is lost between the step before and this one: 0 and nothing Lost is "not told". What the
	// collector sees itself is told of all.
	ToldBy, Of int
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
select l.minute, l.exporter_id, coalesce(e.label, ''), l.stage, l.cause, l.unit, l.count,
  $3::int[] is not null or l.exporter_id = 0 or l.exporter_id not in (select id from console.left_out) and coalesce(s.records > 0, false)
from loss l left join exporters e on e.id = l.exporter_id left join exporter_status s on s.exporter_id = l.exporter_id
where l.minute >= $1 and l.minute < $2 and ($3::int[] is null or l.exporter_id = any($3))
order by l.minute desc, l.exporter_id, l.stage, l.cause, l.unit
limit $4`, from, to, ids, maxLossRows+1)
		if err != nil {
			return fmt.Errorf("loss: %w", err)
		}
		l.Rows, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r LossRow, err error) {
			var id int32
			err = row.Scan(&r.Minute, &id, &r.Exporter, &r.Stage, &r.Cause, &r.Unit, &r.Count, &r.Drawn)
			t := LossTotal{r.Stage, r.Cause, r.Unit, r.Count}
			r.Minute, r.ExporterID, r.Owner = r.Minute.UTC(), flow.ExporterID(id), t.ownerOf(flow.ExporterID(id))
			r.Drawn = r.Drawn && r.Owner != OwnerStranger && t.Lost()
			return r, err
		})
		if err != nil {
			return fmt.Errorf("loss: %w", err)
		}
		if len(l.Rows) > maxLossRows {
			l.Rows, l.Truncated = l.Rows[:maxLossRows], true
		}
		var known []LossTotal // without what strangers sent
		if l.Totals, known, err = readTotals(ctx, tx, from, to, ids); err != nil {
			return fmt.Errorf("loss: %w", err)
		}
		stored, packets, err := storedRecords(ctx, tx, from, to, ids)
		if err != nil {
			return fmt.Errorf("loss: %w", err)
		}
		tell, err := readTelling(ctx, tx, from, to, ids)
		if err != nil {
			return fmt.Errorf("loss: %w", err)
		}
		l.Steps = waterfall(stored, packets, known, tell)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// readTotals sums the ledger up by cause; known has what is not strangers': on the way of
// flows theirs is nothing.
func readTotals(ctx context.Context, tx pgx.Tx, from, to time.Time, ids []int32) (all, known []LossTotal, err error) {
	rows, err := tx.Query(ctx, `
select stage, cause, unit, exporter_id = 0, least(sum(count), 9223372036854775807)::bigint
from loss
where minute >= $1 and minute < $2 and (exporter_id = any($3) or $3::int[] is null and exporter_id not in (select id from console.left_out))
group by 1, 2, 3, 4
order by array_position(array['exporter', 'way', 'receive', 'decode', 'store'], stage), 5 desc, 2, 3`, from, to, ids)
	if err != nil {
		return nil, nil, err
	}
	add := func(list []LossTotal, t LossTotal) []LossTotal {
		for i := range list {
			if o := &list[i]; o.Stage == t.Stage && o.Cause == t.Cause && o.Unit == t.Unit {
				o.Count += min(t.Count, math.MaxInt64-o.Count)
				return list
			}
		}
		return append(list, t)
	}
	var (
		t      LossTotal
		nobody bool
	)
	all, known = []LossTotal{}, []LossTotal{}
	_, err = pgx.ForEachRow(rows, []any{&t.Stage, &t.Cause, &t.Unit, &nobody, &t.Count}, func() error {
		all = add(all, t)
		if !nobody || t.ownerOf(0) != OwnerStranger {
			known = add(known, t)
		}
		return nil
	})
	return all, known, err
}

// telling is how many exporters there were in a range, and how many of them tell what is
// lost before it is metered, before it is sent, and on the way.
type telling struct{ of, metering, sending, numbers int }

// readTelling reads who tells what. What an exporter says are totals, so that what it said
// after the range is of the range, too.
func readTelling(ctx context.Context, tx pgx.Tx, from, to time.Time, ids []int32) (t telling, err error) {
	err = tx.QueryRow(ctx, `
select count(*), count(*) filter (where s.metering_told_at >= $1), count(*) filter (where s.sending_told_at >= $1),
  count(*) filter (where s.numbering is not null and s.numbering <> $4)
from exporter_status s join exporters e on e.id = s.exporter_id
where s.last_seen >= $1 and e.first_seen < $2
  and (s.exporter_id = any($3) or $3::int[] is null and s.records > 0 and s.exporter_id not in (select id from console.left_out))`,
		from, to, ids, flow.NumberingNothing.String()).Scan(&t.of, &t.metering, &t.sending, &t.numbers)
	return t, err
}

// storedRecords counts the flows that were received in a range, and their packets. The
// batches of the range bound flow_end, so that few partitions are read.
func storedRecords(ctx context.Context, tx pgx.Tx, from, to time.Time, ids []int32) (records, packets int64, err error) {
	var first, last *time.Time
	if err := tx.QueryRow(ctx, `select min(min_end), max(max_end) from batches where received_to >= $1 and received_from < $2`, from, to).
		Scan(&first, &last); err != nil || first == nil {
		return 0, 0, err
	}
	err = tx.QueryRow(ctx, `select count(*), least(coalesce(sum(packets), 0), 9223372036854775807)::bigint from flows where flow_end >= $1 and flow_end <= $2
		and received_at >= $3 and received_at < $4 and ($5::int[] is null or exporter_id = any($5))`, *first, *last, from, to, ids).Scan(&records, &packets)
	return records, packets, err
}

// waterfall makes the steps from the last to the first: a step has what the next one has
// and what was lost between the two.
func waterfall(stored, packets int64, totals []LossTotal, tell telling) []LossStep {
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
	for _, s := range []struct {
		name, stage, ofWhich string
		told                 int
	}{
		{"stored", "store", "", tell.of}, {"decoded", "decode", "", tell.of}, {"received", "way", "receive", tell.numbers},
	} {
		lost, records, whole := of(s.stage)
		ofWhich, _, _ := of(s.ofWhich)
		steps = append(steps, LossStep{Name: s.name, Records: new(n), Exact: exact, ToldBy: s.told, Of: tell.of, Lost: lost, OfWhich: ofWhich})
		n, exact = n+records, exact && whole && s.told == tell.of
	}
	// The exporter tells records that it did not send from packets that it did not meter.
	notSent, notMetered := []LossTotal{}, []LossTotal{}
	var unmetered int64
	all, records, _ := of("exporter")
	for _, t := range all {
		if t.Unit == "packet" {
			notMetered, unmetered = append(notMetered, t), unmetered+t.Count
		} else {
			notSent = append(notSent, t)
		}
	}
	steps = append(steps, LossStep{Name: "sent", Records: new(n), Exact: exact, ToldBy: tell.sending, Of: tell.of, Lost: notSent, OfWhich: none})
	exact = exact && tell.sending == tell.of
	steps = append(steps, LossStep{Name: "metered", Records: new(n + records), Exact: exact, ToldBy: tell.metering, Of: tell.of, Lost: notMetered, OfWhich: none})
	// Packets of records that were lost are known to nobody.
	seen := LossStep{Name: "seen", ToldBy: tell.metering, Of: tell.of, Lost: none, OfWhich: none}
	if tell.of > 0 && tell.metering == tell.of {
		seen.Records, seen.Exact = new(packets+unmetered), exact && n+records == stored
	}
	steps = append(steps, seen)
	slices.Reverse(steps)
	return steps
}
