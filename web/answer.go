package web

import (
	"time"

	"github.com/danielgtaylor/huma/v2"

	"flowtally/query"
)

// Sums are the three measures. It and Provenance are exported because the
// library describes no embedded types that are not.
type Sums struct {
	Flows   int64 `json:"flows" doc:"Flows that start in the range. A flow is a record: one direction of a conversation."`
	Packets int64 `json:"packets" doc:"Packets, as sent by the exporter."`
	Bytes   int64 `json:"bytes" doc:"IP bytes, as sent by the exporter."`
}

// values holds one group's columns by their SQL names.
type values map[string]any

// Schema says what a column may hold.
func (values) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type:        huma.TypeObject,
		Description: "The group's columns by SQL name: text for addresses, MAC addresses, exporters and applications, numbers for the rest, null where a flow has none. An interface has its exporter beside it, whose number it is, and its name as in_if_name, out_if_name or interface_name, null when nobody has said one.",
		AdditionalProperties: &huma.Schema{AnyOf: []*huma.Schema{
			{Type: huma.TypeString}, {Type: huma.TypeInteger, Format: "int64"}, {Type: "null"},
		}},
	}
}

// Provenance says where an answer comes from and how to get it elsewhere.
type Provenance struct {
	Filter     string     `json:"filter" doc:"The filter in its canonical form."`
	Scaled     bool       `json:"scaled" doc:"Whether packets and bytes were multiplied by the sampling rate."`
	Sampling   string     `json:"sampling" enum:"none,known,unknown,mixed," doc:"What is known of the exporters' sampling: none, known, unknown or mixed; empty where nobody looked."`
	Source     string     `json:"source" doc:"What was read: flows, traffic_1m, traffic_1h, traffic_1d, several joined by +."`
	Resolution string     `json:"resolution" doc:"The finest time the source tells apart."`
	Exact      bool       `json:"exact" doc:"Whether every number is exact."`
	Saturated  bool       `json:"saturated" doc:"Whether a sum is the largest there is, 2^63-1, and may be more in truth."`
	Cut        *Cut       `json:"cut" doc:"What retention removed of the range; null when nothing."`
	Remainder  *Remainder `json:"remainder" doc:"What roll-ups know of their smallest values only as a sum; null when nothing is missing."`
	TookMS     int64      `json:"took_ms" doc:"How long the database took, in milliseconds."`
	SQL        string     `json:"sql" doc:"SQL that gives the same answer."`
	Command    string     `json:"command" doc:"Command line that gives the same answer."`
}

// Cut says that a range begins before what is kept.
type Cut struct {
	From   time.Time `json:"from" doc:"Where what is kept begins."`
	Reason string    `json:"reason"`
}

// Remainder is how much of an answer roll-ups do not tell apart.
type Remainder struct {
	Share float64 `json:"share" doc:"Its part of the total by the measure asked for, 0 to 1."`
	Error int64   `json:"error" doc:"The most that a group which is not listed may have beyond what it was ranked with."`
}

// provenanceOf puts a provenance of the store into the API's words.
func provenanceOf(p query.Provenance) Provenance {
	a := Provenance{
		Filter: p.Filter, Scaled: p.Scaled, Sampling: p.Sampling, Source: p.Source, Resolution: p.Resolution, Exact: p.Exact, Saturated: p.Saturated,
		Cut: cutOf(p.Cut), TookMS: p.Took.Milliseconds(), SQL: p.SQL, Command: p.Command,
	}
	if p.Remainder != nil {
		r := Remainder(*p.Remainder)
		a.Remainder = &r
	}
	return a
}

func cutOf(c *query.Cut) *Cut {
	if c == nil {
		return nil
	}
	return &Cut{From: c.From.UTC(), Reason: c.Reason}
}

// columns returns the SQL names of what answers by keys have of a group, for answers
// without a row to tell.
func columns(keys []query.Key) []string {
	grouped, _ := query.Grouped(keys) // which made an answer
	names := []string{}
	for _, c := range grouped {
		names = append(names, c.Column)
		if name := c.NameColumn(); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func columnsOf(vs []query.Value) []string {
	names := make([]string, 0, len(vs))
	for _, v := range vs {
		names = append(names, v.Column)
		if v.NameColumn != "" {
			names = append(names, v.NameColumn)
		}
	}
	return names
}

func valuesOf(vs []query.Value) values {
	m := make(values, len(vs))
	for _, v := range vs {
		m[v.Column] = v.V
		if v.NameColumn == "" {
			continue
		}
		if m[v.NameColumn] = nil; v.Name != "" {
			m[v.NameColumn] = v.Name
		}
	}
	return m
}

// moment returns t in UTC, nil when it is zero.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// some returns v, empty in place of nil: JSON tells the two apart.
func some(v []int64) []int64 {
	if v == nil {
		return []int64{}
	}
	return v
}
