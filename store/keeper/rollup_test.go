package keeper_test

import (
	"context"
	"fmt"
	"sort"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
)

// rollupKey is what a row of a roll-up is a sum of, as text.
type rollupKey struct {
	bucket flow.Time
	cell   string // exporter, rate, protocol
	dim    string
	value  string
}

type sums3 [3]int64

func (s *sums3) add(o sums3) {
	for i := range s {
		s[i] += o[i]
	}
}

// expectRollup computes a roll-up from the records, by its definition.
func expectRollup(recs []flow.Record, length flow.Time) map[rollupKey]sums3 {
	want := make(map[rollupKey]sums3)
	for i := range recs {
		r := &recs[i]
		rate := "null"
		if r.SamplingRate != 0 {
			rate = fmt.Sprint(r.SamplingRate)
		}
		cell := fmt.Sprintf("%d/%s/%d", int32(r.Exporter), rate, r.Protocol)
		src, dst := "null", "null"
		if r.IPVersion != 0 {
			src, dst = r.SrcAddr.Netip().String(), r.DstAddr.Netip().String()
		}
		number := func(n uint32, there bool) string {
			if !there {
				return "null"
			}
			return fmt.Sprint(n)
		}
		values := map[string]string{
			"total": "null", "src_addr": src, "dst_addr": dst, "pair": src + ">" + dst,
			"src_port": number(uint32(r.SrcPort), r.HasPorts()), "dst_port": number(uint32(r.DstPort), r.HasPorts()),
			"in_if": number(r.InIf, r.InIf != 0), "out_if": number(r.OutIf, r.OutIf != 0),
			"src_as": number(r.SrcAS, r.SrcAS != 0), "dst_as": number(r.DstAS, r.DstAS != 0),
		}
		for dim, sides := range map[string][2]string{"same_addr": {"src_addr", "dst_addr"}, "same_port": {"src_port", "dst_port"}, "same_if": {"in_if", "out_if"}, "same_as": {"src_as", "dst_as"}} {
			if v := values[sides[0]]; v == values[sides[1]] {
				values[dim] = v
			}
		}
		for b := r.Start.Floor(length); b <= r.End; b += length {
			s := sums3{0, int64(flow.Share(r.Packets, r.Start, r.End, b, b+length)), int64(flow.Share(r.Bytes, r.Start, r.End, b, b+length))}
			if b == r.Start.Floor(length) {
				s[0] = 1
			}
			if s == (sums3{}) {
				continue
			}
			for dim, v := range values {
				k := rollupKey{b, cell, dim, v}
				have := want[k]
				have.add(s)
				want[k] = have
			}
		}
	}
	return want
}

type rollupRow struct {
	rollupKey
	remainder bool
	sums      sums3
	bound     *sums3 // column cut
	part      int32
}

func readRollup(t testing.TB, conn *pgx.Conn, table string) []rollupRow {
	t.Helper()
	rows, err := conn.Query(context.Background(), `select bucket, format('%s/%s/%s', exporter_id, coalesce(sampling_rate::text, 'null'), protocol), dimension::text,
		case dimension when 'pair' then coalesce(host(addr), 'null') || '>' || coalesce(host(addr2), 'null') else coalesce(host(addr), number::text, 'null') end,
		remainder, flows, packets, bytes, cut, coalesce(part, 0) from `+table)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r rollupRow, err error) {
		var bucket time.Time
		var cut []int64
		err = row.Scan(&bucket, &r.cell, &r.dim, &r.value, &r.remainder, &r.sums[0], &r.sums[1], &r.sums[2], &cut, &r.part)
		r.bucket = flow.TimeOf(bucket)
		if cut != nil {
			r.bound = (*sums3)(cut)
		}
		return r, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// expectation is what a test expects of the rows beyond the error bounds, which always
// hold.
type expectation struct {
	// keep is how many values of a dimension stay by each measure.
	keep int
	// exact: nothing was dropped before a bucket was settled for the last time, so
	// that every row is exact and the bound of every remainder is the largest value
	// that was dropped.
	exact bool
	// settled: all buckets are.
	settled bool
}

// checkRollup compares the rows of a roll-up with what the records make.
func checkRollup(t testing.TB, conn *pgx.Conn, table string, want map[rollupKey]sums3, x expectation) {
	t.Helper()
	c := &rollupCheck{
		x: x, totals: make(map[group]sums3), dropped: make(map[group]map[int32]sums3),
		got: make(map[rollupKey]sums3), bounds: make(map[rollupKey]sums3), in: make(map[rollupKey]map[int32]bool),
	}
	c.fail = func(format string, args ...any) {
		t.Helper()
		if c.failures++; c.failures <= 10 {
			t.Errorf(table+": "+format, args...)
		}
	}
	for _, r := range readRollup(t, conn, table) {
		c.add(r)
	}
	c.checkSums(want)
	if x.exact && x.settled {
		c.checkLargest(want)
	}
}

// group is what the values of a remainder have in common.
type group struct {
	bucket    flow.Time
	cell, dim string
}

func groupOf(k rollupKey) group { return group{k.bucket, k.cell, k.dim} }

// rollupCheck is what the rows of a roll-up say together.
type rollupCheck struct {
	x        expectation
	fail     func(format string, args ...any)
	failures int

	totals  map[group]sums3           // of all rows
	dropped map[group]map[int32]sums3 // by part, the bound of the remainder
	got     map[rollupKey]sums3       // of all rows of a value
	bounds  map[rollupKey]sums3       // the error bounds of these rows
	in      map[rollupKey]map[int32]bool
}

// add adds a row. In a part, a value has one row, and so has a remainder.
func (c *rollupCheck) add(r rollupRow) {
	g := groupOf(r.rollupKey)
	s := c.totals[g]
	s.add(r.sums)
	c.totals[g] = s
	if c.x.settled && r.part != 0 {
		c.fail("a part is left: %+v", r)
	}
	if r.remainder {
		if c.dropped[g] == nil {
			c.dropped[g] = make(map[int32]sums3)
		}
		if _, twice := c.dropped[g][r.part]; twice || r.bound == nil {
			c.fail("two remainders, or one without a bound: %+v", r)
			return
		}
		c.dropped[g][r.part] = *r.bound
		return
	}
	if c.in[r.rollupKey] == nil {
		c.in[r.rollupKey] = make(map[int32]bool)
	}
	if c.in[r.rollupKey][r.part] {
		c.fail("two rows of one value: %+v", r)
	}
	c.in[r.rollupKey][r.part] = true
	s = c.got[r.rollupKey]
	s.add(r.sums)
	c.got[r.rollupKey] = s
	if r.bound != nil {
		s = c.bounds[r.rollupKey]
		s.add(*r.bound)
		c.bounds[r.rollupKey] = s
		if c.x.exact && c.x.settled {
			c.fail("a row that is not exact: %+v", r)
		}
	}
}

// checkSums checks that every value is within its error bounds, and that the totals are
// exact; when all rows should be exact, that they are.
func (c *rollupCheck) checkSums(want map[rollupKey]sums3) {
	exact := c.x.exact && c.x.settled
	totals, absent := make(map[group]sums3), make(map[group]sums3)
	for k, w := range want {
		g := groupOf(k)
		s := totals[g]
		s.add(w)
		totals[g] = s
		least, most := c.got[k], c.got[k]
		most.add(c.bounds[k])
		for part, largest := range c.dropped[g] {
			if !c.in[k][part] {
				most.add(largest)
			}
		}
		for m := range w {
			if w[m] < least[m] || w[m] > most[m] {
				c.fail("%+v measure %d is %d, not between %d and %d", k, m, w[m], least[m], most[m])
			}
		}
		if len(c.in[k]) == 0 {
			s := absent[g]
			for m := range s {
				s[m] = max(s[m], w[m])
			}
			absent[g] = s
		} else if exact && least != w {
			c.fail("%+v has %v, want %v", k, least, w)
		}
	}
	for g, w := range totals {
		if c.totals[g] != w {
			c.fail("%+v: sum %v, want %v", g, c.totals[g], w)
		}
		if exact && absent[g] != c.dropped[g][0] {
			c.fail("%+v: bound %v, the largest that was dropped is %v", g, c.dropped[g], absent[g])
		}
	}
	for g := range c.totals {
		if _, ok := totals[g]; !ok {
			c.fail("%+v should not be", g)
		}
	}
}

// checkLargest checks that the largest values of each dimension have a row.
func (c *rollupCheck) checkLargest(want map[rollupKey]sums3) {
	type dim struct {
		bucket flow.Time
		dim    string
	}
	all := make(map[dim][]rollupKey)
	for k := range want {
		all[dim{k.bucket, k.dim}] = append(all[dim{k.bucket, k.dim}], k)
	}
	for _, list := range all {
		for m := range 3 {
			sort.Slice(list, func(i, j int) bool { return want[list[i]][m] > want[list[j]][m] })
			for i, k := range list {
				if i >= c.x.keep || len(list) > c.x.keep && want[k][m] <= want[list[c.x.keep]][m] {
					break
				}
				if len(c.in[k]) == 0 {
					c.fail("%+v is number %d by measure %d and has no row", k, i+1, m)
				}
			}
		}
	}
}
