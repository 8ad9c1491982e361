package query_test

import (
	"net/netip"
	"testing"
	"time"

	"flowtally/query"
)

// Whoever stands out is listed, in order of time, however long the range and however many
// they are; of few flows at night nobody is.
func TestSpikes(t *testing.T) {
	begin := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	a, b := netip.MustParseAddr("10.1.4.7"), netip.MustParseAddr("2001:db8::1")
	const n = 1440
	s := &query.Share{From: begin, To: begin.Add(n * time.Minute), Step: time.Minute}
	for i := range n {
		s.Start = append(s.Start, begin.Add(time.Duration(i)*time.Minute))
		host, share, all := a, 0.1, int64(1000)
		switch {
		case i < 60: // the night
			share, all = 1, 2
		case i%100 == 1, i%100 == 2 && i < 200: // a minute now and then, the first time two
			share, all = 0.9, 3000
		case i%100 == 50:
			host, share, all = b, 0.6, 2000
		}
		s.Host, s.Share, s.HostFlows, s.Flows = append(s.Host, host), append(s.Share, share), append(s.HostFlows, int64(share*float64(all))), append(s.Flows, all)
	}
	s.FindHighlights()
	var want []query.Highlight
	for i := 100; i < n; i += 50 {
		at := begin.Add(time.Duration(i) * time.Minute)
		switch {
		case i == 100:
			want = append(want, query.Highlight{Addr: a, From: at.Add(time.Minute), To: at.Add(3 * time.Minute), Share: 0.9, Flows: 5400})
		case i%100 == 0:
			want = append(want, query.Highlight{Addr: a, From: at.Add(time.Minute), To: at.Add(2 * time.Minute), Share: 0.9, Flows: 2700})
		default:
			want = append(want, query.Highlight{Addr: b, From: at, To: at.Add(time.Minute), Share: 0.6, Flows: 1200})
		}
	}
	if len(s.Spikes) != len(want) || len(want) < 20 {
		t.Fatalf("%d spikes, want %d: %v", len(s.Spikes), len(want), s.Spikes)
	}
	for i, h := range s.Spikes {
		if h != want[i] {
			t.Errorf("spike %d is %v, want %v", i, h, want[i])
		}
	}
	for i, h := range s.Highlights {
		if i > 0 && h.Share > s.Highlights[i-1].Share {
			t.Errorf("highlight %d has more than the one before", i)
		}
	}
	if len(s.Highlights) > 10 {
		t.Errorf("%d highlights", len(s.Highlights))
	}
}
