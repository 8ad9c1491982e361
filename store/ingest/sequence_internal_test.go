package ingest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"flowtally/flow"
)

// What a batch that was lost between two that are durable leaves of the numbers.
func TestFollow(t *testing.T) {
	holes := func(list ...uint32) (h []flow.Hole) {
		for ; len(list) > 1; list = list[2:] {
			h = append(h, flow.Hole{From: list[0], To: list[1]})
		}
		return h
	}
	s := flow.Sequence{Next: 100, At: 1000, Epoch: 1, Holes: holes(50, 60)}
	for name, c := range map[string]struct {
		q     flow.Sequence
		next  uint32
		holes []flow.Hole
	}{
		"the next one":                {flow.Sequence{From: 100, Next: 200, At: 2000, Epoch: 1}, 200, nil},
		"the next, a hole is open":    {flow.Sequence{From: 100, Next: 200, At: 2000, Epoch: 1, Holes: s.Holes}, 200, holes(50, 60)},
		"one between is lost":         {flow.Sequence{From: 150, Next: 200, At: 2000, Epoch: 1}, 200, holes(50, 60, 100, 150)},
		"lost, and a hole is open":    {flow.Sequence{From: 150, Next: 200, At: 2000, Epoch: 1, Holes: holes(50, 60, 170, 180)}, 200, holes(100, 150, 50, 60, 170, 180)},
		"an earlier one":              {flow.Sequence{From: 70, Next: 90, At: 900, Epoch: 1}, 100, holes(50, 60)},
		"an earlier one of that ms":   {flow.Sequence{From: 70, Next: 90, At: 1000, Epoch: 1}, 100, holes(50, 60)},
		"the exporter began again":    {flow.Sequence{From: 100, Next: 20, At: 2000, Epoch: 1}, 20, nil},
		"a run that knew":             {flow.Sequence{From: 170, Next: 200, At: 2000, Epoch: 2, Base: 170}, 200, nil},
		"a run that began blindly":    {flow.Sequence{From: 180, Next: 200, At: 2000, Epoch: 2, Base: 170, Blind: true}, 200, holes(50, 60, 100, 170)},
		"a blind run that saw a hole": {flow.Sequence{From: 180, Next: 200, At: 2000, Epoch: 2, Base: 40, Blind: true}, 200, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := follow(s, c.q)
			if diff := cmp.Diff(got.Holes, c.holes, cmpopts.EquateEmpty()); diff != "" || got.Next != c.next {
				t.Errorf("stands at %d, want %d; holes: %s", got.Next, c.next, diff)
			}
		})
	}
}
