package answer

import "flowtally/query"

// InRollups reports whether the roll-ups can rank by a key alone.
func InRollups(k query.Key) bool {
	columns, err := query.Columns([]query.Key{k})
	if err != nil || columns[0].V4 > 0 {
		return false
	}
	switch c := columns[0]; {
	case c.EitherSide():
		return eitherDimensions[c.Column] != nil
	case c.Kind == query.KindProtocol || c.Kind == query.KindExporter:
		return true
	default:
		return columnDimension[c.Column] != 0
	}
}
