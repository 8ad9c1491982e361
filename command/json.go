package command

import (
	"encoding/json"
	"io"

	"flowtally/query"
	"flowtally/web"
)

// jsonLines prints an answer as one line of JSON, as the HTTP API has it.
type jsonLines struct{}

func (jsonLines) top(w io.Writer, t *query.Top) error { return printJSON(w, web.NewTop(t)) }

func (jsonLines) series(w io.Writer, s *query.Series) error { return printJSON(w, web.NewSeries(s)) }

func (jsonLines) share(w io.Writer, s *query.Share) error { return printJSON(w, web.NewShare(s)) }

func (jsonLines) flows(w io.Writer, f *query.Flows) error { return printJSON(w, web.NewFlows(f)) }

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
