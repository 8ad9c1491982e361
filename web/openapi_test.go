package web

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite openapi.json from the code")

// openapi.json is committed, so that a change of the API is seen in review and
// clients can be made from it without running anything.
func TestOpenAPIDocument(t *testing.T) {
	w := get(newTestHandler(t, &fake{}), pathOpenAPI)
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/openapi+json" {
		t.Fatalf("%d %s", w.Code, w.Header().Get("Content-Type"))
	}
	got := w.Body.String()
	if *update {
		if err := os.WriteFile("openapi.json", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Error("openapi.json is not what the code serves; go test ./web -run OpenAPI -update rewrites it")
	}
	if strings.Contains(got, "$schema") {
		t.Error("the document has $schema fields")
	}
	var doc struct {
		OpenAPI string
		Paths   map[string]any
	}
	if err := json.Unmarshal([]byte(got), &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1.") {
		t.Errorf("OpenAPI %q", doc.OpenAPI)
	}
	for _, path := range []string{pathTop, pathSeries, pathKeys, pathFlows, pathShare, pathSummary, pathHeatMap, pathAddress, pathExporters, pathExporter, pathDiagnosis,
		pathInterfaces, pathInterface, pathLoss, pathViews, pathView, pathPreferences, pathFilterCheck, pathFilterComplete, pathSQL, pathHunts, pathSchema, pathNames, pathMe, pathTokens, pathToken} {
		if doc.Paths[path] == nil {
			t.Errorf("%s is not described", path)
		}
	}
}

// The library's own pages load scripts from another host; none of them is here.
func TestNoPagesOfTheLibrary(t *testing.T) {
	h := newTestHandler(t, &fake{})
	index := get(h, "/").Body.String()
	for _, path := range []string{"/docs", "/openapi.yaml", "/openapi-3.0.json", "/schemas/TopAnswer.json"} {
		if got := get(h, path).Body.String(); got != index {
			t.Errorf("%s serves %.80q", path, got)
		}
	}
}

// The document names the fields that answers have, all of them and no others:
// the library passes over embedded types that are not exported.
func TestDocumentNamesTheFieldsOfAnswers(t *testing.T) {
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]any
				Required   []string
			}
		}
	}
	h := newTestHandler(t, &fake{})
	if err := json.Unmarshal(get(h, pathOpenAPI).Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{
		"Top": Top{}, "TopRow": topRow{}, "TopRest": topRest{}, "Series": Series{},
		"Line": line{}, "SumLine": sumLine{}, "ExportersAnswer": exportersAnswer{}, "ExporterRow": exporterRow{},
		"Flows": Flows{}, "FlowsSummary": FlowsSummary{}, "Share": Share{}, "Summary": Summary{}, "SummaryRow": summaryRow{}, "HeatMap": HeatMap{},
		"Address": Address{}, "Diagnosis": Diagnosis{}, "Ledger": Ledger{}, "InterfaceRow": interfaceRow{}, "View": view{}, "SQLAnswer": SQLAnswer{},
		"FilterCheckAnswer": filterCheckAnswer{}, "FilterCompleteAnswer": filterCompleteAnswer{}, "Previous": previous{}, "Me": me{}, "TokenRow": TokenRow{}, "MadeToken": MadeToken{},
		"KeysAnswer": keysAnswer{}, "KeyRow": keyRow{}, "MeasureRow": measureRow{}, "WordRow": wordRow{},
	} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(text, &fields); err != nil {
			t.Fatal(err)
		}
		schema := doc.Components.Schemas[name]
		want := slices.Sorted(maps.Keys(fields))
		if got := slices.Sorted(maps.Keys(schema.Properties)); !slices.Equal(got, want) {
			t.Errorf("%s has %v, the document %v", name, want, got)
		}
		if got := slices.Sorted(slices.Values(schema.Required)); !slices.Equal(got, want) {
			t.Errorf("%s always has %v, the document requires %v", name, want, got)
		}
	}
}
