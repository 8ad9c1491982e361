package web

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Formatted chooses the form of an answer.
type Formatted struct {
	Format string `query:"format" enum:"json,csv,spreadsheet" doc:"Form of the answer: spreadsheet is CSV as LibreOffice and Excel open it right. Without it the Accept header decides, and JSON is the default."`
}

// formatSpreadsheet is the Format that people open in a spreadsheet.
const formatSpreadsheet = "spreadsheet"

// wantsCSV is the context's key for what the Accept header asked for.
type wantsCSV struct{}

// negotiate reads the Accept header in place of the library, whose reader
// panics on an empty parameter followed by another type ("a;,b").
func negotiate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		csv, other := 0.0, 0.0
		for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
			switch t, q := weighted(part); t {
			case mediaCSV:
				csv = q
			case "application/json", "text/html":
				other = max(other, q)
			}
		}
		w.Header().Add("Vary", "Accept")
		r = r.WithContext(context.WithValue(r.Context(), wantsCSV{}, csv > other))
		r.Header.Set("Accept", "application/json")
		next.ServeHTTP(w, r)
	})
}

// csv reports whether the answer is to be CSV: the parameter says so, else the
// Accept header.
func (in Formatted) csv(ctx context.Context) bool {
	return in.Format == "csv" || in.Format == formatSpreadsheet || in.Format == "" && ctx.Value(wantsCSV{}) == true
}

func alsoCSV() map[string]*huma.Response {
	return map[string]*huma.Response{"200": {
		Content: map[string]*huma.MediaType{
			"application/json": {},
			mediaCSV:           {Schema: &huma.Schema{Type: huma.TypeString}},
		},
	}}
}
