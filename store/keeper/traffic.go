package keeper

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/store"
	"flowtally/store/rollup"
	"flowtally/store/row"
)

// ensureTraffic makes the partitions that the buckets need.
func ensureTraffic(ctx context.Context, tx pgx.Tx, g rollup.Grain, buckets []flow.Time) error {
	type period struct{ from, to flow.Time }
	wanted := make(map[string]period)
	for _, b := range buckets {
		from, to, name := g.Period(b)
		wanted[name] = period{from, to}
	}
	names := make([]string, 0, len(wanted))
	for name := range wanted {
		names = append(names, name)
	}
	if _, err := tx.Exec(ctx, "update parts.traffic set changed_at = now() where name = any($1) and changed_at < now() - interval '1 hour'", names); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, "select name from parts.traffic where name = any($1)", names)
	if err != nil {
		return err
	}
	there, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, name := range there {
		delete(wanted, name)
	}
	if len(wanted) == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, "set local lock_timeout = '5s'"); err != nil {
		return err
	}
	const form = "2006-01-02 15:04:05+00"
	for name, p := range wanted {
		switch busy, err := store.SetAside(ctx, tx, name); {
		case err != nil:
			return err
		case busy:
			return fmt.Errorf("%s is being removed", name)
		}
		from, to := p.from.Time().Format(form), p.to.Time().Format(form)
		for _, statement := range []string{
			fmt.Sprintf("create table parts.%s (like parts.%s including defaults including constraints including storage including indexes, constraint period check (bucket >= '%s' and bucket < '%s'))", name, rollup.Grains[g].Table, from, to),
			fmt.Sprintf("alter table parts.%s owner to %s", name, store.RoleWriter),
			fmt.Sprintf("alter table parts.%s attach partition parts.%s for values from ('%s') to ('%s')", rollup.Grains[g].Table, name, from, to),
			fmt.Sprintf("alter table parts.%s drop constraint period", name),
		} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		if _, err := tx.Exec(ctx, "insert into parts.traffic (name, grain, from_time, to_time) values ($1, $2, $3, $4)", name, int16(g), p.from.Time(), p.to.Time()); err != nil {
			return err
		}
	}
	return nil
}

// trafficColumns are the columns that appendTraffic writes, in its order.
const trafficColumns = "bucket, flows, packets, bytes, number, exporter_id, dimension, sampling_rate, part, protocol, remainder, addr, addr2, cut"

// appendTraffic appends the rows of a bucket in binary COPY form. part 0 is none.
func appendTraffic(b []byte, s *rollup.Summary, bucket flow.Time, part int32) []byte {
	row := func(e *rollup.Entry, rest bool, cut *rollup.Sums) {
		b = binary.BigEndian.AppendUint16(b, 14)
		b = row.AppendTime(b, bucket)
		for _, v := range e.Sums {
			b = row.AppendInt8(b, v)
		}
		if e.Form == rollup.Number && !rest {
			b = row.AppendInt8(b, binary.BigEndian.Uint64(e.Addr[8:]))
		} else {
			b = row.AppendNull(b)
		}
		c := s.Cells[e.Cell]
		b = row.AppendInt4(b, uint32(c.Exporter))
		name := rollup.DimensionNames[e.Dimension]
		b = binary.BigEndian.AppendUint32(b, uint32(len(name)))
		b = append(b, name...)
		b = row.AppendInt4NotZero(b, uint32(c.Rate))
		b = row.AppendInt4NotZero(b, uint32(part))
		b = row.AppendInt2(b, uint16(c.Protocol))
		b = append(b, 0, 0, 0, 1, 0)
		if rest {
			b[len(b)-1] = 1
		}
		addr := func(a *flow.Addr, there bool) {
			switch {
			case there && e.Form == rollup.IPv4:
				b = row.AppendInet4(b, a)
			case there && e.Form == rollup.IPv6:
				b = row.AppendInet6(b, a)
			default:
				b = row.AppendNull(b)
			}
		}
		addr(&e.Addr, !rest)
		addr(&e.Addr2, !rest && e.Dimension == rollup.DimPair)
		if cut == nil {
			b = row.AppendNull(b)
			return
		}
		// One dimension, no nulls, of bigint; its length, and that it counts from 1.
		b = binary.BigEndian.AppendUint32(b, 5*4+3*12)
		for _, v := range []uint32{1, 0, 20, 3, 1} {
			b = binary.BigEndian.AppendUint32(b, v)
		}
		for _, v := range cut {
			b = row.AppendInt8(b, v)
		}
	}
	for _, i := range s.Sorted() {
		var cut *rollup.Sums
		if slack := s.Bound(i); slack != (rollup.Sums{}) {
			cut = &slack
		}
		row(&s.Entries[i], false, cut)
	}
	for p, r := range s.Remainders {
		row(&rollup.Entry{Value: rollup.Value{Cell: p.Cell, Dimension: p.Dimension}, Sums: r.Sums}, true, &r.Cut)
	}
	return b
}

// copyTraffic stores rows that appendTraffic made.
func copyTraffic(ctx context.Context, tx pgx.Tx, g rollup.Grain, rows []byte) error {
	if len(rows) == 0 {
		return nil
	}
	all := append([]byte(row.CopyHeader), rows...)
	all = append(all, row.CopyTrailer...)
	_, err := tx.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(all), "copy parts."+rollup.Grains[g].Table+" ("+trafficColumns+") from stdin binary")
	return err
}

// allDimensions makes the index by dimension and bucket usable for a bucket.
const allDimensions = "dimension = any(enum_range(null::traffic_dimension))"

// readTraffic reads the rows of a bucket that was settled.
func readTraffic(ctx context.Context, tx pgx.Tx, g rollup.Grain, bucket flow.Time) (*rollup.Summary, error) {
	rows, err := tx.Query(ctx, "select array_position(enum_range(null::traffic_dimension), dimension) - 1, exporter_id, coalesce(sampling_rate, 0), protocol, remainder, addr, addr2, number, flows, packets, bytes, cut from parts."+
		rollup.Grains[g].Table+" where bucket = $1 and "+allDimensions+" and part is null", bucket.Time())
	if err != nil {
		return nil, err
	}
	s := rollup.NewSummary()
	var (
		dim                   int32
		c                     rollup.Cell
		rest                  bool
		a, b                  *netip.Prefix
		number                *int64
		flows, packets, bytes int64
		cut                   []int64
	)
	_, err = pgx.ForEachRow(rows, []any{&dim, &c.Exporter, &c.Rate, &c.Protocol, &rest, &a, &b, &number, &flows, &packets, &bytes, &cut}, func() error {
		var most rollup.Sums
		for i := range most {
			if i < len(cut) {
				most[i] = uint64(cut[i])
			}
		}
		v := rollup.Value{Cell: s.CellIndex(c), Dimension: rollup.Dimension(dim)}
		sums := rollup.Sums{uint64(flows), uint64(packets), uint64(bytes)}
		if rest {
			r := s.Remainders[rollup.RemainderKey{Cell: v.Cell, Dimension: v.Dimension}]
			r.Sums.Add(&sums)
			r.Cut.Add(&most)
			s.Remainders[rollup.RemainderKey{Cell: v.Cell, Dimension: v.Dimension}] = r
			return nil
		}
		set := func(to *flow.Addr, p *netip.Prefix) {
			if p == nil {
				return
			}
			v.Form = rollup.IPv6
			if p.Addr().Is4() {
				v.Form = rollup.IPv4
			}
			*to = flow.Addr(p.Addr().As16())
		}
		set(&v.Addr, a)
		set(&v.Addr2, b)
		if number != nil {
			v.Form = rollup.Number
			binary.BigEndian.PutUint64(v.Addr[8:], uint64(*number))
		}
		s.AddBound(s.Add(&v, &sums), most)
		return nil
	})
	return s, err
}
