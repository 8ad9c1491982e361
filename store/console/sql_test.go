package console_test

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"flowtally/lab/postgres/pgtest"
	"flowtally/store"
	"flowtally/store/console"
	"flowtally/store/storetest"
)

// What a stranger may not do is refused, by the grants or before, and nothing of
// it stays; what they may is answered in values that JSON can carry.
func TestSQLOfStrangers(t *testing.T) {
	ctx := context.Background()
	h := storetest.NewHouse(t, storetest.SomeFlows(50))
	for _, c := range []struct{ name, sql, says string }{
		{"two_statements", "select 1; select 2", "multiple commands"},
		{"ends_the_transaction", "select 1; commit; drop table batches", "multiple commands"},
		{"commit", "commit", "no columns"},
		{"set_role", "set role flow_web", "no columns"},
		{"reset_role", "reset role", "no columns"},
		{"do", "do $$ begin perform 1; end $$", "no columns"},
		{"copy_program", "copy (select 1) to program 'id'", "no columns"},
		{"copy_out", "copy (select 1) to stdout", "no columns"},
		{"listen", "listen x", "no columns"},
		{"lock", "lock table batches", "no columns"},
		{"nothing", "-- nothing", "no columns"},
		{"parameters", "select $1::int", "parameters"},
		{"insert", "insert into batches (id) values (1) returning id", "read-only"},
		{"update", "update console.exporters set name = 'x' returning id", "permission denied"},
		{"temporary_table", "select * into temporary t from batches", "no columns"},
		{"delete_in_with", "with t as (delete from loss returning *) select * from t", "read-only"},
		{"explain_analyze_writes", "explain analyze delete from loss", "read-only"},
		{"other_settings", "select set_config('role', 'flow_web', true)", "permission denied"},
		{"other_settings_timeout", "select set_config('statement_timeout', '0', false)", "permission denied"},
		{"advisory_lock", "select pg_advisory_lock(1)", "permission denied"},
		{"large_object", "select lo_create(0)", "permission denied"},
		{"notify", "select pg_notify('x', 'y')", "permission denied"},
		{"terminate", "select pg_terminate_backend(1)", "permission denied"},
		{"read_file", "select pg_read_file('/etc/passwd')", "permission denied"},
		{"settings_table", "update pg_settings set setting = '0' where name = 'statement_timeout' returning 1", "cannot perform"},
		{"role_setting", "alter role flow_reader set statement_timeout = 0", "no columns"},
		{"console", "select * from console.exporters", "permission denied"},
		{"passwords", "select * from pg_authid", "permission denied"},
		{"raw_parts", "select * from parts.flows", "permission denied"},
		{"sql_in_xml", "select query_to_xml('delete from public.loss', true, true, '')", "not allowed"},
		{"syntax", "select from where", "syntax error"},
		{"zero_octet", "select '\x00'", "not text"},
		{"too_long", "select 1 --" + strings.Repeat("x", console.MaxSQLText), "bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := console.New(h.Db).RunSQL(ctx, console.SQLQuestion{SQL: c.sql})
			e, ok := errors.AsType[*console.SQLError](err)
			if !ok || !strings.Contains(e.Message, c.says) {
				t.Errorf("%s: %v, want %q", c.sql, err, c.says)
			}
		})
	}
	a, err := console.New(h.Db).RunSQL(ctx, console.SQLQuestion{SQL: `select current_user, count(*) as n, 9007199254740993::bigint as large, 1.5::float8 as half, 'NaN'::float8 as nan,
		null::int as nothing, true as yes, '10.0.0.1'::inet as addr, '{"a": [1]}'::jsonb as doc, timestamptz '2026-11-21 10:00:00.25+01' as at, sum(packets) > 0 as some, interval '90 s' as long
		from flows`})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(a.Rows)
	if err != nil {
		t.Fatal(err)
	}
	if want := `[["flow_reader",50,"9007199254740993",1.5,"NaN",null,true,"10.0.0.1",{"a":[1]},"2026-11-21T09:00:00.25Z",true,"00:01:30"]]`; string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if a.Columns[1] != (console.SQLColumn{Name: "n", Type: "int8"}) || a.Truncated {
		t.Errorf("%+v", a)
	}
	// Rows and bytes are limited, and whoever comes next is well served.
	for range 12 {
		a, err = console.New(h.Db).RunSQL(ctx, console.SQLQuestion{SQL: "select generate_series(1, 100000000)", Limit: 7})
		if err != nil || len(a.Rows) != 7 || !a.Truncated {
			t.Fatalf("%d rows, %v", len(a.Rows), err)
		}
	}
	a, err = console.New(h.Db).RunSQL(ctx, console.SQLQuestion{SQL: "select repeat('x', 4000000) from generate_series(1, 100)"})
	if err != nil || len(a.Rows) > 6 || !a.Truncated {
		t.Errorf("%d rows, %v", len(a.Rows), err)
	}
	if _, err := console.New(h.Db).RunSQL(ctx, console.SQLQuestion{SQL: "select pg_sleep(60)", Timeout: 300 * time.Millisecond}); !errors.Is(err, store.ErrTimeout) {
		t.Errorf("a statement that sleeps: %v", err)
	}
	gone, leave := context.WithCancel(ctx)
	go func() { time.Sleep(100 * time.Millisecond); leave() }()
	if _, err := console.New(h.Db).RunSQL(gone, console.SQLQuestion{SQL: "select pg_sleep(60)"}); !errors.Is(err, context.Canceled) {
		t.Errorf("who leaves: %v", err)
	}
	// Also for who logs in as the reader itself.
	reader, err := store.Open(ctx, pgtest.As(t, h.Dsn, store.RoleReader, "reader"))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if a, err := console.New(reader).RunSQL(ctx, console.SQLQuestion{SQL: "select current_user"}); err != nil || a.Rows[0][0] != "flow_reader" {
		t.Errorf("%+v, %v", a, err)
	}
}

// A value that is larger than the answer may be is refused before it is in memory.
func TestSQLValueTooLarge(t *testing.T) {
	h := storetest.EmptyHouse(t)
	c := console.New(h.Db)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := c.RunSQL(context.Background(), console.SQLQuestion{SQL: "select repeat('x', 200000000)"})
	runtime.ReadMemStats(&after)
	e, ok := errors.AsType[*console.SQLError](err)
	if !ok || !strings.Contains(e.Message, "more than 16777216 bytes") {
		t.Errorf("200 MB give %v", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
	// The next one is answered, and so is what is just small enough.
	a, err := c.RunSQL(context.Background(), console.SQLQuestion{SQL: "select repeat('x', 16000000)"})
	if err != nil || len(a.Rows) != 1 {
		t.Error(err)
	}
	if _, err := c.RunSQL(context.Background(), console.SQLQuestion{SQL: "select 1"}); err != nil {
		t.Error(err)
	}
}
