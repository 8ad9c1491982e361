package console

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
)

// Stranger is who sends what cannot be read: a row of the table unreadable.
type Stranger struct {
	Addr      netip.Addr
	FirstSeen time.Time
	LastSeen  time.Time
	Datagrams int64
	// First are the first bytes of a datagram, Guess is what it may be, and Reason why it
	// could not be read, "" when it is no flow export at all.
	First         []byte
	Guess, Reason string
}

// unreadableShown is how many of those are shown.
const unreadableShown = 5

// ExporterDetails is a row of exporter_status. The HTTP API has it in this form.
type ExporterDetails struct {
	Version          int        `json:"version"`
	FirstSeen        time.Time  `json:"first_seen"`
	LastSeen         time.Time  `json:"last_seen"`
	ClockOffsetMS    int64      `json:"clock_offset_ms"`
	Datagrams        int64      `json:"datagrams"`
	Records          int64      `json:"records"`
	Packets          int64      `json:"packets"`
	Bytes            int64      `json:"bytes"`
	Templates        int64      `json:"templates"`
	SamplingRate     *int64     `json:"sampling_rate"`
	NoTemplate       int64      `json:"no_template"`
	Malformed        int64      `json:"malformed"`
	OverLimit        int64      `json:"over_limit"`
	Held             int64      `json:"held"`
	Recovered        int64      `json:"recovered"`
	RateLimited      int64      `json:"rate_limited"`
	MissingRecords   int64      `json:"missing_records"`
	MissingDatagrams int64      `json:"missing_datagrams"`
	Duplicates       int64      `json:"duplicates"`
	Restarts         int64      `json:"restarts"`
	NotSent          int64      `json:"not_sent"`
	Ignored          int64      `json:"ignored"`
	Dropped          int64      `json:"dropped"`
	TimeRepaired     int64      `json:"time_repaired"`
	ConfiguredRate   *int64     `json:"configured_rate"`
	SamplingOverride bool       `json:"sampling_override"`
	LastStart        *time.Time `json:"last_start"`
	LastEnd          *time.Time `json:"last_end"`
	LastError        string     `json:"last_error"`
	LastErrorAt      *time.Time `json:"last_error_at"`
	SourcePorts      int        `json:"source_ports"`
	Senders          int        `json:"senders"`
	Gateway          bool       `json:"gateway"`
	Unexplained      int64      `json:"unexplained"`
	// Numbering is what its sequence numbers count, "" before it is known (see the
	// column of that name); NumberingShared that several domains have one counter.
	Numbering       string `json:"numbering"`
	NumberingShared bool   `json:"numbering_shared"`
	// SamplingAt is when SamplingRate was announced, SamplingProvisional that the
	// exporter started again since.
	SamplingAt          *time.Time `json:"sampling_at"`
	SamplingProvisional bool       `json:"sampling_provisional"`
	// MeteringToldAt is when it last said how many packets it did not meter, SendingToldAt
	// how many records it did not send; nil when it never did.
	MeteringToldAt *time.Time `json:"metering_told_at"`
	SendingToldAt  *time.Time `json:"sending_told_at"`
}

// house is what is known of the collector as a whole.
type house struct {
	now       time.Time
	known     int64       // exporters
	active    int64       // those of them that sent in the last five minutes
	newest    *time.Time  // when the last batch was stored
	size      int64       // bytes of the database when its Keeper looked last
	limit     *int64      // the most bytes it may have, nil for no limit
	limitedBy *string     // who set limit, or why there is none; nil before a Keeper looked
	stopped   []Finding   // the collectors that cannot store
	loss      []LossTotal // of the last hour, of nobody
	// unreadable are those who sent what cannot be read in the last hour, the last first.
	unreadable []Stranger
	listening  []Listening
}

// evidence is what is known of one exporter.
type evidence struct {
	now           time.Time
	kernelDropped int64 // datagrams that the kernel dropped in the last hour, of whomever

	id     flow.ExporterID
	label  string
	addr   netip.Addr
	domain int64
	words  ExporterWords
	status *ExporterDetails // nil before the collector's first report
	loss   []LossTotal      // of the last hour

	moved   int64      // flows that got their time of receipt
	movedAt *time.Time // when that was last
}

// lost is what was lost in the last hour for one of some causes, of one unit each.
func (e *evidence) lost(stage string, causes ...string) (list []LossTotal, sum int64) {
	for _, t := range e.loss {
		if t.Stage == stage && (len(causes) == 0 || slices.Contains(causes, t.Cause)) {
			list, sum = append(list, t), sum+t.Count
		}
	}
	return list, sum
}

// readHouse reads what there is to judge about the collector as a whole.
func readHouse(ctx context.Context, tx pgx.Tx) (h house, err error) {
	err = tx.QueryRow(ctx, `select now(), (select count(*) from exporters),
			(select count(*) from exporter_status where last_seen > now() - interval '5 minutes'),
			(select max(committed_at) from (select committed_at from batches order by id desc limit 100) b)`).
		Scan(&h.now, &h.known, &h.active, &h.newest)
	if err != nil {
		return h, err
	}
	err = tx.QueryRow(ctx, "select size, size_limit, set_by from parts.retention").Scan(&h.size, &h.limit, &h.limitedBy)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return h, err
	}
	if h.stopped, err = readStopped(ctx, tx); err != nil {
		return h, err
	}
	lost, err := readLastHour(ctx, tx, new(int32(0)))
	if err != nil {
		return h, err
	}
	h.loss = lost[0]
	if h.unreadable, err = readUnreadable(ctx, tx); err != nil {
		return h, err
	}
	h.listening, err = readListening(ctx, tx)
	return h, err
}

// kernelDropped is how many datagrams the kernel dropped.
func kernelDropped(loss []LossTotal) (n int64) {
	for _, t := range loss {
		if t.Stage == "receive" && t.Cause == "kernel_buffer" {
			n += t.Count
		}
	}
	return n
}

// readLastHour reads the losses of the last hour by exporter, of one or, nil, of all.
func readLastHour(ctx context.Context, tx pgx.Tx, id *int32) (map[flow.ExporterID][]LossTotal, error) {
	rows, err := tx.Query(ctx, `select exporter_id, stage, cause, unit, least(sum(count), 9223372036854775807)::bigint from loss
		where minute > now() - interval '1 hour' and ($1::int is null or exporter_id = $1) group by 1, 2, 3, 4 order by 1, 2, 3, 4`, id)
	if err != nil {
		return nil, err
	}
	lost := make(map[flow.ExporterID][]LossTotal)
	var (
		of int32
		t  LossTotal
	)
	_, err = pgx.ForEachRow(rows, []any{&of, &t.Stage, &t.Cause, &t.Unit, &t.Count}, func() error {
		lost[flow.ExporterID(of)] = append(lost[flow.ExporterID(of)], t)
		return nil
	})
	return lost, err
}

// readEvidence reads what there is to judge about an exporter, nil for all of them, by
// number. However many there are, it takes four statements.
func readEvidence(ctx context.Context, tx pgx.Tx, id *int32) (list []evidence, err error) {
	lost, err := readLastHour(ctx, tx, nil)
	if err != nil {
		return nil, err
	}
	status, err := readExporterDetails(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `
select now(), e.id, e.label, e.addr, e.observation_domain, e.name, coalesce(e.color, ''), coalesce(e.note, ''),
  e.sampling_rate, e.sampling_from, not coalesce(e.sampling_instead, true), coalesce(m.records, 0), m.last_at
from exporters e
left join parts.moved m on m.exporter_id = e.id
where $1::int is null or e.id = $1
order by e.id`, id)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (e evidence, err error) {
		var id int32
		err = row.Scan(&e.now, &id, &e.label, &e.addr, &e.domain, &e.words.Name, &e.words.Color, &e.words.Note,
			&e.words.SamplingRate, &e.words.SamplingFrom, &e.words.SamplingWhereUnknown, &e.moved, &e.movedAt)
		e.id = flow.ExporterID(id)
		e.status, e.loss, e.kernelDropped = status[e.id], lost[e.id], kernelDropped(lost[0])
		return e, err
	})
}

// readStopped reads which collectors said lately that they cannot store.
func readStopped(ctx context.Context, tx pgx.Tx) ([]Finding, error) {
	rows, err := tx.Query(ctx, `select name, stopped_since, waiting, coalesce(reason, '') from parts.writer
		where stopped_since is not null and reported_at > now() - $1::interval order by name`, quiet)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Finding, error) {
		f := Finding{Code: StoreStopped}
		err := row.Scan(&f.Label, &f.At, &f.Waiting, &f.LastError)
		return f, err
	})
}

// readUnreadable reads who sent what cannot be read in the last hour.
func readUnreadable(ctx context.Context, tx pgx.Tx) ([]Stranger, error) {
	rows, err := tx.Query(ctx, `select addr, first_seen, last_seen, datagrams, first_bytes, guess, coalesce(error, '') from unreadable
		where last_seen > now() - interval '1 hour' order by last_seen desc, addr limit $1`, unreadableShown)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (u Stranger, err error) {
		err = row.Scan(&u.Addr, &u.FirstSeen, &u.LastSeen, &u.Datagrams, &u.First, &u.Guess, &u.Reason)
		u.FirstSeen, u.LastSeen = u.FirstSeen.UTC(), u.LastSeen.UTC()
		return u, err
	})
}

// readExporterDetails reads exporter_status, the row of one exporter or, nil, all.
func readExporterDetails(ctx context.Context, tx pgx.Tx, id *int32) (map[flow.ExporterID]*ExporterDetails, error) {
	rows, err := tx.Query(ctx, `select exporter_id, version, first_seen, last_seen, clock_offset_ms, datagrams, records, packets, bytes, templates, sampling_rate,
			no_template, malformed, over_limit, held, recovered, rate_limited, missing_records, missing_datagrams,
			duplicates, restarts, not_sent, ignored, dropped, time_repaired, configured_rate, sampling_override,
			last_start, last_end, coalesce(last_error, ''), last_error_at, source_ports, senders, gateway,
			unexplained, coalesce(numbering, ''), numbering_shared, sampling_at, sampling_provisional, metering_told_at, sending_told_at
		from exporter_status where $1::int is null or exporter_id = $1`, id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := make(map[flow.ExporterID]*ExporterDetails)
	for rows.Next() {
		var (
			d  ExporterDetails
			of int32
		)
		if err := rows.Scan(&of,
			&d.Version, &d.FirstSeen, &d.LastSeen, &d.ClockOffsetMS, &d.Datagrams, &d.Records, &d.Packets, &d.Bytes, &d.Templates, &d.SamplingRate,
			&d.NoTemplate, &d.Malformed, &d.OverLimit, &d.Held, &d.Recovered, &d.RateLimited, &d.MissingRecords, &d.MissingDatagrams,
			&d.Duplicates, &d.Restarts, &d.NotSent, &d.Ignored, &d.Dropped, &d.TimeRepaired, &d.ConfiguredRate, &d.SamplingOverride,
			&d.LastStart, &d.LastEnd, &d.LastError, &d.LastErrorAt, &d.SourcePorts, &d.Senders, &d.Gateway,
			&d.Unexplained, &d.Numbering, &d.NumberingShared, &d.SamplingAt, &d.SamplingProvisional, &d.MeteringToldAt, &d.SendingToldAt); err != nil {
			return nil, err
		}
		d.FirstSeen, d.LastSeen = d.FirstSeen.UTC(), d.LastSeen.UTC()
		for _, t := range []**time.Time{&d.LastStart, &d.LastEnd, &d.LastErrorAt, &d.SamplingAt, &d.MeteringToldAt, &d.SendingToldAt} {
			if *t != nil {
				u := (*t).UTC()
				*t = &u
			}
		}
		all[flow.ExporterID(of)] = &d
	}
	return all, rows.Err()
}
