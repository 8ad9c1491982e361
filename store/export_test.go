package store

// Distributed are the tables that a cluster distributes, each with its column.
var Distributed = func() (list [][2]string) {
	for _, d := range distributed {
		list = append(list, [2]string{d.table, d.column})
	}
	return list
}()
