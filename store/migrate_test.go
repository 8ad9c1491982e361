package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"flowtally/flow"
	"flowtally/lab/postgres"
	"flowtally/lab/postgres/pgtest"
	"flowtally/migrations"
	"flowtally/store"
	"flowtally/store/ingest"
	"flowtally/store/keeper"
	"flowtally/store/storetest"
)

// someRows has an hour that is sealed and one that is not, with every pair of the
// values that are different in 31 and 32 bits, and a row for most other tables.
const someRows = `
	create table parts.flows_2025112110 partition of parts.flows for values from ('2025-11-21 10:00+00') to ('2025-11-21 11:00+00');
	create table parts.flows_2025112111 partition of parts.flows for values from ('2025-11-21 11:00+00') to ('2025-11-21 12:00+00');
	alter table parts.flows_2025112110 owner to flow_writer;
	alter table parts.flows_2025112111 owner to flow_writer;
	insert into parts.partition (hour, min_start, created_at, sealed_at, name) values
		('2025-11-21 10:00+00', '2025-11-21 10:00+00', '2025-11-21 10:00+00', '2025-11-21 12:00+00', 'flows_2025112110'),
		('2025-11-21 11:00+00', '2025-11-21 11:00+00', '2025-11-21 11:00+00', null, 'flows_2025112111');
	insert into parts.exporter (id, observation_domain, first_seen, addr, label) values (7, 0, '2025-11-21 10:00+00', '192.0.2.7', '');
	with n (v) as (values (null::int), (0), (1), (2147483647), (-2147483648), (-1))
	insert into parts.flows (flow_start, flow_end, received_at, packets, bytes, in_if, out_if, src_as, dst_as, exporter_id, batch, protocol, marks, tos, src_addr, dst_addr)
	select e, e, e, 1, 40, a.v, b.v, b.v, a.v, 7, 1, 6, 0, 0, '192.0.2.1', '198.51.100.2'
	from n a, n b, (values ('2025-11-21 10:30+00'::timestamptz), ('2025-11-21 11:30+00')) as x (e);
	create index flows_2025112110_time on parts.flows_2025112110 using brin (flow_end, flow_start, batch) with (pages_per_range = 32);
	insert into batches (id, key, records, packets, bytes, received_from, received_to, min_end, max_end, committed_at)
	values (1, 1, 72, 72, 2880, '2025-11-21 10:30+00', '2025-11-21 11:30+00', '2025-11-21 10:30+00', '2025-11-21 11:30+00', '2025-11-21 11:31+00');
	select setval('parts.batch_block', 1);
	insert into parts.sequence (next, at, observation_domain, port, version, addr, holes, epoch) values (42, '2025-11-21 11:30+00', 0, 50001, 9, '192.0.2.7', '{40,41}', 77);
	insert into loss (minute, exporter_id, stage, cause, unit, count) values ('2025-11-21 11:30+00', 7, 'way', 'gap', 'datagram', 3);
	create table parts.traffic_1m_20251121 partition of parts.traffic_1m for values from ('2025-11-21 00:00+00') to ('2025-11-22 00:00+00');
	alter table parts.traffic_1m_20251121 owner to flow_writer;
	insert into parts.traffic (name, grain, from_time, to_time, changed_at) values ('traffic_1m_20251121', 0, '2025-11-21 00:00+00', '2025-11-22 00:00+00', '2025-11-21 10:00+00');
	insert into parts.traffic_1m (bucket, flows, packets, bytes, number, exporter_id, dimension, protocol, remainder) values
		('2025-11-21 09:00+00', 1, 2, 3, 4294967295, 7, 'in_if', 6, false), ('2025-11-21 09:00+00', 1, 2, 3, null, 7, 'same_addr', 6, false);
	insert into parts.settled (bucket, settled_at, grain) values ('2025-11-21 09:00+00', '2025-11-21 09:11+00', 0);
	insert into interfaces (exporter_id, if_index, updated_at, name) values (7, 1, '2025-11-21 10:00+00', 'Gi0/1'), (7, 2, '2025-11-21 10:00+00', 'Gi0/2');
	insert into console.exporters (id, name, changed_at) values (7, 'core', '2025-11-21 10:00+00');
	insert into console.interfaces (exporter_id, if_index, name, changed_at) values (7, 2, 'uplink', '2025-11-21 10:00+00');
	update interfaces set updated_at = '2025-11-21 10:00+00';
	insert into console.views (pinned, name, url, filter, color, sign, changed_at) values (true, 'web', '/', 'port 443', '', '+', '2025-11-21 10:00+00');
	insert into console.preferences (user_name, theme, changed_at) values ('ada', 'dark', '2025-11-21 10:00+00');`

// A database of the former numbering is brought over: it is the same as a new one,
// in what its dump says of schema, owners, rights, settings and rows, and in the
// versions that it has; and it goes on from there.
func TestBroughtOver(t *testing.T) {
	ctx := context.Background()
	old, fresh := storetest.Former(t), pgtest.New(t)
	storetest.Apply(t, storetest.Connect(t, old), someRows)
	// The rows are as they were before partitions had an end.
	storetest.Apply(t, storetest.Connect(t, fresh), "alter table parts.partition alter column until drop not null;"+someRows+`;
		update parts.partition set until = hour + interval '1 hour'; alter table parts.partition alter column until set not null`)
	if _, err := store.Open(ctx, old); !errors.Is(err, store.ErrSchema) || !strings.Contains(err.Error(), "run flowtally migrate") {
		t.Errorf("Open before that gives %v", err)
	}
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			if err := store.Migrate(ctx, old, store.MigrateConfig{}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	t.Run("dump", func(t *testing.T) {
		if diff := cmp.Diff(strings.Split(dump(t, fresh), "\n"), strings.Split(dump(t, old), "\n")); diff != "" {
			t.Errorf("a fresh database (-) and one that was brought over (+) differ:\n%s", diff)
		}
	})
	conn := storetest.Connect(t, old)
	const versions = "select string_agg(version_id || ' ' || is_applied, ', ' order by id) from goose_db_version"
	if got, want := storetest.Get[string](t, conn, versions), storetest.Get[string](t, storetest.Connect(t, fresh), versions); got != want {
		t.Errorf("versions %s, want %s", got, want)
	}

	// The hours that are there take flows, and what was there is summed with what
	// comes.
	d, err := store.Open(ctx, old)
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
	if err := ingest.NewWriter(d, ingest.WriterConfig{}).Write(ctx, flow.Batch{Records: recs}); err != nil {
		t.Fatal(err)
	}
	if err := storetest.SumOnly(ctx, d, keeper.Config{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		column string
		value  int64
		want   int
	}{{"in_if", 4294967295, 14}, {"in_if", 2147483648, 12}, {"in_if", 2147483647, 12}, {"dst_as", 2147483648, 14}, {"dst_as", 1, 12}} {
		if got := storetest.Get[int](t, conn, "select count(*) from flows where "+c.column+" = $1", c.value); got != c.want {
			t.Errorf("%d flows with %s %d, want %d", got, c.column, c.value, c.want)
		}
		if got := storetest.Get[int](t, conn, `select coalesce(sum(flows), 0)::int from traffic_1m
			where bucket >= '2025-11-21 10:00+00' and dimension = $1::text::traffic_dimension and number = $2`, c.column, c.value); got != c.want {
			t.Errorf("traffic_1m: %d flows with %s %d, want %d", got, c.column, c.value, c.want)
		}
	}

	// The next migration is applied, alone.
	later := fstest.MapFS{"00999_later.sql": {Data: []byte("-- +goose Up\ncreate table later (i int);\n")}}
	names, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := migrations.FS.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		later[name] = &fstest.MapFile{Data: b}
	}
	db, err := sql.Open("pgx", old)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	p, err := goose.NewProvider(goose.DialectPostgres, db, later, goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		t.Fatal(err)
	}
	results, err := p.Up(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 1 || results[0].Source.Version != 999 {
		t.Errorf("applied %v", results)
	}
}

// dump returns what pg_dump says of a database, but for its name and for when it
// was migrated.
func dump(t *testing.T, dsn string) string {
	t.Helper()
	program := "pg_dump"
	if b, err := postgres.Find(); err == nil {
		if path := filepath.Join(b.Dir, program); exists(path) {
			program = path
		}
	}
	if _, err := exec.LookPath(program); err != nil {
		t.Skip(err)
	}
	var out, report bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, "--create", "--exclude-table-data=goose_db_version", "--dbname="+dsn)
	cmd.Stdout, cmd.Stderr = &out, &report
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, report.Bytes())
	}
	var lines []string
	for line := range strings.Lines(strings.ReplaceAll(out.String(), name(t, dsn), "DATABASE")) {
		// A key that is drawn anew each time, and how often goose has numbered.
		if strings.HasPrefix(line, `\restrict`) || strings.HasPrefix(line, `\unrestrict`) || strings.Contains(line, "goose_db_version_id_seq', ") {
			continue
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Other versions of the former numbering are refused, with what to do, and left as
// they are.
func TestFormerVersionsAreRefused(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		name, sql, say string
		open           bool // Open says it as well
	}{
		{"the one before", "delete from goose_db_version where version_id > 21", "is version 21, from which this flowtally cannot migrate: first bring it to version 22", true},
		{"the first", "delete from goose_db_version where version_id > 1", "first bring it to version 22", true},
		{"one that never was", "insert into goose_db_version (version_id, is_applied) values (23, true)", "is version 23", true},
		{"with a gap", "delete from goose_db_version where version_id = 7", "only 21 migrations", false},
		{"changed by hand", "drop view flows; alter table parts.flows alter column src_port type smallint", "src_port", false},
		{"newer", "insert into goose_db_version (version_id, is_applied) values (999, true)", "newer flowtally", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dsn := storetest.Former(t)
			conn := storetest.Connect(t, dsn)
			storetest.Apply(t, conn, c.sql)
			const versions = "select string_agg(version_id::text, ' ' order by version_id) from goose_db_version"
			before := storetest.Get[string](t, conn, versions)
			err := store.Migrate(ctx, dsn, store.MigrateConfig{})
			if !errors.Is(err, store.ErrSchema) || !strings.Contains(err.Error(), c.say) || strings.Contains(err.Error(), "\n") {
				t.Errorf("Migrate gives %v, want one sentence that says %q", err, c.say)
			}
			if after := storetest.Get[string](t, conn, versions); after != before {
				t.Errorf("versions %s, before %s", after, before)
			}
			if _, err := store.Open(ctx, dsn); !errors.Is(err, store.ErrSchema) || c.open && !strings.Contains(err.Error(), c.say) {
				t.Errorf("Open gives %v", err)
			}
		})
	}
}
