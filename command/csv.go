package command

import (
	"io"

	"flowtally/query"
	"flowtally/web"
)

// csvFiles prints an answer as CSV (RFC 4180), under the names that SQL has, as the API does:
// write is web.WriteCSV or web.WriteSpreadsheet.
type csvFiles struct{ write func(io.Writer, any) error }

func (f csvFiles) top(w io.Writer, t *query.Top) error { return f.write(w, web.NewTop(t)) }

func (f csvFiles) series(w io.Writer, s *query.Series) error { return f.write(w, web.NewSeries(s)) }

func (f csvFiles) share(w io.Writer, s *query.Share) error { return f.write(w, web.NewShare(s)) }

func (f csvFiles) flows(w io.Writer, r *query.Flows) error { return f.write(w, web.NewFlows(r)) }

func (f csvFiles) events(w io.Writer, e *query.Events) error { return f.write(w, web.NewEvents(e)) }
