package keeper

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/store"
	"flowtally/store/rollup"
	"flowtally/store/row"
)

// ensureTraffic makes the partitions of a roll-up that the buckets, which are in order, need.
// Now says how old these are.
func ensureTraffic(ctx context.Context, tx pgx.Tx, g rollup.Grain, buckets []flow.Time, now flow.Time) error {
	there, err := trafficPartitions(ctx, tx, g)
	if err != nil {
		return err
	}
	var missing []store.Partition
	var used []time.Time
	for _, b := range buckets {
		if n := len(missing); n > 0 && missing[n-1].Holds(b) {
			continue
		}
		p, ok := store.FindPartition(there, b)
		if !ok {
			p = period(g, b, now).Clip(b, there)
			there = store.InsertPartition(there, p)
			missing = append(missing, p)
			continue
		}
		if n := len(used); n == 0 || !used[n-1].Equal(p.From.Time()) {
			used = append(used, p.From.Time())
		}
	}
	if _, err := tx.Exec(ctx, "update parts.traffic set changed_at = now() where grain = $1 and from_time = any($2) and changed_at < now() - interval '1 hour'", int16(g), used); err != nil {
		return err
	}
	if len(missing) == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, "set local lock_timeout = '5s'"); err != nil {
		return err
	}
	const form = "2006-01-02 15:04:05+00"
	for _, p := range missing {
		name := g.PartitionName(p.From)
		switch busy, err := store.RenameDetached(ctx, tx, name); {
		case err != nil:
			return err
		case busy:
			return fmt.Errorf("%s is being removed", name)
		}
		from, to := p.From.Time().Format(form), p.Until.Time().Format(form)
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
		if _, err := tx.Exec(ctx, "insert into parts.traffic (name, grain, from_time, to_time) values ($1, $2, $3, $4)", name, int16(g), p.From.Time(), p.Until.Time()); err != nil {
			return err
		}
	}
	return nil
}

// period returns the partition that a bucket gets: that of its grain, or a longer one when it
// is old. Buckets of scattered flows then make no more partitions than flows do.
func period(g rollup.Grain, bucket, now flow.Time) store.Partition {
	from, to, _ := g.Period(bucket)
	p := store.Partition{From: from, Until: to}
	if long := store.Period(bucket, now); long.From <= p.From && long.Until >= p.Until {
		return long
	}
	return p
}

// trafficPartitions returns the partitions of a roll-up, in order. It deletes what
// parts.traffic has and the catalog has not, because somebody dropped or detached it.
func trafficPartitions(ctx context.Context, tx pgx.Tx, g rollup.Grain) ([]store.Partition, error) {
	if _, err := tx.Exec(ctx, `delete from parts.traffic t where grain = $1 and not exists (
		select from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = to_regclass('parts.' || $2) and c.relname = t.name)`,
		int16(g), rollup.Grains[g].Table); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, "select from_time, to_time from parts.traffic where grain = $1 order by from_time", int16(g))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.Partition, error) {
		var from, to time.Time
		err := row.Scan(&from, &to)
		return store.Partition{From: flow.TimeOf(from), Until: flow.TimeOf(to)}, err
	})
}

// trafficColumns are the columns that appendTraffic writes, in its order.
const trafficColumns = "bucket, flows, packets, bytes, number, exporter_id, dimension, sampling_rate, part, protocol, remainder, addr, addr2, cut"

// appendTraffic appends the rows of a bucket in the format of binary COPY. A part of 0 is
// stored as null.
func appendTraffic(b []byte, s *rollup.Summary, bucket flow.Time, part int32) []byte {
	for r := range s.Rows() {
		b = appendTrafficRow(b, r, bucket, part)
	}
	return b
}

func appendTrafficRow(b []byte, r *rollup.Row, bucket flow.Time, part int32) []byte {
	b = binary.BigEndian.AppendUint16(b, 14) // columns
	b = row.AppendTime(b, bucket)
	for _, v := range r.Sums {
		b = row.AppendInt8(b, v)
	}
	if r.Form == rollup.Number {
		b = row.AppendInt8(b, r.Number)
	} else {
		b = row.AppendNull(b)
	}
	b = row.AppendInt4(b, uint32(r.Cell.Exporter))
	name := rollup.DimensionNames[r.Dimension]
	b = binary.BigEndian.AppendUint32(b, uint32(len(name)))
	b = append(b, name...)
	b = row.AppendInt4NotZero(b, uint32(r.Cell.Rate))
	b = row.AppendInt4NotZero(b, uint32(part))
	b = row.AppendInt2(b, uint16(r.Cell.Protocol))
	b = append(b, 0, 0, 0, 1, 0)
	if r.Remainder {
		b[len(b)-1] = 1
	}
	b = appendAddr(b, r.Form, &r.Addr)
	if r.Dimension == rollup.DimPair {
		b = appendAddr(b, r.Form, &r.Addr2)
	} else {
		b = row.AppendNull(b)
	}
	// Column cut of a remainder is never null, also when nothing large was dropped.
	if !r.Remainder && r.Bound == (rollup.Sums{}) {
		return row.AppendNull(b)
	}
	// An array: its dimensions, that it has no nulls, the type bigint, its length, and
	// that it counts from 1.
	b = binary.BigEndian.AppendUint32(b, 5*4+3*12)
	for _, v := range []uint32{1, 0, 20, 3, 1} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	for _, v := range r.Bound {
		b = row.AppendInt8(b, v)
	}
	return b
}

func appendAddr(b []byte, form rollup.Form, a *flow.Addr) []byte {
	switch form {
	case rollup.IPv4:
		return row.AppendInet4(b, a)
	case rollup.IPv6:
		return row.AppendInet6(b, a)
	}
	return row.AppendNull(b)
}

// copyTraffic stores rows that appendTraffic has written.
func copyTraffic(ctx context.Context, tx pgx.Tx, g rollup.Grain, rows []byte) error {
	if len(rows) == 0 {
		return nil
	}
	all := append([]byte(row.CopyHeader), rows...)
	all = append(all, row.CopyTrailer...)
	_, err := tx.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(all), "copy parts."+rollup.Grains[g].Table+" ("+trafficColumns+") from stdin binary")
	return err
}

// allDimensions is a condition that is always true. With it PostgreSQL can find a bucket in
// the index of dimension and bucket.
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
		dimension             int32
		c                     rollup.Cell
		remainder             bool
		addr, addr2           *netip.Prefix
		number                *int64
		flows, packets, bytes int64
		cut                   []int64
	)
	_, err = pgx.ForEachRow(rows, []any{&dimension, &c.Exporter, &c.Rate, &c.Protocol, &remainder, &addr, &addr2, &number, &flows, &packets, &bytes, &cut}, func() error {
		r := rollup.Row{
			Cell: c, Dimension: rollup.Dimension(dimension), Remainder: remainder,
			Sums: rollup.Sums{uint64(flows), uint64(packets), uint64(bytes)},
		}
		for i := range r.Bound {
			if i < len(cut) {
				r.Bound[i] = uint64(cut[i])
			}
		}
		set := func(to *flow.Addr, p *netip.Prefix) {
			if p == nil {
				return
			}
			r.Form = rollup.IPv6
			if p.Addr().Is4() {
				r.Form = rollup.IPv4
			}
			*to = flow.Addr(p.Addr().As16())
		}
		set(&r.Addr, addr)
		set(&r.Addr2, addr2)
		if number != nil {
			r.Form, r.Number = rollup.Number, uint64(*number)
		}
		s.AddRow(&r)
		return nil
	})
	return s, err
}
