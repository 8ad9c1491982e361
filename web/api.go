package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
)

// routeAPI mounts the questions and the document that describes them.
func (s *server) routeAPI(r chi.Router) error {
	c := huma.DefaultConfig("flowtally", "1")
	c.Info.Description = "Who is talking, how much, and how often: flows in PostgreSQL, asked by time range. " +
		"Every answer carries the SQL and the command line that give the same."
	c.DocsPath = ""     // the library's page loads scripts from another host
	c.SchemasPath = ""  // one document says it all
	c.OpenAPIPath = ""  // served below, made once
	c.CreateHooks = nil // no $schema in bodies, no Link header
	c.RejectUnknownQueryParameters = true
	c.Transformers = []huma.Transformer{explain}
	c.Formats = map[string]huma.Format{
		"application/json": huma.DefaultJSONFormat,
		"json":             huma.DefaultJSONFormat, // problem+json
		mediaCSV:           {Marshal: marshalCSV},
	}
	api := humachi.New(r.With(negotiate, checkQuery), c)

	s.routeTop(api)
	s.routeSeries(api)
	s.routeFlows(api)
	s.routeEvents(api)
	s.routeKeys(api)
	s.routeFilter(api)
	s.routeExporters(api)
	s.routeForget(api)
	s.routeDiagnosis(api)
	s.routeInterfaces(api)
	s.routeLoss(api)
	s.routeViews(api)
	s.routePreferences(api)
	s.routeSQL(api)
	s.routeNames(api)
	s.routeLogin(api)
	describe(api.OpenAPI())
	doc, err := json.Marshal(api.OpenAPI())
	if err != nil {
		return fmt.Errorf("web: describe the API: %w", err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, doc, "", "  "); err != nil {
		return fmt.Errorf("web: describe the API: %w", err)
	}
	indented.WriteByte('\n')
	s.openAPI = indented.Bytes()
	r.Get(pathOpenAPI, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(s.openAPI)
	})
	return nil
}

// failures are the statuses that any operation may answer with.
var failures = []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusMisdirectedRequest, http.StatusUnprocessableEntity,
	http.StatusServiceUnavailable, http.StatusGatewayTimeout}

// describe says in the document what the library cannot: that a reference may be
// null, and what a problem carries besides.
func describe(doc *huma.OpenAPI) {
	schemas := doc.Components.Schemas
	for _, schema := range schemas.Map() {
		for _, p := range schema.Properties {
			if p.Items != nil && p.Items.Type == huma.TypeArray {
				p.Items.Nullable = false // a list of lists has no null in it
			}
		}
		for _, name := range []string{"other", "cut", "remainder", "stored", "error", "summary", "counters"} {
			if p := schema.Properties[name]; p != nil && p.Ref != "" {
				schema.Properties[name] = &huma.Schema{
					AnyOf:       []*huma.Schema{{Ref: p.Ref}, {Type: "null"}},
					Description: p.Description,
				}
			}
		}
	}
	problem := schemas.Map()["ErrorModel"]
	problem.Properties["filter"] = schemas.Schema(reflect.TypeFor[FilterFault](), true, "FilterFault")
	problem.Properties["having"] = schemas.Schema(reflect.TypeFor[FilterFault](), true, "FilterFault")
	problem.Properties["sql"] = schemas.Schema(reflect.TypeFor[SQLFault](), true, "SQLFault")
}

// ask runs one question under the time limit and explains its failure.
func ask[T any](ctx context.Context, s *server, name string, question func(context.Context) (T, error)) (T, error) {
	// The database stops at the limit by itself; our clock, a little later, is
	// for when it cannot.
	limited, cancel := context.WithTimeout(ctx, s.config.Timeout+time.Second)
	defer cancel()
	answer, err := question(limited)
	if err == nil {
		return answer, nil
	}
	if limited.Err() != nil && ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded) {
		// Drivers do not always wrap the reason for which they gave up.
		err = errors.Join(context.DeadlineExceeded, err)
	}
	return answer, s.storeProblem(ctx, name, err)
}
