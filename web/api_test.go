package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store"
	"flowtally/store/console"
)

var (
	hour   = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	abroad = time.FixedZone("", 3600)
)

func sampleTop() *query.Top {
	return &query.Top{
		From: hour.In(abroad), To: hour.Add(time.Hour), Keys: []query.Key{query.KeySrcAddr, query.KeyDstPort}, By: query.ByFlows, Limit: 2,
		Rows: []query.TopRow{
			{Values: []query.Value{{Column: "src_addr", V: "10.1.2.3", Label: "10.1.2.3"}, {Column: "dst_port", V: int64(443), Label: "443"}},
				Label: "10.1.2.3, 443", Sums: query.Sums{Flows: 41, Packets: 456, Bytes: 789}, Share: new(0.41)},
			{Values: []query.Value{{Column: "src_addr", V: "2001:db8::1", Label: "2001:db8::1"}, {Column: "dst_port", Label: "none"}},
				Label: "2001:db8::1, none", Sums: query.Sums{Flows: 9, Packets: 9, Bytes: 9_007_199_254_740_993}, Share: new(0.09)},
		},
		Other: &query.Other{Groups: 1234, Sums: query.Sums{Flows: 50, Packets: 2, Bytes: 3}},
		Total: query.Sums{Flows: 100, Packets: 467, Bytes: 9_007_199_254_741_785},
		Provenance: query.Provenance{Source: "flows", Resolution: "1 ms", Exact: true, SQL: "select 1 < 2", Command: "flowtally top --key src-addr,dst-port",
			Took: 38*time.Millisecond + 900*time.Microsecond},
	}
}

func sampleSeries() *query.Series {
	return &query.Series{
		From: hour, To: hour.Add(2 * time.Minute), Step: time.Minute, Keys: []query.Key{query.KeyProtocol}, By: query.ByBytes,
		Start: []time.Time{hour.In(abroad), hour.Add(time.Minute)},
		Lines: []query.Line{{Values: []query.Value{{Column: "protocol", V: int64(6), Label: "tcp"}}, Label: "tcp",
			Flows: []int64{1, 2}, Packets: []int64{3, 4}, Bytes: []int64{5, 6}}},
		Other:      &query.Line{Label: "other", Flows: []int64{0, 1}, Packets: []int64{0, 1}, Bytes: []int64{0, 1}},
		Total:      query.Line{Label: "total", Flows: []int64{1, 3}, Packets: []int64{3, 5}, Bytes: []int64{5, 7}},
		Provenance: query.Provenance{Source: "traffic_1m", Resolution: "60 s", Exact: true, SQL: "select 2", Command: "flowtally series", Took: 12 * time.Millisecond},
	}
}

func topOf(t *query.Top) *fake {
	return &fake{top: func(context.Context, query.Question) (*query.Top, error) { return t, nil }}
}

func seriesOf(s *query.Series) *fake {
	return &fake{series: func(context.Context, query.Question) (*query.Series, error) { return s, nil }}
}

func TestShapes(t *testing.T) {
	complete := sampleTop()
	complete.Other, complete.Rows = nil, nil
	bare := sampleSeries()
	bare.Lines, bare.Other, bare.Keys, bare.Start, bare.Total = nil, nil, nil, nil, query.Line{}
	for _, row := range []struct {
		name   string
		db     *fake
		target string
		want   string
	}{
		{"top", topOf(sampleTop()), "/api/v1/top", `{
			"from":"2026-11-21T10:00:00Z","to":"2026-11-21T11:00:00Z","key":"src-addr,dst-port","by":"flows","limit":2,
			"rows":[
				{"values":{"dst_port":443,"src_addr":"10.1.2.3"},"label":"10.1.2.3, 443","flows":41,"packets":456,"bytes":789,"share":0.41,"error":0,
					"pps":null,"bps":null,"bpp":null,"duration_ms":null,"first_seen":null,"last_seen":null},
				{"values":{"dst_port":null,"src_addr":"2001:db8::1"},"label":"2001:db8::1, none","flows":9,"packets":9,"bytes":9007199254740993,"share":0.09,"error":0,
					"pps":null,"bps":null,"bpp":null,"duration_ms":null,"first_seen":null,"last_seen":null}],
			"other":{"groups":1234,"flows":50,"packets":2,"bytes":3},
			"total":{"flows":100,"packets":467,"bytes":9007199254741785},
			"filter":"","saturated": false, "saturated":false,"scaled":false,"sampling":"","cut":null,"remainder":null,"source":"flows","resolution":"1 ms","exact":true,"took_ms":38,"sql":"select 1 < 2","command":"flowtally top --key src-addr,dst-port"}`},
		{"top_without_rest_and_rows", topOf(complete), "/api/v1/top", `{
			"from":"2026-11-21T10:00:00Z","to":"2026-11-21T11:00:00Z","key":"src-addr,dst-port","by":"flows","limit":2,
			"rows":[],"other":null,"total":{"flows":100,"packets":467,"bytes":9007199254741785},
			"filter":"","saturated": false, "saturated":false,"scaled":false,"sampling":"","cut":null,"remainder":null,"source":"flows","resolution":"1 ms","exact":true,"took_ms":38,"sql":"select 1 < 2","command":"flowtally top --key src-addr,dst-port"}`},
		{"series", seriesOf(sampleSeries()), "/api/v1/series?key=protocol", `{
			"from":"2026-11-21T10:00:00Z","to":"2026-11-21T10:02:00Z","step":"1m","step_seconds":60,"key":"protocol","by":"bytes",
			"starts":["2026-11-21T10:00:00Z","2026-11-21T10:01:00Z"],
			"lines":[{"values":{"protocol":6},"label":"tcp","flows":[1,2],"packets":[3,4],"bytes":[5,6]}],
			"other":{"label":"other","flows":[0,1],"packets":[0,1],"bytes":[0,1]},
			"total":{"label":"total","flows":[1,3],"packets":[3,5],"bytes":[5,7]},
			"previous":[],"filter":"","saturated": false, "saturated":false,"scaled":false,"sampling":"","cut":null,"remainder":null,"source":"traffic_1m","resolution":"60 s","exact":true,"took_ms":12,"sql":"select 2","command":"flowtally series"}`},
		{"series_without_anything", seriesOf(bare), "/api/v1/series", `{
			"from":"2026-11-21T10:00:00Z","to":"2026-11-21T10:02:00Z","step":"1m","step_seconds":60,"key":"","by":"bytes",
			"starts":[],"lines":[],"other":null,"total":{"label":"total","flows":[],"packets":[],"bytes":[]},
			"previous":[],"filter":"","saturated": false, "saturated":false,"scaled":false,"sampling":"","cut":null,"remainder":null,"source":"traffic_1m","resolution":"60 s","exact":true,"took_ms":12,"sql":"select 2","command":"flowtally series"}`},
		{"exporters", &fake{exporters: func(context.Context) ([]console.ExporterRow, error) {
			rate := int64(100)
			return []console.ExporterRow{
				{ID: 7, Name: "edge-1", Label: "edge-1", NamedBy: console.NamedByPeople, Names: flow.Names{Announced: "R1"}, Addr: netip.MustParseAddr("192.0.2.1"), ObservationDomain: 42, Version: 10, FirstSeen: hour.In(abroad),
					LastSeen: hour, Datagrams: 1, Records: 2, Packets: 3, Bytes: 4, SamplingRate: &rate, ClockOffset: -300 * time.Millisecond},
				{ID: 8, Label: "2001:db8::1", NamedBy: console.NamedByItsAddress, Addr: netip.MustParseAddr("2001:db8::1"), Version: 5, FirstSeen: hour, LastSeen: hour},
			}, nil
		}}, "/api/v1/exporters", `{"exporters":[
			{"id":7,"name":"edge-1","label":"edge-1","named_by":"people","unnamed":"R1","addr":"192.0.2.1","observation_domain":42,"version":10,"first_seen":"2026-11-21T10:00:00Z",
			 "last_seen":"2026-11-21T10:00:00Z","datagrams":1,"records":2,"packets":3,"bytes":4,"sampling_rate":100,"clock_offset_ms":-300,"sampling_at":null,"sampling_provisional":false,"numbering":"",
			 "color":"","note":"","silent":true,"health":"silent","left_out_of_loss":false,"lost_last_hour":0,"templates":0,"sampling_rate_set":null,"sampling_state":"announced","sampling_from":null,"sampling_mode":"instead"},
			{"id":8,"name":"","label":"2001:db8::1","named_by":"address","unnamed":"2001:db8::1","addr":"2001:db8::1","observation_domain":0,"version":5,"first_seen":"2026-11-21T10:00:00Z",
			 "last_seen":"2026-11-21T10:00:00Z","datagrams":0,"records":0,"packets":0,"bytes":0,"sampling_rate":null,"clock_offset_ms":0,"sampling_at":null,"sampling_provisional":false,"numbering":"",
			 "color":"","note":"","silent":true,"health":"silent","left_out_of_loss":false,"lost_last_hour":0,"templates":0,"sampling_rate_set":null,"sampling_state":"unknown","sampling_from":null,"sampling_mode":"instead"}],
			"collector":{"listen":":9995"}}`},
		{"no_exporters", &fake{}, "/api/v1/exporters", `{"exporters":[],"collector":{"listen":":9995"}}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := get(newTestHandler(t, row.db), row.target)
			if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
				t.Fatalf("%d %s %s", w.Code, w.Header().Get("Content-Type"), w.Body)
			}
			if diff := cmp.Diff(normal(t, row.want), normal(t, w.Body.String())); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if h := w.Header(); h.Get("Cache-Control") != "no-store" || h.Get("Link") != "" {
				t.Errorf("headers %v", h)
			}
		})
	}
}

// normal reads JSON with its numbers as they are written.
func normal(t *testing.T, text string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

func TestQuestions(t *testing.T) {
	six := testNow.Add(-6 * time.Hour)
	for _, row := range []struct {
		name, target string
		want         query.Question
	}{
		{"top_with_defaults", "/api/v1/top",
			query.Question{From: six, To: testNow, Keys: []query.Key{query.KeySrcAddr}, By: query.ByFlows, Limit: 10}},
		{"top_with_everything", "/api/v1/top?from=2026-11-21T10:00:00Z&to=-30m&key=src-addr,dst-addr&by=bytes&limit=10000&exporter=edge%201&whole=true&format=json",
			query.Question{From: hour, To: testNow.Add(-30 * time.Minute), Keys: []query.Key{query.KeySrcAddr, query.KeyDstAddr}, By: query.ByBytes, Limit: 10000, Exporter: "edge 1", Whole: true}},
		{"empty_is_default", "/api/v1/top?from=&to=&key=&by=&limit=&exporter=&whole=&format=",
			query.Question{From: six, To: testNow, Keys: []query.Key{query.KeySrcAddr}, By: query.ByFlows, Limit: 10}},
		{"plus_of_an_offset_read_as_space", "/api/v1/top?from=2026-11-21T11:00:00+01:00",
			query.Question{From: hour, To: testNow, Keys: []query.Key{query.KeySrcAddr}, By: query.ByFlows, Limit: 10}},
		{"plus_of_an_offset_escaped", "/api/v1/top?from=2026-11-21T11:00:00%2B01:00",
			query.Question{From: hour, To: testNow, Keys: []query.Key{query.KeySrcAddr}, By: query.ByFlows, Limit: 10}},
		{"no_zone_is_utc", "/api/v1/top?from=2026-11-21+10:00",
			query.Question{From: hour, To: testNow, Keys: []query.Key{query.KeySrcAddr}, By: query.ByFlows, Limit: 10}},
		{"series_with_defaults", "/api/v1/series",
			query.Question{From: six, To: testNow, By: query.ByFlows, Limit: 8}},
		{"series_with_step", "/api/v1/series?step=5m&key=protocol&limit=3",
			query.Question{From: six, To: testNow, Keys: []query.Key{query.KeyProtocol}, By: query.ByFlows, Limit: 3, Step: 5 * time.Minute, MaxBuckets: query.MaxBuckets}},
		{"series_by_day", "/api/v1/series?from=-7d&step=1d",
			query.Question{From: testNow.Add(-7 * 24 * time.Hour), To: testNow, By: query.ByFlows, Limit: 8, Step: 24 * time.Hour, MaxBuckets: query.MaxBuckets}},
	} {
		t.Run(row.name, func(t *testing.T) {
			db := &fake{}
			w := get(newTestHandler(t, db), row.target)
			if w.Code != http.StatusOK || len(db.asked) != 1 {
				t.Fatalf("status %d, asked %d times: %s", w.Code, len(db.asked), w.Body)
			}
			row.want.Timeout = DefaultTimeout
			if diff := cmp.Diff(row.want, db.asked[0]); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestBadParameters(t *testing.T) {
	for _, row := range []struct {
		name, target, location, says string
	}{
		{"not_a_time", "/api/v1/top?from=soon", "query.from", "-6h"},
		{"end_that_is_no_time", "/api/v1/top?to=25:00", "query.to", "-6h"},
		{"zone_that_is_none", "/api/v1/top?zone=Europe/Nowhere", "query.zone", "Europe/Berlin"},
		{"zone_of_whom", "/api/v1/series?zone=local", "query.zone", "different zone for everyone"},
		{"zone_of_the_ledger", "/api/v1/loss?zone=CEST", "query.zone", "Europe/Berlin"},
		{"months_and_days", "/api/v1/series?step=1mo1d", "query.step", "1mo"},
		{"range_backwards", "/api/v1/top?from=now&to=-6h", "query.from", "earlier than to"},
		{"range_without_length", "/api/v1/series?from=now", "query.from", "earlier than to"},
		{"misspelt_key", "/api/v1/top?key=src-adr", "query.key", "did you mean src-addr"},
		{"misspelt_key_of_a_pair", "/api/v1/series?key=src-addr,dest-addr", "query.key", "dst-addr"},
		{"unknown_measure", "/api/v1/top?by=octets", "query.by", "flows, packets, bytes"},
		{"limit_zero", "/api/v1/top?limit=0", "query.limit", "1"},
		{"limit_too_large", "/api/v1/top?limit=10001", "query.limit", "10000"},
		{"limit_beyond_int64", "/api/v1/top?limit=99999999999999999999", "query.limit", "integer"},
		{"too_many_lines", "/api/v1/series?limit=101", "query.limit", "100"},
		{"limit_in_words", "/api/v1/top?limit=ten", "query.limit", "integer"},
		{"whole_in_words", "/api/v1/top?whole=perhaps", "query.whole", "boolean"},
		{"unknown_format", "/api/v1/top?format=xml", "query.format", "csv"},
		{"step_in_words", "/api/v1/series?step=fine", "query.step", "5m"},
		{"step_without_unit", "/api/v1/series?step=60", "query.step", "60s"},
		{"step_zero", "/api/v1/series?step=0s", "query.step", "above zero"},
		{"step_negative", "/api/v1/series?step=-5m", "query.step", "above zero"},
		{"step_of_half_seconds", "/api/v1/series?step=500ms", "query.step", "whole seconds"},
		{"step_of_too_many_days", "/api/v1/series?step=99999999999d", "query.step", "not a duration"},
		{"unknown_parameter", "/api/v1/top?form=-6h", "query.form", "/openapi.json"},
		{"parameter_of_the_other_question", "/api/v1/top?step=60s", "query.step", "no parameter"},
		{"parameter_given_twice", "/api/v1/top?key=src-addr&key=dst-addr", "", "commas"},
		{"semicolon", "/api/v1/top?from=-6h;to=now", "", "%3B"},
		{"octet_of_zero", "/api/v1/top?exporter=edge%00", "", "UTF-8"},
		{"not_utf8", "/api/v1/series?exporter=%ff", "", "UTF-8"},
	} {
		t.Run(row.name, func(t *testing.T) {
			db := &fake{}
			w := get(newTestHandler(t, db), row.target)
			if w.Code != http.StatusUnprocessableEntity {
				t.Fatalf("status %d: %s", w.Code, w.Body)
			}
			detail, location := problem(t, w)
			if location != row.location || !strings.Contains(detail, row.says) {
				t.Errorf("%q at %q, want %q at %q", detail, location, row.says, row.location)
			}
			if len(db.asked) > 0 {
				t.Error("the database was asked all the same")
			}
		})
	}
}

// sqlError is an error of PostgreSQL as the driver gives it.
type sqlError string

func (e sqlError) Error() string    { return "secret host db.internal: SQLSTATE " + string(e) }
func (e sqlError) SQLState() string { return string(e) }

func TestStoreErrors(t *testing.T) {
	for _, row := range []struct {
		name   string
		err    error
		status int
		says   string
	}{
		{"question_makes_no_sense", fmt.Errorf("store: %w", &query.Error{Parameter: "exporter", Reason: `no exporter "edge"`}), 422, "exporter"},
		{"question_makes_no_sense_nowhere", &query.Error{Reason: "too much is asked"}, 422, "too much"},
		{"took_too_long", fmt.Errorf("store: %w", store.ErrTimeout), 504, "shorter range"},
		{"our_clock_ran_out", fmt.Errorf("store: ask: %w", context.DeadlineExceeded), 504, "shorter range"},
		{"cancelled_by_the_role", sqlError("57014"), 504, "shorter range"},
		{"database_away", errors.New("dial tcp db.internal:5432: connection refused"), 503, "PostgreSQL is running"},
		{"database_starts", sqlError("57P03"), 503, "PostgreSQL is running"},
		{"too_many_connections", sqlError("53300"), 503, "PostgreSQL is running"},
		{"connection_lost", sqlError("08006"), 503, "PostgreSQL is running"},
		{"no_such_table", sqlError("42P01"), 500, "flowtally migrate"},
		{"not_ours_to_read", sqlError("42501"), 500, "flowtally migrate"},
		{"division_by_zero", sqlError("22012"), 500, "22012"},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := newTestHandler(t, &fake{
				top:       func(context.Context, query.Question) (*query.Top, error) { return nil, row.err },
				series:    func(context.Context, query.Question) (*query.Series, error) { return nil, row.err },
				exporters: func(context.Context) ([]console.ExporterRow, error) { return nil, row.err },
			})
			for _, target := range []string{"/api/v1/top?format=csv", "/api/v1/series", "/api/v1/exporters"} {
				w := get(h, target)
				if w.Code != row.status {
					t.Fatalf("%s: status %d, want %d: %s", target, w.Code, row.status, w.Body)
				}
				detail, _ := problem(t, w)
				if !strings.Contains(detail, row.says) {
					t.Errorf("%s: %q, want %q in it", target, detail, row.says)
				}
				if strings.Contains(w.Body.String(), "db.internal") {
					t.Errorf("%s: the answer names the database's host: %s", target, w.Body)
				}
				if (w.Header().Get("Retry-After") != "") != (row.status == 503) {
					t.Errorf("%s: Retry-After %q", target, w.Header().Get("Retry-After"))
				}
			}
		})
	}
}

func TestOurClockEndsAQuestion(t *testing.T) {
	db := &fake{top: func(ctx context.Context, _ query.Question) (*query.Top, error) {
		deadline, ok := ctx.Deadline()
		if !ok || time.Until(deadline) > 3*time.Second {
			t.Errorf("deadline %v, %v", deadline, ok)
		}
		return nil, context.DeadlineExceeded
	}}
	w := get(newTestHandler(t, db, func(c *Config) { c.Timeout = 2 * time.Second }), "/api/v1/top")
	if detail, _ := problem(t, w); w.Code != http.StatusGatewayTimeout || !strings.Contains(detail, "2s") {
		t.Errorf("%d %s", w.Code, detail)
	}
}

func TestAPIAnswersArePacked(t *testing.T) {
	for accept, want := range map[string]string{
		"gzip": "gzip", "br, gzip;q=0.5": "gzip", "*": "gzip", "": "", "gzip;q=0": "", "gzip;q=0, *": "", "deflate": "",
	} {
		w := get(newTestHandler(t, topOf(sampleTop())), "/api/v1/top", "Accept-Encoding", accept)
		if got := w.Header().Get("Content-Encoding"); got != want {
			t.Errorf("Accept-Encoding %q: packed as %q, want %q", accept, got, want)
		}
	}
}

// FuzzRequest: whatever the query and the headers of negotiation, a question
// is answered or refused as the asker's fault, never as ours.
func FuzzRequest(f *testing.F) {
	for _, s := range [][3]string{
		{"from=-6h&to=now&key=src-addr&by=flows&limit=10", "application/json", "gzip"},
		{"from=2026-11-21T11:00:00+01:00&step=5m", "a;,b", "*;q=0"},
		{"key=addr,port&whole=1&format=csv&exporter=%00", "text/csv;q=", "gzip;q=x"},
		{"%zz=1;&step=-1d&limit=-1", ",;,", ";"},
	} {
		f.Add(s[0], s[1], s[2])
	}
	srv, err := newServer(Config{DB: faked(&fake{})}, build)
	if err != nil {
		f.Fatal(err)
	}
	srv.now = func() time.Time { return testNow }
	h, err := srv.handler()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query, accept, encoding string) {
		for _, path := range []string{pathTop, pathSeries, "/"} {
			r := &http.Request{
				Method: http.MethodGet, Host: "localhost", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody,
				URL:    &url.URL{Path: path, RawQuery: query},
				Header: http.Header{"Accept": {accept}, "Accept-Encoding": {encoding}},
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != http.StatusOK && w.Code != http.StatusUnprocessableEntity {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		}
	})
}
