package answer

import "flowtally/query"

// InRollups reports whether the roll-ups can rank by a key alone.
func InRollups(k query.Key) bool {
	columns, err := query.Columns([]query.Key{k})
	if err != nil {
		return false
	}
	_, why := dimensionsOfKeys(columns)
	return why == ""
}
