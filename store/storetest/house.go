package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/filter"
	"flowtally/flow"
	"flowtally/lab/postgres/pgtest"
	"flowtally/query"
	"flowtally/store"
	"flowtally/store/ingest"
)

// SomeFlows are n flows of the hour that begins at t0.
func SomeFlows(n int) []flow.Record {
	rnd := rand.New(rand.NewPCG(31, 32))
	recs := make([]flow.Record, n)
	for i := range recs {
		r := &recs[i]
		r.Start = T0 + flow.Time(rnd.IntN(int(50*flow.Minute)))
		r.End = r.Start + flow.Time(rnd.IntN(int(5*flow.Minute)))
		r.Packets = uint64(1 + rnd.IntN(9))
		r.Bytes = r.Packets * 100
		r.IPVersion, r.Protocol, r.Exporter = 4, flow.TCP, Exporters[i%2].ID()
		if i%5 == 0 {
			r.Protocol = flow.UDP
		}
		r.SrcAddr, r.DstAddr = flow.Addr4([4]byte{10, 0, 0, byte(i % 7)}), flow.Addr4([4]byte{10, 0, 1, byte(i % 3)})
		r.SrcPort, r.DstPort = uint16(1000+i%11), 443
	}
	return recs
}

func ParseFilter(t testing.TB, text string) *filter.Filter {
	t.Helper()
	f, err := filter.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// T0 is when the tests' flows begin: a whole hour.
var T0 = flow.TimeOf(time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC))

var Exporters = []flow.Exporter{
	{Addr: flow.AddrFrom(netip.MustParseAddr("192.0.2.1"))},
	{Addr: flow.AddrFrom(netip.MustParseAddr("192.0.2.1")), Domain: 7},
	{Addr: flow.AddrFrom(netip.MustParseAddr("2001:db8::1"))},
}

// House is a database with flows in it, and what they are.
type House struct {
	Dsn   string
	Db    *store.DB
	Admin *pgx.Conn
	Recs  []flow.Record
}

func NewHouse(t testing.TB, recs []flow.Record) *House {
	t.Helper()
	h := EmptyHouse(t)
	h.Recs = recs
	h.insert(t)
	return h
}

// EmptyHouse has exporters, but no flows yet.
func EmptyHouse(t testing.TB) *House {
	t.Helper()
	ctx := context.Background()
	h := &House{Dsn: pgtest.New(t)}
	passwords := map[string]string{store.RoleWriter: "writer", store.RoleWeb: "web", store.RoleReader: "reader"}
	if err := store.Migrate(ctx, h.Dsn, store.MigrateConfig{Passwords: passwords}); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(ctx, pgtest.As(t, h.Dsn, store.RoleWeb, "web"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	h.Db = db
	h.Admin, err = pgx.Connect(ctx, h.Dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Admin.Close(ctx) })
	for _, e := range Exporters {
		h.Exec(t, "insert into parts.exporter (id, observation_domain, first_seen, addr, label) values ($1, $2, now(), $3, '')",
			int32(e.ID()), int64(e.Domain), e.Addr.Netip())
	}
	return h
}

// Write stores records as the collector does.
func (h *House) Write(t testing.TB, recs []flow.Record) {
	t.Helper()
	ctx := context.Background()
	db, err := store.Open(ctx, pgtest.As(t, h.Dsn, store.RoleWriter, "writer"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for i := range recs {
		recs[i].Received = recs[i].End
	}
	if err := ingest.NewWriter(db, ingest.WriterConfig{}).Write(ctx, flow.Batch{Records: recs}); err != nil {
		t.Fatal(err)
	}
	h.Recs = append(h.Recs, recs...)
}

func (h *House) Exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	if _, err := h.Admin.Exec(context.Background(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// insert stores the records without the help of the Writer, in SQL's own terms:
// what the columns are said to hold, not what the Writer puts there.
func (h *House) insert(t testing.TB) {
	t.Helper()
	hours := make(map[flow.Time]flow.Time)
	rows := make([][]any, len(h.Recs))
	for i := range h.Recs {
		r := &h.Recs[i]
		hour := r.End.Floor(flow.Hour)
		if start, ok := hours[hour]; !ok || r.Start < start {
			hours[hour] = r.Start
		}
		row := []any{r.Start.Time(), r.End.Time(), r.End.Time(), int64(r.Packets), int64(r.Bytes), int32(r.Exporter), int32(1), int16(0), int16(r.Protocol), int16(r.TOS)}
		for _, k := range []query.Key{query.KeySrcAddr, query.KeyDstAddr, query.KeyNextHop} {
			v := ValueOf(r, k, 0)
			if text, ok := v.(string); ok {
				v = netip.MustParseAddr(text)
			}
			row = append(row, v)
		}
		for _, k := range []query.Key{query.KeySrcPort, query.KeyDstPort, query.KeyInIf, query.KeyOutIf, query.KeySrcAS, query.KeyDstAS, query.KeyTCPFlags, query.KeyVLAN,
			"icmp-type", "icmp-code", "end-reason", "direction", "src-mask", "dst-mask"} {
			v := ValueOf(r, k, 0)
			if n, ok := v.(int64); ok {
				v = int32(uint32(n)) // the same 32 bits with a sign
			}
			row = append(row, v)
		}
		var extra any
		if r.Extra != nil {
			extra = string(r.Extra)
		}
		rows[i] = append(row, extra)
	}
	for hour, start := range hours {
		name := "flows_" + hour.Time().Format("2006010215")
		h.Exec(t, fmt.Sprintf("create table parts.%s partition of parts.flows for values from ('%s') to ('%s')",
			name, hour.Time().Format(time.RFC3339), (hour+flow.Hour).Time().Format(time.RFC3339)))
		h.Exec(t, "insert into parts.partition (hour, until, min_start, name) values ($1, $2, $3, $4)", hour.Time(), (hour + flow.Hour).Time(), start.Time(), name)
	}
	_, err := h.Admin.CopyFrom(context.Background(), pgx.Identifier{"parts", "flows"}, []string{
		"flow_start", "flow_end", "received_at", "packets", "bytes", "exporter_id", "batch", "marks", "protocol", "tos",
		"src_addr", "dst_addr", "next_hop", "src_port", "dst_port", "in_if", "out_if", "src_as", "dst_as", "tcp_flags", "vlan",
		"icmp_type", "icmp_code", "end_reason", "direction", "src_mask", "dst_mask", "extra",
	}, pgx.CopyFromRows(rows))
	if err != nil {
		t.Fatal(err)
	}
}

// ValueOf is what a key is in a record; side chooses which of an either-side
// key.
func ValueOf(r *flow.Record, k query.Key, side int) any {
	number := func(v uint32) any {
		if v == 0 {
			return nil
		}
		return int64(v)
	}
	addr := func(a flow.Addr, known bool) any {
		if !known {
			return nil
		}
		return a.Netip().String()
	}
	switch k {
	case query.KeyAddr:
		return ValueOf(r, []query.Key{query.KeySrcAddr, query.KeyDstAddr}[side], 0)
	case query.KeyPort:
		return ValueOf(r, []query.Key{query.KeySrcPort, query.KeyDstPort}[side], 0)
	case query.KeyInterface:
		return ValueOf(r, []query.Key{query.KeyInIf, query.KeyOutIf}[side], 0)
	case query.KeySrcAddr:
		return addr(r.SrcAddr, r.IPVersion != 0)
	case query.KeyDstAddr:
		return addr(r.DstAddr, r.IPVersion != 0)
	case query.KeyNextHop:
		return addr(r.NextHop, !r.NextHop.IsZero())
	case query.KeySrcPort, query.KeyDstPort:
		switch {
		case !r.HasPorts():
			return nil
		case k == query.KeySrcPort:
			return int64(r.SrcPort)
		}
		return int64(r.DstPort)
	case query.KeyProtocol:
		return int64(r.Protocol)
	case query.KeyExporter:
		return int64(r.Exporter)
	case query.KeyInIf:
		return number(r.InIf)
	case query.KeyOutIf:
		return number(r.OutIf)
	case query.KeySrcAS:
		return number(r.SrcAS)
	case query.KeyDstAS:
		return number(r.DstAS)
	case query.KeyTOS:
		return int64(r.TOS)
	case query.KeyTCPFlags:
		if r.Protocol != flow.TCP {
			return nil
		}
		return int64(r.TCPFlags)
	case query.KeyVLAN:
		return number(uint32(r.VLAN))
	}
	if p := flow.PairOfKey(string(k)); p != nil {
		return fieldOf(r, flow.FieldNamed([]string{p.Src, p.Dst}[side]))
	}
	if f := flow.FieldOfKey(string(k)); f != nil {
		return fieldOf(r, f)
	}
	panic("no key " + k)
}

// fieldOf is what a record says of a field, by the accessor of the table or from
// Extra.
func fieldOf(r *flow.Record, f *flow.Field) any {
	if f.Number != nil {
		if n, ok := f.Number(r); ok {
			return int64(n)
		}
		return nil
	}
	var extra map[string]any
	if r.Extra != nil {
		if err := json.Unmarshal(r.Extra, &extra); err != nil {
			panic(err)
		}
	}
	for _, name := range f.Members() {
		switch v := extra[name].(type) {
		case string:
			return v
		case float64:
			return int64(v)
		}
	}
	return nil
}
