package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/lab/postgres/pgtest"
	"flowtally/query"
	"flowtally/store"
	"flowtally/store/console"
)

func postSQL(h http.Handler, sql string, headers ...string) *httptest.ResponseRecorder {
	body, _ := json.Marshal(map[string]any{"sql": sql, "limit": 5})
	return request(h, http.MethodPost, pathSQL, string(body), append([]string{"Content-Type", "application/json"}, headers...)...)
}

// TestStrangersSQL sends over HTTP what somebody would who wants more than to
// ask: none of it does anything, and the next question is answered.
func TestStrangersSQL(t *testing.T) {
	ctx := t.Context()
	dsn := pgtest.Empty(t)
	if err := store.Migrate(ctx, dsn, store.MigrateConfig{Passwords: map[string]string{store.RoleWeb: "web"}}); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(ctx, pgtest.As(t, dsn, store.RoleWeb, "web"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	h := newTestHandler(t, nil, func(c *Config) { c.DB, c.Timeout = NewDatabase(db), 3*time.Second })
	for name, sql := range map[string]string{
		"temporary_table":        "create temp table t (a int)",
		"temporary_table_filled": "select 1 as a into temp t",
		"table":                  "create table public.t (a int)",
		"insert":                 "insert into loss values (now(), 1, 'a', 'b', 'c', 1) returning 1",
		"delete":                 "delete from exporter_status returning 1",
		"delete_in_with":         "with d as (delete from loss returning 1) select * from d",
		"large_object":           "select lo_create(0)",
		"large_object_of_text":   "select lo_from_bytea(0, 'x')",
		"large_object_of_file":   "select lo_import('/etc/passwd')",
		"advisory_lock":          "select pg_advisory_lock(1)",
		"advisory_lock_tried":    "select pg_try_advisory_xact_lock(1)",
		"set_config":             "select set_config('statement_timeout', '0', false)",
		"set":                    "set statement_timeout = 0",
		"set_role":               "set role flow_web",
		"reset_role":             "reset role",
		"session_authorization":  "set session authorization flow_writer",
		"alter_role":             "alter role flow_reader set work_mem = '1TB'",
		"two_statements":         "select 1; select 2",
		"commit_and_more":        "commit; delete from loss",
		"commit":                 "commit",
		"rollback":               "rollback",
		"copy_out":               "copy exporters to stdout",
		"copy_program":           "copy (select 1) to program 'touch /tmp/x'",
		"copy_file":              "copy loss from '/etc/passwd'",
		"do":                     "do $$ begin perform 1; end $$",
		"call":                   "call nothing()",
		"notify":                 "notify a",
		"notify_function":        "select pg_notify('a', 'b')",
		"listen":                 "listen a",
		"sleep_past_the_limit":   "select pg_sleep(60)",
		"read_file":              "select pg_read_file('/etc/passwd')",
		"read_dir":               "select pg_ls_dir('/')",
		"dblink":                 "select * from dblink('dbname=postgres', 'select 1') as t(a int)",
		"make_dblink":            "create extension dblink",
		"kill":                   "select pg_terminate_backend(pid) from pg_stat_activity",
		"reload":                 "select pg_reload_conf()",
		"people's_words":         "select * from console.views",
		"passwords":              "select rolpassword from pg_authid",
		"rows_of_writers":        "select * from parts.flows",
		"query_in_xml":           "select query_to_xml('delete from loss returning 1', true, true, '')",
		"parameter":              "select $1::int",
		"nothing":                ";",
		"lock_table":             "lock table loss in access exclusive mode",
		"for_update":             "select * from loss for update",
		"prepare":                "prepare a as select 1",
		"explain_analyze_delete": "explain analyze delete from loss",
		"octet_of_zero":          "select 'a\x00b'",
	} {
		t.Run(name, func(t *testing.T) {
			w := postSQL(h, sql)
			want := http.StatusUnprocessableEntity
			if name == "sleep_past_the_limit" {
				want = http.StatusGatewayTimeout
			}
			if w.Code != want {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if _, location := problem(t, w); want == http.StatusUnprocessableEntity && location != "body.sql" {
				t.Errorf("at %q", location)
			}
		})
	}
	var a SQLAnswer
	w := postSQL(h, "select current_user::text as who, current_setting('transaction_read_only') as only, null as nothing, 9007199254740993 as large, n from generate_series(1, 100) n")
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if !a.Truncated || len(a.Rows) != 5 || a.Rows[0][0] != store.RoleReader || a.Rows[0][1] != "on" || a.Rows[0][2] != nil || a.Rows[0][3] != "9007199254740993" {
		t.Errorf("%+v", a)
	}
	if got, want := postSQL(h, "select 1 as a, '=2+3' as b", "Accept", "text/csv").Body.String(), "a,b\r\n1,'=2+3\r\n"; got != want {
		t.Errorf("CSV %q, want %q", got, want)
	}
	w = postSQL(h, "select * from flws")
	var p struct{ SQL *SQLFault }
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.SQL == nil || p.SQL.Code != "42P01" || p.SQL.Position != 15 {
		t.Errorf("%s", w.Body)
	}

	// Who leaves takes his statement along: the server ends it.
	h = newTestHandler(t, nil, func(c *Config) { c.DB, c.Timeout = NewDatabase(db), 4*time.Minute })
	leaving, leave := context.WithCancel(ctx)
	defer leave()
	r := httptest.NewRequestWithContext(leaving, http.MethodPost, pathSQL, strings.NewReader(`{"sql":"select pg_sleep(600) /* left alone */"}`))
	r.Host = "localhost"
	r.Header.Set("Content-Type", "application/json")
	done := make(chan struct{})
	go func() { defer close(done); h.ServeHTTP(httptest.NewRecorder(), r) }()
	admin, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(ctx)
	becomes := func(want bool) bool {
		t.Helper()
		for until := time.Now().Add(30 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
			var is bool
			if err := admin.QueryRow(ctx, "select exists (select from pg_stat_activity where state = 'active' and query like '%left alone%' and pid <> pg_backend_pid())").Scan(&is); err != nil {
				t.Fatal(err)
			}
			if is == want {
				return true
			}
		}
		return false
	}
	if !becomes(true) {
		t.Fatal("the statement did not begin")
	}
	leave()
	<-done
	if !becomes(false) {
		t.Error("the statement goes on without its asker")
	}
}

// People's statements leave the page its connections.
func TestStatementsAtOnce(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	h := newTestHandler(t, &fake{sql: func(ctx context.Context, _ console.SQLQuestion) (*console.SQLAnswer, error) {
		begun <- struct{}{}
		<-end
		return &console.SQLAnswer{}, nil
	}})
	answers := make(chan int, maxStatements)
	for range maxStatements {
		go func() { answers <- postSQL(h, "select 1").Code }()
	}
	for range maxStatements {
		<-begun
	}
	ctx, leave := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, pathSQL, strings.NewReader(`{"sql":"select 1"}`))
	r.Host = "localhost"
	r.Header.Set("Content-Type", "application/json")
	leave()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != statusClientGone {
		t.Errorf("one too many: %d %s", w.Code, w.Body)
	}
	if w := get(h, pathTop); w.Code != http.StatusOK {
		t.Errorf("a question of the page meanwhile: %d", w.Code)
	}
	close(end)
	for range maxStatements {
		if code := <-answers; code != http.StatusOK {
			t.Errorf("answered with %d", code)
		}
	}
}

func TestErrorsOfWhatPeopleKeep(t *testing.T) {
	for _, row := range []struct {
		err      error
		status   int
		location string
	}{
		{errors.Join(console.ErrNotFound), 404, ""}, {errors.Join(console.ErrTaken), 409, ""}, {errors.Join(store.ErrBusy), 503, ""},
		{&query.Error{Parameter: "name", Reason: "too long"}, 422, "body.name"},
	} {
		h := newTestHandler(t, &fake{err: row.err})
		for _, try := range [][3]string{
			{http.MethodPut, pathExporters + "/1", `{"name":"a"}`}, {http.MethodPut, pathInterfaces + "/1/2", `{"name":"a"}`},
			{http.MethodPut, pathViews + "/1", `{"name":"a","url":"/"}`}, {http.MethodPost, pathViews, `{"name":"a","url":"/"}`},
		} {
			w := request(h, try[0], try[1], try[2], "Content-Type", "application/json")
			if w.Code != row.status {
				t.Errorf("%v of %s: %d %s", row.err, try[1], w.Code, w.Body)
				continue
			}
			if _, location := problem(t, w); location != row.location {
				t.Errorf("%v of %s: at %q", row.err, try[1], location)
			}
		}
	}
	h := newTestHandler(t, &fake{err: &query.Error{Parameter: "exporter", Reason: "there is no exporter 9"}})
	if w := get(h, pathExporters+"/9/diagnosis"); w.Code != http.StatusNotFound {
		t.Errorf("diagnosis of nobody: %d %s", w.Code, w.Body)
	}
	for path, allow := range map[string]string{pathSQL: "POST", pathFilterCheck: "POST", pathExporters + "/1": "PUT, DELETE", pathExporters + "/1/loss": "PUT", pathViews + "/1": "PUT, DELETE"} {
		if w := get(h, path); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != allow {
			t.Errorf("GET %s: %d, allowed %q", path, w.Code, w.Header().Get("Allow"))
		}
	}
}
