package console

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/query"
)

// evidence is what a diagnosis judges.
type evidence struct {
	now           time.Time
	known         int64       // exporters
	active        int64       // those of them that sent in the last five minutes
	newest        *time.Time  // when the last batch was stored
	kernelDropped int64       // datagrams that the kernel dropped in the last hour
	loss          []LossTotal // of the last hour, of all units: the exporter's, or nobody's
	size          int64       // bytes of the database when its Keeper looked last
	limit         *int64      // the most bytes it may have, nil for no limit
	limitedBy     *string     // who set limit, or why there is none; nil before a Keeper looked
	stopped       []Finding   // the collectors that cannot store
	// unreadable are those who sent what cannot be read in the last hour, the last
	// first; of the collector as a whole alone.
	unreadable []unreadable

	label  string // of the exporter, as all that follows
	addr   netip.Addr
	domain int64
	words  ExporterWords    // of these, the sampling rate alone
	status *ExporterDetails // nil before the collector's first report

	moved   int64      // flows that got their time of receipt
	movedAt *time.Time // when that was last
}

// unreadable is a row of the table of that name.
type unreadable struct {
	addr      netip.Addr
	lastSeen  time.Time
	datagrams int64
	first     []byte
	guess     string
	reason    string
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
}

// readEvidence reads what there is to judge about an exporter, or about the collector as
// a whole when id is 0.
func readEvidence(ctx context.Context, tx pgx.Tx, id flow.ExporterID) (e evidence, err error) {
	err = tx.QueryRow(ctx, `select now(), (select count(*) from exporters),
			(select count(*) from exporter_status where last_seen > now() - interval '5 minutes'),
			(select max(committed_at) from (select committed_at from batches order by id desc limit 100) b),
			(select coalesce(sum(count), 0)::bigint from loss where cause = 'kernel_buffer' and minute > now() - interval '1 hour')`).
		Scan(&e.now, &e.known, &e.active, &e.newest, &e.kernelDropped)
	if err != nil {
		return e, err
	}
	err = tx.QueryRow(ctx, "select size, size_limit, set_by from parts.retention").Scan(&e.size, &e.limit, &e.limitedBy)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return e, err
	}
	if e.stopped, err = readStopped(ctx, tx); err != nil {
		return e, err
	}
	rows, err := tx.Query(ctx, `select stage, cause, sum(count)::bigint from loss
		where exporter_id = $1 and minute > now() - interval '1 hour' group by 1, 2 order by 1, 2`, int32(id))
	if err != nil {
		return e, err
	}
	e.loss, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (t LossTotal, err error) {
		err = row.Scan(&t.Stage, &t.Cause, &t.Count)
		return t, err
	})
	if err != nil {
		return e, err
	}
	if id == 0 {
		e.unreadable, err = readUnreadable(ctx, tx)
		return e, err
	}
	err = tx.QueryRow(ctx, "select label, addr, observation_domain, sampling_rate, sampling_from, not coalesce(sampling_instead, true) from exporters where id = $1", int32(id)).
		Scan(&e.label, &e.addr, &e.domain, &e.words.SamplingRate, &e.words.SamplingFrom, &e.words.SamplingWhereUnknown)
	if errors.Is(err, pgx.ErrNoRows) {
		return e, &query.Error{Parameter: "exporter", Reason: fmt.Sprintf("there is no exporter %d", id)}
	}
	if err != nil {
		return e, err
	}
	err = tx.QueryRow(ctx, "select records, last_at from parts.moved where exporter_id = $1", int32(id)).Scan(&e.moved, &e.movedAt)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return e, err
	}
	e.status, err = readExporterDetails(ctx, tx, id)
	return e, err
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
func readUnreadable(ctx context.Context, tx pgx.Tx) ([]unreadable, error) {
	rows, err := tx.Query(ctx, `select addr, last_seen, datagrams, first_bytes, guess, coalesce(error, '') from unreadable
		where last_seen > now() - interval '1 hour' order by last_seen desc, addr limit $1`, unreadableShown)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (u unreadable, err error) {
		err = row.Scan(&u.addr, &u.lastSeen, &u.datagrams, &u.first, &u.guess, &u.reason)
		return u, err
	})
}

// readExporterDetails reads a row of exporter_status, nil when there is none.
func readExporterDetails(ctx context.Context, tx pgx.Tx, id flow.ExporterID) (*ExporterDetails, error) {
	var d ExporterDetails
	err := tx.QueryRow(ctx, `select version, first_seen, last_seen, clock_offset_ms, datagrams, records, packets, bytes, templates, sampling_rate,
			no_template, malformed, over_limit, held, recovered, rate_limited, missing_records, missing_datagrams,
			duplicates, restarts, not_sent, ignored, dropped, time_repaired, configured_rate, sampling_override,
			last_start, last_end, coalesce(last_error, ''), last_error_at, source_ports, senders, gateway,
			unexplained, coalesce(numbering, ''), numbering_shared, sampling_at, sampling_provisional
		from exporter_status where exporter_id = $1`, int32(id)).Scan(
		&d.Version, &d.FirstSeen, &d.LastSeen, &d.ClockOffsetMS, &d.Datagrams, &d.Records, &d.Packets, &d.Bytes, &d.Templates, &d.SamplingRate,
		&d.NoTemplate, &d.Malformed, &d.OverLimit, &d.Held, &d.Recovered, &d.RateLimited, &d.MissingRecords, &d.MissingDatagrams,
		&d.Duplicates, &d.Restarts, &d.NotSent, &d.Ignored, &d.Dropped, &d.TimeRepaired, &d.ConfiguredRate, &d.SamplingOverride,
		&d.LastStart, &d.LastEnd, &d.LastError, &d.LastErrorAt, &d.SourcePorts, &d.Senders, &d.Gateway,
		&d.Unexplained, &d.Numbering, &d.NumberingShared, &d.SamplingAt, &d.SamplingProvisional)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d.FirstSeen, d.LastSeen = d.FirstSeen.UTC(), d.LastSeen.UTC()
	for _, t := range []**time.Time{&d.LastStart, &d.LastEnd, &d.LastErrorAt, &d.SamplingAt} {
		if *t != nil {
			u := (*t).UTC()
			*t = &u
		}
	}
	return &d, nil
}
