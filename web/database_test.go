package web

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"flowtally/flow"
	"flowtally/lab/postgres/pgtest"
	"flowtally/store"
	"flowtally/store/ingest"
)

// TestOverPostgreSQL asks the API for flows that went in through the writer,
// in the role the page has.
func TestOverPostgreSQL(t *testing.T) {
	ctx := t.Context()
	dsn := pgtest.Empty(t)
	passwords := map[string]string{store.RoleWriter: "writer", store.RoleWeb: "web"}
	if err := store.Migrate(ctx, dsn, store.MigrateConfig{Passwords: passwords}); err != nil {
		t.Fatal(err)
	}
	in, err := store.Open(ctx, pgtest.As(t, dsn, store.RoleWriter, "writer"))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()

	start := testNow.Add(-time.Hour)
	exporter := flow.Exporter{Addr: flow.AddrFrom(netip.MustParseAddr("192.0.2.1")), Domain: 42}
	record := func(src string, at time.Duration, packets, bytes uint64) flow.Record {
		var r flow.Record
		r.IPVersion, r.Protocol, r.SrcPort, r.DstPort = 4, 6, 40000, 443
		r.SrcAddr, r.DstAddr = flow.AddrFrom(netip.MustParseAddr(src)), flow.AddrFrom(netip.MustParseAddr("10.9.9.9"))
		r.Start, r.End, r.Received = flow.TimeOf(start.Add(at)), flow.TimeOf(start.Add(at+time.Second)), flow.TimeOf(start.Add(at+2*time.Second))
		r.Exporter, r.Packets, r.Bytes = exporter.ID(), packets, bytes
		return r
	}
	w := ingest.NewWriter(in, ingest.WriterConfig{})
	if err := w.Write(ctx, flow.Batch{Records: []flow.Record{
		record("10.0.0.1", time.Minute, 1, 100), record("10.0.0.1", 2*time.Minute, 1, 100), record("10.0.0.1", 3*time.Minute, 1, 100),
		record("10.0.0.2", 3*time.Minute, 10, 10_000), record("10.0.0.3", 4*time.Minute, 2, 200),
	}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Report(ctx, flow.Report{Status: []flow.ExporterStatus{{
		Exporter: exporter, Version: 10, FirstSeen: flow.TimeOf(start), LastSeen: flow.TimeOf(testNow), Datagrams: 1, Records: 5,
	}}}); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(ctx, pgtest.As(t, dsn, store.RoleWeb, "web"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	h := newTestHandler(t, nil, func(c *Config) { c.DB = NewDatabase(db) })
	ask := func(target string, answer any) {
		t.Helper()
		r := get(h, target)
		if r.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", target, r.Code, r.Body)
		}
		if err := json.Unmarshal(r.Body.Bytes(), answer); err != nil {
			t.Fatal(err)
		}
	}

	var top Top
	ask("/api/v1/top?from=-1h&key=src-addr&by=flows&limit=1", &top)
	if len(top.Rows) != 1 || top.Rows[0].Values["src_addr"] != "10.0.0.1" || top.Rows[0].Flows != 3 || *top.Rows[0].Share != 0.6 {
		t.Errorf("top by flows: %+v", top.Rows)
	}
	if want := (Sums{Flows: 5, Packets: 15, Bytes: 10_500}); top.Total != want {
		t.Errorf("total %+v, want %+v", top.Total, want)
	}
	if top.Other == nil || top.Other.Groups != 2 || top.Other.Sums != (Sums{Flows: 2, Packets: 12, Bytes: 10_200}) {
		t.Errorf("other %+v", top.Other)
	}
	if top.SQL == "" || !strings.HasPrefix(top.Command, "flowtally top ") || top.Source == "" || !top.Exact {
		t.Errorf("provenance %+v", top.Provenance)
	}

	var series Series
	ask("/api/v1/series?from=-1h&to=-55m&step=60s&key=src-addr&limit=2&by=bytes", &series)
	if len(series.Starts) != 5 || len(series.Lines) != 2 || series.StepSeconds != 60 || series.Lines[0].Label != "10.0.0.2" {
		t.Errorf("series %+v", series)
	}
	var bytes int64
	for _, n := range series.Total.Bytes {
		bytes += n
	}
	if bytes != top.Total.Bytes {
		t.Errorf("the series holds %d bytes, the ranking %d", bytes, top.Total.Bytes)
	}

	if got, want := get(h, "/api/v1/top?from=-1h&key=src-addr&by=bytes&limit=2&format=csv").Body.String(),
		"src_addr,flows,packets,bytes\r\n10.0.0.2,1,10,10000\r\n10.0.0.1,3,3,300\r\n"; got != want {
		t.Errorf("CSV %q, want %q", got, want)
	}

	var exporters exportersAnswer
	ask("/api/v1/exporters", &exporters)
	if len(exporters.Exporters) != 1 || exporters.Exporters[0].Addr != "192.0.2.1" || exporters.Exporters[0].ID != int64(exporter.ID()) {
		t.Errorf("exporters %+v", exporters)
	}

	if e := exporters.Exporters[0]; e.Health == "" || e.SamplingState != "unknown" || e.SamplingRateSet != nil {
		t.Errorf("exporter %+v", e)
	}

	var flows Flows
	ask("/api/v1/flows?from=-1h&limit=2&sort=bytes&filter=dst+port+443", &flows)
	if len(flows.Rows) != 2 || flows.Next == nil || flows.Rows[0]["src_addr"] != "10.0.0.2" || flows.Summary == nil || flows.Summary.Flows != 5 || flows.Filter == "" {
		t.Errorf("flows %+v", flows)
	}
	var rest Flows
	ask("/api/v1/flows?from=-1h&limit=10&sort=bytes&summary=false&after="+*flows.Next, &rest)
	if len(rest.Rows) != 3 || rest.Next != nil || rest.Summary != nil {
		t.Errorf("the next page %+v", rest)
	}
	if got := get(h, "/api/v1/flows?from=-1h&limit=1&format=csv").Body.String(); strings.Count(got, "\r\n") != 2 || !strings.HasPrefix(got, "flow_start,flow_end,") {
		t.Errorf("flows as CSV %q", got)
	}
	var share Share
	ask("/api/v1/share?from=-1h&step=5m", &share)
	if len(share.Share) != len(share.Starts) || len(share.Host) != len(share.Starts) || len(share.Highlights) == 0 || share.Highlights[0].Addr != "10.9.9.9" || share.Highlights[0].Share != 1 {
		t.Errorf("share %+v", share)
	}
	var summary Summary
	ask("/api/v1/summary?from=-1h", &summary)
	if len(summary.Rows) != 5 || summary.Rows[1].Class != "tcp" || summary.Rows[1].Bytes != 10_500 {
		t.Errorf("summary %+v", summary)
	}
	var heat HeatMap
	ask("/api/v1/heatmap?from=-1d", &heat)
	if len(heat.Days) != 2 || len(heat.Cells) != 2 || len(heat.Cells[0]) != 24 || len(heat.Hours) != 24 {
		t.Errorf("heat map %+v", heat)
	}
	var card Address
	ask("/api/v1/address/10.9.9.9?from=-1h", &card)
	if card.In.Flows != 5 || card.Out.Flows != 0 || len(card.Peers) != 3 || len(card.Ports) != 1 || !card.Private || card.FirstSeen == nil {
		t.Errorf("address %+v", card)
	}
	var ledger Ledger
	ask("/api/v1/loss?from=-1h", &ledger)
	if len(ledger.Stages) != 6 || ledger.Stages[0].Name != "seen" || ledger.Stages[5].Count == nil || *ledger.Stages[5].Count != 5 {
		t.Errorf("ledger %+v", ledger)
	}
	id := strconv.Itoa(int(exporter.ID()))
	for _, of := range []string{id, "0"} {
		var d Diagnosis
		ask("/api/v1/exporters/"+of+"/diagnosis", &d)
		if len(d.Checks) == 0 || d.Headline == "" || (d.Counters == nil) != (of == "0") {
			t.Errorf("diagnosis of %s: %+v", of, d)
		}
	}
	put := func(path, body string, want int) {
		t.Helper()
		if w := request(h, http.MethodPut, path, body, "Content-Type", "application/json"); w.Code != want {
			t.Errorf("PUT %s: %d %s", path, w.Code, w.Body)
		}
	}
	put("/api/v1/exporters/"+id, `{"name":"edge","color":"#1f77b4","sampling_rate":10}`, http.StatusOK)
	put("/api/v1/interfaces/"+id+"/0", `{"name":"uplink"}`, http.StatusNoContent)
	put("/api/v1/exporters/1", `{"name":"nobody"}`, http.StatusNotFound)
	ask("/api/v1/exporters", &exporters)
	if e := exporters.Exporters[0]; e.Label != "edge" || e.Color != "#1f77b4" || e.SamplingState != "configured" {
		t.Errorf("exporter %+v", e)
	}
	var interfaces interfacesAnswer
	ask("/api/v1/interfaces?exporter=edge&from=-1h", &interfaces)
	if len(interfaces.Interfaces) == 0 || !interfaces.Complete || interfaces.Interfaces[0].Name != "uplink" {
		t.Errorf("interfaces %+v", interfaces)
	}
	if e := exporters.Exporters[0]; e.SamplingRate == nil || *e.SamplingRate != 10 || e.SamplingMode != "instead" || e.SamplingFrom != nil {
		t.Errorf("exporter %+v", e)
	}
	put("/api/v1/exporters/"+id, `{"name":"edge","sampling_rate":10,"sampling_mode":"unknown","sampling_from":"2014-01-01T01:02:03+01:00"}`, http.StatusOK)
	ask("/api/v1/exporters", &exporters)
	if e := exporters.Exporters[0]; e.SamplingState != "configured" || e.SamplingMode != "unknown" || e.SamplingFrom == nil || *e.SamplingFrom != "2014-01-01T00:02:00Z" {
		t.Errorf("exporter %+v", e)
	}
	put("/api/v1/exporters/"+id, `{"name":"edge","sampling_rate":10,"sampling_mode":"perhaps"}`, http.StatusUnprocessableEntity)
	put("/api/v1/exporters/"+id, `{"name":""}`, http.StatusOK)
	ask("/api/v1/exporters", &exporters)
	if e := exporters.Exporters[0]; e.SamplingState != "unknown" || e.SamplingMode != "instead" || e.SamplingFrom != nil || e.SamplingRate != nil {
		t.Errorf("exporter %+v", e)
	}
	var tables []schemaTable
	ask("/api/v1/schema", &tables)
	var hunts []hunt
	ask("/api/v1/hunts", &hunts)
	if len(tables) == 0 || tables[0].Table != "flows" || len(hunts) != 10 {
		t.Errorf("%d tables, %d hunts", len(tables), len(hunts))
	}

	for target, location := range map[string]string{
		"/api/v1/series?from=-24h&step=1s":         "query.step",
		"/api/v1/top?exporter=nobody":              "query.exporter",
		"/api/v1/top?key=addr,src-addr":            "query.key",
		"/api/v1/top?exporter=%27%3B+drop+table+x": "query.exporter",
	} {
		r := get(h, target)
		if r.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", target, r.Code, r.Body)
			continue
		}
		if _, got := problem(t, r); got != location {
			t.Errorf("%s: at %q, want %q", target, got, location)
		}
	}

	// The database goes away under the page.
	db.Close()
	if r := get(h, "/api/v1/top"); r.Code != http.StatusServiceUnavailable {
		t.Errorf("without a database: %d %s", r.Code, r.Body)
	}
}
