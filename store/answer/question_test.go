package answer_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/lab/postgres/pgtest"
	"flowtally/query"
	"flowtally/store"
	"flowtally/store/answer"
	"flowtally/store/console"
	"flowtally/store/storetest"
)

// compareValues orders as PostgreSQL does: absent last, IPv4 before IPv6.
func compareValues(a, b any) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	if n, ok := a.(int64); ok {
		return cmp.Compare(n, b.(int64))
	}
	x, err := netip.ParseAddr(a.(string))
	y, err2 := netip.ParseAddr(b.(string))
	if err != nil || err2 != nil { // the address of a card, or a name
		return cmp.Compare(a.(string), b.(string))
	}
	return x.Compare(y)
}

// sumsOf is what one flow is in a range, by the law.
func sumsOf(r *flow.Record, from, to flow.Time, whole bool) query.Sums {
	if whole {
		if from <= r.End && r.End < to {
			return query.Sums{Flows: 1, Packets: int64(r.Packets), Bytes: int64(r.Bytes)}
		}
		return query.Sums{}
	}
	s := query.Sums{
		Packets: int64(flow.Share(r.Packets, r.Start, r.End, from, to)),
		Bytes:   int64(flow.Share(r.Bytes, r.Start, r.End, from, to)),
	}
	if from <= r.Start && r.Start < to {
		s.Flows = 1
	}
	return s
}

// touches reports whether a flow is in the range at all, if only with nothing:
// its group is then listed, with zeros.
func touches(r *flow.Record, from, to flow.Time, whole bool) bool {
	if whole {
		return from <= r.End && r.End < to
	}
	return r.Start < to && (r.End > from || r.Start == from)
}

func add(a, b query.Sums) query.Sums {
	return query.Sums{Flows: a.Flows + b.Flows, Packets: a.Packets + b.Packets, Bytes: a.Bytes + b.Bytes}
}

func isEitherSide(k query.Key) bool {
	return k == query.KeyAddr || k == query.KeyPort || k == query.KeyInterface || k == "mac"
}

// expected is the answer to a question by plain arithmetic.
type expected struct {
	values []([]any)
	sums   []query.Sums
	total  query.Sums
}

func expect(recs []flow.Record, q query.Question) expected {
	from, to := flow.TimeOf(q.From), flow.TimeOf(q.To)
	index := make(map[string]int)
	var e expected
	for i := range recs {
		r := &recs[i]
		if !touches(r, from, to, q.Whole) || !q.From.IsZero() && q.Exporter != "" && !exporterIs(r, q.Exporter) {
			continue
		}
		s := sumsOf(r, from, to, q.Whole)
		e.total = add(e.total, s)
		var seen []string
		sides := 1
		if slices.ContainsFunc(q.Keys, isEitherSide) {
			sides = 2
		}
		keys := withExporter(q.Keys)
		for side := range sides {
			values := make([]any, len(keys))
			for j, k := range keys {
				values[j] = storetest.ValueOf(r, k, side)
			}
			name := fmt.Sprintf("%#v", values)
			if slices.Contains(seen, name) {
				continue
			}
			seen = append(seen, name)
			at, ok := index[name]
			if !ok {
				at = len(e.sums)
				index[name] = at
				e.values = append(e.values, values)
				e.sums = append(e.sums, query.Sums{})
			}
			e.sums[at] = add(e.sums[at], s)
		}
	}
	order := make([]int, len(e.sums))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		if c := cmp.Compare(e.sums[b].By(q.By), e.sums[a].By(q.By)); c != 0 {
			return c
		}
		return slices.CompareFunc(e.values[a], e.values[b], compareValues)
	})
	sorted := expected{total: e.total}
	for _, i := range order {
		values := slices.Clone(e.values[i])
		for j, k := range withExporter(q.Keys) {
			if k == query.KeyExporter {
				values[j] = exporterLabel(values[j].(int64))
			}
		}
		sorted.values = append(sorted.values, values)
		sorted.sums = append(sorted.sums, e.sums[i])
	}
	return sorted
}

// withExporter are keys with the exporter in front of the first that is an interface: an
// ifIndex is its exporter's.
func withExporter(keys []query.Key) []query.Key {
	first := slices.IndexFunc(keys, func(k query.Key) bool { return k == query.KeyInIf || k == query.KeyOutIf || k == query.KeyInterface })
	if first < 0 || slices.Contains(keys, query.KeyExporter) {
		return keys
	}
	return slices.Insert(slices.Clone(keys), first, query.KeyExporter)
}

func exporterLabel(id int64) string {
	for _, e := range storetest.Exporters {
		if int64(e.ID()) != id {
			continue
		}
		if slices.ContainsFunc(storetest.Exporters, func(o flow.Exporter) bool { return o.Addr == e.Addr && o != e }) {
			return fmt.Sprintf("%s domain %d", e.Addr, e.Domain)
		}
		return e.Addr.String()
	}
	return fmt.Sprint(id)
}

func exporterIs(r *flow.Record, word string) bool {
	label := exporterLabel(int64(r.Exporter))
	addr, _, _ := strings.Cut(label, " ")
	return label == word || addr == word || fmt.Sprint(r.Exporter) == word
}

// randomFlows are flows with few different values, so that groups are shared,
// of all kinds of lengths, some of which begin or end on the boundaries that
// questions ask for.
func randomFlows(rnd *rand.Rand, n int) []flow.Record {
	pick := func(n int) int { return rnd.IntN(n) }
	addrs := []string{"10.0.0.1", "10.0.0.2", "10.0.0.200", "9.255.255.255", "2001:db8::1", "2001:db8::2", "::1.2.3.4"}
	protocols := []flow.Protocol{flow.TCP, flow.TCP, flow.UDP, flow.ICMP, flow.ICMPv6, 47}
	recs := make([]flow.Record, n)
	for i := range recs {
		r := &recs[i]
		r.Start = storetest.T0 + flow.Time(rnd.Int64N(int64(4*flow.Hour)))
		if pick(8) == 0 {
			r.Start = r.Start.Floor(5 * flow.Minute)
		}
		switch pick(8) {
		case 0, 1:
			r.End = r.Start
		case 2:
			r.End = r.Start + 1
		case 3, 4:
			r.End = r.Start + flow.Time(rnd.Int64N(int64(flow.Minute)))
		case 5:
			r.End = r.Start + flow.Time(rnd.Int64N(int64(20*flow.Minute)))
		case 6:
			r.End = (r.Start + flow.Time(rnd.Int64N(int64(3*flow.Hour)))).Floor(5 * flow.Minute)
			r.End = max(r.End, r.Start)
		default:
			r.End = r.Start + flow.Time(rnd.Int64N(int64(7*flow.Hour)))
			if pick(4) == 0 {
				r.Start -= flow.Time(rnd.Int64N(int64(flow.Day)))
			}
		}
		r.Packets = 1 + rnd.Uint64N(1<<uint(1+pick(20)))
		r.Bytes = r.Packets * (28 + rnd.Uint64N(1472))
		if pick(50) == 0 {
			r.Packets, r.Bytes = rnd.Uint64N(1<<52), rnd.Uint64N(1<<52)
		}
		r.Protocol = protocols[pick(len(protocols))]
		if pick(40) != 0 {
			r.IPVersion = 4
			src, dst := netip.MustParseAddr(addrs[pick(4)]), netip.MustParseAddr(addrs[pick(4)])
			if pick(2) == 0 {
				r.IPVersion = 6
				src, dst = netip.MustParseAddr(addrs[4+pick(3)]), netip.MustParseAddr(addrs[4+pick(3)])
			}
			r.SrcAddr, r.DstAddr = flow.AddrFrom(src), flow.AddrFrom(dst)
		}
		if r.HasPorts() {
			r.SrcPort, r.DstPort = uint16(pick(5)), uint16(pick(5))
		}
		if r.Protocol == flow.TCP {
			r.TCPFlags = flow.TCPFlags(pick(8) * 37 % 512)
		}
		r.InIf, r.OutIf = uint32(pick(3)), uint32(pick(3))
		r.SrcAS, r.DstAS = uint32(pick(3))*(1<<31), uint32(pick(3))*64500
		r.VLAN, r.TOS = uint16(pick(3)*100), uint8(pick(3)*92)
		if pick(3) != 0 {
			r.NextHop = flow.AddrFrom(netip.MustParseAddr(addrs[pick(len(addrs))]))
		}
		r.Exporter = storetest.Exporters[pick(len(storetest.Exporters))].ID()
		if r.Protocol == flow.ICMP || r.Protocol == flow.ICMPv6 {
			r.DstPort = []uint16{0, 3<<8 | 1, 8 << 8, 128 << 8}[pick(4)]
		}
		r.EndReason, r.Direction = flow.EndReason(pick(6)), uint8(pick(3))
		r.SrcMask, r.DstMask = uint8(pick(2)*24), uint8(pick(3)*8)
		if pick(3) != 0 {
			r.Extra = []byte([]string{
				`{"applicationName":"it's a \\","tunnelIdentifier":4294967295}`,
				`{"applicationName":"","sourceMacAddress":"02:00:00:00:00:01","destinationMacAddress":"02:00:00:00:00:02"}`,
				`{"applicationName":"dns","sourceMacAddress":"02:00:00:00:00:02","destinationMacAddress":"02:00:00:00:00:02","tunnelIdentifier":7}`,
				`{"applicationName":"dns","destinationMacAddress":"02:00:00:00:00:01"}`,
			}[pick(4)])
		}
	}
	return recs
}

var keyLists = func() [][]query.Key {
	var lists [][]query.Key
	for _, k := range query.Keys() {
		lists = append(lists, []query.Key{k})
	}
	for _, s := range []string{
		"src-addr,dst-addr", "addr,port", "port,addr", "addr,protocol", "addr,dst-port", "addr,port,interface",
		"src-addr,src-port,dst-addr,dst-port,protocol", "exporter,interface", "next-hop,vlan,tcp-flags",
		"mac,addr", "application,tunnel-id", "exporter,in-if", "in-if,out-if", "protocol,out-if", "interface,exporter", "src-mac,dst-mac,end-reason", "protocol,icmp-type,icmp-code",
	} {
		keys, err := query.ParseKeys(s)
		if err != nil {
			panic(err)
		}
		lists = append(lists, keys)
	}
	return lists
}()

// ranges are, as offsets from t0: aligned, odd to the millisecond, a single
// millisecond on and off a boundary, before everything, all, after everything.
var ranges = [][2]flow.Time{
	{flow.Hour, 2 * flow.Hour},
	{47*flow.Minute + 1, 3*flow.Hour + 123},
	{5 * flow.Minute, 5*flow.Minute + 1},
	{77777, 77778},
	{-20 * flow.Hour, flow.Minute},
	{-3 * flow.Day, 3 * flow.Day},
	{20 * flow.Hour, 21 * flow.Hour},
}

func questions(f func(name string, q query.Question)) {
	measures := []query.Measure{query.ByFlows, query.ByPackets, query.ByBytes}
	n := 0
	for _, keys := range keyLists {
		for i, r := range ranges {
			for _, whole := range []bool{false, true} {
				n++
				q := query.Question{
					From: (storetest.T0 + r[0]).Time(), To: (storetest.T0 + r[1]).Time(), Keys: keys,
					By: measures[n%3], Limit: []int{3, 100}[n/3%2], Whole: whole,
				}
				if n%7 == 0 {
					q.Exporter = "192.0.2.1"
				}
				f(fmt.Sprintf("%s by %s, range %d, limit %d, whole %v, exporter %q", query.JoinKeys(keys), q.By, i, q.Limit, whole, q.Exporter), q)
			}
		}
	}
}

// The law: for every question, Top is what plain arithmetic over the records
// gives, and the statement it shows gives the same to a reader in psql.
func TestTop(t *testing.T) {
	h := storetest.EmptyHouse(t)
	for seed := range uint64(3) {
		h.Write(t, randomFlows(rand.New(rand.NewPCG(1, seed)), 250))
	}
	ctx := context.Background()
	reader, err := pgx.Connect(ctx, pgtest.As(t, h.Dsn, store.RoleReader, "reader"))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close(ctx)
	questions(func(name string, q query.Question) {
		got, err := answer.New(h.Db).Top(ctx, q)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		want := expect(h.Recs, q)
		listed := min(q.Limit, len(want.sums))
		if diff := gocmp.Diff(want.values[:listed], valuesOfRows(got.Rows)); diff != "" {
			t.Errorf("%s: groups: %s\n%s", name, diff, got.SQL)
		}
		if diff := gocmp.Diff(want.sums[:listed], sumsOfRows(got.Rows)); diff != "" {
			t.Errorf("%s: sums: %s\n%s", name, diff, got.SQL)
		}
		if got.Total != want.total {
			t.Errorf("%s: total is %v, want %v", name, got.Total, want.total)
		}
		var other *query.Other
		if listed < len(want.sums) {
			other = &query.Other{Groups: int64(len(want.sums) - listed)}
			for _, s := range want.sums[listed:] {
				other.Sums = add(other.Sums, s)
			}
		}
		if diff := gocmp.Diff(other, got.Other); diff != "" {
			t.Errorf("%s: other: %s", name, diff)
		}
		for _, r := range got.Rows {
			total := got.Total.By(q.By)
			if (r.Share == nil) != (total == 0) {
				t.Errorf("%s: %s has share %v of %d", name, r.Label, r.Share, total)
			} else if share := float64(r.By(q.By)) / float64(total); r.Share != nil && math.Abs(*r.Share-share) > 1e-12 {
				t.Errorf("%s: %s has share %v, want %v", name, r.Label, *r.Share, share)
			}
		}
		if !strings.HasPrefix(got.Command, "flowtally top --key "+query.JoinKeys(q.Keys)+" --by "+string(q.By)+" --from 2026-") {
			t.Errorf("%s: the command is %s", name, got.Command)
		}

		var people []string
		for _, row := range run(t, reader, got.SQL) {
			people = append(people, row["line"]+" "+row["flows"]+" "+row["packets"]+" "+row["bytes"]+" "+row["groups"])
		}
		var ours []string
		line := func(kind string, s query.Sums, groups any) {
			ours = append(ours, fmt.Sprintf("%s %d %d %d %v", kind, s.Flows, s.Packets, s.Bytes, groups))
		}
		for _, r := range got.Rows {
			line("group", r.Sums, "")
		}
		if got.Other != nil {
			line("other", got.Other.Sums, got.Other.Groups)
		} else {
			line("other", query.Sums{}, 0)
		}
		line("total", got.Total, "")
		if diff := gocmp.Diff(ours, people); diff != "" {
			t.Errorf("%s: psql's answer: %s\n%s", name, diff, got.SQL)
		}
	})
}

func valuesOfRows(rows []query.TopRow) [][]any {
	var list [][]any
	for _, r := range rows {
		list = append(list, valuesOfGroup(r.Values))
	}
	return list
}

func valuesOfGroup(values []query.Value) []any {
	var list []any
	for _, v := range values {
		list = append(list, v.V)
	}
	return list
}

func sumsOfRows(rows []query.TopRow) []query.Sums {
	var list []query.Sums
	for _, r := range rows {
		list = append(list, r.Sums)
	}
	return list
}

// run executes a statement as text, as psql does, and returns its rows by
// column; null is empty.
func run(t testing.TB, conn *pgx.Conn, sql string) []map[string]string {
	t.Helper()
	results, err := conn.PgConn().Exec(context.Background(), sql).ReadAll()
	if err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
	var list []map[string]string
	for _, result := range results {
		for _, row := range result.Rows {
			columns := make(map[string]string)
			for i, f := range result.FieldDescriptions {
				columns[f.Name] = string(row[i])
			}
			list = append(list, columns)
		}
	}
	return list
}

// The law: each bucket of a Series is what a question about that bucket alone
// gives, and the buckets add up to Top's rows, rest and total; psql gives the
// same.
func TestSeries(t *testing.T) {
	h := storetest.NewHouse(t, randomFlows(rand.New(rand.NewPCG(3, 4)), 500))
	ctx := context.Background()
	reader, err := pgx.Connect(ctx, pgtest.As(t, h.Dsn, store.RoleReader, "reader"))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close(ctx)
	steps := []time.Duration{0, 5 * time.Minute, 7 * time.Minute, 24 * time.Hour, 7 * 24 * time.Hour, 61234 * time.Millisecond}
	n := 0
	questions(func(name string, q query.Question) {
		if n++; n%5 >= 2 {
			return // a part of them shows as much, sooner
		}
		q.Step = steps[n%len(steps)]
		if length := q.To.Sub(q.From); q.Step != 0 && length/q.Step > 100 {
			q.Step = 0
		}
		q.MaxBuckets = 40
		if n%11 == 0 {
			q.Keys = nil
		}
		name += fmt.Sprint(", step ", q.Step)
		got, err := answer.New(h.Db).Series(ctx, q)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		top := &query.Top{}
		if len(q.Keys) > 0 {
			if top, err = answer.New(h.Db).Top(ctx, q); err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
		} else {
			top.Total = expect(h.Recs, q).total
		}
		if len(got.Lines) != len(top.Rows) {
			t.Errorf("%s: %d lines, top has %d rows", name, len(got.Lines), len(top.Rows))
			return
		}
		for i, l := range got.Lines {
			if diff := gocmp.Diff(top.Rows[i].Values, l.Values); diff != "" {
				t.Errorf("%s: line %d: %s", name, i, diff)
			}
			if s := sumOfLine(l); s != top.Rows[i].Sums {
				t.Errorf("%s: line %s adds up to %v, top says %v\n%s", name, l.Label, s, top.Rows[i].Sums, got.SQL)
			}
		}
		if (got.Other == nil) != (top.Other == nil) {
			t.Errorf("%s: other is %v, top's is %v", name, got.Other, top.Other)
		} else if got.Other != nil {
			if s := sumOfLine(*got.Other); s != top.Other.Sums {
				t.Errorf("%s: other adds up to %v, top says %v\n%s", name, s, top.Other.Sums, got.SQL)
			}
		}
		if s := sumOfLine(got.Total); s != top.Total {
			t.Errorf("%s: total adds up to %v, top says %v\n%s", name, s, top.Total, got.SQL)
		}

		// Each bucket by itself.
		for i, start := range got.Start {
			if i > 0 && start.Sub(got.Start[i-1]) != got.Step {
				t.Errorf("%s: bucket %d begins %v after the one before", name, i, start.Sub(got.Start[i-1]))
			}
			b := q
			b.From, b.To = later(start, q.From), earlier(start.Add(got.Step), q.To)
			want := expect(h.Recs, b)
			if s := sumsAt(got.Total, i); s != want.total {
				t.Errorf("%s: bucket %v has %v, want %v\n%s", name, start, s, want.total, got.SQL)
			}
			rest := query.Sums{}
			lines := make([]query.Sums, len(got.Lines))
			for j, values := range want.values {
				// Exporters that share an address share their values as well, but
				// not their lines; the sums were compared above.
				at := slices.IndexFunc(got.Lines, func(l query.Line) bool { return gocmp.Equal(valuesOfGroup(l.Values), values) })
				if at < 0 {
					rest = add(rest, want.sums[j])
				} else {
					lines[at] = want.sums[j]
				}
			}
			if len(q.Keys) == 0 || slices.Contains(withExporter(q.Keys), query.KeyExporter) {
				continue
			}
			for j, l := range got.Lines {
				if s := sumsAt(l, i); s != lines[j] {
					t.Errorf("%s: bucket %v of %s has %v, want %v", name, start, l.Label, s, lines[j])
				}
			}
			if got.Other != nil && sumsAt(*got.Other, i) != rest {
				t.Errorf("%s: bucket %v of the rest has %v, want %v", name, start, sumsAt(*got.Other, i), rest)
			}
		}

		// The statement for people: the rows that are not zero.
		ours := make(map[string]string)
		put := func(start time.Time, kind, rank string, s query.Sums) {
			if s != (query.Sums{}) {
				ours[start.Format("2006-01-02 15:04:05.999")+" "+kind+" "+rank] = fmt.Sprint(s.Flows, s.Packets, s.Bytes)
			}
		}
		for i, start := range got.Start {
			for j, l := range got.Lines {
				put(start, "group", fmt.Sprint(j+1), sumsAt(l, i))
			}
			if got.Other != nil {
				put(start, "other", "", sumsAt(*got.Other, i))
			}
			put(start, "total", "", sumsAt(got.Total, i))
		}
		people := make(map[string]string)
		for _, row := range run(t, reader, got.SQL) {
			if row["flows"] != "0" || row["packets"] != "0" || row["bytes"] != "0" {
				people[strings.TrimSuffix(row["bucket"], "+00")+" "+row["line"]+" "+row["rank"]] = row["flows"] + " " + row["packets"] + " " + row["bytes"]
			}
		}
		if diff := gocmp.Diff(ours, people); diff != "" {
			t.Errorf("%s: psql's answer: %s\n%s", name, diff, got.SQL)
		}
	})
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func sumsAt(l query.Line, i int) query.Sums {
	return query.Sums{Flows: l.Flows[i], Packets: l.Packets[i], Bytes: l.Bytes[i]}
}

func sumOfLine(l query.Line) query.Sums {
	var s query.Sums
	for i := range l.Flows {
		s = add(s, sumsAt(l, i))
	}
	return s
}

func hourOf(q query.Question, first, n flow.Time) query.Question {
	q.From, q.To = (storetest.T0 + first*flow.Hour).Time(), (storetest.T0 + (first+n)*flow.Hour).Time()
	return q
}

// simple is a flow of one packet.
func simple(start, end flow.Time) flow.Record {
	r := flow.Record{Start: start, End: end, Packets: 1, Bytes: 100, Exporter: storetest.Exporters[0].ID()}
	r.Protocol = flow.UDP
	return r
}

// The law: a question reads the hours of its range and those behind it that
// hold flows of it, and no others.
func TestQuestionsReadOnlyThePartitionsTheyMust(t *testing.T) {
	var recs []flow.Record
	for hour := range flow.Time(24) {
		recs = append(recs, simple(storetest.T0+hour*flow.Hour+flow.Minute, storetest.T0+hour*flow.Hour+2*flow.Minute))
	}
	// A flow of the sixth hour that ends in the ninth.
	recs = append(recs, simple(storetest.T0+6*flow.Hour+flow.Minute, storetest.T0+9*flow.Hour+flow.Minute))
	h := storetest.NewHouse(t, recs)
	ctx := context.Background()
	for _, test := range []struct {
		name     string
		first, n flow.Time
		want     []flow.Time
	}{
		{"one_hour", 3, 1, []flow.Time{3}},
		{"two_hours", 3, 2, []flow.Time{3, 4}},
		{"hour_of_a_long_flow_and_those_until_its_end", 6, 1, []flow.Time{6, 7, 8, 9}},
		{"before_all", -20, 1, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := hourOf(query.Question{Keys: []query.Key{query.KeySrcAddr}}, test.first, test.n)
			var want []string
			for _, hour := range test.want {
				want = append(want, "flows_"+(storetest.T0+hour*flow.Hour).Time().Format("2006010215"))
			}
			top, err := answer.New(h.Db).Top(ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			series, err := answer.New(h.Db).Series(ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			for _, sql := range []string{top.SQL, series.SQL} {
				got := make(map[string]bool)
				for _, row := range run(t, h.Admin, "explain (analyze, costs off, timing off, summary off) "+sql) {
					plan := row["QUERY PLAN"]
					if _, table, ok := strings.Cut(plan, "Scan on flows_"); ok && !strings.Contains(plan, "never executed") {
						got["flows_"+table[:10]] = true
					}
				}
				var read []string
				for name := range got {
					read = append(read, name)
				}
				slices.Sort(read)
				if diff := gocmp.Diff(want, read); diff != "" {
					t.Error(diff, sql)
				}
			}
		})
	}
}

func TestSumsThatNoIntegerHoldsAreTheLargest(t *testing.T) {
	var recs []flow.Record
	for i := range flow.Time(3) {
		r := simple(storetest.T0, storetest.T0+1+i*flow.Minute)
		r.Packets, r.Bytes = math.MaxInt64, math.MaxInt64
		recs = append(recs, r)
	}
	h := storetest.NewHouse(t, recs)
	for _, keys := range [][]query.Key{{query.KeyProtocol}, {query.KeyPort}} {
		q := hourOf(query.Question{Keys: keys, By: query.ByBytes}, 0, 1)
		top, err := answer.New(h.Db).Top(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		most := query.Sums{Flows: 3, Packets: math.MaxInt64, Bytes: math.MaxInt64}
		if top.Total != most || top.Rows[0].Sums != most {
			t.Errorf("got %v and %v", top.Total, top.Rows[0].Sums)
		}
		series, err := answer.New(h.Db).Series(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		if series.Total.Bytes[0] != math.MaxInt64 || series.Lines[0].Bytes[0] != math.MaxInt64 {
			t.Errorf("got %v and %v", series.Total.Bytes[0], series.Lines[0].Bytes[0])
		}
	}
}

func TestEmptyDatabase(t *testing.T) {
	h := storetest.NewHouse(t, nil)
	q := hourOf(query.Question{Keys: []query.Key{query.KeyAddr}}, 0, 1)
	top, err := answer.New(h.Db).Top(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	if top.Rows == nil || len(top.Rows) != 0 || top.Other != nil || top.Total != (query.Sums{}) {
		t.Errorf("got %+v", top)
	}
	series, err := answer.New(h.Db).Series(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	if series.Lines == nil || len(series.Lines) != 0 || series.Other != nil || len(series.Start) != 60 || len(series.Total.Bytes) != 60 {
		t.Errorf("got %d lines, %d buckets of %v", len(series.Lines), len(series.Start), series.Step)
	}
}

func TestExporterOfAQuestion(t *testing.T) {
	var recs []flow.Record
	for i, e := range storetest.Exporters {
		for range i + 1 {
			r := simple(storetest.T0, storetest.T0)
			r.Exporter = e.ID()
			recs = append(recs, r)
		}
	}
	h := storetest.NewHouse(t, recs)
	h.Exec(t, "insert into console.exporters (id, name) values ($1, 'core''s router; $1')", int32(storetest.Exporters[2].ID()))
	ctx := context.Background()
	for _, test := range []struct {
		name, exporter string
		flows          int64
	}{
		{"all", "", 6},
		{"address_of_two_domains", "192.0.2.1", 3},
		{"label_of_one_domain", "192.0.2.1 domain 7", 2},
		{"number_of_one_domain", fmt.Sprint(storetest.Exporters[1].ID()), 2},
		{"name_with_quotes", "core's router; $1", 3},
		{"address_of_a_named_one", "2001:DB8:0::1", 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := hourOf(query.Question{Keys: []query.Key{query.KeyExporter}, Exporter: test.exporter}, 0, 1)
			top, err := answer.New(h.Db).Top(ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			if top.Total.Flows != test.flows {
				t.Errorf("%d flows, want %d", top.Total.Flows, test.flows)
			}
			if n := len(run(t, h.Admin, top.SQL)); n != len(top.Rows)+2 {
				t.Errorf("psql gives %d rows", n)
			}
			labels := make(map[string]bool)
			for _, r := range top.Rows {
				labels[r.Label] = true
			}
			if len(labels) != len(top.Rows) {
				t.Errorf("different exporters look alike: %v", labels)
			}
		})
	}
	q := hourOf(query.Question{Keys: []query.Key{query.KeyExporter}, Exporter: "nobody"}, 0, 1)
	_, err := answer.New(h.Db).Top(ctx, q)
	if e, ok := errors.AsType[*query.Error](err); !ok || e.Parameter != "exporter" || !strings.Contains(e.Reason, "192.0.2.1 domain 0, 192.0.2.1 domain 7, core's router") {
		t.Errorf("an unknown exporter: %v", err)
	}
	for _, exporter := range []string{"a\x00b", "\xff", `\`, "'", "$1; --", "日本"} {
		q.Exporter = exporter
		if _, err := answer.New(h.Db).Top(ctx, q); !errors.As(err, new(*query.Error)) {
			t.Errorf("exporter %q: %v", exporter, err)
		}
	}
}

func TestExporters(t *testing.T) {
	h := storetest.NewHouse(t, nil)
	id := storetest.Exporters[1].ID()
	h.Exec(t, "insert into console.exporters (id, name) values ($1, 'edge')", int32(id))
	seen := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	h.Exec(t, `insert into exporter_status (exporter_id, version, first_seen, last_seen, updated_at, clock_offset_ms, datagrams, records, packets, bytes, templates, sampling_rate)
		values ($1, 9, $2, $2, $2, -1500, 1, 2, 3, 4, 5, 1000)`, int32(id), seen)
	list, err := console.New(h.Db).Exporters(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != len(storetest.Exporters) {
		t.Fatalf("%d exporters", len(list))
	}
	rate := int64(1000)
	want := console.ExporterRow{
		ID: id, Name: "edge", Label: "edge", NamedBy: console.NamedByPeople, Addr: storetest.Exporters[1].Addr.Netip(), ObservationDomain: 7, Version: 9,
		FirstSeen: list[2].FirstSeen, LastSeen: seen,
		Datagrams: 1, Records: 2, Packets: 3, Bytes: 4, Templates: 5, SamplingRate: &rate, ClockOffset: -1500 * time.Millisecond,
	}
	if diff := gocmp.Diff(want, list[2], gocmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if list[0].Label != "192.0.2.1 domain 0" || list[0].Version != 0 || list[0].SamplingRate != nil || !list[0].LastSeen.Equal(list[0].FirstSeen) {
		t.Errorf("without a status: %+v", list[0])
	}
}

// A question that the database cannot answer in its time, or that nobody waits
// for any more, ends, also in the database.
func TestQuestionsEnd(t *testing.T) {
	h := storetest.NewHouse(t, []flow.Record{simple(storetest.T0, storetest.T0)})
	ctx := context.Background()
	blocker, err := h.Admin.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer blocker.Rollback(ctx)
	if _, err := blocker.Exec(ctx, "lock table parts.flows in access exclusive mode"); err != nil {
		t.Fatal(err)
	}
	q := hourOf(query.Question{Keys: []query.Key{query.KeyAddr}, Timeout: 50 * time.Millisecond}, 0, 1)
	if _, err := answer.New(h.Db).Top(ctx, q); !errors.Is(err, store.ErrTimeout) {
		t.Errorf("after the timeout: %v", err)
	}
	if _, err := answer.New(h.Db).Series(ctx, q); !errors.Is(err, store.ErrTimeout) {
		t.Errorf("after the timeout: %v", err)
	}

	q.Timeout = time.Minute
	cancelled, cancel := context.WithCancel(ctx)
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := answer.New(h.Db).Top(cancelled, q); !errors.Is(err, context.Canceled) {
		t.Errorf("after the cancel: %v", err)
	}
	for try := 0; ; try++ {
		var waiting int
		if err := blocker.QueryRow(ctx, "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'").Scan(&waiting); err != nil {
			t.Fatal(err)
		}
		if waiting == 0 {
			break
		}
		if try > 200 {
			t.Fatal("the database still works for somebody who left")
		}
		time.Sleep(50 * time.Millisecond)
		if _, err := blocker.Exec(ctx, "select pg_stat_clear_snapshot()"); err != nil {
			t.Fatal(err)
		}
	}
}

// The statement shown is for people: it names the public view, not the tables
// behind it, and stays as it is unless somebody means to change it.
func TestStatementForPeople(t *testing.T) {
	recs := []flow.Record{simple(storetest.T0+flow.Minute, storetest.T0+20*flow.Minute), simple(storetest.T0+flow.Minute, storetest.T0+2*flow.Minute), simple(storetest.T0, storetest.T0)}
	recs[0].IPVersion = 4
	recs[0].SrcAddr, recs[0].DstAddr = flow.Addr4([4]byte{10, 0, 0, 1}), flow.Addr4([4]byte{10, 0, 0, 2})
	recs[0].DstPort = 53
	recs[0].Extra = []byte(`{"applicationName":"it's dns","sourceMacAddress":"02:00:00:00:00:01","destinationMacAddress":"02:00:00:00:00:02"}`)
	h := storetest.NewHouse(t, recs)
	ctx := context.Background()
	var text strings.Builder
	for _, keys := range [][]query.Key{{query.KeySrcAddr}, {query.KeyAddr, query.KeyPort}, {"mac", "application"}} {
		q := hourOf(query.Question{Keys: keys, By: query.ByBytes, Limit: 5, Exporter: "2001:db8::1"}, 0, 1)
		q.From = q.From.Add(30 * time.Second)
		top, err := answer.New(h.Db).Top(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		q.Exporter, q.Step = "", 5*time.Minute
		series, err := answer.New(h.Db).Series(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "# %s\n%s;\n\n# %s\n%s;\n\n", top.Command, top.SQL, series.Command, series.SQL)
	}
	if strings.Contains(text.String(), "parts.") {
		t.Error("the statement reads what is not public")
	}
	const golden = "testdata/questions.sql"
	if os.Getenv("FLOWTALLY_UPDATE") != "" {
		if err := os.WriteFile(golden, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), text.String()); diff != "" {
		t.Error(diff)
	}
}
