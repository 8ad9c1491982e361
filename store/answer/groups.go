package answer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"flowtally/query"
)

// group is where the columns of one group are scanned to.
// The name of an exporter or an interface is a text beside its number.
type group struct {
	numbers []*int64
	texts   []*string
}

// newGroup returns a group and where its columns go.
func (r request) newGroup() (g *group, targets []any) {
	g = &group{numbers: make([]*int64, len(r.columns)), texts: make([]*string, len(r.columns))}
	for i, k := range r.columns {
		switch {
		case k.IsText():
			targets = append(targets, &g.texts[i])
		case k.Kind == query.KindExporter || k.Kind == query.KindInterface:
			targets = append(targets, &g.numbers[i], &g.texts[i])
		default:
			targets = append(targets, &g.numbers[i])
		}
	}
	return g, targets
}

// values are what people get to see of a group, and its label. An exporter that no key
// asks for stands in the label unless it is the only one that was asked about.
func (r request) values(g *group) ([]query.Value, string) {
	list := make([]query.Value, len(r.columns))
	for i, k := range r.columns {
		switch {
		case k.IsText():
			list[i] = k.Text(g.texts[i])
		case k.Kind == query.KindExporter && g.texts[i] == nil && g.numbers[i] != nil:
			// Its flows are stored, its first status is not yet.
			id := strconv.FormatInt(*g.numbers[i], 10)
			list[i] = k.Text(&id)
		case k.Kind == query.KindExporter:
			list[i] = k.Text(g.texts[i])
		case k.Kind == query.KindInterface:
			list[i] = k.Named(g.numbers[i], g.texts[i])
		default:
			list[i] = k.Number(g.numbers[i])
		}
	}
	return list, r.label(list)
}

// label joins the labels of a group's values.
func (r request) label(values []query.Value) string {
	columns := r.columns
	if len(r.exporters) == 1 && len(columns) > len(r.keys) {
		of := func(k query.KeyColumn) bool { return k.Kind == query.KindExporter }
		i := slices.IndexFunc(columns, of)
		columns, values = slices.Delete(slices.Clone(columns), i, i+1), slices.Delete(slices.Clone(values), i, i+1)
	}
	return query.JoinLabels(columns, values)
}

// tellApart adds their numbers to interfaces of one exporter that have one name: people
// and exporters may call two the same.
func (r request) tellApart(rows []query.TopRow) {
	count := make(map[string]int)
	for _, row := range rows {
		count[row.Label]++
	}
	for i := range rows {
		if row := &rows[i]; count[row.Label] > 1 {
			for j := range row.Values {
				if v := &row.Values[j]; v.Name != "" {
					v.Label = fmt.Sprintf("%s (%v)", v.Name, v.V)
				}
			}
			row.Label = r.label(row.Values)
		}
	}
}

// names are the names of the keys' columns inside of a statement.
func (r request) names() []string {
	names := make([]string, len(r.columns))
	for i, k := range r.columns {
		names[i] = k.Grouped()
	}
	return names
}

// sides are the expressions to group by, over the view flows: of each side when a key
// means either, else of the flow alone.
func (r request) sides() [][]string {
	var source, destination []string
	either := false
	for _, k := range r.columns {
		if k.EitherSide() {
			either = true
			source, destination = append(source, network(k, k.Src)), append(destination, network(k, k.Dst))
			continue
		}
		source, destination = append(source, network(k, k.Expression)), append(destination, network(k, k.Expression))
	}
	if !either {
		return [][]string{source}
	}
	return [][]string{source, destination}
}

// sideOf are the expressions of the i-th dimension of a plan.
func (r request) sideOf(i int) []string {
	sides := r.sides()
	return sides[min(i, len(sides)-1)]
}

// either reports whether a key means either side of a flow.
func (r request) either() bool { return len(r.sides()) == 2 }

// otherSide is the condition under which the second side of a flow is another
// group than the first: a flow between equal sides is one flow of one group.
func (r request) otherSide() expression {
	var differ []string
	for _, k := range r.columns {
		if k.EitherSide() {
			differ = append(differ, network(k, k.Src)+" is distinct from "+network(k, k.Dst))
		}
	}
	if len(differ) == 1 {
		return sql(differ[0])
	}
	return sql("(" + strings.Join(differ, " or ") + ")")
}

// keyColumns are the columns of a side under the names of the keys.
func (r request) keyColumns(side []string) []column {
	list := make([]column, len(side))
	for i, text := range side {
		list[i] = named(text, r.columns[i].Grouped())
	}
	return list
}

// shown are the columns of a group in an answer.
func (r request) shown() (list []column) {
	for _, k := range r.columns {
		list = append(list, named(k.Grouped(), k.Grouped()))
		if k.Kind == query.KindExporter {
			list = append(list, named("(select label from exporters where id = exporter_id)", "exporter"))
		}
		if k.Kind == query.KindInterface {
			// Its own columns are renamed: the names of the group's would mean them.
			list = append(list, named("(select name from interfaces as i (id, index) where id = exporter_id and index = "+k.Grouped()+")", k.NameColumn()))
		}
	}
	return list
}

// nulls stand in for shown in the rows that are no group.
func (r request) nulls() []column {
	return slices.Repeat(columnsOf("null"), len(r.shown()))
}

// network is the expression by which a column is grouped.
func network(k query.KeyColumn, column string) string {
	switch {
	case k.V4 == 0:
		return column
	case k.V4 == k.V6:
		return fmt.Sprintf("network(set_masklen(%s, %d))::inet", column, k.V4)
	}
	return fmt.Sprintf("network(set_masklen(%s, case family(%s) when 4 then %d else %d end))::inet", column, column, k.V4, k.V6)
}

// sqlType is the type that a key's values are written with.
func sqlType(k query.KeyColumn) string { return k.SQLType() }

// nullSafe is an expression that is equal for two values of a key also where both are
// null, which is a value like others here: "is not distinct from" cannot be hashed. It is
// compared through a value that no flow has; a text may be any, so all others get a
// character in front.
func nullSafe(k query.KeyColumn, text string) string {
	switch {
	case k.Kind == query.KindAddr:
		return "coalesce(" + text + ", '0.0.0.0/0')"
	case k.IsText():
		return "coalesce('=' || " + text + ", '')"
	}
	return "coalesce(" + text + ", -1)"
}

// quoted is a text in SQL, whatever standard_conforming_strings says.
func quoted(text string) string {
	quote := "'" + strings.ReplaceAll(text, "'", "''") + "'"
	if strings.Contains(text, `\`) {
		quote = "E" + strings.ReplaceAll(quote, `\`, `\\`)
	}
	return quote
}

// ranked are groups as rows: the rank from 1 on, and the keys. They come from the
// database; the name of an application is what an exporter sent.
func (r request) ranked(groups []*group) []expression {
	rows := make([]expression, len(groups))
	for i, g := range groups {
		row := strconv.Itoa(i + 1)
		for j, k := range r.columns {
			row += ", "
			switch {
			case k.Kind == query.KindAddr && g.texts[j] != nil:
				row += "inet '" + strings.ReplaceAll(*g.texts[j], "'", "''") + "'"
			case k.IsText() && g.texts[j] != nil:
				row += "text " + quoted(*g.texts[j])
			case !k.IsText() && g.numbers[j] != nil:
				row += strconv.FormatInt(*g.numbers[j], 10)
			default:
				row += "null::" + sqlType(k)
			}
		}
		rows[i] = sql(row)
	}
	return rows
}

// noneRanked is what stands in for ranked groups where there are none.
func (r request) noneRanked() statement {
	columns := []column{{of: sql("null::int")}}
	for _, k := range r.columns {
		columns = append(columns, column{of: sql("null::" + sqlType(k))})
	}
	return &selection{columns: columns, where: []expression{sql("false")}}
}

// sameGroup is the condition under which the rows of two relations are of one group.
// groups, when not nil, are all that the second one has.
func (r request) sameGroup(one, two string, groups []*group) expression {
	conditions := make([]string, len(r.columns))
	for i, k := range r.columns {
		null := groups == nil || slices.ContainsFunc(groups, func(g *group) bool {
			if k.IsText() {
				return g.texts[i] == nil
			}
			return g.numbers[i] == nil
		})
		a, b := one+"."+k.Grouped(), two+"."+k.Grouped()
		if null {
			a, b = nullSafe(k, a), nullSafe(k, b)
		}
		conditions[i] = a + " = " + b
	}
	return sql(and(conditions))
}

// among is the condition that a row of one side is of a listed group, or of some
// of its values: what the indexes find, the rest is for sameGroup.
func (r request) among(side []string, groups []*group) expression {
	conditions := make([]string, len(side))
	for i, k := range r.columns {
		var list []string
		null := ""
		for _, g := range groups {
			switch {
			case k.Kind == query.KindAddr && g.texts[i] != nil:
				list = append(list, strings.ReplaceAll(*g.texts[i], "'", "''"))
			case k.Kind != query.KindAddr && g.numbers[i] != nil:
				list = append(list, strconv.FormatInt(*g.numbers[i], 10))
			default:
				null = " or " + side[i] + " is null"
			}
		}
		slices.Sort(list)
		conditions[i] = "(" + side[i] + " = any('{" + strings.Join(slices.Compact(list), ",") + "}'::" + sqlType(k) + "[])" + null + ")"
	}
	return sql(and(conditions))
}
