package store_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"pgregory.net/rapid"

	"flowtally/flow"
	"flowtally/lab/postgres"
	"flowtally/lab/postgres/pgtest"
	"flowtally/store"
	"flowtally/store/ingest"
	"flowtally/store/storetest"
)

// flow_share and flow.Share are the same function.
func TestShareInSQL(t *testing.T) {
	_, _, conn := storetest.Open(t)
	ctx := context.Background()
	type question struct {
		value            uint64
		start, end       flow.Time
		from, middle, to flow.Time
	}
	ask := func(t interface{ Fatal(...any) }, qs []question) {
		var values []int64
		var starts, ends, froms, tos []time.Time
		for _, q := range qs {
			for _, cut := range [][2]flow.Time{{q.from, q.middle}, {q.middle, q.to}, {q.from, q.to}} {
				values = append(values, int64(q.value))
				starts, ends = append(starts, q.start.Time()), append(ends, q.end.Time())
				froms, tos = append(froms, cut[0].Time()), append(tos, cut[1].Time())
			}
		}
		rows, err := conn.Query(ctx, `select flow_share(v, s, e, f, t) from unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[])
			with ordinality as q(v, s, e, f, t, n) order by n`, values, starts, ends, froms, tos)
		if err != nil {
			t.Fatal(err)
		}
		got, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			t.Fatal(err)
		}
		for i, q := range qs {
			a, b, c := got[3*i], got[3*i+1], got[3*i+2]
			if a+b != c {
				t.Fatal(fmt.Sprintf("%+v: %d and %d do not add up to %d", q, a, b, c))
			}
			if want := flow.Share(q.value, q.start, q.end, q.from, q.middle); uint64(a) != want {
				t.Fatal(fmt.Sprintf("%+v: SQL says %d, Go %d", q, a, want))
			}
			if want := flow.Share(q.value, q.start, q.end, q.from, q.to); uint64(c) != want {
				t.Fatal(fmt.Sprintf("%+v: SQL says %d, Go %d", q, c, want))
			}
		}
	}
	var edges []question
	for _, length := range []flow.Time{0, 1, 2, 999, flow.Hour, flow.MaxDuration - 1, flow.MaxDuration} {
		for _, value := range []uint64{0, 1, 2, 1500, math.MaxInt64 - 1, math.MaxInt64} {
			end := storetest.Noon + length
			cuts := []flow.Time{storetest.Noon - 1, storetest.Noon, storetest.Noon + 1, storetest.Noon + length/3, storetest.Noon + length/2, end - 1, end, end + 1}
			for _, from := range cuts {
				for _, middle := range cuts {
					if from <= middle {
						edges = append(edges, question{value, storetest.Noon, end, from, middle, max(middle, end)})
					}
				}
			}
		}
	}
	ask(t, edges)
	rapid.Check(t, func(t *rapid.T) {
		qs := make([]question, 50)
		for i := range qs {
			q := question{value: uint64(rapid.Int64Range(0, math.MaxInt64).Draw(t, "value")), start: flow.Time(rapid.Int64Range(0, 4_000_000_000_000).Draw(t, "start"))}
			length := rapid.Int64Range(0, int64(flow.MaxDuration)).Draw(t, "length")
			cut := rapid.Int64Range(-10, length+10)
			a, b, c := cut.Draw(t, "a"), cut.Draw(t, "b"), cut.Draw(t, "c")
			q.end = q.start + flow.Time(length)
			lo, hi := min(a, b, c), max(a, b, c)
			q.from, q.middle, q.to = q.start+flow.Time(lo), q.start+flow.Time(a+b+c-lo-hi), q.start+flow.Time(hi)
			qs[i] = q
		}
		ask(t, qs)
	})
}

// flow_ms is exact for what we store.
func TestMillisecondsInSQL(t *testing.T) {
	_, _, conn := storetest.Open(t)
	times := []int64{0, 1, -1, 999, 1000, noonMS(), noonMS() + 1, 253_402_300_799_999, -62_135_596_800_000}
	for i := range int64(1000) {
		times = append(times, noonMS()+i*7919)
	}
	for _, ms := range times {
		if got := storetest.Get[int64](t, conn, "select flow_ms($1)", time.UnixMilli(ms)); got != ms {
			t.Errorf("flow_ms gives %d for %d", got, ms)
		}
	}
}

func noonMS() int64 { return int64(storetest.Noon) }

// Both functions are expressions to the planner: no call is left.
func TestFunctionsAreInlined(t *testing.T) {
	_, _, conn := storetest.Open(t)
	rows, err := conn.Query(context.Background(), `explain (verbose) select sum(flow_share(bytes, flow_start, flow_end, '2025-11-21', '2025-11-22')), max(flow_ms(flow_end)) from parts.flows`)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(plan, "\n"); strings.Contains(text, "flow_share(") || strings.Contains(text, "flow_ms(") {
		t.Errorf("a function is called for every row:\n%s", text)
	}
}

// Every table, view and column says what it is.
func TestEverythingHasAComment(t *testing.T) {
	_, _, conn := storetest.Open(t)
	rows, err := conn.Query(context.Background(), `
		select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
			where n.nspname in ('public', 'parts', 'console') and c.relkind in ('r', 'v', 'p') and not c.relispartition
			and c.relname <> 'goose_db_version' and obj_description(c.oid, 'pg_class') is null
		union all
		select c.oid::regclass::text || '.' || a.attname from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid
			where n.nspname in ('public', 'parts', 'console') and c.relkind in ('r', 'v', 'p') and not c.relispartition
			and c.relname <> 'goose_db_version' and a.attnum > 0 and not a.attisdropped and col_description(c.oid, a.attnum) is null
		union all
		select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
			where n.nspname in ('public', 'parts', 'console') and obj_description(p.oid, 'pg_proc') is null`)
	if err != nil {
		t.Fatal(err)
	}
	silent, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if len(silent) > 0 {
		t.Errorf("without a comment: %s", strings.Join(silent, ", "))
	}
}

// The view flows has the columns of the table of fields, in its order, with its types
// and sentences; and parts.flows has those of them that are stored.
func TestColumnsAreTheFields(t *testing.T) {
	_, _, conn := storetest.Open(t)
	columns := func(relation string) []string {
		rows, err := conn.Query(context.Background(), `select a.attname || ' ' || t.typname || ': ' || coalesce(col_description(a.attrelid, a.attnum), '')
			from pg_attribute a join pg_type t on t.oid = a.atttypid where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum`, relation)
		if err != nil {
			t.Fatal(err)
		}
		list, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		// The comments still say octets, and kin where the table lists them; how rows
		// are partitioned and 32 bits are stored is the schema's to say.
		plain := strings.NewReplacer("octets", "bytes", "octet;", "byte;", " and its kin", "", " and their kin", "", "; the partition key", "",
			"; 32 bits of which the uppermost is the sign", "")
		for i := range list {
			list[i] = plain.Replace(list[i])
		}
		return list
	}
	var view, stored []string
	for i := range flow.Fields {
		f := &flow.Fields[i]
		if !f.IsColumn() {
			continue
		}
		view = append(view, f.Name+" "+string(f.SQL)+": "+f.Comment())
		if f.Stored != "" {
			said := f.Comment()
			if f.Name == "sampling_rate" {
				// What is stored, before people say otherwise.
				said = strings.Replace(said, "that counts when the flow starts: as people say for the exporter, else as announced", "as announced, or as the collector was told", 1)
			}
			stored = append(stored, f.Name+" "+string(f.Stored)+": "+said)
		}
	}
	if diff := gocmp.Diff(view, columns("flows")); diff != "" {
		t.Errorf("the table of fields and the view flows: %s", diff)
	}
	table := columns("parts.flows")
	slices.Sort(stored)
	slices.Sort(table)
	if diff := gocmp.Diff(stored, table); diff != "" {
		t.Errorf("the stored fields and parts.flows: %s", diff)
	}
}

// Grants are the boundary: what each role may, and what it may not.
func TestRoles(t *testing.T) {
	ctx := context.Background()
	dsn := pgtest.Empty(t)
	passwords := map[string]string{store.RoleWriter: "it's w", store.RoleWeb: `b\$`, store.RoleReader: "r"}
	if err := store.Migrate(ctx, dsn, store.MigrateConfig{Passwords: passwords}); err != nil {
		t.Fatal(err)
	}
	as := func(role string) string { return pgtest.As(t, dsn, role, passwords[role]) }
	db, err := store.Open(ctx, as(store.RoleWriter))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	if err := w.Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon)}}); err != nil {
		t.Fatal(err)
	}
	status := flow.ExporterStatus{Exporter: flow.Exporter{Addr: flow.Addr4([4]byte{192, 0, 2, 7})}, Version: 9, FirstSeen: storetest.Noon, LastSeen: storetest.Noon}
	if err := w.Report(ctx, flow.Report{Status: []flow.ExporterStatus{status}, Loss: []flow.Loss{{Minute: storetest.Noon, Stage: "way", Cause: "c", Unit: "u", Count: 1}}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		role    string
		allowed bool
		sql     string
	}{
		{store.RoleWriter, true, "select pg_advisory_xact_lock(1)"},
		{store.RoleWriter, true, "alter table parts.flows detach partition parts." + store.PartitionName(storetest.Noon.Floor(flow.Hour))},
		{store.RoleWriter, true, "drop table parts." + store.PartitionName(storetest.Noon.Floor(flow.Hour))},
		{store.RoleWriter, true, "update batches set summed_at = now()"},
		{store.RoleWriter, true, "create table parts.t1 partition of parts.traffic_1m for values from ('2025-11-21') to ('2025-11-22'); insert into parts.traffic_1m (bucket, flows, packets, bytes, exporter_id, dimension) values ('2025-11-21', 1, 1, 1, 1, 'total')"},
		{store.RoleWriter, false, "insert into console.exporters (id, name) values (1, 'x')"},
		{store.RoleWriter, false, "create table public.t (i int)"},
		{store.RoleWriter, false, "create temporary table t (i int)"},
		{store.RoleWriter, false, "drop table batches"},

		{store.RoleWeb, true, "select * from flows, parts.flows f, exporters, exporter_status, batches, console.exporters, loss, interfaces, traffic_1m, traffic_1h, traffic_1d"},
		{store.RoleWeb, true, "insert into console.exporters (id, name) values (1, 'x')"},
		{store.RoleWeb, true, "update console.exporters set name = 'y'"},
		{store.RoleWeb, true, "delete from console.exporters"},
		{store.RoleWeb, false, "delete from parts.flows"},
		{store.RoleWeb, false, "update parts.exporter set label = 'x'"},
		{store.RoleWeb, false, "insert into loss values (now(), 1, 'a', 'b', 'c', 1)"},
		{store.RoleWeb, false, "create table public.t (i int)"},
		{store.RoleWeb, false, "create temporary table t (i int)"},

		{store.RoleReader, true, "select * from flows, exporters, exporter_status, batches, loss, interfaces, traffic_1m, traffic_1h, traffic_1d, parts.partition"},
		{store.RoleReader, true, "select flow_share(bytes, flow_start, flow_end, now(), now()), flow_ms(flow_end) from flows where flow_end < (select flows_until(now()))"},
		{store.RoleReader, true, "select * from reach, parts.settled, parts.hour, parts.reach, parts.dimension"},
		{store.RoleReader, true, "select grain, bucket, part, created_at from parts.pending"},
		{store.RoleReader, false, "select sums from parts.pending"},
		{store.RoleReader, false, "select * from parts.traffic_1m"},
		{store.RoleReader, false, "select * from parts.flows"},
		{store.RoleReader, false, "select * from console.exporters"},
		{store.RoleReader, false, "select nextval('parts.batch_block')"},
		{store.RoleReader, false, "select parts.name_exporter()"},
		{store.RoleReader, false, "delete from loss"},
		{store.RoleReader, false, "create temporary table t (i int)"},
		{store.RoleReader, false, "create table public.t (i int)"},
		{store.RoleReader, false, "create schema s"},
		{store.RoleReader, false, "create function public.f() returns int language sql as 'select 1'"},
		{store.RoleReader, false, "create extension pg_trgm"},
		{store.RoleReader, false, "lock table batches in access exclusive mode"},
		{store.RoleReader, false, "select * from flows for update"},
		{store.RoleReader, false, "select lo_create(0)"},
		{store.RoleReader, false, "select lo_from_bytea(0, 'x')"},
		{store.RoleReader, false, "select pg_advisory_lock(1)"},
		{store.RoleReader, false, "select pg_try_advisory_xact_lock_shared(1)"},
		{store.RoleReader, false, "select set_config('statement_timeout', '0', false)"},
		{store.RoleReader, false, "select pg_cancel_backend(1)"},
		{store.RoleReader, false, "select pg_terminate_backend(1)"},
		{store.RoleReader, false, "select pg_logical_emit_message(false, 'a', 'b')"},
		{store.RoleReader, false, "select pg_read_file('PG_VERSION')"},
		{store.RoleReader, false, "copy flows to '/dev/null'"},
		{store.RoleReader, false, "copy flows to program 'true'"},
		{store.RoleReader, false, "set role flow_writer"},
		{store.RoleReader, false, "alter role flow_writer nologin"},
	} {
		t.Run(c.role+" "+c.sql, func(t *testing.T) {
			conn := storetest.Connect(t, as(c.role))
			// That a reader's session is read-only is a setting, which it may
			// change; it is the grants that have to hold.
			tx, err := conn.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadWrite})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback(ctx) }()
			_, err = tx.Exec(ctx, c.sql, pgx.QueryExecModeSimpleProtocol)
			if err == nil {
				err = tx.Commit(ctx)
			}
			if (err == nil) != c.allowed {
				t.Errorf("allowed %v: %v", c.allowed, err)
			} else if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code != "42501" {
				t.Errorf("it is not the grants that refuse: %v", err)
			}
		})
	}
	for role := range passwords {
		db, err := store.Open(ctx, as(role))
		if err != nil {
			t.Errorf("%s cannot open the store: %v", role, err)
			continue
		}
		db.Close()
	}
	// The server lets every role change its own settings and password, but nobody
	// in a read-only transaction, as a reader's are.
	conn := storetest.Connect(t, as(store.RoleReader))
	for _, sql := range []string{
		"alter role flow_reader in database " + name(t, dsn) + " set statement_timeout = 0",
		"alter role flow_reader password 'x'",
	} {
		if _, err := conn.Exec(ctx, sql); err == nil {
			t.Errorf("a reader's session may %s", sql)
		}
	}
	if got := storetest.Get[string](t, conn, "select current_setting('statement_timeout') || ' ' || current_setting('transaction_read_only') || ' ' || current_setting('timezone')"); got != "1min on UTC" {
		t.Errorf("a reader's session starts with %s", got)
	}
}

// What the collector's role attaches to its own tables never runs with more
// rights than it has itself, whoever sets it off.
func TestTriggersLendNoRights(t *testing.T) {
	ctx := context.Background()
	dsn := pgtest.Empty(t)
	passwords := map[string]string{store.RoleWriter: "w", store.RoleWeb: "b"}
	if err := store.Migrate(ctx, dsn, store.MigrateConfig{Passwords: passwords}); err != nil {
		t.Fatal(err)
	}
	writer := storetest.Connect(t, pgtest.As(t, dsn, store.RoleWriter, "w"))
	for _, sql := range []string{
		"create table parts.was (who name)",
		"grant insert on parts.was to public",
		`create function parts.spy() returns trigger language plpgsql as
			$$ begin insert into parts.was values (current_user); return new; end $$`,
		"grant execute on function parts.spy() to public",
		"create trigger spy before insert or update on parts.exporter for each row execute function parts.spy()",
		"insert into parts.exporter (id, addr, observation_domain, first_seen) values (1, '192.0.2.1', 0, now())",
	} {
		if _, err := writer.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	web := storetest.Connect(t, pgtest.As(t, dsn, store.RoleWeb, "b"))
	if _, err := web.Exec(ctx, "insert into console.exporters (id, name) values (1, 'core')"); err != nil {
		t.Fatal(err)
	}
	if got := storetest.Get[string](t, writer, "select string_agg(distinct who, ' ') from parts.was"); got != store.RoleWriter {
		t.Errorf("its trigger ran as %s", got)
	}
	if got := storetest.Get[string](t, writer, "select label from exporters"); got != "core" {
		t.Errorf("the label is %q", got)
	}
}

func name(t *testing.T, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}

// Several that migrate at once, as the collector and the web page might at
// start, do no harm, and a second time there is nothing to do.
func TestMigrateAtOnce(t *testing.T) {
	ctx := context.Background()
	dsn := pgtest.Empty(t)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if err := store.Migrate(ctx, dsn, store.MigrateConfig{Passwords: map[string]string{store.RoleReader: "r"}}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	db, err := store.Open(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
}

// What a restored backup or a newer server leaves open to everybody, the next migrate closes.
func TestMigrateClosesAgain(t *testing.T) {
	_, dsn, conn := storetest.Open(t)
	ctx := context.Background()
	open := func() (n int) {
		t.Helper()
		if err := conn.QueryRow(ctx, `select count(*) from pg_proc where pronamespace = 'pg_catalog'::regnamespace
			and proname in ('lo_create', 'pg_logical_emit_message', 'pg_advisory_lock') and has_function_privilege('flow_reader', oid, 'execute')`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := open(); n != 0 {
		t.Fatalf("flow_reader may call %d", n)
	}
	// What a server is after its databases were restored to a newer one.
	for _, f := range []string{"lo_create(oid)", "pg_advisory_lock(bigint)"} {
		if _, err := conn.Exec(ctx, "grant execute on function "+f+" to public"); err != nil {
			t.Fatal(err)
		}
	}
	if n := open(); n != 2 {
		t.Fatalf("flow_reader may call %d of the 2 that everybody may", n)
	}
	if err := store.Migrate(ctx, dsn, store.MigrateConfig{}); err != nil {
		t.Fatal(err)
	}
	if n := open(); n != 0 {
		t.Errorf("flow_reader may call %d after the next migrate", n)
	}
	var needed bool
	if err := conn.QueryRow(ctx, "select has_function_privilege('flow_writer', 'pg_advisory_lock(bigint)', 'execute')").Scan(&needed); err != nil || !needed {
		t.Errorf("flow_writer may not lock: %v", err)
	}
}

// The owner of a database who may make roles can migrate it; he need not be a
// superuser.
func TestMigrateAsOwner(t *testing.T) {
	ctx := context.Background()
	dsn := pgtest.Empty(t)
	admin := storetest.Connect(t, dsn)
	for _, sql := range []string{
		"drop role if exists flowtally_owner", "create role flowtally_owner login createrole password 'o'",
		"alter database " + name(t, dsn) + " owner to flowtally_owner", "alter schema public owner to flowtally_owner",
	} {
		if _, err := admin.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	// The roles are the cluster's, and another test has made them.
	if storetest.Get[int](t, admin, "select current_setting('server_version_num')::int") >= 160000 {
		if _, err := admin.Exec(ctx, `do $$
			declare r text;
			begin
				for r in select rolname from pg_roles where rolname in ('flow_writer', 'flow_web', 'flow_reader') loop
					execute format('grant %I to flowtally_owner with admin option', r);
				end loop;
			end $$`); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, sql := range []string{"drop owned by flowtally_owner cascade", "alter database " + name(t, dsn) + " owner to current_user", "drop role flowtally_owner"} {
			if _, err := admin.Exec(ctx, sql); err != nil {
				t.Error(err)
			}
		}
	})
	owner := pgtest.As(t, dsn, "flowtally_owner", "o")
	if err := store.Migrate(ctx, owner, store.MigrateConfig{}); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(ctx, owner)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := ingest.NewWriter(db, ingest.WriterConfig{}).Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon)}}); err != nil {
		t.Fatal(err)
	}
	if n := storetest.Get[int](t, storetest.Connect(t, owner), "select count(*) from flows"); n != 1 {
		t.Errorf("%d flows stored", n)
	}
}

// What is wrong with a database is one sentence, of a kind that can be told.
func TestOpenSaysWhatIsWrong(t *testing.T) {
	ctx := context.Background()
	dsn := pgtest.New(t)
	empty := pgtest.Empty(t)
	conn := storetest.Connect(t, dsn)
	older, newer := pgtest.New(t), pgtest.New(t)
	for dsn, sql := range map[string]string{
		older: "delete from goose_db_version where version_id = (select max(version_id) from goose_db_version)",
		newer: "insert into goose_db_version (version_id, is_applied) values (999, true)",
	} {
		if _, err := storetest.Connect(t, dsn).Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	other := pgtest.New(t)
	if _, err := storetest.Connect(t, other).Exec(ctx, "alter table parts.flows drop column next_hop"); err == nil {
		t.Fatal("a column of the view could be dropped")
	}
	if _, err := storetest.Connect(t, other).Exec(ctx, "drop view flows; alter table parts.flows alter column src_port type smallint"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "do $$ begin create role flowtally_stranger login; exception when duplicate_object then null; end $$"); err != nil {
		t.Fatal(err)
	}
	scram := pgtest.Dir(t)
	start, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	secured, err := postgres.Start(start, postgres.Config{Dir: scram, Settings: map[string]string{"fsync": "off", "shared_buffers": "16MB"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := secured.Stop(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	}()
	for _, c := range []struct {
		name, dsn string
		want      error
		say       string
	}{
		{"not a URL", "postgres://a:b c@:x/y", store.ErrDSN, "postgres://USER"},
		{"nobody there", "postgres://u:secret@127.0.0.1:1/d", store.ErrDown, "start it"},
		{"no such host", "postgres://u:secret@no-such-host.invalid/d", store.ErrDown, "no-such-host.invalid"},
		{"no socket", "postgres:///d?host=/nonexistent", store.ErrDown, "/nonexistent"},
		{"no such database", with(t, dsn, "/nothing"), store.ErrNoDatabase, "create it"},
		{"wrong password", pgtest.As(t, secured.DSN(postgres.Admin), postgres.Admin, "secret"), store.ErrAuth, "user and password"},
		{"no rights", pgtest.As(t, dsn, "flowtally_stranger", "secret"), store.ErrAuth, "user"},
		{"no schema", empty, store.ErrSchema, "run flowtally migrate"},
		{"older schema", older, store.ErrSchema, "run flowtally migrate"},
		{"newer schema", newer, store.ErrSchema, "newer flowtally"},
		{"another type", other, store.ErrSchema, "src_port"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := store.Open(ctx, c.dsn)
			if !errors.Is(err, c.want) {
				t.Fatalf("Open gives %v, want %v", err, c.want)
			}
			if s := err.Error(); !strings.Contains(s, c.say) || strings.Contains(s, "\n") || strings.Contains(s, "secret") {
				t.Errorf("not one sentence that says %q: %s", c.say, s)
			}
			t.Log(err)
		})
	}
	if err := store.Migrate(ctx, newer, store.MigrateConfig{}); !errors.Is(err, store.ErrSchema) {
		t.Errorf("Migrate of a newer schema gives %v", err)
	}
	if err := store.Migrate(ctx, "postgres://u@127.0.0.1:1/d", store.MigrateConfig{}); !errors.Is(err, store.ErrDown) {
		t.Errorf("Migrate without a database gives %v", err)
	}
	if err := store.Migrate(ctx, "postgres://a:b c@:x/y", store.MigrateConfig{}); !errors.Is(err, store.ErrDSN) {
		t.Errorf("Migrate of a wrong URL gives %v", err)
	}
}

func with(t *testing.T, dsn, path string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = path
	return u.String()
}

// docs/schema.md says of every column that people ask for what the database says of it. Of
// the tables behind the views it says what they are, and the database says it of each column.
func TestSchemaIsDocumented(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "docs", "schema.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, _, conn := storetest.Open(t)
	// Of tables that have the columns of another, that one's are enough.
	rows, err := conn.Query(context.Background(), `
		select n.nspname, c.oid::regclass::text, a.attname,
			replace(replace(format_type(a.atttypid, null), 'timestamp with time zone', 'timestamptz'), 'integer', 'int'),
			coalesce(col_description(a.attrelid, a.attnum), ''), coalesce(obj_description(c.oid, 'pg_class'), '')
		from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid
		where n.nspname in ('public', 'parts', 'console') and c.relkind in ('r', 'v', 'p') and not c.relispartition
			and a.attnum > 0 and not a.attisdropped
			and c.oid::regclass::text <> all(array['goose_db_version', 'traffic_1h', 'traffic_1d', 'parts.flows', 'parts.traffic_1m', 'parts.traffic_1h', 'parts.traffic_1d'])`)
	if err != nil {
		t.Fatal(err)
	}
	missing := make(map[string]bool)
	var schema, table, column, kind, says, tableSays string
	if _, err := pgx.ForEachRow(rows, []any{&schema, &table, &column, &kind, &says, &tableSays}, func() error {
		if says == "" || tableSays == "" {
			t.Errorf("the database does not say what %s and its column %s are", table, column)
		}
		if schema != "public" {
			if line := fmt.Sprintf("| `%s` | %s |", table, tableSays); !strings.Contains(string(b), "\n"+line+"\n") && !missing[line] {
				t.Errorf("docs/schema.md has no line\n%s", line)
				missing[line] = true
			}
			return nil
		}
		line := fmt.Sprintf("| `%s` | %s | %s |", column, kind, says)
		_, section, _ := strings.Cut(string(b), "# `"+table+"`")
		section, _, _ = strings.Cut(section, "\n#")
		if !strings.Contains(section, "\n"+line+"\n") {
			t.Errorf("docs/schema.md has no line of %s\n%s", table, line)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
