package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
)

// sequenceAge is how long a session that is silent is remembered.
const sequenceAge = 7 * 24 * time.Hour

// session is what a sequence number belongs to.
type session struct {
	flow.Exporter
	port, version uint16
}

func sessionOf(q *flow.Sequence) session {
	return session{Exporter: q.Exporter, port: q.Port, version: q.Version}
}

func compareSessions(a, b session) int {
	return cmp.Or(bytes.Compare(a.Addr[:], b.Addr[:]), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.port, b.port), cmp.Compare(a.version, b.version))
}

// newest leaves one of each session, the one received last, in a fixed order.
func newest(sequences []flow.Sequence) []flow.Sequence {
	last := make(map[session]flow.Sequence, len(sequences))
	for i := range sequences {
		q := &sequences[i]
		if old, ok := last[sessionOf(q)]; !ok || q.At >= old.At {
			last[sessionOf(q)] = *q
		}
	}
	out := make([]flow.Sequence, 0, len(last))
	for _, q := range last {
		out = append(out, q)
	}
	slices.SortFunc(out, func(a, b flow.Sequence) int { return compareSessions(sessionOf(&a), sessionOf(&b)) })
	return out
}

// putSequences stores where sessions stand, unless what is stored is newer. In
// one order, two writers lock the same rows in the same order.
func putSequences(ctx context.Context, tx pgx.Tx, sequences []flow.Sequence) error {
	if len(sequences) == 0 {
		return nil
	}
	var (
		sorted         = newest(sequences)
		addrs          = make([]netip.Addr, len(sorted))
		domains, nexts = make([]int64, len(sorted)), make([]int64, len(sorted))
		ports, version = make([]int32, len(sorted)), make([]int32, len(sorted))
		ats            = make([]time.Time, len(sorted))
	)
	for i, q := range sorted {
		addrs[i], domains[i], ports[i], version[i] = q.Addr.Netip(), int64(q.Domain), int32(q.Port), int32(q.Version)
		nexts[i], ats[i] = int64(q.Next), q.At.Time()
	}
	_, err := tx.Exec(ctx, `insert into parts.sequence as s (addr, observation_domain, port, version, next, at)
		select * from unnest($1::inet[], $2::bigint[], $3::int[], $4::int[], $5::bigint[], $6::timestamptz[])
		on conflict (addr, port, observation_domain, version) do update set next = excluded.next, at = excluded.at where s.at <= excluded.at`,
		addrs, domains, ports, version, nexts, ats)
	return err
}

// Sequences returns where each export session stood with the last of its batches
// that is durable, in the database or in the spool. Sessions that were silent for
// a week are forgotten. With an error, what the spool knows is returned.
func (w *Writer) Sequences(ctx context.Context) ([]flow.Sequence, error) {
	var all []flow.Sequence
	if w.spool != nil {
		all = w.spool.sequences()
	}
	if _, err := w.db.pool.Exec(ctx, "delete from parts.sequence where at < $1", time.Now().Add(-sequenceAge)); err != nil {
		return newest(all), fmt.Errorf("store: sequences: %w", err)
	}
	rows, err := w.db.pool.Query(ctx, "select addr, observation_domain, port, version, next, at from parts.sequence")
	if err != nil {
		return newest(all), fmt.Errorf("store: sequences: %w", err)
	}
	var (
		addr          netip.Addr
		domain, next  int64
		port, version int32
		at            time.Time
	)
	if _, err := pgx.ForEachRow(rows, []any{&addr, &domain, &port, &version, &next, &at}, func() error {
		all = append(all, flow.Sequence{
			Exporter: flow.Exporter{Addr: flow.AddrFrom(addr), Domain: uint32(domain)},
			Port:     uint16(port), Version: uint16(version), Next: uint32(next), At: flow.TimeOf(at),
		})
		return nil
	}); err != nil {
		return newest(all), fmt.Errorf("store: sequences: %w", err)
	}
	return newest(all), nil
}

// sequences returns what the files that wait say.
func (s *spool) sequences() (all []flow.Sequence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		all = append(all, e.header.sequences()...)
	}
	return all
}
