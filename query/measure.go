package query

import (
	"fmt"
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

// Additive reports whether the measure is a sum: others have no shares.
func (m Measure) Additive() bool { return m == ByFlows || m == ByPackets || m == ByBytes }

// NeedsTimes reports whether the measure needs to know when a group was seen.
func (m Measure) NeedsTimes() bool { return m == ByPPS || m == ByBPS || m == ByDuration }

// ParseMeasure reads a measure; the empty string is flows, nfdump's default and
// the one that finds what byte graphs hide.
func ParseMeasure(s string) (Measure, error) {
	switch m := Measure(strings.ToLower(strings.TrimSpace(s))); m {
	case "":
		return ByFlows, nil
	case ByFlows, ByPackets, ByBytes, ByPPS, ByBPS, ByBPP, ByDuration:
		return m, nil
	}
	return "", &Error{Parameter: "by", Reason: fmt.Sprintf("%q is not a measure: use flows, packets, bytes, pps, bps, bpp or duration", s)}
}
