package ingest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
)

// sequenceAge is how long the database remembers a session that is silent.
const sequenceAge = 7 * 24 * time.Hour

// session is an export session: sequence numbers count its records or datagrams.
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

// newest returns of each session the sequence number received last, in a fixed order.
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

// putSequences stores sequence numbers, unless those in the database are newer. It returns
// losses to store with them: the gaps before sessions that began blind. The rows are sorted
// so that two Writers lock them in the same order.
//
// check says that the batch is of an earlier run, and that nobody has compared the
// sequence numbers of that run with those in the database.
func putSequences(ctx context.Context, tx pgx.Tx, sequences []flow.Sequence, check bool) (gaps []flow.Loss, err error) {
	if len(sequences) == 0 {
		return nil, nil
	}
	var (
		sorted         = newest(sequences)
		addrs          = make([]netip.Addr, len(sorted))
		domains, nexts = make([]int64, len(sorted)), make([]int64, len(sorted))
		ports, version = make([]int32, len(sorted)), make([]int32, len(sorted))
		ats            = make([]time.Time, len(sorted))
		holes, epochs  = make([]string, len(sorted)), make([]int64, len(sorted))
		numbering      = make([]int32, len(sorted))
		rates, members = make([]int64, len(sorted)), make([]bool, len(sorted))
	)
	for i := range sorted {
		q := &sorted[i]
		if (q.Blind || check) && !q.Member {
			if gaps, err = blindGaps(ctx, tx, q, check, gaps); err != nil {
				return nil, err
			}
		}
		addrs[i], domains[i], ports[i], version[i] = q.Addr.Netip(), int64(q.Domain), int32(q.Port), int32(q.Version)
		nexts[i], ats[i], holes[i], epochs[i] = int64(q.Next), q.At.Time(), holeText(q.Holes), q.Epoch
		numbering[i], rates[i], members[i] = int32(q.Numbering), int64(q.Rate), q.Member
	}
	_, err = tx.Exec(ctx, `insert into parts.sequence as s (addr, observation_domain, port, version, next, at, holes, epoch, numbering, rate, member)
		select addr, observation_domain, port, version, next, at, holes::bigint[], epoch, numbering, rate, member
		from unnest($1::inet[], $2::bigint[], $3::int[], $4::int[], $5::bigint[], $6::timestamptz[], $7::text[], $8::bigint[], $9::int[], $10::bigint[], $11::boolean[])
			as n (addr, observation_domain, port, version, next, at, holes, epoch, numbering, rate, member)
		on conflict (addr, port, observation_domain, version) do update
		set next = excluded.next, at = excluded.at, holes = excluded.holes, epoch = excluded.epoch,
			numbering = excluded.numbering, rate = excluded.rate, member = excluded.member
		where s.at < excluded.at or s.at = excluded.at and (excluded.next - s.next) & 4294967295 < 2147483648`,
		addrs, domains, ports, version, nexts, ats, holes, epochs, numbering, rates, members)
	return gaps, err
}

// blindGaps adds what is missing between where an earlier run left the session and where
// this run, which did not know that, began.
func blindGaps(ctx context.Context, tx pgx.Tx, q *flow.Sequence, check bool, gaps []flow.Loss) ([]flow.Loss, error) {
	var (
		next, epoch int64
		at          time.Time
		holes       []int64
	)
	err := tx.QueryRow(ctx, `select next, at, holes, epoch from parts.sequence
		where addr = $1 and port = $2 and observation_domain = $3 and version = $4 for update`,
		q.Addr.Netip(), int32(q.Port), int64(q.Domain), int32(q.Version)).Scan(&next, &at, &holes, &epoch)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && (epoch == q.Epoch && !check || flow.TimeOf(at) > q.At) {
		return gaps, nil
	}
	if err != nil {
		return nil, err
	}
	before := flow.Sequence{Next: uint32(next), At: flow.TimeOf(at), Holes: holesOf(holes), Epoch: epoch}
	n := uint64(0)
	for _, h := range follow(before, *q).Holes {
		if !slices.Contains(q.Holes, h) {
			n += h.Len()
		}
	}
	if n > 0 {
		gaps = append(gaps, missing(q, n))
	}
	return gaps, nil
}

// missing returns the loss of n records or datagrams of a session between exporter and
// collector.
func missing(q *flow.Sequence, n uint64) flow.Loss {
	unit := "record"
	if q.Numbering.Messages() || q.Numbering == flow.NumberingUnknown && q.Version == 9 {
		unit = "datagram"
	}
	return flow.Loss{Minute: q.At.Floor(flow.Minute), Exporter: q.Exporter.ID(), Stage: "way", Cause: "missing", Unit: unit, Count: n}
}

// holeText writes holes as an array of PostgreSQL.
func holeText(holes []flow.Hole) string {
	b := []byte{'{'}
	for i, h := range holes {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(h.From), 10)
		b = append(b, ',')
		b = strconv.AppendUint(b, uint64(h.To), 10)
	}
	return string(append(b, '}'))
}

// holesOf reads the holes that holeText wrote.
func holesOf(list []int64) (holes []flow.Hole) {
	for ; len(list) >= 2; list = list[2:] {
		holes = append(holes, flow.Hole{From: uint32(list[0]), To: uint32(list[1])})
	}
	return holes
}

// follow returns where a session stands after a durable batch with q, when it stood at s
// before. Where q does not begin where s ended, a batch between them was lost: its numbers
// are missing, and so is what it filled of the holes that were open before it.
func follow(s, q flow.Sequence) flow.Sequence {
	if q.Member {
		return q // the numbers are another session's
	}
	if q.At < s.At || q.At == s.At && int32(q.Next-s.Next) < 0 {
		return s // q is older, and stored
	}
	from := q.From
	if q.Epoch != s.Epoch {
		if !q.Blind {
			return q
		}
		from = q.Base
	}
	gap, missing := flow.Gap(s.Next, from, q.At-s.At)
	if !missing && q.Epoch == s.Epoch {
		return q
	}
	known := q.Holes
	q.Holes = nil
	for _, h := range s.Holes {
		// A blind run may have seen holes that lie behind its begin.
		if !slices.Contains(known, h) && (missing || int32(h.To-from) <= 0) {
			q.Holes = append(q.Holes, h)
		}
	}
	if missing {
		q.Holes = append(q.Holes, gap)
	}
	q.Holes = append(q.Holes, known...)
	return q
}

// Sequences returns where each export session stood with the last of its batches
// that is durable, in the database or in the spool. Sessions that were silent for
// a week are forgotten. When the database does not answer, Sequences returns the error and
// what the spool knows, from Base on: what is missing before that is counted when these
// batches, or Blind ones, are stored. Call it before the first Write.
func (w *Writer) Sequences(ctx context.Context) ([]flow.Sequence, error) {
	all, err := w.storedSequences(ctx)
	w.blind.Store(err != nil)
	standing := make(map[session]flow.Sequence, len(all))
	for _, q := range all {
		standing[sessionOf(&q)] = q
	}
	if w.spool != nil {
		spooled := w.spool.sequences()
		slices.SortStableFunc(spooled, func(a, b flow.Sequence) int { return cmp.Compare(a.At, b.At) })
		for _, q := range spooled {
			if s, ok := standing[sessionOf(&q)]; ok {
				base := s.Base
				if q = follow(s, q); err != nil {
					q.Base = base
				}
			} else if err != nil {
				q.Base = q.From // the database may know more about the numbers before
			}
			standing[sessionOf(&q)] = q
		}
	}
	return newest(slices.Collect(maps.Values(standing))), err
}

// storedSequences returns the sequence numbers in the database.
func (w *Writer) storedSequences(ctx context.Context) (all []flow.Sequence, err error) {
	if _, err := w.db.Pool().Exec(ctx, "delete from parts.sequence where at < $1", time.Now().Add(-sequenceAge)); err != nil {
		return nil, fmt.Errorf("store: sequences: %w", err)
	}
	rows, err := w.db.Pool().Query(ctx, "select addr, observation_domain, port, version, next, at, holes, epoch, numbering, rate, member from parts.sequence")
	if err != nil {
		return nil, fmt.Errorf("store: sequences: %w", err)
	}
	var (
		addr                netip.Addr
		domain, next, epoch int64
		port, version       int32
		at                  time.Time
		holes               []int64
		numbering           int16
		rate                int64
		member              bool
	)
	if _, err := pgx.ForEachRow(rows, []any{&addr, &domain, &port, &version, &next, &at, &holes, &epoch, &numbering, &rate, &member}, func() error {
		all = append(all, flow.Sequence{
			Exporter: flow.Exporter{Addr: flow.AddrFrom(addr), Domain: uint32(domain)},
			Port:     uint16(port), Version: uint16(version), From: uint32(next), Next: uint32(next), Holes: holesOf(holes), Epoch: epoch, At: flow.TimeOf(at),
			Numbering: flow.Numbering(numbering), Rate: uint32(min(rate, math.MaxUint32)), Member: member,
		})
		return nil
	}); err != nil {
		return nil, fmt.Errorf("store: sequences: %w", err)
	}
	return all, nil
}

// sequences returns the sequence numbers in the files that wait.
func (s *spool) sequences() (all []flow.Sequence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		all = append(all, e.header.sequences()...)
	}
	return all
}
