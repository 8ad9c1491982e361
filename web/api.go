package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
)

// routeAPI mounts the questions and the document that describes them.
func (s *server) routeAPI(r chi.Router) error {
	c := huma.DefaultConfig("flowtally", "1")
	c.Info.Description = "Who is talking, how much, and how often: flows in PostgreSQL, asked by time range. " +
		"Every answer carries the SQL and the command line that give the same.\n\n" +
		"Whole numbers are of 64 bits where their format is int64: read them as such, for JavaScript rounds those above 2^53. " +
		"Cells of a statement's answer (" + pathSQL + ") have no type in this document; integers above 2^53 are text there, and so is whatever is no number, boolean or JSON.\n\n" +
		"A list that goes on has limit and after, and next and the header Link where there is more; what is too much for limit is refused with status 422."
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
		typeSpreadsheet:    {Marshal: marshalSpreadsheet},
	}
	identified(c.OpenAPI)
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
	s.routeTokens(api)
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
var failures = []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestEntityTooLarge,
	http.StatusUnsupportedMediaType, http.StatusMisdirectedRequest, http.StatusUnprocessableEntity, http.StatusTooManyRequests,
	http.StatusServiceUnavailable, http.StatusGatewayTimeout}

// The names under which the document says how who asks is known.
const (
	schemeToken   = "token"
	schemeSession = "session"
)

// identified says in the document how who asks is known.
func identified(doc *huma.OpenAPI) {
	doc.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		schemeToken: {Type: "http", Scheme: "bearer", BearerFormat: TokenPrefix + "…",
			Description: "A token for scripts: POST " + pathTokens + ", the page's preferences or flowtally web token makes one. It is taken from this header alone, never from an address, " +
				"and may do what its role and its user's role both allow."},
		schemeSession: {Type: "apiKey", In: "cookie", Name: cookieName(false),
			Description: "The session that POST " + pathLogin + " begins; by TLS the cookie is " + cookieName(true) + "."},
	}
	// The empty one: where nobody has to log in, nobody has to say who he is.
	doc.Security = []map[string][]string{{schemeToken: {}}, {schemeSession: {}}, {}}
}

// describe says in the document what the library cannot: that a reference may be
// null, and what a problem carries besides.
func describe(doc *huma.OpenAPI) {
	for _, path := range doc.Paths {
		for _, op := range []*huma.Operation{path.Get, path.Post, path.Put, path.Delete} {
			if op != nil && op.RequestBody != nil {
				// The library gives up on a body that does not come.
				slow := *op.Responses[strconv.Itoa(http.StatusServiceUnavailable)]
				slow.Description = http.StatusText(http.StatusRequestTimeout)
				op.Responses[strconv.Itoa(http.StatusRequestTimeout)] = &slow
			}
		}
	}
	sharedParameters(doc)
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

// sharedParameters gives those parameters that are asked in several places the one
// description that Filtered and seriesInput have.
func sharedParameters(doc *huma.OpenAPI) {
	said := make(map[string]*huma.Param)
	for _, p := range doc.Paths[pathSeries].Get.Parameters {
		said[p.Name] = p
	}
	for _, path := range doc.Paths {
		if path.Get == nil {
			continue
		}
		for _, p := range path.Get.Parameters {
			if as := said[p.Name]; as != nil && p.Description == "" {
				p.Description, p.Schema.Description, p.Example = as.Description, as.Schema.Description, as.Example
				p.Schema.Examples = as.Schema.Examples
			}
		}
	}
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
