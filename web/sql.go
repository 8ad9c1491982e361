package web

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"flowtally/store"
	"flowtally/store/console"
)

const (
	pathSQL    = "/api/v1/sql"
	pathHunts  = "/api/v1/hunts"
	pathSchema = "/api/v1/schema"
)

// maxStatements is how many statements of people run at once: they may not take
// all connections from the page's own questions.
const maxStatements = 3

// statementWait is how long one waits for another to end.
const statementWait = 10 * time.Second

// SQLFault is the database's complaint about a statement. Like Sums it is
// exported for the library's sake.
type SQLFault struct {
	Message  string `json:"message" doc:"The complaint."`
	Code     string `json:"code" doc:"The SQLSTATE; empty for what was refused before the database saw it."`
	Detail   string `json:"detail"`
	Hint     string `json:"hint"`
	Position int    `json:"position" doc:"The character of the statement that is meant, from 1; 0 for none."`
}

// sqlProblem is a problem document about a statement.
type sqlProblem struct {
	huma.ErrorModel
	SQL *SQLFault `json:"sql"`
}

type sqlInput struct {
	Body struct {
		SQL    string `json:"sql" doc:"One statement that returns columns." minLength:"1" maxLength:"100000"`
		Limit  int    `json:"limit,omitempty" default:"1000" minimum:"1" maximum:"10000" doc:"How many rows are returned."`
		Format string `json:"format,omitempty" enum:"json,csv,spreadsheet" doc:"Form of the answer: spreadsheet is CSV as LibreOffice and Excel open it right. Without it the Accept header decides, and JSON is the default."`
	}
}

type sqlColumn struct {
	Name string `json:"name"`
	Type string `json:"type" doc:"The type's name in SQL."`
}

// SQLAnswer is what a statement returned.
type SQLAnswer struct {
	Columns   []sqlColumn `json:"columns" nullable:"false"`
	Rows      [][]any     `json:"rows" nullable:"false" doc:"One value for each column: null, boolean, number, text, or what JSON columns hold. Integers beyond 2^53 are text."`
	Truncated bool        `json:"truncated" doc:"Whether there was more than is returned."`
	TookMS    int64       `json:"took_ms" doc:"How long the database took, in milliseconds."`
}

type sqlOutput struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	Disposition string `header:"Content-Disposition" hidden:"true"`
	Truncated   string `header:"Flowtally-Truncated" doc:"true when there was more than is returned, also of CSV, which has no other place for it; else absent."`
	Body        SQLAnswer
}

func (s *server) sql(ctx context.Context, in *sqlInput) (*sqlOutput, error) {
	wait := time.NewTimer(statementWait)
	defer wait.Stop()
	select {
	case s.statements <- struct{}{}:
		defer func() { <-s.statements }()
	case <-ctx.Done():
		return nil, s.storeProblem(ctx, "sql", ctx.Err())
	case <-wait.C:
		return nil, s.storeProblem(ctx, "sql", store.ErrBusy)
	}
	a, err := ask(ctx, s, "sql", func(ctx context.Context) (*console.SQLAnswer, error) {
		return s.config.DB.RunSQL(ctx, console.SQLQuestion{SQL: in.Body.SQL, Limit: in.Body.Limit, Timeout: s.config.Timeout})
	})
	if err != nil {
		return nil, inBody(err)
	}
	out := &sqlOutput{Body: SQLAnswer{Columns: make([]sqlColumn, len(a.Columns)), Rows: a.Rows, Truncated: a.Truncated, TookMS: a.Took.Milliseconds()}}
	if out.Body.Rows == nil {
		out.Body.Rows = [][]any{}
	}
	for i, c := range a.Columns {
		out.Body.Columns[i] = sqlColumn(c)
	}
	if a.Truncated {
		out.Truncated = "true"
	}
	if as := (Formatted{in.Body.Format}); as.csv(ctx) {
		now := s.now()
		out.ContentType, out.Disposition = as.csvHeaders("sql", nil, now, now)
	}
	return out, nil
}

// statementProblem puts the database's complaint about a stranger's statement
// into a problem; nil when it is none.
func statementProblem(err error) error {
	e, ok := errors.AsType[*console.SQLError](err)
	if !ok {
		return nil
	}
	sentence := "The statement cannot be answered: " + ended(e.Message)
	return &sqlProblem{
		ErrorModel: huma.ErrorModel{
			Title: statusTitle(http.StatusUnprocessableEntity), Status: http.StatusUnprocessableEntity, Detail: sentence,
			Errors: []*huma.ErrorDetail{{Message: sentence, Location: "body.sql"}},
		},
		SQL: &SQLFault{Message: e.Message, Code: e.Code, Detail: e.Detail, Hint: e.Hint, Position: e.Position},
	}
}

type hunt struct {
	Name     string `json:"name"`
	Question string `json:"question" doc:"What it asks, and how."`
	SQL      string `json:"sql"`
}

type huntsOutput struct{ Body []hunt }

func (s *server) hunts(context.Context, *struct{}) (*huntsOutput, error) {
	out := &huntsOutput{Body: []hunt{}}
	for _, h := range console.Hunts() {
		out.Body = append(out.Body, hunt(h))
	}
	return out, nil
}

type schemaColumn struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Comment string `json:"comment"`
}

type schemaTable struct {
	Table   string         `json:"table"`
	Comment string         `json:"comment"`
	Columns []schemaColumn `json:"columns" nullable:"false"`
}

type schemaOutput struct{ Body []schemaTable }

func (s *server) schema(ctx context.Context, _ *struct{}) (*schemaOutput, error) {
	tables, err := ask(ctx, s, "schema", s.config.DB.Schema)
	if err != nil {
		return nil, err
	}
	out := &schemaOutput{Body: make([]schemaTable, len(tables))}
	for i, t := range tables {
		out.Body[i] = schemaTable{Table: t.Table, Comment: t.Comment, Columns: make([]schemaColumn, len(t.Columns))}
		for j, c := range t.Columns {
			out.Body[i].Columns[j] = schemaColumn(c)
		}
	}
	return out, nil
}

func (s *server) routeSQL(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "sql", Method: http.MethodPost, Path: pathSQL,
		Summary: "Ask in SQL",
		Description: "Runs one statement as flow_reader, whose grants are the boundary, in a read-only transaction that is always rolled back. " +
			"It must return columns; time and rows are limited. What is wrong with it is a problem of status 422 with the member sql.",
		Responses: alsoCSV(), Errors: failures,
	}, s.sql)
	huma.Register(api, huma.Operation{
		OperationID: "hunts", Method: http.MethodGet, Path: pathHunts,
		Summary: "Worked hunts", Description: "Questions in SQL to start from (docs/hunts.md).", Errors: failures,
	}, s.hunts)
	huma.Register(api, huma.Operation{
		OperationID: "schema", Method: http.MethodGet, Path: pathSchema,
		Summary: "Tables", Description: "What a statement may ask: tables and views with their columns, the flows first.", Errors: failures,
	}, s.schema)
}
