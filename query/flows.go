package query

import (
	"slices"
	"time"

	"flowtally/flow"
)

// FlowsQuestion asks for the flows themselves.
type FlowsQuestion struct {
	// Question's Keys, By, Having and Step mean nothing here. Limit is how many
	// flows to list, 0 being DefaultFlows and MaxLimit the most.
	Question
	// Sort is flow_start (also when empty), flow_end, packets, bytes or
	// duration; the latest and largest first unless Ascending.
	Sort      string
	Ascending bool
	// After is the Next of the page before, empty for the first.
	After string
	// NoSummary leaves the Summary out, which takes longer than a page.
	NoSummary bool
}

// DefaultFlows is how many flows are listed when a question does not say.
const DefaultFlows = 50

// FlowColumns are the columns that Flows lists, those of the view flows.
var FlowColumns = func() []string {
	var names []string
	for i := range flow.Fields {
		if f := &flow.Fields[i]; f.IsColumn() {
			names = append(names, f.Name)
		}
	}
	return names
}()

// Flows is a page of flows.
type Flows struct {
	From, To  time.Time
	Limit     int
	Sort      string
	Ascending bool
	// Columns are FlowColumns; each row has one value for each: nil, int64,
	// string, time.Time or json.RawMessage.
	Columns []string
	Rows    [][]any
	// Next asks for the next page, empty when this is the last.
	Next string
	// Summary is of all flows that match, not of this page alone; nil when it was
	// left out.
	Summary *FlowsSummary
	Provenance
}

// FlowsSummary is the line that nfdump ends with.
type FlowsSummary struct {
	Sums
	// First and Last are the times of the first and the last packet of the flows
	// that match; of roll-ups, which do not know, the begin and the end of the
	// range.
	First, Last time.Time
	// BPS and PPS are bits and packets a second between First and Last, BPP
	// bytes a packet; 0 where that has no meaning.
	BPS, PPS, BPP float64
}

func (s *FlowsSummary) SetRates() {
	if d := s.Last.Sub(s.First).Seconds(); d > 0 {
		s.BPS, s.PPS = 8*float64(s.Bytes)/d, float64(s.Packets)/d
	}
	if s.Packets > 0 {
		s.BPP = float64(s.Bytes) / float64(s.Packets)
	}
}

// SortValue is what a row is sorted by, as a number.
func (f *Flows) SortValue(row int) int64 {
	column := func(name string) any { return f.Rows[row][slices.Index(f.Columns, name)] }
	at := func(name string) int64 { t, _ := column(name).(time.Time); return int64(flow.TimeOf(t)) }
	switch f.Sort {
	case "packets", "bytes":
		n, _ := column(f.Sort).(int64)
		return n
	case "duration":
		return at("flow_end") - at("flow_start")
	}
	return at(f.Sort)
}
