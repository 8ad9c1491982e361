package web

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"flowtally/query"
)

// The law: the same text means the same instant in the range and in the filter, of every
// question: of UTC unless a zone is given.
func TestZones(t *testing.T) {
	berlin, _ := query.ParseZone("Europe/Berlin")
	for _, path := range []string{pathTop, pathSeries, pathFlows, pathShare, pathSummary, pathHeatMap, strings.Replace(pathAddress, "{addr}", "10.1.4.7", 1)} {
		for _, zone := range []string{"", "UTC", "utc", "Europe/Berlin", "Etc/GMT+1"} {
			for text, hour := range map[string]int{"2026-11-20": 0, "yesterday 14:00": 14, "this-month": 0, "2026-11-20 10:00": 10} {
				db := &fake{}
				target := path + "?from=" + url.QueryEscape(text) + "&filter=" + url.QueryEscape(`first seen >= "`+text+`"`)
				if zone != "" {
					target += "&zone=" + zone // its plus sign is a space
				}
				w := get(newTestHandler(t, db), target)
				if w.Code != http.StatusOK || len(db.asked) != 1 {
					t.Fatalf("%s: status %d, asked %d times: %s", target, w.Code, len(db.asked), w.Body)
				}
				q := db.asked[0]
				if want := "first seen >= " + q.From.UTC().Format("2006-01-02T15:04:05.000Z"); q.Filter.String() != want {
					t.Errorf("%s: from %v, but the filter is %q", target, q.From, q.Filter)
				}
				at := time.UTC
				switch zone {
				case "Europe/Berlin":
					at = berlin
				case "Etc/GMT+1":
					at = time.FixedZone("", -3600)
				}
				if q.From.In(at).Hour() != hour || zone != "" && q.Zone == nil {
					t.Errorf("%s: from %v, in %v", target, q.From, q.Zone)
				}
			}
		}
	}
}

// What is written back means the same later and elsewhere: its times are of UTC.
func TestFilterIsCheckedInAZone(t *testing.T) {
	h := newTestHandler(t, &fake{})
	w := request(h, http.MethodPost, pathFilterCheck+"?zone=Europe/Berlin", `{"filter":"first seen >= \"yesterday 14:00\""}`, "Content-Type", "application/json")
	var a filterCheckAnswer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatal(err)
	}
	day := testNow.AddDate(0, 0, -1).Format(time.DateOnly)
	if want := "first seen >= " + day + "T13:00:00.000Z"; a.Canonical != want {
		t.Errorf("%s is not %s", w.Body, want)
	}
}

func TestMonthsAreAsked(t *testing.T) {
	db := &fake{}
	w := get(newTestHandler(t, db), pathSeries+"?from=-12mo&step=1mo&lay_over=1&period=12mo&zone=Europe/Berlin")
	if w.Code != http.StatusOK {
		t.Fatal(w.Body)
	}
	if q := db.asked[0]; q.StepMonths != 1 || q.Step != 0 || q.PeriodMonths != 12 || q.Period != 0 || q.Zone.String() != "Europe/Berlin" {
		t.Errorf("%+v", q)
	}
}
