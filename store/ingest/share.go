package ingest

import (
	"cmp"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/store"
	"flowtally/store/row"
)

// share is what a batch sends to one table: to a partition, or to the partitioned table the
// rows of those partitions that get few.
type share struct {
	table string
	parts []*part
	rows  int64
	// starts are the partitions that the rows are in.
	starts []start
}

// start is a partition and when the first flow of a share that is in it starts.
type start struct {
	store.Partition
	minStart flow.Time
}

const (
	// manyPartitions is how many partitions a batch may have rows in so that each is sent
	// its own by a COPY.
	manyPartitions = 4
	// manyRows is how many rows of a partition are worth a COPY in any case. The server
	// would find their partition row by row.
	manyRows = 1024
)

// sharesOf divides a batch among the tables.
func (w *Writer) sharesOf(b *batch) ([]*share, error) {
	var list []*share
	for _, p := range b.parts { // in order, and so are their partitions
		n := len(list) - 1
		if n >= 0 && p.hour < list[n].starts[0].Until {
			s := list[n]
			s.parts, s.rows = append(s.parts, p), s.rows+p.rows
			s.starts[0].minStart = min(s.starts[0].minStart, p.minStart)
			continue
		}
		known, ok := w.partitions.Of(p.hour)
		if !ok { // forgotten meanwhile
			return nil, errPartitionRemoved
		}
		list = append(list, &share{table: known.Name(), parts: []*part{p}, rows: p.rows, starts: []start{{known, p.minStart}}})
	}
	if len(list) <= manyPartitions {
		return list, nil
	}
	few := &share{table: "flows"}
	kept := list[:0]
	for _, s := range list {
		if s.rows >= manyRows {
			kept = append(kept, s)
			continue
		}
		few.parts, few.rows, few.starts = append(few.parts, s.parts...), few.rows+s.rows, append(few.starts, s.starts...)
	}
	if few.rows > 0 {
		kept = append(kept, few)
	}
	return kept, nil
}

// copy sends the rows by one COPY.
func (s *share) copy(ctx context.Context, conn *pgx.Conn, b *batch) error {
	if len(s.parts) == 1 {
		return copyRows(ctx, conn, b, s.table, s.parts[0].buf, s.rows)
	}
	size := len(row.CopyHeader) + len(row.CopyTrailer)
	for _, p := range s.parts {
		size += len(p.body())
	}
	buf := append(make([]byte, 0, size), row.CopyHeader...)
	for _, p := range s.parts {
		buf = append(buf, p.body()...)
	}
	return copyRows(ctx, conn, b, s.table, append(buf, row.CopyTrailer...), s.rows)
}

// startsOf returns the partitions of all shares in order, so that two Writers lock rows of
// parts.partition in the same one.
func startsOf(shares []*share) []start {
	var list []start
	for _, s := range shares {
		list = append(list, s.starts...)
	}
	slices.SortFunc(list, func(a, b start) int { return cmp.Compare(a.From, b.From) })
	return list
}
