package ingest_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"flowtally/flow"
	"flowtally/lab/postgres"
	"flowtally/lab/postgres/pgtest"
	"flowtally/store"
	"flowtally/store/ingest"
	"flowtally/store/keeper"
	"flowtally/store/storetest"
)

func address(s string) flow.Addr { return flow.AddrFrom(netip.MustParseAddr(s)) }

// event is one of everything.
func event(n int) flow.Event {
	return flow.Event{
		Time: storetest.Noon + flow.Time(n), Received: storetest.Noon + flow.Second, Exporter: 7, Protocol: flow.TCP,
		SrcAddr: address("10.0.0.1"), DstAddr: address("203.0.113.5"), NATSrcAddr: address("198.51.100.7"), NATDstAddr: address("203.0.113.5"),
		SrcPort: 1234, DstPort: 443, NATSrcPort: 40000, NATDstPort: 443, InIf: 1, OutIf: 4_000_000_000, NAT: 4,
	}
}

// What a row of the view events says is what the event said.
func TestEventsRoundTrip(t *testing.T) {
	db, _, conn := storetest.Open(t)
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	full := event(0)
	full.User, full.Extra = "al\x00ice\xff", []byte(`{"asaExtendedEvent":1001}`)
	denied := flow.Event{
		Time: storetest.Noon + 1, Received: storetest.Noon, Exporter: 7, Firewall: flow.FirewallDenied, Protocol: flow.ICMP,
		DstPort: 3<<8 | 1, SrcAddr: address("2001:db8::1"), DstAddr: address("0.0.0.0"),
	}
	block := flow.Event{Time: storetest.Noon + 2, Received: storetest.Noon, Exporter: 7, SrcAddr: address("100.64.0.5"), BlockFirst: 1024, BlockLast: 2047}
	bare := flow.Event{Received: storetest.Noon + 3, Exporter: 7, NAT: 200}
	nat64 := flow.Event{Time: storetest.Noon + 4, Received: storetest.Noon, Exporter: 7, NAT: 6, SrcAddr: address("2001:db8::1"), NATSrcAddr: address("192.0.2.1")}
	ignored := flow.Event{Time: storetest.Noon + 5, Received: storetest.Noon, Exporter: 7, Firewall: flow.FirewallIgnore}
	if err := w.Write(context.Background(), flow.Batch{
		Records: []flow.Record{storetest.Record(storetest.Noon)},
		Events:  []flow.Event{full, denied, block, bare, nat64, ignored},
	}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		"0 nat44 create 10.0.0.1 203.0.113.5 1234 443 6 - - 198.51.100.7 203.0.113.5 40000 443 - - alice\uFFFD 1 4000000000 - 4 {\"asaExtendedEvent\": 1001} 2",
		"1 denied 2001:db8::1 - - - 1 3 1 - - - - - - - - - 3 - - 0",
		"2 port block 100.64.0.5 - - - - - - - - - - 1024 2047 - - - - - - 0",
		"3 other - - - - - - - - - - - - - - - - - 200 - 1",
		"4 nat64 create 2001:db8::1 - - - - - - 192.0.2.1 - - - - - - - - - 6 - 0",
		"5 ignore - - - - - - - - - - - - - - - - 0 - - 0",
	} {
		got := storetest.Get[string](t, conn, `select concat_ws(' ', flow_ms(time) - $1::bigint, kind, coalesce(host(src_addr), '-'), coalesce(host(dst_addr), '-'), coalesce(src_port::text, '-'), coalesce(dst_port::text, '-'),
			coalesce(protocol::text, '-'), coalesce(icmp_type::text, '-'), coalesce(icmp_code::text, '-'), coalesce(host(nat_src_addr), '-'), coalesce(host(nat_dst_addr), '-'),
			coalesce(nat_src_port::text, '-'), coalesce(nat_dst_port::text, '-'), coalesce(block_first::text, '-'), coalesce(block_last::text, '-'), coalesce(user_name, '-'),
			coalesce(in_if::text, '-'), coalesce(out_if::text, '-'), coalesce(firewall_event::text, '-'), coalesce(nat_event::text, '-'), coalesce(extra::text, '-'), marks)
			from events order by time offset $2 limit 1`, int64(storetest.Noon), i)
		if got != want {
			t.Errorf("event %d:\n got %s\nwant %s", i, got, want)
		}
	}
	if got := storetest.Get[string](t, conn, "select concat_ws(' ', records, events, packets) from batches"); got != "1 6 3" {
		t.Errorf("the batch has %s", got)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from events e join batches b on b.id = e.batch"); n != 6 {
		t.Errorf("%d events are of the batch", n)
	}
}

// Events of a batch that waits in the spool are stored with it, once; those of a batch
// that has no flows, too.
func TestSpoolKeepsEvents(t *testing.T) {
	_, dsn, conn := storetest.Open(t)
	wire, through := newWire(t, dsn)
	s := spooling(t, through, t.TempDir(), ingest.WriterConfig{Patience: 200 * time.Millisecond})
	ctx := context.Background()
	wire.cut()
	for i := range 3 {
		b := flow.Batch{Events: []flow.Event{event(2 * i), event(2*i + 1)}}
		if i > 0 {
			b.Records = numbered(i-1, 1)
		}
		if err := s.Write(ctx, b); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(files(t, s.dir)); n != 3 {
		t.Errorf("%d files in the spool, want 3", n)
	}
	s.stop()
	wire.mend()
	// Another run finds them.
	s = spooling(t, dsn, s.dir, ingest.WriterConfig{})
	eventually(t, "the spool is empty", func() bool { return len(files(t, s.dir)) == 0 })
	if got := storetest.Get[string](t, conn, "select concat_ws(' ', count(*), count(distinct time), (select count(*) from flows), (select sum(events) from batches)) from events"); got != "6 6 2 6" {
		t.Errorf("%s events, different ones, flows, events of batches; want 6 6 2 6", got)
	}
}

// Events that are lost with a batch are in the ledger, under a unit of their own.
func TestLostEventsAreBooked(t *testing.T) {
	_, dsn, conn := storetest.Open(t)
	wire, through := newWire(t, dsn)
	s := spooling(t, through, t.TempDir(), ingest.WriterConfig{Patience: 200 * time.Millisecond, SpoolBytes: 40 << 10})
	wire.cut()
	var many []flow.Event
	for i := range 50 {
		many = append(many, event(i))
	}
	for range 4 {
		if err := s.Write(context.Background(), flow.Batch{Events: many}); err != nil {
			t.Fatal(err)
		}
	}
	wire.mend()
	eventually(t, "the spool is empty", func() bool { return len(files(t, s.dir)) == 0 })
	stored := storetest.Get[int](t, conn, "select count(*) from events")
	lost := storetest.Get[int](t, conn, "select coalesce(sum(count), 0)::int from loss where exporter_id = 7 and stage = 'store' and cause = 'spool_full' and unit = 'event'")
	if stored+lost != 200 || lost == 0 {
		t.Errorf("%d stored and %d lost of 200", stored, lost)
	}
}

// A day that was removed while a batch was on its way is made again, and a day too many
// becomes that of receipt.
func TestEventDays(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	if err := w.Write(ctx, flow.Batch{Events: []flow.Event{event(0)}}); err != nil {
		t.Fatal(err)
	}
	// Somebody removes the day; the Writer still believes in it.
	day := storetest.Get[string](t, conn, "delete from parts.event_day returning name")
	if _, err := conn.Exec(ctx, "alter table parts.events detach partition parts."+day); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(ctx, flow.Batch{Events: []flow.Event{event(1)}}); err != nil {
		t.Fatal(err)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from events"); n != 1 {
		t.Errorf("%d events, want the later one", n)
	}
	// Somebody drops or detaches the day, and the books do not know.
	for _, sql := range []string{"drop table parts." + day, "alter table parts.events detach partition parts." + day} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
		if err := w.Write(ctx, flow.Batch{Events: []flow.Event{event(1)}}); err != nil {
			t.Fatal(err)
		}
		if n := storetest.Get[int](t, conn, "select count(*) from events"); n != 1 {
			t.Errorf("%s: %d events, want the later one", sql, n)
		}
	}
	// 900 days of a stranger.
	var scattered []flow.Event
	for i := range 900 {
		e := event(0)
		e.Time -= flow.Time(i) * flow.Day
		scattered = append(scattered, e)
	}
	w = ingest.NewWriter(db, ingest.WriterConfig{})
	if err := w.Write(ctx, flow.Batch{Events: scattered}); err != nil {
		t.Fatal(err)
	}
	if got := storetest.Get[string](t, conn, "select concat_ws(' ', (select count(*) from parts.event_day), count(*), count(*) filter (where marks = 8)) from events"); got != fmt.Sprint(store.MaxEventDays, 901, 900-store.MaxEventDays) {
		t.Errorf("%s days, events, moved ones", got)
	}
}

// Old days go by the age of their last receipt, and leave a trace.
func TestEventsExpire(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	late := event(0)
	late.Time -= 3 * flow.Day // received now
	old := event(0)
	old.Time, old.Received = old.Time-20*flow.Day, old.Received-20*flow.Day
	if err := w.Write(ctx, flow.Batch{Events: []flow.Event{old, late, event(0)}}); err != nil {
		t.Fatal(err)
	}
	k := keeper.New(db, keeper.Config{RetainEvents: 2 * 24 * time.Hour, Now: storetest.At(storetest.Noon + flow.Day), RetainPath: keeper.RetainNowhere})
	if err := k.Tidy(ctx); err != nil {
		t.Fatal(err)
	}
	if got := storetest.Get[string](t, conn, "select concat_ws(' ', count(*), (select count(*) from parts.event_day), (select count(*) from parts.reach where source = 'events'), (select count(*) from parts.removal)) from events"); got != "2 2 1 0" {
		t.Errorf("events, days, reach, removals: %s; want 2 2 1 0", got)
	}
	k = keeper.New(db, keeper.Config{RetainEvents: 2 * 24 * time.Hour, Now: storetest.At(storetest.Noon + 4*flow.Day), RetainPath: keeper.RetainNowhere})
	if err := k.Tidy(ctx); err != nil {
		t.Fatal(err)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from events"); n != 0 {
		t.Errorf("%d events are left", n)
	}
}

// A past day is sealed: it has indexes by address, and statistics.
func TestEventDaysAreSealed(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	if err := ingest.NewWriter(db, ingest.WriterConfig{}).Write(ctx, flow.Batch{Events: []flow.Event{event(0)}}); err != nil {
		t.Fatal(err)
	}
	k := keeper.New(db, keeper.Config{RetainEvents: keeper.ForEver, Now: storetest.At(storetest.Noon + flow.Day), RetainPath: keeper.RetainNowhere})
	if err := k.Tidy(ctx); err != nil {
		t.Fatal(err)
	}
	if got := storetest.Get[string](t, conn, "select concat_ws(' ', (select count(*) from parts.event_day where sealed_at is not null), count(*)) from pg_indexes where schemaname = 'parts' and tablename like 'events_2%'"); got != "1 4" {
		t.Errorf("sealed days and indexes: %s, want 1 4", got)
	}
}

// Who may read events, and who may not write them.
func TestEventPrivileges(t *testing.T) {
	_, _, conn := storetest.Open(t)
	for _, c := range []struct {
		role, table, right string
		want               bool
	}{
		{"flow_reader", "events", "select", true}, {"flow_web", "events", "select", true},
		{"flow_reader", "parts.events", "select", false}, {"flow_reader", "parts.event_day", "select", true},
		{"flow_reader", "parts.event_day", "insert", false}, {"flow_web", "parts.events", "insert", false},
	} {
		if got := storetest.Get[bool](t, conn, "select has_table_privilege($1, $2, $3)", c.role, c.table, c.right); got != c.want {
			t.Errorf("%s may %s %s: %v", c.role, c.right, c.table, got)
		}
	}
}

// A translation of a flow has columns; a row from before, which has it in extra, shows it
// under the same names. Flows without one take no more room for the columns.
func TestTranslationsOfFlows(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	translated := storetest.Record(storetest.Noon)
	translated.Extra = []byte(`{"postNATSourceIPv4Address":"198.51.100.7","postNAPTSourceTransportPort":41022,"natInstanceID":3}`)
	if err := w.Write(ctx, flow.Batch{Records: []flow.Record{translated}}); err != nil {
		t.Fatal(err)
	}
	if got := storetest.Get[string](t, conn, "select concat_ws(' ', host(nat_src_addr), nat_src_port, nat_dst_addr, extra) from parts.flows"); got != `198.51.100.7 41022 {"natInstanceID": 3}` {
		t.Errorf("stored %s", got)
	}
	if _, err := conn.Exec(ctx, `insert into parts.flows (flow_start, flow_end, received_at, packets, bytes, exporter_id, batch, protocol, marks, extra)
		select flow_start, flow_end, received_at, packets, bytes, exporter_id, batch, protocol, marks, '{"postNATDestinationIPv6Address": "2001:db8::1", "postNAPTDestinationTransportPort": 443}' from parts.flows`); err != nil {
		t.Fatal(err)
	}
	if got := storetest.Get[string](t, conn, "select string_agg(concat_ws(' ', host(nat_src_addr), nat_src_port, host(nat_dst_addr), nat_dst_port), '; ' order by nat_src_port) from flows"); got != "198.51.100.7 41022; 2001:db8::1 443" {
		t.Errorf("the view shows %s", got)
	}
	if err := w.Write(ctx, flow.Batch{Records: numbered(0, 20_000)}); err != nil {
		t.Fatal(err)
	}
	columns := storetest.Get[string](t, conn, `select string_agg(attname, ', ' order by attnum) from pg_attribute
		where attrelid = 'parts.flows'::regclass and attnum > 0 and not attisdropped and attname not like 'nat\_%'`)
	for _, sql := range []string{"create table narrow as select " + columns + " from parts.flows where nat_src_addr is null", "create table wide as select * from parts.flows where nat_src_addr is null"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	if narrow, wide := storetest.Get[int64](t, conn, "select pg_relation_size('narrow')"), storetest.Get[int64](t, conn, "select pg_relation_size('wide')"); wide != narrow {
		t.Errorf("20,000 flows take %d bytes without the columns, %d with them", narrow, wide)
	}
}

// BenchmarkWriteEvents is the rate at which batches of 10,000 translations become durable,
// as BenchmarkWrite is for flows.
func BenchmarkWriteEvents(b *testing.B) {
	ctx := context.Background()
	s := pgtest.Start(b, postgres.Config{Dir: pgtest.Dir(b), Settings: map[string]string{"fsync": "on"}})
	dsn := s.DSN(postgres.Admin)
	if err := store.Migrate(ctx, dsn, store.MigrateConfig{}); err != nil {
		b.Fatal(err)
	}
	db, err := store.Open(ctx, dsn)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	events := make([]flow.Event, 10_000)
	for i := range events {
		events[i] = event(i)
		events[i].SrcPort, events[i].NATSrcPort = uint16(i), uint16(i)
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := w.Write(ctx, flow.Batch{Events: events}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)*float64(len(events))/b.Elapsed().Seconds(), "rows/s")
	var size int64
	if err := db.Pool().QueryRow(ctx, "select sum(pg_total_relation_size('parts.' || name))::bigint from parts.event_day").Scan(&size); err == nil {
		b.ReportMetric(float64(size)/float64(b.N*len(events)), "B/row")
	}
}
