package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
)

// grain is one of the three roll-ups.
type grain int16

const (
	minutes grain = iota
	hours
	days
	grains
)

// grainLaw is what differs between the grains.
type grainLaw struct {
	table  string
	length flow.Time
	// Keep is how many values of a dimension stay by each measure when a bucket is
	// settled, Few how many at least of each cell, Most how many wait one by one
	// to be settled.
	Keep, Few, Most int
}

// Grains are the limits of the grains; a Keeper has a copy, which tests make smaller.
var Grains = [grains]grainLaw{
	minutes: {"traffic_1m", flow.Minute, 500, 12, 20_000},
	hours:   {"traffic_1h", flow.Hour, 2_000, 12, 200_000},
	days:    {"traffic_1d", flow.Day, 5_000, 12, 200_000},
}

// period returns the partition that a bucket is in: its bounds and its name.
func (g grain) period(bucket flow.Time) (from, to flow.Time, name string) {
	t := bucket.Time()
	var a, b time.Time
	var form string
	switch g {
	case minutes:
		a = time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
		b, form = a.AddDate(0, 0, 1), "20060102"
	case hours:
		a = time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
		b, form = a.AddDate(0, 1, 0), "200601"
	default:
		a = time.Date(t.Year(), 1, 1, 0, 0, 0, 0, time.UTC)
		b, form = a.AddDate(1, 0, 0), "2006"
	}
	return flow.TimeOf(a), flow.TimeOf(b), Grains[g].table + "_" + a.Format(form)
}

// ensureTraffic makes the partitions that the buckets need.
func ensureTraffic(ctx context.Context, tx pgx.Tx, g grain, buckets []flow.Time) error {
	type period struct{ from, to flow.Time }
	wanted := make(map[string]period)
	for _, b := range buckets {
		from, to, name := g.period(b)
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
		switch busy, err := aside(ctx, tx, name); {
		case err != nil:
			return err
		case busy:
			return fmt.Errorf("%s is being removed", name)
		}
		from, to := p.from.Time().Format(form), p.to.Time().Format(form)
		for _, statement := range []string{
			fmt.Sprintf("create table parts.%s (like parts.%s including defaults including constraints including storage including indexes, constraint period check (bucket >= '%s' and bucket < '%s'))", name, Grains[g].table, from, to),
			fmt.Sprintf("alter table parts.%s owner to %s", name, RoleWriter),
			fmt.Sprintf("alter table parts.%s attach partition parts.%s for values from ('%s') to ('%s')", Grains[g].table, name, from, to),
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
func appendTraffic(b []byte, s *summary, bucket flow.Time, part int32) []byte {
	row := func(e *entry, rest bool, cut *measured) {
		b = binary.BigEndian.AppendUint16(b, 14)
		b = appendTime(b, bucket)
		for _, v := range e.sums {
			b = appendInt8(b, v)
		}
		if e.kind == valueNumber && !rest {
			b = appendInt8(b, binary.BigEndian.Uint64(e.a[8:]))
		} else {
			b = appendNull(b)
		}
		c := s.cells[e.cell]
		b = appendInt4(b, uint32(c.exporter))
		name := dimensionNames[e.dim]
		b = binary.BigEndian.AppendUint32(b, uint32(len(name)))
		b = append(b, name...)
		b = appendInt4NotZero(b, uint32(c.rate))
		b = appendInt4NotZero(b, uint32(part))
		b = appendInt2(b, uint16(c.protocol))
		b = append(b, 0, 0, 0, 1, 0)
		if rest {
			b[len(b)-1] = 1
		}
		addr := func(a *flow.Addr, there bool) {
			switch {
			case there && e.kind == value4:
				b = appendInet4(b, a)
			case there && e.kind == value6:
				b = appendInet6(b, a)
			default:
				b = appendNull(b)
			}
		}
		addr(&e.a, !rest)
		addr(&e.b, !rest && e.dim == dimPair)
		if cut == nil {
			b = appendNull(b)
			return
		}
		// One dimension, no nulls, of bigint; its length, and that it counts from 1.
		b = binary.BigEndian.AppendUint32(b, 5*4+3*12)
		for _, v := range []uint32{1, 0, 20, 3, 1} {
			b = binary.BigEndian.AppendUint32(b, v)
		}
		for _, v := range cut {
			b = appendInt8(b, v)
		}
	}
	for _, i := range s.sorted() {
		var cut *measured
		if slack := s.slackOf(i); slack != (measured{}) {
			cut = &slack
		}
		row(&s.entries[i], false, cut)
	}
	for p, r := range s.rest {
		row(&entry{value: value{cell: p.cell, dim: p.dim}, sums: r.sums}, true, &r.cut)
	}
	return b
}

// copyTraffic stores rows that appendTraffic made.
func copyTraffic(ctx context.Context, tx pgx.Tx, g grain, rows []byte) error {
	if len(rows) == 0 {
		return nil
	}
	all := append([]byte(copyHeader), rows...)
	all = append(all, copyTrailer...)
	_, err := tx.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(all), "copy parts."+Grains[g].table+" ("+trafficColumns+") from stdin binary")
	return err
}

// allDimensions makes the index by dimension and bucket usable for a bucket.
const allDimensions = "dimension = any(enum_range(null::traffic_dimension))"

// readTraffic reads the rows of a bucket that was settled.
func readTraffic(ctx context.Context, tx pgx.Tx, g grain, bucket flow.Time) (*summary, error) {
	rows, err := tx.Query(ctx, "select array_position(enum_range(null::traffic_dimension), dimension) - 1, exporter_id, coalesce(sampling_rate, 0), protocol, remainder, addr, addr2, number, flows, packets, bytes, cut from parts."+
		Grains[g].table+" where bucket = $1 and "+allDimensions+" and part is null", bucket.Time())
	if err != nil {
		return nil, err
	}
	s := newSummary()
	var (
		dim                   int32
		c                     cell
		rest                  bool
		a, b                  *netip.Prefix
		number                *int64
		flows, packets, bytes int64
		cut                   []int64
	)
	_, err = pgx.ForEachRow(rows, []any{&dim, &c.exporter, &c.rate, &c.protocol, &rest, &a, &b, &number, &flows, &packets, &bytes, &cut}, func() error {
		var most measured
		for i := range most {
			if i < len(cut) {
				most[i] = uint64(cut[i])
			}
		}
		v := value{cell: s.cellIndex(c), dim: dimension(dim)}
		sums := measured{uint64(flows), uint64(packets), uint64(bytes)}
		if rest {
			r := s.rest[place{v.cell, v.dim}]
			r.sums.add(&sums)
			r.cut.add(&most)
			s.rest[place{v.cell, v.dim}] = r
			return nil
		}
		set := func(to *flow.Addr, p *netip.Prefix) {
			if p == nil {
				return
			}
			v.kind = value6
			if p.Addr().Is4() {
				v.kind = value4
			}
			*to = flow.Addr(p.Addr().As16())
		}
		set(&v.a, a)
		set(&v.b, b)
		if number != nil {
			v.kind = valueNumber
			binary.BigEndian.PutUint64(v.a[8:], uint64(*number))
		}
		s.addSlack(s.add(&v, &sums), most)
		return nil
	})
	return s, err
}
