package answer

import (
	"slices"
	"strings"

	"flowtally/filter"
	"flowtally/query"
	"flowtally/store/rollup"
)

// dimensions say which rows of the roll-ups answer a request.
type dimensions struct {
	// dims are the dimensions that the rows are of, one for each side of a flow that is
	// asked for; none when flows are read.
	dims []rollup.Dimension
	// same is the dimension of the flows whose two sides are equal, which are in both dims
	// and are to be taken off once; 0 without two.
	same rollup.Dimension
	// cell and value are the filter's terms on what all rows of a roll-up have, and on the
	// one value that is asked for.
	cell, value *filter.Filter
}

// columnDimension are the dimensions whose values are columns of flows.
var columnDimension = map[string]rollup.Dimension{
	"src_addr": rollup.DimSrcAddr, "dst_addr": rollup.DimDstAddr, "src_port": rollup.DimSrcPort, "dst_port": rollup.DimDstPort,
	"in_if": rollup.DimInIf, "out_if": rollup.DimOutIf, "src_as": rollup.DimSrcAS, "dst_as": rollup.DimDstAS,
}

// eitherDimensions are those of the two sides, and of flows where they are equal.
var eitherDimensions = map[string][]rollup.Dimension{
	"addr":      {rollup.DimSrcAddr, rollup.DimDstAddr, rollup.DimSameAddr},
	"port":      {rollup.DimSrcPort, rollup.DimDstPort, rollup.DimSamePort},
	"interface": {rollup.DimInIf, rollup.DimOutIf, rollup.DimSameIf},
	"as":        {rollup.DimSrcAS, rollup.DimDstAS, rollup.DimSameAS},
}

// cellColumns are the columns that every row of a roll-up has, or whose values
// follow from such.
var cellColumns = []string{"exporter", "exporter_id", "exporter_addr", "observation_domain", "protocol", "sampling_rate"}

// notOfCell are those of the columns that not every row of a roll-up has.
func notOfCell(columns []string) []string {
	return slices.DeleteFunc(slices.Clone(columns), func(name string) bool { return slices.Contains(cellColumns, name) })
}

// eitherOf returns the dimensions of a field that means either side, by its
// columns; nil when it does not.
func eitherOf(columns []string) []rollup.Dimension {
	for _, d := range eitherDimensions {
		if len(columns) == 2 && slices.Contains(columns, rollup.DimensionNames[d[0]]) && slices.Contains(columns, rollup.DimensionNames[d[1]]) {
			return d
		}
	}
	return nil
}

// What the roll-ups cannot tell.
const (
	notTogether = "roll-ups hold no sums of these together"
	notEither   = "roll-ups hold no either-side sums combined with another key"
	manyValues  = "the filter asks for more than one value"
)

// dimensions returns the dimensions that tell the request's keys and filter, or why there
// are none.
func (r request) dimensions() (d dimensions, why string) {
	d.cell, _ = filter.Parse("")
	d.value = d.cell
	switch {
	case r.whole:
		return d, "flows are booked whole where they end"
	case r.needsTimes():
		return d, "when a group was seen is in the flows alone"
	}
	keys, why := dimensionsOfKeys(r.columns)
	if why != "" {
		return d, why
	}
	terms, why := dimensionsOfFilter(r.filter)
	if why != "" {
		return d, why
	}
	var err error
	if d.cell, err = filter.Parse(strings.Join(terms.cell, " and ")); err != nil {
		return d, "the filter cannot be taken apart"
	}
	if d.value, err = filter.Parse(strings.Join(terms.value, " and ")); err != nil {
		return d, "the filter cannot be taken apart"
	}
	// Of what is grouped beside a value that is asked for, the remainder could hold any part.
	grouped := slices.ContainsFunc(keys.columns, func(c string) bool { return !slices.Contains(terms.columns, c) })
	if len(terms.columns) > 0 && grouped {
		return d, manyValues
	}
	switch {
	case terms.either != nil && (len(keys.columns) > 0 || keys.either != "" || len(terms.value) > 1):
		return d, notEither
	case keys.either != "" && len(keys.columns)+len(terms.columns) > 0:
		return d, notEither
	case keys.either != "":
		e := eitherDimensions[keys.either]
		d.dims, d.same = e[:2], e[2]
	case terms.either != nil:
		d.dims, d.same = terms.either[:2], terms.either[2]
	default:
		dim, ok := dimensionOf(append(keys.columns, terms.columns...))
		if !ok {
			return d, notTogether
		}
		d.dims = []rollup.Dimension{dim}
	}
	return d, ""
}

// dimensionOf returns the dimension of columns together.
func dimensionOf(columns []string) (rollup.Dimension, bool) {
	slices.Sort(columns)
	columns = slices.Compact(columns)
	switch {
	case len(columns) == 0:
		return rollup.DimTotal, true
	case len(columns) == 1:
		return columnDimension[columns[0]], true
	case slices.Equal(columns, []string{"dst_addr", "src_addr"}):
		return rollup.DimPair, true
	}
	return 0, false
}

// keyDimensions are what the keys need of the roll-ups: columns, or either side of one.
type keyDimensions struct {
	columns []string
	either  string
}

func dimensionsOfKeys(keys []query.KeyColumn) (d keyDimensions, why string) {
	for _, k := range keys {
		switch {
		case k.V4 > 0:
			return d, "networks are not in the roll-ups"
		case k.EitherSide() && eitherDimensions[k.Column] == nil:
			return d, k.Column + " is not in the roll-ups"
		case k.EitherSide() && d.either != "":
			return d, notTogether
		case k.EitherSide():
			d.either = k.Column
		case k.Kind == query.KindProtocol || k.Kind == query.KindExporter:
		case columnDimension[k.Column] != 0:
			d.columns = append(d.columns, k.Column)
		default:
			return d, k.Column + " is not in the roll-ups"
		}
	}
	return d, ""
}

// filterDimensions are what a filter needs of the roll-ups: its terms on what all rows
// have, and those on one value, with its columns; either are the dimensions of a value on
// either side.
type filterDimensions struct {
	cell, value []string
	columns     []string
	either      []rollup.Dimension
}

func dimensionsOfFilter(f *filter.Filter) (d filterDimensions, why string) {
	for _, t := range f.Conjuncts() {
		columns := notOfCell(t.Columns)
		if len(columns) == 0 {
			d.cell = append(d.cell, "("+t.Text+")")
			continue
		}
		for _, name := range columns {
			if columnDimension[name] == 0 {
				return d, "the filter asks for " + name + ", which is not in the roll-ups"
			}
			d.columns = append(d.columns, name)
		}
		either := eitherOf(columns)
		if !singleValue(t) || len(columns) > 1 && either == nil || d.either != nil {
			return d, manyValues
		}
		d.either = either
		d.value = append(d.value, "("+t.Text+")")
	}
	return d, ""
}

// singleValue reports whether a term asks for one value: of many, the remainder could hold
// any part.
func singleValue(t filter.Term) bool {
	if t.Field == "" || t.Negated || len(t.Words) > 0 || t.Mask != 0 {
		return false
	}
	return len(t.Ranges) == 1 && t.Ranges[0].From == t.Ranges[0].To && len(t.Prefixes) == 0 ||
		len(t.Prefixes) == 1 && t.Prefixes[0].IsSingleIP() && len(t.Ranges) == 0
}
