package console

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"flowtally/query"
	"flowtally/store"
)

// Limits of SQL from people.
const (
	// DefaultSQLRows is how many rows are returned when nobody says, MaxSQLRows
	// the most.
	DefaultSQLRows = 1_000
	MaxSQLRows     = 10_000
	// MaxSQLOctets is about how many octets of values are returned.
	MaxSQLOctets = 16 << 20
	// MaxSQLText is how long a statement may be.
	MaxSQLText = 100_000
	// DefaultSQLTimeout and MaxSQLTimeout bound how long it may take.
	DefaultSQLTimeout = 30 * time.Second
	MaxSQLTimeout     = 5 * time.Minute
)

// SQLQuestion is a statement that somebody wrote.
type SQLQuestion struct {
	SQL string
	// Limit is how many rows are returned, 0 being DefaultSQLRows.
	Limit int
	// Timeout is how long it may take, 0 being DefaultSQLTimeout.
	Timeout time.Duration
}

// SQLAnswer is what it returned.
type SQLAnswer struct {
	Columns []SQLColumn
	// Rows have one value for each column: nil, bool, int64, float64, string or
	// json.RawMessage. Numbers that JavaScript would round are strings.
	Rows [][]any
	// Truncated says that there are more rows than were asked for, or more octets
	// than are returned.
	Truncated bool
	Took      time.Duration
}

// SQLColumn is a column of an answer, with the type's name in SQL.
type SQLColumn struct{ Name, Type string }

// SQLError is the database's complaint about a statement.
type SQLError struct {
	Message, Detail, Hint string
	// Code is the SQLSTATE, empty for what is refused here.
	Code string
	// Position is the character that is meant, from 1; 0 is none.
	Position int
}

// Error returns the message.
func (e *SQLError) Error() string { return e.Message }

// RunSQL runs a statement of a stranger. It does so as flow_reader, whose grants
// are the boundary, in a read-only transaction that is always rolled back. It
// must be a single statement that returns columns, and is stopped when it takes
// too long or returns too much. What is wrong with it is a *SQLError, or
// ErrTimeout.
//
// The database's user has to be flow_reader itself, or be allowed to become it,
// as flow_web is.
func (c *Console) RunSQL(ctx context.Context, q SQLQuestion) (*SQLAnswer, error) {
	switch {
	case q.Limit == 0:
		q.Limit = DefaultSQLRows
	case q.Limit < 0 || q.Limit > MaxSQLRows:
		return nil, &query.Error{Parameter: "limit", Reason: fmt.Sprintf("%d is not between 1 and %d", q.Limit, MaxSQLRows)}
	}
	if q.Timeout <= 0 {
		q.Timeout = DefaultSQLTimeout
	}
	q.Timeout = min(q.Timeout, MaxSQLTimeout)
	switch {
	case len(q.SQL) > MaxSQLText:
		return nil, &SQLError{Message: fmt.Sprintf("the statement has more than %d octets", MaxSQLText)}
	case !utf8.ValidString(q.SQL) || strings.ContainsRune(q.SQL, 0):
		return nil, &SQLError{Message: "the statement is not text"}
	}
	began := time.Now()
	// Our clock, a little later than the server's, is for when that is not
	// believed: a statement may not change it, but what waits is not executing.
	limited, cancel := context.WithTimeout(ctx, q.Timeout+2*time.Second)
	defer cancel()
	connection, err := c.db.Acquire(limited, q.Timeout)
	if err != nil {
		return nil, err
	}
	defer connection.Release()
	conn := connection.Conn().PgConn()
	// What is prepared below cannot leave this: it is one statement, which cannot
	// end the transaction, because it must return columns.
	begin := fmt.Sprintf("begin isolation level repeatable read read only; set local role %s; set local statement_timeout = %d; set local lock_timeout = '5s'; "+
		"set local work_mem = '64MB'; set local jit = off; set local timezone = 'UTC'; set local datestyle = 'ISO'; set local intervalstyle = 'postgres'; set local bytea_output = 'hex'; set local search_path = public", store.RoleReader, q.Timeout.Milliseconds())
	if err := conn.Exec(limited, begin).Close(); err != nil {
		_ = conn.Exec(context.WithoutCancel(limited), "rollback").Close()
		return nil, fmt.Errorf("store: sql: become %s: %w", store.RoleReader, err)
	}
	a, err := runSQL(limited, conn, q)
	// A statement that was broken off has taken the connection with it, and its
	// transaction.
	if !conn.IsClosed() {
		end, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		if e := conn.Exec(end, "rollback").Close(); e != nil {
			_ = conn.Close(end)
		}
		done()
	}
	if err != nil {
		return nil, sqlError(ctx, err, q.Timeout)
	}
	a.Took = time.Since(began)
	return a, nil
}

func sqlError(ctx context.Context, err error, timeout time.Duration) error {
	if ctx.Err() != nil {
		return fmt.Errorf("store: sql: %w", ctx.Err())
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		if pg.Code == "57014" {
			return fmt.Errorf("store: sql: %w: it was stopped after %v", store.ErrTimeout, timeout)
		}
		return &SQLError{Message: pg.Message, Detail: pg.Detail, Hint: pg.Hint, Code: pg.Code, Position: int(pg.Position)}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("store: sql: %w: it was stopped after %v", store.ErrTimeout, timeout)
	}
	if _, ok := errors.AsType[*SQLError](err); ok {
		return err
	}
	return fmt.Errorf("store: sql: %w", err)
}

// runSQL prepares a statement and reads its rows, in a transaction.
func runSQL(ctx context.Context, conn *pgconn.PgConn, q SQLQuestion) (*SQLAnswer, error) {
	// Prepared, several statements are a syntax error, and parameters and columns
	// are known before anything is executed.
	prepared, err := conn.Prepare(ctx, "", q.SQL, nil)
	if err != nil {
		return nil, err
	}
	switch {
	case len(prepared.ParamOIDs) > 0:
		return nil, &SQLError{Message: "the statement has parameters: write the values instead"}
	case len(prepared.Fields) == 0:
		return nil, &SQLError{Message: "the statement returns no columns: only questions are answered here"}
	}
	// The rows can be broken off only together with the connection.
	reading, stop := context.WithCancel(ctx)
	defer stop()
	result := conn.ExecPrepared(reading, "", nil, nil, nil)
	a := &SQLAnswer{Rows: [][]any{}}
	oids := make([]uint32, len(prepared.Fields))
	types := pgtype.NewMap()
	for i, f := range prepared.Fields {
		oids[i] = f.DataTypeOID
		name := "oid " + strconv.FormatUint(uint64(f.DataTypeOID), 10)
		if t, ok := types.TypeForOID(f.DataTypeOID); ok {
			name = t.Name
		}
		a.Columns = append(a.Columns, SQLColumn{Name: f.Name, Type: name})
	}
	octets := 0
	for result.NextRow() {
		if len(a.Rows) == q.Limit || octets > MaxSQLOctets {
			a.Truncated = true
			stop()
			break
		}
		row := make([]any, len(oids))
		for i, v := range result.Values() {
			octets += len(v) + 8
			if v != nil {
				row[i] = friendly(oids[i], string(v))
			}
		}
		a.Rows = append(a.Rows, row)
	}
	_, err = result.Close()
	if a.Truncated {
		return a, nil
	}
	return a, err
}

// safeInteger is the largest number below which JavaScript has all integers.
const safeInteger = 1<<53 - 1

// friendly turns the text of a value into one for JSON.
func friendly(oid uint32, text string) any {
	switch oid {
	case pgtype.BoolOID:
		return text == "t"
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.OIDOID, pgtype.NumericOID:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && n <= safeInteger && n >= -safeInteger {
			return n
		}
		if oid == pgtype.NumericOID && len(text) <= 15 {
			if f, err := strconv.ParseFloat(text, 64); err == nil && f-f == 0 {
				return f
			}
		}
	case pgtype.Float4OID, pgtype.Float8OID:
		if f, err := strconv.ParseFloat(text, 64); err == nil && f-f == 0 {
			return f
		}
	case pgtype.JSONOID, pgtype.JSONBOID:
		if json.Valid([]byte(text)) {
			return json.RawMessage(text)
		}
	case pgtype.TimestamptzOID:
		for _, layout := range []string{"2006-01-02 15:04:05.999999Z07", "2006-01-02 15:04:05.999999Z07:00"} {
			if t, err := time.Parse(layout, text); err == nil {
				return t.UTC().Format(time.RFC3339Nano)
			}
		}
	}
	return text
}

// SchemaTable is a table or view that flow_reader may ask.
type SchemaTable struct {
	Table, Comment string
	Columns        []SchemaColumn
}

// SchemaColumn is a column of it.
type SchemaColumn struct{ Name, Type, Comment string }

// Schema returns what flow_reader may ask of the public schema, the flows first.
func (c *Console) Schema(ctx context.Context) ([]SchemaTable, error) {
	list := []SchemaTable{}
	err := c.db.Ask(ctx, store.DefaultTimeout, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
select c.relname, coalesce(obj_description(c.oid, 'pg_class'), ''), a.attname, format_type(a.atttypid, a.atttypmod), coalesce(col_description(c.oid, a.attnum), '')
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v', 'p') and c.relname <> 'goose_db_version'
  and has_table_privilege($1, c.oid, 'select')
order by c.relname <> 'flows', c.relname, a.attnum`, store.RoleReader)
		if err != nil {
			return fmt.Errorf("schema: %w", err)
		}
		var table, comment string
		var column SchemaColumn
		_, err = pgx.ForEachRow(rows, []any{&table, &comment, &column.Name, &column.Type, &column.Comment}, func() error {
			if n := len(list); n == 0 || list[n-1].Table != table {
				list = append(list, SchemaTable{Table: table, Comment: comment})
			}
			t := &list[len(list)-1]
			t.Columns = append(t.Columns, column)
			return nil
		})
		return err
	})
	return list, err
}

// Hunt is a worked question in SQL: its name, and what is said of it, which is its
// name when nothing is.
type Hunt struct {
	Name, Question, SQL string
}

//go:embed hunts.txt
var huntsText string

var huntForm = regexp.MustCompile("(?s)## ([^\n]+)\n\n(.*?)\n*```sql\n(.*?)```")

// Hunts are the statements of docs/hunts.md.
func Hunts() []Hunt {
	var list []Hunt
	for _, m := range huntForm.FindAllStringSubmatch(huntsText, -1) {
		h := Hunt{Name: m[1], Question: strings.Join(strings.Fields(m[2]), " "), SQL: strings.TrimSpace(m[3])}
		if h.Question == "" {
			h.Question = h.Name
		}
		list = append(list, h)
	}
	return list
}
