package rollup

import (
	"time"

	"flowtally/flow"
)

// Grain is the length of a roll-up's buckets: a minute, an hour or a day.
type Grain int16

// The grains, the finest first.
const (
	Minutes Grain = iota
	Hours
	Days
	// GrainCount is how many grains there are.
	GrainCount
)

// GrainLimits is what differs between the grains.
type GrainLimits struct {
	// Table is the roll-up's table in schema parts, Length the length of its buckets.
	Table  string
	Length flow.Time
	// Settled is how many values of a dimension a settled bucket keeps by each
	// measure, PerCell how many of each cell it keeps at least, and Pending how many
	// values wait to be settled.
	Settled, PerCell, Pending int
}

// Grains are the limits of the grains. A Keeper has a copy, which tests make smaller.
var Grains = [GrainCount]GrainLimits{
	Minutes: {Table: "traffic_1m", Length: flow.Minute, Settled: 500, PerCell: 12, Pending: 20_000},
	Hours:   {Table: "traffic_1h", Length: flow.Hour, Settled: 2_000, PerCell: 12, Pending: 200_000},
	Days:    {Table: "traffic_1d", Length: flow.Day, Settled: 5_000, PerCell: 12, Pending: 200_000},
}

// Period returns the bounds and the name of the partition that holds a bucket.
func (g Grain) Period(bucket flow.Time) (from, to flow.Time, name string) {
	t := bucket.Time()
	var a, b time.Time
	var form string
	switch g {
	case Minutes:
		a = time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
		b, form = a.AddDate(0, 0, 1), "20060102"
	case Hours:
		a = time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
		b, form = a.AddDate(0, 1, 0), "200601"
	default:
		a = time.Date(t.Year(), 1, 1, 0, 0, 0, 0, time.UTC)
		b, form = a.AddDate(1, 0, 0), "2006"
	}
	return flow.TimeOf(a), flow.TimeOf(b), Grains[g].Table + "_" + a.Format(form)
}

// PartitionName returns the name of the partition that begins with a bucket, in a period of
// the grain or a longer one.
func (g Grain) PartitionName(from flow.Time) string {
	_, _, name := g.Period(from)
	return name
}
