package query

import (
	"fmt"
	"slices"
	"strings"
)

// Measure is what groups are ranked by and shares are of.
type Measure string

// The measures.
const (
	ByFlows   Measure = "flows"
	ByPackets Measure = "packets"
	ByBytes   Measure = "bytes"
	// ByPPS and ByBPS are packets and bits a second between a group's first and
	// last packet, ByBPP bytes a packet, ByDuration the average milliseconds of
	// its flows: what only the flows themselves tell, but for ByBPP.
	ByPPS      Measure = "pps"
	ByBPS      Measure = "bps"
	ByBPP      Measure = "bpp"
	ByDuration Measure = "duration"
)

// measures is the table of measures, in the order in which they are listed to people.
var measures = []struct {
	measure Measure
	unit    string
	of      Measure // the sum that it is, or is divided from
}{
	{ByFlows, "", ByFlows},
	{ByPackets, "", ByPackets},
	{ByBytes, "B", ByBytes},
	{ByPPS, "packets/s", ByPackets},
	{ByBPS, "bit/s", ByBytes},
	{ByBPP, "B/packet", ByBytes},
	{ByDuration, "ms", ByFlows},
}

// AllMeasures lists all measures.
func AllMeasures() []Measure {
	all := make([]Measure, len(measures))
	for i, m := range measures {
		all[i] = m.measure
	}
	return all
}

// MeasureNames lists all measures for people: "flows, packets, … or duration".
func MeasureNames() string {
	var b strings.Builder
	for i, m := range measures {
		switch {
		case i > 0 && i == len(measures)-1:
			b.WriteString(" or ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(string(m.measure))
	}
	return b.String()
}

// Additive reports whether the measure is a sum: others have no shares.
func (m Measure) Additive() bool { return m == ByFlows || m == ByPackets || m == ByBytes }

// NeedsTimes reports whether the measure needs to know when a group was seen, which
// only the flows themselves tell.
func (m Measure) NeedsTimes() bool { return m == ByPPS || m == ByBPS || m == ByDuration }

// Unit returns what the measure is counted in, "" for numbers of flows and packets.
func (m Measure) Unit() string {
	for _, t := range measures {
		if t.measure == m {
			return t.unit
		}
	}
	return ""
}

// Of returns the sum that a share beside the measure is of: itself, or the sum that
// it is divided from.
func (m Measure) Of() Measure {
	for _, t := range measures {
		if t.measure == m {
			return t.of
		}
	}
	return m
}

// ParseMeasure reads a measure; the empty string is flows, nfdump's default and
// the one that finds what byte graphs hide.
func ParseMeasure(s string) (Measure, error) {
	m := Measure(strings.ToLower(strings.TrimSpace(s)))
	if m == "" {
		return ByFlows, nil
	}
	if slices.Contains(AllMeasures(), m) {
		return m, nil
	}
	return "", &Error{Parameter: "by", Reason: fmt.Sprintf("%q is not a measure: use %s", s, MeasureNames())}
}
