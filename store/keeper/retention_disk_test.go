package keeper_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/store"
	"flowtally/store/console"
	"flowtally/store/ingest"
	"flowtally/store/keeper"
	"flowtally/store/storetest"
)

type retention struct {
	Size  int64
	Limit *int64
	SetBy string
}

func retentionOf(t testing.TB, conn *pgx.Conn) retention {
	t.Helper()
	rows, err := conn.Query(context.Background(), "select size, size_limit, set_by from parts.retention")
	if err != nil {
		t.Fatal(err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[retention])
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The database may take 80 % of what others leave of its disk, or --retain-size if
// that is less; of what others take it pays nothing.
func TestRetentionByDisk(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	now := flow.TimeOf(time.Now())
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	for h := range flow.Time(6) {
		recs := make([]flow.Record, 4000)
		for i := range recs {
			recs[i] = storetest.Record(now - h*flow.Hour)
		}
		if err := w.Write(ctx, flow.Batch{Records: recs}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name      string
		freeParts int64 // of the database's size, hundredths
		size      int64 // RetainSize
		goes      bool
		by        string
	}{
		{"half of it is free", 100, 0, false, "/disk"},
		{"just enough", 26, 0, false, "/disk"},
		{"a size that is less", 100, 1 << 40, false, "/disk"},
		{"too much", 23, 0, true, "/disk"},
		{"a size that bites first", 1000, 1, true, "--retain-size"},
	} {
		before := len(hoursOfFlows(t, conn))
		size := storetest.Get[int64](t, conn, "select pg_database_size(current_database())")
		k := keeper.New(db, keeper.Config{RetainPath: "/disk", RetainSize: c.size})
		keeper.SetFree(k, size*c.freeParts/100)
		if err := k.Tidy(ctx); err != nil {
			t.Fatal(err)
		}
		after := len(hoursOfFlows(t, conn))
		if (after < before) != c.goes || after == 0 {
			t.Errorf("%s: of %d hours %d are left", c.name, before, after)
		}
		r := retentionOf(t, conn)
		if r.Limit == nil || *r.Limit <= 0 || !strings.Contains(r.SetBy, c.by) {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

// Whoever sees the database's own directory needs no flag; whoever does not says so,
// in the log, in the database and in the diagnosis.
func TestRetentionFindsTheDisk(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	for _, c := range []struct {
		name, sql string
		path      string
		found     bool
	}{
		{"it is this machine's", "", "", true},
		{"nobody wants it", "", keeper.RetainNowhere, false},
		{"another directory of that name", `create or replace function parts.data_directory(out path text, out changed_at timestamptz) language sql as
			$$ select current_setting('data_directory'), (pg_stat_file('.')).modification - interval '1 minute' $$`, "", false},
		{"no such directory", `create or replace function parts.data_directory(out path text, out changed_at timestamptz) language sql as $$ select '/nowhere/at/all', now() $$`, "", false},
		{"PostgreSQL does not say", `create or replace function parts.data_directory(out path text, out changed_at timestamptz) language sql as $$ select null::text, null::timestamptz $$`, "", false},
	} {
		if c.sql != "" {
			if _, err := conn.Exec(ctx, c.sql); err != nil {
				t.Fatal(err)
			}
		}
		var log bytes.Buffer
		k := keeper.New(db, keeper.Config{RetainPath: c.path, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		for range 2 {
			keeper.SetFree(k, 1<<40)
			if err := k.Tidy(ctx); err != nil {
				t.Fatal(err)
			}
		}
		r := retentionOf(t, conn)
		if (r.Limit != nil) != c.found {
			t.Errorf("%s: %+v", c.name, r)
		}
		if n := strings.Count(log.String(), "by age"); n != 1 || strings.Contains(log.String(), "WARN") == c.found {
			t.Errorf("%s: it says %d times: %s", c.name, n, &log)
		}
		d, err := console.New(db).Diagnosis(ctx, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range d.Findings {
			if f.Code.Check() == console.CheckRetention && f.Code.OK() != c.found {
				t.Errorf("%s: %+v", c.name, f)
			}
		}
	}
}

// The collector's role may ask for the directory, and nobody else may.
func TestDataDirectory(t *testing.T) {
	_, _, conn := storetest.Open(t)
	if got, want := storetest.Get[string](t, conn, "select path from parts.data_directory()"), storetest.Get[string](t, conn, "show data_directory"); got != want {
		t.Errorf("it is %s, not %s", got, want)
	}
	ctx := context.Background()
	for role, may := range map[string]bool{store.RoleWriter: true, store.RoleWeb: false, store.RoleReader: false} {
		if got := storetest.Get[bool](t, conn, "select has_function_privilege($1, 'parts.data_directory()', 'execute')", role); got != may {
			t.Errorf("%s may: %v", role, got)
		}
	}
	// With the rights of one who may not know it says nothing.
	if _, err := conn.Exec(ctx, "alter function parts.data_directory() owner to flow_writer"); err != nil {
		t.Fatal(err)
	}
	if got := storetest.Get[*string](t, conn, "select path from parts.data_directory()"); got != nil {
		t.Errorf("it says %s", *got)
	}
}
