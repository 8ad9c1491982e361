package web

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"flowtally/filter"
	"flowtally/flow"
	"flowtally/query"
	"flowtally/store/answer"
)

const pathKeys = "/api/v1/keys"

// byMeasure is a measure that groups are ranked by, bySum one of the sums that any
// answer has.
type (
	byMeasure query.Measure
	bySum     query.Measure
)

// Schema lists the measures.
func (byMeasure) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString}
	for _, m := range query.AllMeasures() {
		s.Enum = append(s.Enum, string(m))
	}
	return s
}

// Schema lists the sums.
func (bySum) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString}
	for _, m := range query.Measures {
		s.Enum = append(s.Enum, m)
	}
	return s
}

// keyParameter is one key or several, optionalKey may be empty.
type (
	keyParameter string
	optionalKey  string
)

// Schema says which keys there are.
func (keyParameter) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Description: "What flows are grouped by: one key, or several joined by commas. " +
		"An address may have the length of its network: src-addr/24, for IPv6 too: src-addr/24/48. " +
		"Keys are " + strings.ReplaceAll(query.JoinKeys(query.Keys()), ",", ", ") + "; " + pathKeys + " describes them."}
}

// Schema says which keys there are, and what none means.
func (optionalKey) Schema(r huma.Registry) *huma.Schema {
	s := keyParameter("").Schema(r)
	s.Description += " Empty: only the total."
	return s
}

// kindNames are the kinds of values in the API's words. What people read as a plain
// number is one.
var kindNames = map[flow.Kind]string{
	flow.KindNumber: "number", flow.KindCount: "number", flow.KindTOS: "number", flow.KindBytes: "number",
	flow.KindTime: "time", flow.KindPort: "port", flow.KindProtocol: "protocol", flow.KindAS: "as", flow.KindInterface: "interface",
	flow.KindFlags: "flags", flow.KindMarks: "marks", flow.KindAddr: "addr", flow.KindMAC: "mac", flow.KindText: "text", flow.KindExporter: "exporter",
}

// keyRow is a key that flows can be grouped by.
type keyRow struct {
	Name     string      `json:"name" doc:"The key, as the parameter key has it."`
	Column   string      `json:"column" doc:"What values of answers, and their SQL, call it."`
	Kind     string      `json:"kind" enum:"addr,port,protocol,interface,as,exporter,flags,number,mac,text" doc:"What its values are."`
	Type     string      `json:"type" doc:"The type of its values in SQL."`
	What     string      `json:"what" doc:"What it is, for people."`
	Sides    []query.Key `json:"sides" nullable:"false" doc:"The keys of both sides, for a key that means either: a flow is in a group of each. Empty for others."`
	Opposite string      `json:"opposite" doc:"The key of the other direction; empty where there is none."`
	RolledUp bool        `json:"rolled_up" doc:"Whether the roll-ups can rank by it alone; others read the flows."`
	// PerExporter is of the table of fields.
	PerExporter bool `json:"per_exporter" doc:"Whether its values are numbers of each exporter's own: its groups are of exporter and value, and answers have both."`
}

// measureRow is what groups can be ranked by.
type measureRow struct {
	Name       string `json:"name" doc:"The measure, as the parameter by has it."`
	Unit       string `json:"unit" doc:"What it is counted in; empty for flows and packets."`
	Of         string `json:"of" enum:"flows,packets,bytes" doc:"The sum that it is, or is divided from."`
	Additive   bool   `json:"additive" doc:"Whether it is a sum: others have no shares."`
	NeedsFlows bool   `json:"needs_flows" doc:"Whether only the flows themselves tell it, and no roll-up."`
}

// wordRow is a word of the filter.
type wordRow struct {
	Word    string   `json:"word" doc:"The word, as filters in canonical form have it."`
	Aliases []string `json:"aliases" nullable:"false" doc:"Other words for it."`
	Kind    string   `json:"kind" enum:"addr,port,protocol,interface,as,exporter,flags,number,mac,time,text,marks,none" doc:"What it is compared with; none for a word that is a condition by itself."`
	What    string   `json:"what" doc:"What it is, for people."`
	Column  string   `json:"column" doc:"The column, as those of flows and keys are called; empty for what the filter computes."`
}

type keysAnswer struct {
	Keys       []keyRow     `json:"keys" nullable:"false" doc:"What flows can be grouped by."`
	Measures   []measureRow `json:"measures" nullable:"false" doc:"What groups can be ranked by."`
	Words      []wordRow    `json:"words" nullable:"false" doc:"What filters can name."`
	Directions [][2]string  `json:"directions" nullable:"false" doc:"Words that turn a filter's condition round when they change places."`
}

type keysOutput struct{ Body keysAnswer }

// keys says what can be asked about: it is the same for everyone, always.
func keys() keysAnswer {
	a := keysAnswer{Directions: filter.Directions()}
	for _, k := range query.Keys() {
		a.Keys = append(a.Keys, keyRowOf(k))
	}
	for _, m := range query.AllMeasures() {
		a.Measures = append(a.Measures, measureRow{string(m), m.Unit(), string(m.Of()), m.Additive(), m.NeedsTimes()})
	}
	for _, f := range filter.Fields() {
		a.Words = append(a.Words, wordRowOf(f))
	}
	return a
}

func keyRowOf(k query.Key) keyRow {
	columns, _ := query.Columns([]query.Key{k})
	c := columns[0]
	r := keyRow{Name: string(k), Column: c.Column, Kind: kindNames[c.Kind], Type: c.SQLType(), Sides: c.Sides(), Opposite: string(c.Opposite()), RolledUp: answer.InRollups(k)}
	f := flow.FieldOfKey(string(k))
	if p := flow.PairOfKey(string(k)); p != nil {
		f = flow.FieldNamed(p.Src)
		r.What = p.Label
	} else {
		r.What = f.Label
	}
	if f.IsColumn() {
		r.Type = f.SQL.String()
	}
	r.PerExporter = f.PerExporter
	if r.Sides == nil {
		r.Sides = []query.Key{}
	}
	return r
}

// wordRowOf describes a word; which column it is, and what its values are beyond what
// the language tells apart, stands in the table of fields.
func wordRowOf(f filter.Field) wordRow {
	r := wordRow{Word: f.Name, Aliases: f.Aliases, Kind: f.Kind, What: f.What}
	if r.Kind == "address" {
		r.Kind = "addr"
	}
	if r.Aliases == nil {
		r.Aliases = []string{}
	}
	if i := slices.IndexFunc(flow.Fields, func(d flow.Field) bool { return d.Word == f.Name }); i >= 0 {
		r.Column, r.Kind = flow.Fields[i].Name, kindNames[flow.Fields[i].Kind]
	}
	if i := slices.IndexFunc(flow.Pairs, func(p flow.Pair) bool { return p.Word == f.Name }); i >= 0 {
		p := flow.Pairs[i]
		r.Column, r.Kind = p.Name, kindNames[flow.FieldNamed(p.Src).Kind]
	}
	return r
}

func (s *server) routeKeys(api huma.API) {
	said := keys()
	huma.Register(api, huma.Operation{
		OperationID: "keys", Method: http.MethodGet, Path: pathKeys,
		Summary:     "What can be asked",
		Description: "The keys that flows can be grouped by, the measures that groups can be ranked by, and the words of the filter.",
		Errors:      failures,
	}, func(context.Context, *struct{}) (*keysOutput, error) { return &keysOutput{said}, nil })
}
