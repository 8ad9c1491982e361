package answer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store/answer"
	"flowtally/store/ingest"
	"flowtally/store/keeper"
	"flowtally/store/storetest"
)

// The law of interfaces: an ifIndex is its exporter's. Whatever is read, the interfaces 1
// and 2 of three exporters, two of which share an address, are six; together they have what
// all flows have; each has what the filter on its exporter and its number finds; and each
// has its name, also in the statement that people are given, which answers the same.
func TestInterfacesAreThoseOfTheirExporters(t *testing.T) {
	ctx := context.Background()
	db, _, conn := storetest.Open(t)
	recs := storetest.Flows(rand.New(rand.NewPCG(61, 62)), 700)
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	var status []flow.ExporterStatus
	var names []flow.Interface
	for _, e := range storetest.Exporters {
		status = append(status, flow.ExporterStatus{Exporter: e, Version: 9, FirstSeen: storetest.Noon, LastSeen: storetest.Noon})
		names = append(names, flow.Interface{Exporter: e.ID(), Index: 1, Name: "ge-0/0/1"})
	}
	// Two of one name, and one of a name that could be a number.
	third := storetest.Exporters[2].ID()
	names = append(names, flow.Interface{Exporter: third, Index: 2, Name: "ge-0/0/1"})
	if err := w.Report(ctx, flow.Report{Status: status, Interfaces: names}); err != nil {
		t.Fatal(err)
	}
	for i := range recs {
		recs[i].Exporter = storetest.Exporters[i%len(storetest.Exporters)].ID()
	}
	storetest.WriteAll(t, w, recs, 130)
	a := answer.New(db)
	day := query.Question{From: (storetest.Noon - flow.Day).Time(), To: (storetest.Noon + flow.Day).Time(), By: query.ByBytes, Limit: 100, Step: time.Hour}
	labels := func(keys ...query.Key) []string {
		q := day
		q.Keys, q.Limit = keys, 50
		s, err := a.Series(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, l := range s.Lines {
			list = append(list, l.Label)
		}
		slices.Sort(list)
		return list
	}
	ask := func(source string) {
		for _, keys := range [][]query.Key{{query.KeyInIf}, {query.KeyOutIf}, {query.KeyInterface}, {query.KeyInIf, query.KeyProtocol}, {query.KeyInIf, query.KeyOutIf}, {query.KeyDstPort, query.KeyOutIf}} {
			name := source + ": " + query.JoinKeys(keys)
			q := day
			q.Keys = keys
			top, err := a.Top(ctx, q)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if single := len(keys) == 1; single && (top.Source == "flows") != (source == "flows") {
				t.Errorf("%s is read from %s: %s", name, top.Source, top.Plan)
			}
			var sum query.Sums
			seen := make(map[string]bool)
			for _, r := range top.Rows {
				sum = sum.Plus(r.Sums)
				if seen[r.Label] {
					t.Errorf("%s: two are called %s", name, r.Label)
				}
				seen[r.Label] = true
				if len(keys) == 1 {
					of := q
					of.Keys = []query.Key{query.KeyProtocol}
					of.Filter = storetest.ParseFilter(t, conditionOf(r, keys[0]))
					found, err := a.Top(ctx, of)
					if err != nil {
						t.Fatal(err)
					}
					if found.Total != r.Sums {
						t.Errorf("%s: %s has %+v, %q finds %+v", name, r.Label, r.Sums, of.Filter, found.Total)
					}
				}
			}
			if keys[0] != query.KeyInterface && (sum != top.Total || top.Other != nil) {
				t.Errorf("%s: all have %+v, the total is %+v", name, sum, top.Total)
			}
			checkStatement(t, name, conn, top)
			// The names, as psql has them.
			var ours, theirs []string
			for _, r := range top.Rows {
				text := ""
				for _, v := range r.Values {
					text += fmt.Sprint(v.Label, ";")
				}
				ours = append(ours, plainLabel(text))
			}
			for _, row := range run(t, conn, top.SQL) {
				if row["line"] != "group" {
					continue
				}
				text := ""
				for _, v := range top.Rows[0].Values {
					said := row[v.Column]
					if v.NameColumn != "" && row[v.NameColumn] != "" {
						said = row[v.NameColumn]
					}
					if n, err := strconv.Atoi(said); err == nil && v.Column == "protocol" {
						said = flow.Protocol(n).String()
					}
					if said == "" {
						said = "none"
					}
					text += said + ";"
				}
				theirs = append(theirs, text)
			}
			if diff := gocmp.Diff(ours, theirs); diff != "" {
				t.Errorf("%s: psql calls them otherwise: %s", name, diff)
			}
		}
	}
	ask("flows")
	want := []string{
		"192.0.2.1 domain 0, 2", "192.0.2.1 domain 0, ge-0/0/1", "192.0.2.1 domain 0, none",
		"192.0.2.1 domain 7, 2", "192.0.2.1 domain 7, ge-0/0/1", "192.0.2.1 domain 7, none",
		"2001:db8::1, ge-0/0/1 (1)", "2001:db8::1, ge-0/0/1 (2)", "2001:db8::1, none",
	}
	if diff := gocmp.Diff(want, labels(query.KeyInIf)); diff != "" {
		t.Error(diff)
	}
	k := keeper.New(db, storetest.SmallKeeper(1000, 1000, 1000, 400, storetest.At(storetest.Noon+3*flow.Day)))
	if err := k.Sum(ctx); err != nil {
		t.Fatal(err)
	}
	ask("rollups")
	if diff := gocmp.Diff(want, labels(query.KeyInIf)); diff != "" {
		t.Error(diff)
	}

	// Of one exporter the name alone says it.
	q := day
	q.Keys, q.Exporter = []query.Key{query.KeyInIf}, "192.0.2.1 domain 7"
	top, err := a.Top(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, r := range top.Rows {
		list = append(list, r.Label)
	}
	slices.Sort(list)
	if diff := gocmp.Diff([]string{"2", "ge-0/0/1", "none"}, list); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(top.Command, "--key in-if ") || !strings.Contains(top.Command, "--exporter '192.0.2.1 domain 7'") {
		t.Errorf("the command is %s", top.Command)
	}
}

// conditionOf is the filter that a click on a row of interfaces makes.
func conditionOf(r query.TopRow, key query.Key) string {
	word := map[query.Key]string{query.KeyInIf: "in if", query.KeyOutIf: "out if", query.KeyInterface: "if"}[key]
	exporter, is := "", "not "+word+" >= 0"
	if key == query.KeyInterface { // on either side, not on both
		is = "not (in if >= 0 and out if >= 0)"
	}
	for _, v := range r.Values {
		if n, ok := v.V.(int64); ok {
			is = fmt.Sprint(word, " ", n)
		} else if text, ok := v.V.(string); ok && v.Column == "exporter" {
			exporter = fmt.Sprintf("exporter %q and ", text)
		}
	}
	return exporter + is
}

// plainLabel takes from labels the numbers that tell interfaces of one name apart.
func plainLabel(s string) string {
	for _, n := range []string{" (1)", " (2)"} {
		s = strings.ReplaceAll(s, n, "")
	}
	return s
}
