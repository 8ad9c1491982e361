package ingest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"flowtally/flow"
	"flowtally/store"
	"flowtally/store/row"
)

// identities are the exporters that this Writer refuses because another exporter has their
// identifier. Which are stored, the database is asked each time: it may have been made anew
// or restored, or somebody may have forgotten one.
type identities struct {
	sync.Mutex
	refused map[flow.Exporter]bool
}

// Report replaces what is stored of the exporters and their interfaces, and adds losses to
// the ledger. It also makes the partitions of this hour and the next, so that no Write has
// to wait for that. It stores all of the report, or nothing and returns an error; then the
// report may be made again.
//
// Report refuses an exporter whose identifier another one has: it logs and counts that
// once, and leaves out the status. That is no error. The records of the exporter are stored
// all the same, under the identifier that both have.
func (w *Writer) Report(ctx context.Context, r flow.Report) error {
	conn, err := w.db.Pool().Acquire(ctx)
	if err != nil {
		return fmt.Errorf("store: report: %w", err)
	}
	defer conn.Release()
	if err := w.db.Ready(ctx); err != nil {
		return fmt.Errorf("store: report: %w", err)
	}
	// What is reported has nothing to do with the partitions, and may say why they cannot be
	// made.
	if err := w.makeAhead(ctx, conn.Conn()); err == nil {
		w.noAhead.Store(false)
	} else if !w.noAhead.Swap(true) {
		w.log.Warn("cannot make the partitions of this hour and the next; retrying", "error", err)
	}
	if len(r.Status) == 0 && len(r.Loss) == 0 && len(r.Interfaces) == 0 && len(r.Sequences) == 0 && len(r.Unreadable) == 0 {
		return nil
	}
	xid, err := w.report(ctx, conn.Conn(), r)
	if err == nil {
		return nil
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); xid == "" || ok && pg.SeverityUnlocalized == "ERROR" {
		return fmt.Errorf("store: report: %w", err)
	}
	// The answer to the commit was lost; at best we heard that the session ended. Losses
	// must not be added twice, so ask whether it took place. The pool may have room for
	// one connection only.
	conn.Release()
	committed, asked := w.committed(ctx, xid)
	if asked != nil {
		return fmt.Errorf("store: report: %w", errors.Join(err, asked))
	}
	if !committed {
		return fmt.Errorf("store: report: %w", err)
	}
	return nil
}

// makeAhead makes the partitions of this hour and the next. Their names are in what it
// knows; that they are still there, the transactions that write find out.
func (w *Writer) makeAhead(ctx context.Context, conn *pgx.Conn) error {
	hour := flow.TimeOf(time.Now()).Floor(flow.Hour)
	_, err := w.partitions.Ensure(ctx, conn, []store.Wanted{{Hour: hour}, {Hour: hour + flow.Hour}}, hour, hour+flow.Hour)
	return err
}

// report stores a report in one transaction. It returns the identifier of the transaction
// from when the commit was sent.
func (w *Writer) report(ctx context.Context, conn *pgx.Conn, r flow.Report) (xid string, err error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	status, err := w.identify(ctx, tx, r.Status)
	if err != nil {
		return "", err
	}
	if err := putStatus(ctx, tx, status); err != nil {
		return "", fmt.Errorf("exporter_status: %w", err)
	}
	gaps, err := putSequences(ctx, tx, r.Sequences, false)
	if err != nil {
		return "", fmt.Errorf("sequence: %w", err)
	}
	if err := addLoss(ctx, tx, slices.Concat(r.Loss, gaps)); err != nil {
		return "", fmt.Errorf("loss: %w", err)
	}
	if err := putInterfaces(ctx, tx, r.Interfaces); err != nil {
		return "", fmt.Errorf("interfaces: %w", err)
	}
	if err := w.putState(ctx, tx); err != nil {
		return "", fmt.Errorf("state: %w", err)
	}
	if err := putUnreadable(ctx, tx, r.Unreadable); err != nil {
		return "", fmt.Errorf("unreadable: %w", err)
	}
	if err := tx.QueryRow(ctx, "select coalesce(pg_current_xact_id_if_assigned()::text, '')").Scan(&xid); err != nil {
		return "", err
	}
	if w.beforeCommit != nil {
		w.beforeCommit(conn)
	}
	commit, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	if err := tx.Commit(commit); err != nil {
		return xid, err
	}
	return xid, nil
}

// committed asks the database whether a transaction was committed.
func (w *Writer) committed(ctx context.Context, xid string) (bool, error) {
	for {
		var state *string
		if err := w.db.Pool().QueryRow(ctx, "select pg_xact_status($1::text::xid8)", xid).Scan(&state); err != nil {
			return false, err
		}
		if state == nil || *state != "in progress" {
			return state != nil && *state == "committed", nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// identify stores the identities that are not stored. It returns the status of those
// exporters that own their identifier.
func (w *Writer) identify(ctx context.Context, tx pgx.Tx, status []flow.ExporterStatus) (accepted []flow.ExporterStatus, err error) {
	if len(status) == 0 {
		return nil, nil
	}
	holders, err := holdersOf(ctx, tx, status)
	if err != nil {
		return nil, err
	}
	if len(holders) < len(status) {
		if err := store.LockLabels(ctx, tx); err != nil {
			return nil, fmt.Errorf("exporters: %w", err)
		}
		var b pgx.Batch
		for i := range status {
			if s := &status[i]; holders[s.Exporter.ID()].Exporter == (flow.Exporter{}) {
				b.Queue(`insert into parts.exporter (id, addr, observation_domain, first_seen, listener_name, announced_name, dns_name)
					values ($1, $2, $3, $4, nullif($5, ''), nullif($6, ''), nullif($7, '')) on conflict do nothing`,
					int32(s.Exporter.ID()), s.Addr.Netip(), int64(s.Domain), s.FirstSeen.Time(), s.Listener, s.Announced, s.DNS)
			}
		}
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return nil, fmt.Errorf("exporters: %w", err)
		}
		if holders, err = holdersOf(ctx, tx, status); err != nil {
			return nil, err
		}
	}
	if err := rename(ctx, tx, status, holders); err != nil {
		return nil, fmt.Errorf("exporters: %w", err)
	}
	w.exporters.Lock()
	defer w.exporters.Unlock()
	accepted = make([]flow.ExporterStatus, 0, len(status))
	for i := range status {
		s := &status[i]
		holder := holders[s.Exporter.ID()]
		if holder.Exporter == s.Exporter {
			w.past.name(s.Exporter.ID(), s.Addr.String())
			accepted = append(accepted, *s)
			continue
		}
		if w.exporters.refused[s.Exporter] {
			continue
		}
		if w.exporters.refused == nil {
			w.exporters.refused = make(map[flow.Exporter]bool)
		}
		w.exporters.refused[s.Exporter] = true
		w.metrics.exporterClash.Inc()
		w.log.Error("refused an exporter because another one has its identifier: give it another address or observation domain",
			"exporter", s.Addr.String(), "domain", s.Domain, "id", int32(s.Exporter.ID()), "holder", holder.Addr.String(), "holder_domain", holder.Domain)
	}
	return accepted, nil
}

// renamedAtOnce is how many exporters a report renames: thousands that are called otherwise
// in each message must not hold up what else it says.
const renamedAtOnce = 256

// holder is who has an identifier, and what it is called when nobody names it.
type holder struct {
	flow.Exporter
	flow.Names
}

// holdersOf returns the exporters that have the identifiers of some.
func holdersOf(ctx context.Context, tx pgx.Tx, status []flow.ExporterStatus) (map[flow.ExporterID]holder, error) {
	ids := make([]int32, len(status))
	for i := range status {
		ids[i] = int32(status[i].Exporter.ID())
	}
	rows, err := tx.Query(ctx, `select id, addr, observation_domain, coalesce(listener_name, ''), coalesce(announced_name, ''), coalesce(dns_name, '')
		from parts.exporter where id = any($1)`, ids)
	if err != nil {
		return nil, fmt.Errorf("exporters: %w", err)
	}
	var (
		id      int32
		addr    netip.Addr
		domain  int64
		names   flow.Names
		holders = make(map[flow.ExporterID]holder, len(status))
	)
	if _, err := pgx.ForEachRow(rows, []any{&id, &addr, &domain, &names.Listener, &names.Announced, &names.DNS}, func() error {
		holders[flow.ExporterID(id)] = holder{flow.Exporter{Addr: flow.AddrFrom(addr), Domain: uint32(domain)}, names}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("exporters: %w", err)
	}
	return holders, nil
}

// rename stores what exporters are called now. What one announced, and what DNS said, holds
// until something else is said: after a start of the collector it is not known at once. Of
// more than renamedAtOnce the others are renamed with a later report of theirs.
func rename(ctx context.Context, tx pgx.Tx, status []flow.ExporterStatus, holders map[flow.ExporterID]holder) error {
	var b pgx.Batch
	for i := range status {
		s := &status[i]
		h := holders[s.Exporter.ID()]
		names := flow.Names{Listener: s.Listener, Announced: cmp.Or(s.Announced, h.Announced), DNS: cmp.Or(s.DNS, h.DNS)}
		if h.Exporter == s.Exporter && h.Names != names && b.Len() < renamedAtOnce {
			b.Queue("update parts.exporter set listener_name = nullif($2, ''), announced_name = nullif($3, ''), dns_name = nullif($4, '') where id = $1",
				int32(s.Exporter.ID()), names.Listener, names.Announced, names.DNS)
		}
	}
	if b.Len() == 0 {
		return nil
	}
	if err := store.LockLabels(ctx, tx); err != nil {
		return err
	}
	return tx.SendBatch(ctx, &b).Close()
}

// statusColumns are those of exporter_status that putStatus replaces, in the
// order of statusValues.
const statusColumns = `exporter_id, version, first_seen, last_seen, updated_at, clock_offset_ms,
	datagrams, records, packets, bytes, templates, sampling_rate,
	no_template, malformed, over_limit, held, recovered, rate_limited,
	missing_records, missing_datagrams, duplicates, restarts, not_sent, ignored, dropped, time_repaired,
	configured_rate, sampling_override, last_start, last_end, last_error, last_error_at, source_ports, senders, gateway,
	unexplained, numbering, numbering_shared, sampling_at, sampling_provisional`

// putStatusSQL is the statement that replaces one row of exporter_status.
var putStatusSQL = func() string {
	columns := strings.Fields(strings.ReplaceAll(statusColumns, ",", " "))
	values, sets := make([]string, len(columns)), make([]string, 0, len(columns))
	n := 0
	for i, c := range columns {
		if c == "updated_at" {
			values[i] = "clock_timestamp()"
		} else {
			n++
			values[i] = "$" + strconv.Itoa(n)
		}
		if i > 0 {
			set := "excluded." + c
			if c == "last_error" || c == "last_error_at" { // an earlier run's stays
				set = "coalesce(" + set + ", exporter_status." + c + ")"
			}
			sets = append(sets, c+" = "+set)
		}
	}
	return "insert into public.exporter_status (" + strings.Join(columns, ", ") + ") values (" + strings.Join(values, ", ") +
		") on conflict (exporter_id) do update set " + strings.Join(sets, ", ")
}()

// statusValues are the parameters of putStatusSQL.
func statusValues(s *flow.ExporterStatus) []any {
	unlessZero := func(t flow.Time) *time.Time {
		if t == 0 {
			return nil
		}
		v := t.Time()
		return &v
	}
	rate := func(n uint32) *int64 {
		if n == 0 {
			return nil
		}
		v := int64(n)
		return &v
	}
	text := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	return []any{
		int32(s.Exporter.ID()), int32(s.Version), s.FirstSeen.Time(), s.LastSeen.Time(), int64(s.ClockOffset),
		bigint(s.Datagrams), bigint(s.Records), bigint(s.Packets), bigint(s.Bytes), bigint(s.Templates), rate(s.SamplingRate),
		bigint(s.NoTemplate), bigint(s.Malformed), bigint(s.OverLimit), bigint(s.Held), bigint(s.Recovered), bigint(s.RateLimited),
		bigint(s.MissingRecords), bigint(s.MissingDatagrams), bigint(s.Duplicates), bigint(s.Restarts),
		bigint(s.NotSent), bigint(s.Ignored), bigint(s.Dropped), bigint(s.TimeRepaired),
		rate(s.ConfiguredRate), s.SamplingOverride, unlessZero(s.LastStart), unlessZero(s.LastEnd), text(s.LastError), unlessZero(s.LastErrorAt),
		int32(s.SourcePorts), int32(s.Senders), s.Gateway,
		bigint(s.Unexplained), text(s.Numbering.String()), s.NumberingShared, unlessZero(s.SamplingAt), s.SamplingProvisional,
	}
}

// putStatus replaces the status of exporters.
func putStatus(ctx context.Context, tx pgx.Tx, status []flow.ExporterStatus) error {
	if len(status) == 0 {
		return nil
	}
	var b pgx.Batch
	for i := range status {
		b.Queue(putStatusSQL, statusValues(&status[i])...)
	}
	return tx.SendBatch(ctx, &b).Close()
}

// putInterfaces replaces what is stored of interfaces. A field that a record does not have
// keeps its value.
func putInterfaces(ctx context.Context, tx pgx.Tx, list []flow.Interface) error {
	if len(list) == 0 {
		return nil
	}
	// The order makes two collectors lock the same rows in the same order.
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b flow.Interface) int {
		return cmp.Or(cmp.Compare(a.Exporter, b.Exporter), cmp.Compare(a.Index, b.Index))
	})
	var b pgx.Batch
	for i := range list {
		x := &list[i]
		b.Queue(`insert into public.interfaces as i (exporter_id, if_index, speed, announced, description)
			values ($1, $2, nullif($3::bigint, 0), nullif($4, ''), nullif($5, ''))
			on conflict (exporter_id, if_index) do update set updated_at = now(), speed = coalesce(excluded.speed, i.speed),
				announced = coalesce(excluded.announced, i.announced), description = coalesce(excluded.description, i.description)`,
			int32(x.Exporter), int64(x.Index), bigint(x.Speed), row.Text(x.Name), row.Text(x.Description))
	}
	return tx.SendBatch(ctx, &b).Close()
}

// unreadableAge is how long it is remembered who sent what cannot be read, and
// unreadableMost of how many.
const (
	unreadableAge  = "7 days"
	unreadableMost = 1000
)

// putUnreadable replaces what is known of those who send what cannot be read.
func putUnreadable(ctx context.Context, tx pgx.Tx, list []flow.Unreadable) error {
	if len(list) == 0 {
		return nil
	}
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b flow.Unreadable) int { return bytes.Compare(a.Addr[:], b.Addr[:]) })
	var b pgx.Batch
	for i := range list {
		x := &list[i]
		b.Queue(`insert into public.unreadable as u (addr, first_seen, last_seen, datagrams, first_bytes, guess, error)
			values ($1, $2, $3, $4, coalesce($5::bytea, ''), $6, nullif($7, ''))
			on conflict (addr) do update set first_seen = least(u.first_seen, excluded.first_seen), last_seen = excluded.last_seen,
				datagrams = excluded.datagrams, first_bytes = excluded.first_bytes, guess = excluded.guess, error = coalesce(excluded.error, u.error)`,
			x.Addr.Netip(), x.FirstSeen.Time(), x.LastSeen.Time(), bigint(x.Datagrams), x.First, row.Text(x.Guess), row.Text(x.Error))
	}
	b.Queue("delete from public.unreadable where last_seen < now() - interval '" + unreadableAge + `'
		or addr in (select addr from public.unreadable order by last_seen desc offset ` + strconv.Itoa(unreadableMost) + ")")
	return tx.SendBatch(ctx, &b).Close()
}

// addLoss adds to the ledger, the table loss.
func addLoss(ctx context.Context, tx pgx.Tx, loss []flow.Loss) error {
	if len(loss) == 0 {
		return nil
	}
	var b pgx.Batch
	for i := range loss {
		l := &loss[i]
		// A sum that does not fit becomes the largest bigint.
		b.Queue(`insert into public.loss as o (minute, exporter_id, stage, cause, unit, count) values ($1, $2, $3, $4, $5, $6)
			on conflict (minute, exporter_id, stage, cause, unit)
			do update set count = o.count + least(excluded.count, 9223372036854775807 - o.count)`,
			l.Minute.Floor(flow.Minute).Time(), int32(l.Exporter), l.Stage, l.Cause, l.Unit, bigint(l.Count))
	}
	return tx.SendBatch(ctx, &b).Close()
}

// bigint returns v, or the largest bigint.
func bigint(v uint64) int64 {
	return int64(min(v, math.MaxInt64))
}
