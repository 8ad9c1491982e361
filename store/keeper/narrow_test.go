package keeper_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/pressly/goose/v3"

	"flowtally/flow"
	"flowtally/lab/postgres/pgtest"
	"flowtally/migrations"
	"flowtally/store"
	"flowtally/store/ingest"
	"flowtally/store/keeper"
	"flowtally/store/storetest"
)

// Migration 18 makes four columns narrow where there are flows already, in hours
// with and without indexes; nobody who asks sees a difference, and the roll-ups,
// which keep numbers in eight octets, are not touched.
func TestNarrowWithFlows(t *testing.T) {
	ctx := context.Background()
	dsn := pgtest.Empty(t)
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	p, err := goose.NewProvider(goose.DialectPostgres, db, migrations.FS, goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(ctx, 17); err != nil {
		t.Fatal(err)
	}
	conn := storetest.Connect(t, dsn)
	// Every pair of the values that are different in 31, 32 and 33 bits, and null.
	if _, err := conn.Exec(ctx, `
		create table parts.flows_2025112110 partition of parts.flows for values from ('2025-11-21 10:00+00') to ('2025-11-21 11:00+00');
		create table parts.flows_2025112111 partition of parts.flows for values from ('2025-11-21 11:00+00') to ('2025-11-21 12:00+00');
		alter table parts.flows_2025112110 owner to flow_writer;
		alter table parts.flows_2025112111 owner to flow_writer;
		insert into parts.partition (hour, min_start, sealed_at, name) values
			('2025-11-21 10:00+00', '2025-11-21 10:00+00', now(), 'flows_2025112110'), ('2025-11-21 11:00+00', '2025-11-21 11:00+00', null, 'flows_2025112111');
		with n (v) as (values (null::bigint), (0), (1), (2147483647), (2147483648), (4294967295))
		insert into parts.flows (flow_start, flow_end, received_at, packets, bytes, in_if, out_if, src_as, dst_as, exporter_id, batch, protocol, marks, tos, src_addr, dst_addr)
		select e, e, e, 1, 40, a.v, b.v, b.v, a.v, 7, 1, 6, 0, 0, '10.0.0.1', '10.0.0.2'
		from n a, n b, (values ('2025-11-21 10:30+00'::timestamptz), ('2025-11-21 11:30+00')) as x (e);
		create index flows_2025112110_time on parts.flows_2025112110 using brin (flow_end, flow_start, batch) with (pages_per_range = 32);
		create index flows_2025112110_src on parts.flows_2025112110 using brin (src_addr inet_bloom_ops) with (pages_per_range = 128);
		create table parts.traffic_1m_20251121 partition of parts.traffic_1m for values from ('2025-11-21 00:00+00') to ('2025-11-22 00:00+00');
		alter table parts.traffic_1m_20251121 owner to flow_writer;
		insert into parts.traffic (name, grain, from_time, to_time) values ('traffic_1m_20251121', 0, '2025-11-21 00:00+00', '2025-11-22 00:00+00');
		insert into parts.traffic_1m (bucket, flows, packets, bytes, number, exporter_id, dimension, protocol, remainder)
		values ('2025-11-21 09:00+00', 1, 2, 3, 4294967295, 7, 'in_if', 6, false);
		analyze parts.flows_2025112110`); err != nil {
		t.Fatal(err)
	}
	const (
		flows = `select string_agg(f::text, e'\n' order by f::text) from flows f`
		rolls = `select string_agg(r::text, e'\n') || (select pg_relation_filenode('parts.traffic_1m_20251121')) from parts.traffic_1m r`
		types = `select string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), e'\n' order by a.attnum) from pg_attribute a where a.attrelid = 'flows'::regclass and a.attnum > 0`
		named = `select string_agg(a.attname || ' ' || coalesce(col_description(a.attrelid, a.attnum), '-'), e'\n' order by a.attnum) from pg_attribute a where a.attrelid = 'flows'::regclass and a.attnum > 0`
		index = `select string_agg(indexrelid::regclass || ' ' || indisvalid, e'\n' order by indexrelid::regclass::text) from pg_index where indrelid = 'parts.flows_2025112110'::regclass`
	)
	asks := []string{flows, rolls, types, named, index}
	var before []string
	for _, ask := range asks {
		before = append(before, storetest.Get[string](t, conn, ask))
	}
	if err := store.Migrate(ctx, dsn, store.MigrateConfig{}); err != nil {
		t.Fatal(err)
	}
	for i, ask := range asks {
		if after := storetest.Get[string](t, conn, ask); after != before[i] {
			t.Errorf("%s:\n%s\nwas\n%s", ask, after, before[i])
		}
	}
	if got := storetest.Get[int](t, conn, "select count(*) from pg_attribute where attrelid = any('{parts.flows,parts.flows_2025112110,parts.flows_2025112111}'::regclass[]) and attname in ('in_if', 'out_if', 'src_as', 'dst_as') and atttypid = 'int'::regtype"); got != 12 {
		t.Errorf("%d of 12 columns are narrow", got)
	}

	// Migration 19 says which buckets do not know flows between equal sides.
	if got := storetest.Get[string](t, conn, "select string_agg(name || ' ' || since, ', ' order by name) from parts.dimension"); got != "same_addr 2025-11-21 09:01:00+00, same_as 2025-11-21 09:01:00+00, same_if 2025-11-21 09:01:00+00, same_port 2025-11-21 09:01:00+00" {
		t.Error(got)
	}

	// Both hours take flows, and what was there is summed with what came.
	if _, err := conn.Exec(ctx, `insert into batches (id, key, records, packets, bytes, received_from, received_to, min_end, max_end)
		values (1, 1, 72, 72, 2880, '2025-11-21 10:30+00', '2025-11-21 11:30+00', '2025-11-21 10:30+00', '2025-11-21 11:30+00')`); err != nil {
		t.Fatal(err)
	}
	d, err := store.Open(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var recs []flow.Record
	for _, end := range []flow.Time{1763721000000, 1763724600000} { // 10:30, 11:30
		r := storetest.Record(end)
		r.InIf, r.DstAS = 1<<32-1, 1<<31
		recs = append(recs, r)
	}
	w := ingest.NewWriter(d, ingest.WriterConfig{})
	if err := w.Write(ctx, flow.Batch{Records: recs}); err != nil {
		t.Fatal(err)
	}
	if err := keeper.SumOnly(ctx, keeper.New(d, keeper.Config{})); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"flows", "traffic_1m"} {
		for _, c := range []struct {
			column string
			value  int64
			want   int
		}{{"in_if", 4294967295, 14}, {"in_if", 2147483648, 12}, {"in_if", 2147483647, 12}, {"dst_as", 2147483648, 14}, {"dst_as", 1, 12}} {
			ask := "select count(*) from flows where " + c.column + " = $1"
			if table != "flows" {
				ask = "select coalesce(sum(flows), 0)::int from parts.traffic_1m where bucket >= '2025-11-21 10:00+00' and dimension = '" + c.column + "' and number = $1"
			}
			var got int
			if err := conn.QueryRow(ctx, ask, c.value).Scan(&got); err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("%s: %d flows with %s %d, want %d", table, got, c.column, c.value, c.want)
			}
		}
	}
}
