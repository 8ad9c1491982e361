package query

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

func Later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func Earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Share is how much of all flows the busiest host had, over time: flows in which
// it is source or destination, each once, of all flows.
type Share struct {
	From, To time.Time
	Step     time.Duration
	// StepMonths is as in Series.
	StepMonths int
	// Start is where the buckets begin. Host is who had most flows in each, the
	// zero address where nobody had any; HostFlows is how many, Flows all there
	// were, Share the quotient, 0 to 1.
	//
	// Roll-ups keep few hosts one by one, and of a long range few are read: then
	// Remainder.Error is by how much a HostFlows may be wrong at most, and how many
	// more somebody else may have; Exact says that none is and that nobody else could
	// have had most.
	Start     []time.Time
	Share     []float64
	Host      []netip.Addr
	HostFlows []int64
	Flows     []int64
	// Highlights are the times in which one host had at least half of all flows,
	// and these were at least one in a hundred of the range's; the largest share
	// first.
	Highlights []Highlight
	// Spikes are all of these times in their order, and those in which one host had at
	// least half of all flows and as many as the range has on average in such a time,
	// which in a long range is less than one in a hundred.
	Spikes []Highlight
	Provenance
}

// Highlight is a run of buckets in which one host had at least half of all
// flows.
type Highlight struct {
	Addr     netip.Addr
	From, To time.Time
	Share    float64
	// Flows is how many the host had.
	Flows int64
}

const (
	// highlighted is from which share on a host is pointed out, when it has at
	// least noticed of all flows of the range.
	highlighted, noticed = 0.5, 0.01
	// maxHighlights is how many are.
	maxHighlights = 10
	// ShareBuckets is how many buckets an automatic step makes at most: of a day
	// they are five minutes, in which a burst of two still stands out.
	ShareBuckets = 300
)

// FindHighlights finds the runs in which one host had most: the spikes in order of time,
// the highlights, ten at most, the largest share first.
func (r *Share) FindHighlights() {
	var everything int64
	for _, n := range r.Flows {
		everything += n
	}
	for i := 0; i < len(r.Start); {
		if r.Share[i] < highlighted {
			i++
			continue
		}
		h, first := Highlight{Addr: r.Host[i], From: r.Start[i]}, i
		var all int64
		for ; i < len(r.Start) && r.Host[i] == h.Addr && r.Share[i] >= highlighted; i++ {
			h.Flows, all = h.Flows+r.HostFlows[i], all+r.Flows[i]
			h.To = r.To
			if i+1 < len(r.Start) {
				h.To = r.Start[i+1]
			}
		}
		h.Share = float64(h.Flows) / float64(all)
		h.From, h.To = Later(h.From, r.From), Earlier(h.To, r.To)
		many := float64(h.Flows) >= noticed*float64(everything)
		if many {
			r.Highlights = append(r.Highlights, h)
		}
		if many || float64(h.Flows)*float64(len(r.Start)) >= float64(everything)*float64(i-first) {
			r.Spikes = append(r.Spikes, h)
		}
	}
	slices.SortStableFunc(r.Highlights, func(a, b Highlight) int { return cmp.Compare(b.Share, a.Share) })
	r.Highlights = r.Highlights[:min(len(r.Highlights), maxHighlights)]
}
