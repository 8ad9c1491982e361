package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"

	"flowtally/query"
	"flowtally/store"
)

// Limits of SQL that people write.
const (
	// DefaultSQLRows is the number of rows returned when a question has no limit,
	// MaxSQLRows the largest limit.
	DefaultSQLRows = 1_000
	MaxSQLRows     = 10_000
	// MaxSQLBytes is the most bytes of values returned, exceeded by a row at most, which has
	// no more either.
	MaxSQLBytes = 16 << 20
	// MaxSQLText is the most bytes a statement may have.
	MaxSQLText = 100_000
	// DefaultSQLTimeout is the time a statement may take when a question has no timeout,
	// MaxSQLTimeout the longest timeout.
	DefaultSQLTimeout = 30 * time.Second
	MaxSQLTimeout     = 5 * time.Minute
)

// SQLQuestion is a statement that somebody wrote, and what bounds it.
type SQLQuestion struct {
	SQL string
	// Limit is the most rows to return; 0 means DefaultSQLRows.
	Limit int
	// Timeout is how long the statement may run; 0 means DefaultSQLTimeout.
	Timeout time.Duration
}

// SQLAnswer is what a statement returned.
type SQLAnswer struct {
	Columns []SQLColumn
	// Rows have one value for each column: nil, bool, int64, float64, string or
	// json.RawMessage. Numbers that JavaScript would round are strings.
	Rows [][]any
	// Truncated says that the statement has more rows than Limit, or more bytes than
	// MaxSQLBytes.
	Truncated bool
	Took      time.Duration
}

// SQLColumn is a column of an answer, with the type's name in SQL.
type SQLColumn struct{ Name, Type string }

// SQLError says what is wrong with a statement, as PostgreSQL or RunSQL sees it.
type SQLError struct {
	Message, Detail, Hint string
	// Code is the SQLSTATE, empty when RunSQL refused the statement.
	Code string
	// Position is the character at fault, counted from 1; 0 when there is none.
	Position int
}

// Error returns the message.
func (e *SQLError) Error() string { return e.Message }

// RunSQL runs a statement that somebody wrote. It runs as flow_reader, whose grants are
// the boundary, in a read-only transaction that is always rolled back. It must be a
// single statement that returns columns, and is stopped when it takes too long or
// returns too much. The error is a *SQLError when the statement is wrong, and wraps
// store.ErrTimeout when it took too long.
//
// The role of the connection must be flow_reader or a member of it, as flow_web is.
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
		return nil, &SQLError{Message: fmt.Sprintf("the statement has more than %d bytes", MaxSQLText)}
	case !utf8.ValidString(q.SQL) || strings.ContainsRune(q.SQL, 0):
		return nil, &SQLError{Message: "the statement is not text"}
	}
	began := time.Now()
	// Our timeout, a little later than the server's statement_timeout, covers what that
	// does not: waiting for a connection and for the network.
	limited, cancel := context.WithTimeout(ctx, q.Timeout+2*time.Second)
	defer cancel()
	connection, err := c.db.Acquire(limited, q.Timeout)
	if err != nil {
		return nil, err
	}
	defer connection.Release()
	conn := connection.Conn().PgConn()
	// The statement prepared below cannot leave this transaction: COMMIT and ROLLBACK
	// return no columns, and a second statement is a syntax error.
	begin := fmt.Sprintf("begin isolation level repeatable read read only; set local role %s; set local statement_timeout = %d; set local lock_timeout = '5s'; "+
		"set local work_mem = '64MB'; set local jit = off; set local timezone = 'UTC'; set local datestyle = 'ISO'; set local intervalstyle = 'postgres'; set local bytea_output = 'hex'; set local search_path = public", store.RoleReader, q.Timeout.Milliseconds())
	if err := conn.Exec(limited, begin).Close(); err != nil {
		_ = conn.Exec(context.WithoutCancel(limited), "rollback").Close()
		return nil, fmt.Errorf("store: sql: become %s: %w", store.RoleReader, err)
	}
	a, err := runSQL(limited, conn, q)
	// Cancelling a statement closes its connection, which ends the transaction.
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

// sqlError turns the error of a statement into a *SQLError or one that wraps
// store.ErrTimeout.
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
	if _, ok := errors.AsType[*pgproto3.ExceededMaxBodyLenErr](err); ok {
		return &SQLError{Message: fmt.Sprintf("a row has more than %d bytes", MaxSQLBytes), Hint: "select fewer columns, or a part of the value with left() or substring()"}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("store: sql: %w: it was stopped after %v", store.ErrTimeout, timeout)
	}
	if _, ok := errors.AsType[*SQLError](err); ok {
		return err
	}
	return fmt.Errorf("store: sql: %w", err)
}

// runSQL prepares a statement and reads its rows in the open transaction.
func runSQL(ctx context.Context, conn *pgconn.PgConn, q SQLQuestion) (*SQLAnswer, error) {
	// In a prepared statement several statements are a syntax error, and parameters and
	// columns are known before anything is executed.
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
	// A row is read as a whole. Of one that is larger than the answer may be, only the
	// length is read.
	conn.Frontend().SetMaxBodyLen(MaxSQLBytes)
	defer func() {
		if !conn.IsClosed() {
			conn.Frontend().SetMaxBodyLen(0)
		}
	}()
	// Reading can be stopped early only by closing the connection.
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
	size := 0
	for result.NextRow() {
		if len(a.Rows) == q.Limit || size > MaxSQLBytes {
			a.Truncated = true
			stop()
			break
		}
		row := make([]any, len(oids))
		for i, v := range result.Values() {
			size += len(v) + 8
			if v != nil {
				row[i] = jsonValue(oids[i], string(v))
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

// safeInteger is JavaScript's Number.MAX_SAFE_INTEGER.
const safeInteger = 1<<53 - 1

// jsonValue converts a value in PostgreSQL's text format to one that JSON can have.
func jsonValue(oid uint32, text string) any {
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
