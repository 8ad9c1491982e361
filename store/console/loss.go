package console

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store"
)

// maxLossRows is how many rows Loss lists at most, the latest ones.
const maxLossRows = 20000

// Losses is the ledger of a range: what was lost, by minute and cause, and what
// became of everything from the packets that an exporter saw to the rows stored.
type Losses struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Exporter is the one asked for, "" for all.
	Exporter string `json:"exporter"`
	// Rows are the latest of the ledger's in the range, by minute; Truncated says
	// that there are more. Totals are of all.
	Rows      []LossRow   `json:"rows"`
	Truncated bool        `json:"truncated"`
	Totals    []LossTotal `json:"totals"`
	// Steps are the way of a flow, in its order: seen, metered, sent, received,
	// decoded, stored. What a step has less than the one before is what its Lost
	// say.
	Steps []LossStep `json:"steps"`
}

// LossRow is a row of the ledger.
type LossRow struct {
	Minute     time.Time       `json:"minute"`
	ExporterID flow.ExporterID `json:"exporter_id"`
	// Exporter is its label, "" when it cannot be told whose the loss was.
	Exporter string `json:"exporter"`
	Stage    string `json:"stage"`
	Cause    string `json:"cause"`
	Unit     string `json:"unit"`
	Count    int64  `json:"count"`
}

// LossTotal is what was lost for one cause.
type LossTotal struct {
	Stage string `json:"stage"`
	Cause string `json:"cause"`
	Unit  string `json:"unit"`
	Count int64  `json:"count"`
	// Text says what that means, Advice what would change it.
	Text   string `json:"text"`
	Advice string `json:"advice"`
}

// LossStep is a step of the waterfall.
type LossStep struct {
	// Name is seen, metered, sent, received, decoded or stored.
	Name string `json:"name"`
	// Records is how many flow records came to this step, nil for seen, where
	// there are only packets, of which the collector knows no sum.
	Records *int64 `json:"records"`
	// Exact says that everything lost on the way to it, and behind it, is known
	// in records; else Records is the least that it can be.
	Exact bool `json:"exact"`
	// Lost is what the step before had and this one has not. OfWhich is part of
	// that: datagrams that the kernel dropped are missing in sequence numbers too.
	Lost    []LossTotal `json:"lost"`
	OfWhich []LossTotal `json:"of_which"`
}

// lossWords are the causes of the ledger, in words.
var lossWords = map[[2]string][2]string{
	{"exporter", "not_sent"}:         {"flow records that the exporter says it made and did not send", "look at the exporter's own log: the way to the collector, or its rate limit"},
	{"exporter", "ignored"}:          {"packets that the exporter saw and does not meter, such as ARP", ""},
	{"exporter", "dropped"}:          {"packets that the exporter could not take in time", "give the exporter more capture buffer or processors, or let it sample"},
	{"way", "missing"}:               {"sent and not received, as sequence numbers show", "look for loss between exporter and collector; when the kernel dropped datagrams, raise the receive buffer"},
	{"receive", "kernel_buffer"}:     {"datagrams that the kernel dropped because the receive buffer was full", "raise the receive buffer: sysctl -w net.core.rmem_max=67108864, and collector --receive-buffer 67108864"},
	{"receive", "not_allowed"}:       {"datagrams of addresses that may not send", "add the address with collector --allow when it should"},
	{"decode", "version"}:            {"datagrams that are not NetFlow v1, v5, v7, v9 or IPFIX", "see who sends what else to this port"},
	{"decode", "malformed"}:          {"sets or records that contradict the specification", "flowtally inspect shows them; look for an update of the exporter"},
	{"decode", "no_template"}:        {"data whose template did not come in time", "let the exporter repeat its templates every minute"},
	{"decode", "over_limit"}:         {"data beyond what one exporter may make the collector keep", ""},
	{"decode", "too_many_exporters"}: {"records of exporters beyond the number that is followed", "raise collector --max-exporters, or allow only the known with --allow"},
	{"decode", "rate_limit"}:         {"records beyond what one exporter may send in a second", "raise collector --rate-limit"},
	{"store", "queue_full"}:          {"records dropped because the database was too slow and nothing spooled them", "give the collector a --spool, the database faster disks, or more --writers"},
	{"store", "refused"}:             {"records that the database refused for what is in them", "the collector's log has the reason"},
	{"store", "stopped"}:             {"records that could not be stored before the collector had to stop", "give the collector a --spool"},
	{"store", "quarantined"}:         {"records that the database refused, kept in the spool's quarantine", "the collector's log has the reason"},
	{"store", "spool_full"}:          {"records that gave way to newer ones in a full spool", "give the spool more room, or the database more time"},
}

// total puts a cause into words.
func total(stage, cause, unit string, n int64) LossTotal {
	w := lossWords[[2]string{stage, cause}]
	return LossTotal{stage, cause, unit, n, w[0], w[1]}
}

// Loss returns the ledger between two times, of one exporter (a name, an address
// or a number) or of all when that is "". Times are rounded to whole minutes,
// outwards.
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
where minute >= $1 and minute < $2 and ($3::int[] is null or exporter_id = any($3))
group by 1, 2, 3
order by array_position(array['exporter', 'way', 'receive', 'decode', 'store'], stage), 4 desc, 2, 3`, from, to, ids)
		if err != nil {
			return fmt.Errorf("loss: %w", err)
		}
		l.Totals, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (LossTotal, error) {
			var (
				stage, cause, unit string
				n                  int64
			)
			err := row.Scan(&stage, &cause, &unit, &n)
			return total(stage, cause, unit, n), err
		})
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

// storedRecords counts the rows that were received in a range. Batches tell which
// hours of flow_end they are in.
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

// waterfall makes the steps, from its end: what a step had is what the next has
// and what was lost between them.
func waterfall(stored int64, totals []LossTotal) []LossStep {
	of := func(stages ...string) (list []LossTotal, records int64, exact bool) {
		list, exact = []LossTotal{}, true
		for _, t := range totals {
			for _, s := range stages {
				if t.Stage != s {
					continue
				}
				list = append(list, t)
				if t.Unit == "record" {
					records += t.Count
				} else {
					exact = false
				}
			}
		}
		return list, records, exact
	}
	none := []LossTotal{}
	count := func(n int64) *int64 { return &n }

	n, exact := stored, true
	lost, records, whole := of("store")
	out := []LossStep{{"stored", count(n), exact, lost, none}}
	n, exact = n+records, exact && whole
	lost, records, whole = of("decode")
	out = append(out, LossStep{"decoded", count(n), exact, lost, none})
	n, exact = n+records, exact && whole
	lost, records, whole = of("way")
	kernel, _, _ := of("receive")
	out = append(out, LossStep{"received", count(n), exact, lost, kernel})
	n, exact = n+records, exact && whole
	var notSent, notSeen []LossTotal = []LossTotal{}, []LossTotal{}
	all, records, _ := of("exporter")
	for _, t := range all {
		if t.Unit == "packet" {
			notSeen = append(notSeen, t)
		} else {
			notSent = append(notSent, t)
		}
	}
	out = append(out, LossStep{"sent", count(n), exact, notSent, none},
		LossStep{"metered", count(n + records), exact, notSeen, none},
		LossStep{"seen", nil, false, none, none})
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}
