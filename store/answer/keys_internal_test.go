package answer

import (
	"strings"
	"testing"
	"time"

	"flowtally/query"
)

// What is said of a key is what the planner does with it.
func TestInRollups(t *testing.T) {
	from := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	for _, k := range append(query.Keys(), "src-addr/24") {
		r, err := newRequest(query.Question{From: from, To: from.Add(time.Hour), Keys: []query.Key{k}})
		if err != nil {
			t.Fatal(err)
		}
		_, why := r.dimensions()
		if InRollups(k) != (why == "") {
			t.Errorf("%s: in the roll-ups %v, but the planner says %q", k, InRollups(k), why)
		}
		if why != "" && !strings.HasSuffix(why, "not in the roll-ups") {
			t.Errorf("%s: %s", k, why)
		}
	}
}
