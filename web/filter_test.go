package web

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"testing"

	"flowtally/query"
	"flowtally/store/console"
)

func TestFilterIsChecked(t *testing.T) {
	h := newTestHandler(t, &fake{})
	check := func(text string) (a filterCheckAnswer) {
		t.Helper()
		body, _ := json.Marshal(map[string]string{"filter": text})
		w := request(h, http.MethodPost, pathFilterCheck, string(body), "Content-Type", "application/json")
		if err := json.Unmarshal(w.Body.Bytes(), &a); w.Code != http.StatusOK || err != nil {
			t.Fatalf("%q: %d %s", text, w.Code, w.Body)
		}
		return a
	}
	if a := check("proto tcp  and DST port 443"); !a.OK || a.Terms != 2 || a.Canonical == "" || a.Error != nil {
		t.Errorf("%+v", a)
	}
	if a := check(""); !a.OK || a.Terms != 0 {
		t.Errorf("%+v", a)
	}
	if a := check("proto tcp and dts port 443"); a.OK || a.Error == nil || a.Error.Offset != 14 || a.Error.End != 17 || !slices.Contains(a.Error.Suggest, "dst") {
		t.Errorf("%+v %+v", a, a.Error)
	}
}

// A condition on sums is checked as a filter is: the words that are meant are the
// same in the check and in the refused question.
func TestHavingIsChecked(t *testing.T) {
	h := newTestHandler(t, &fake{})
	for _, c := range []struct {
		text  string
		fault string // the part that is meant, "" at the end of the text
		at    int
	}{
		{"flows > 100 and byte > 1m", "byte", 16},
		{"flows > many", "many", 8},
		{"flows => 5", ">", 7},
		{"(flows > 5", "", 10},
		{"flows >", "", 7},
		{"flows > 5 bytes > 5", "bytes", 10},
	} {
		body, _ := json.Marshal(map[string]string{"having": c.text})
		var a filterCheckAnswer
		w := request(h, http.MethodPost, pathFilterCheck, string(body), "Content-Type", "application/json")
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || a.OK || a.Error == nil {
			t.Fatalf("%q: %d %s", c.text, w.Code, w.Body)
		}
		if a.Error.Offset != c.at || c.text[a.Error.Offset:a.Error.End] != c.fault {
			t.Errorf("%q: at %d to %d, want %q at %d", c.text, a.Error.Offset, a.Error.End, c.fault, c.at)
		}
		w = get(h, pathTop+"?having="+url.QueryEscape(c.text))
		if _, location := problem(t, w); location != "query.having" {
			t.Errorf("%q: at %s", c.text, location)
		}
		var p struct{ Having *FilterFault }
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Having == nil || p.Having.Offset != c.at || p.Having.End != a.Error.End {
			t.Errorf("%q: %s", c.text, w.Body)
		}
	}
	w := request(h, http.MethodPost, pathFilterCheck, `{"having":"FLOWS > 1k  and not bytes < 5"}`, "Content-Type", "application/json")
	var a filterCheckAnswer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || !a.OK || a.Canonical == "" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// A question with a wrong filter says where it is wrong, as the check does.
func TestWrongFilterOfAQuestion(t *testing.T) {
	db := &fake{}
	h := newTestHandler(t, db)
	for _, path := range []string{pathTop, pathSeries, pathFlows, pathShare, pathSummary, pathHeatMap, "/api/v1/address/10.0.0.1"} {
		w := get(h, path+"?filter="+url.QueryEscape("proto tcp and dts port 443"))
		if w.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", path, w.Code)
			continue
		}
		if _, location := problem(t, w); location != "query.filter" {
			t.Errorf("%s: at %s", path, location)
		}
		var p struct{ Filter *FilterFault }
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Filter == nil || p.Filter.Offset != 14 {
			t.Errorf("%s: %s", path, w.Body)
		}
	}
	body := `{"name":"a","url":"/","filter":"dts port 443"}`
	if w := request(h, http.MethodPost, pathViews, body, "Content-Type", "application/json"); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("a view: %d", w.Code)
	} else if _, location := problem(t, w); location != "body.filter" {
		t.Errorf("a view: at %s", location)
	}
	if len(db.asked) > 0 || len(db.saved) > 0 {
		t.Error("the database was asked all the same")
	}
}

func TestFilterIsCompleted(t *testing.T) {
	db := &fake{
		top: func(_ context.Context, q query.Question) (*query.Top, error) {
			return &query.Top{Keys: q.Keys, Rows: []query.TopRow{{Values: []query.Value{{Column: "addr", V: "10.1.4.7"}}}, {Values: []query.Value{{Column: "addr", V: "192.0.2.1"}}}}}, nil
		},
		exporters: func(context.Context) ([]console.ExporterRow, error) {
			return []console.ExporterRow{{Label: "edge one", Addr: netip.MustParseAddr("192.0.2.9")}, {Label: "core", Addr: netip.MustParseAddr("192.0.2.8")}}, nil
		},
		named: []console.Interface{{Name: "uplink", Exporter: "core"}, {Name: `"'`, Exporter: "core"}},
	}
	h := newTestHandler(t, db)
	complete := func(text string) (a filterCompleteAnswer) {
		t.Helper()
		// What was seen lately may come too late for the first letter.
		for range 200 {
			w := get(h, pathFilterComplete+"?text="+url.QueryEscape(text))
			if err := json.Unmarshal(w.Body.Bytes(), &a); w.Code != http.StatusOK || err != nil {
				t.Fatalf("%q: %d %s", text, w.Code, w.Body)
			}
			if slices.ContainsFunc(a.Options, func(o completion) bool { return o.Kind == "value" }) {
				break
			}
		}
		return a
	}
	offers := func(a filterCompleteAnswer, text string) bool {
		return slices.ContainsFunc(a.Options, func(o completion) bool { return o.Text == text })
	}
	if a := complete("src ip 10"); a.From != 7 || a.To != 9 || !offers(a, "10.1.4.7") || offers(a, "192.0.2.1") {
		t.Errorf("addresses: %+v", a)
	}
	if a := complete("exporter "); !offers(a, `"edge one"`) || !offers(a, "core") && !offers(a, `"core"`) {
		t.Errorf("exporters: %+v", a)
	}
	if a := complete("in if up"); !offers(a, "uplink") && !offers(a, `"uplink"`) {
		t.Errorf("interfaces: %+v", a)
	}
	if w := get(h, pathFilterComplete+"?text=proto&offset=99"); w.Code != http.StatusOK {
		t.Errorf("beyond the end: %d %s", w.Code, w.Body)
	}
}
