package web

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store/console"
)

// Whatever the order, the pages one after the other have every interface once, and those that
// are found are those that have every word.
func TestInterfacesAreFoundAndPaged(t *testing.T) {
	db := &fake{}
	for e := range 3 {
		for i := range 1700 {
			name := ""
			if i%3 > 0 {
				name = fmt.Sprintf("HundredGigE0/0/0/%d", i)
			}
			db.named = append(db.named, console.Interface{ExporterID: flow.ExporterID(e + 1), Exporter: fmt.Sprintf("edge-%d", e+1), IfIndex: int64(i), Name: name, Announced: name,
				Description: fmt.Sprintf("Customer %d & co", i%7)})
		}
	}
	for i := range 900 { // some were announced, some are known by their flows alone
		db.traffic = append(db.traffic, query.InterfaceSums{ExporterID: flow.ExporterID(rand.IntN(4)), IfIndex: int64(1500 + i),
			In: query.Sums{Bytes: rand.Int64N(5)}, Out: query.Sums{Bytes: rand.Int64N(5)}})
	}
	h := newTestHandler(t, db)
	page := func(q url.Values) (a interfacesAnswer) {
		t.Helper()
		w := get(h, pathInterfaces+"?"+q.Encode())
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%v: %d %v %s", q, w.Code, err, w.Body)
		}
		return a
	}
	for _, find := range []string{"", "hundred customer", "edge-2 0/16", "1601", "nothing like it"} {
		for _, sort := range []string{"index", "name", "in", "out", "bytes"} {
			all := page(url.Values{"find": {find}, "sort": {sort}})
			if all.Next != nil || all.Total != len(all.Interfaces) || !all.Complete {
				t.Fatalf("%q by %s: %d of %d, more: %v", find, sort, len(all.Interfaces), all.Total, all.Next)
			}
			var walked []interfaceRow
			for q := (url.Values{"find": {find}, "sort": {sort}, "limit": {"997"}}); ; {
				a := page(q)
				if a.Total != all.Total {
					t.Fatalf("%d are said to be there, then %d", all.Total, a.Total)
				}
				if walked = append(walked, a.Interfaces...); a.Next == nil {
					break
				}
				q.Set("after", *a.Next)
			}
			if !slices.Equal(walked, all.Interfaces) {
				t.Errorf("%q by %s: the pages have %d, the whole %d", find, sort, len(walked), all.Total)
			}
			for _, r := range walked {
				text := strings.ToLower(fmt.Sprintln(r.Name, r.Description, r.Exporter, r.IfIndex))
				for _, w := range strings.Fields(find) {
					if !strings.Contains(text, w) {
						t.Fatalf("%q found %+v", find, r)
					}
				}
			}
			if sort == "bytes" && !slices.IsSortedFunc(walked, func(x, y interfaceRow) int { return cmp.Compare(y.InBytes+y.OutBytes, x.InBytes+x.OutBytes) }) {
				t.Error("not those with most bytes first")
			}
		}
	}
	if n := len(page(url.Values{"traffic": {"false"}}).Interfaces); n != len(db.named) {
		t.Errorf("without traffic there are %d, announced were %d", n, len(db.named))
	}
	// What went by them is counted once for all who page and search at the same time.
	if n := len(db.asked); n > 2 {
		t.Errorf("traffic was counted %d times", n)
	}
	if w := get(h, pathInterfaces+"?after=x"); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "first page") {
		t.Errorf("a wrong place: %d %s", w.Code, w.Body)
	}
}
