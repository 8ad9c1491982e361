package answer

import (
	"testing"
	"time"

	"flowtally/flow"
	"flowtally/store"
)

func TestStoredBeginsWithFlowsNotWithThePartOfARollUp(t *testing.T) {
	at := func(text string) time.Time {
		when, err := time.Parse(time.DateOnly, text)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	last := at("2026-11-30")
	// Flows, minutes, hours, days: what parts they have begin with an hour, a day, a month, a year.
	reach := [...]store.Reach{{First: at("2026-11-29")}, {First: at("2026-11-28")}, {First: at("2026-11-01")}, {First: at("2026-01-01")}}
	for _, test := range []struct {
		name string
		cut  int // how many of the sources lost something
		want string
	}{
		{"nothing was removed", 0, "2026-11-29"},
		{"flows were", 1, "2026-11-28"},
		{"minutes were, too", 2, "2026-11-01"},
		{"hours were, too", 3, "2026-01-01"},
	} {
		s := State{Reach: reach, LastEnd: flow.TimeOf(last)}
		for i := range test.cut {
			s.Reach[i].CutBefore = s.Reach[i].First
		}
		if got := s.stored(); !got.From.Equal(at(test.want)) || !got.To.Equal(last) {
			t.Errorf("%s: %v to %v, want from %s", test.name, got.From, got.To, test.want)
		}
		// Of a source that has nothing, nothing follows.
		s.Reach[0].First = time.Time{}
		if got := s.stored(); got.From.After(at("2026-11-28")) {
			t.Errorf("%s, without flows: from %v", test.name, got.From)
		}
	}
	if (State{Reach: reach}).stored() != nil {
		t.Error("without a flow there is a time of flows")
	}
}
