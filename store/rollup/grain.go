package rollup

import (
	"time"

	"flowtally/flow"
)

// Grain is one of the three roll-ups.
type Grain int16

const (
	Minutes Grain = iota
	Hours
	Days
	GrainCount
)

// GrainLimits is what differs between the grains.
type GrainLimits struct {
	Table  string
	Length flow.Time
	// Keep is how many values of a dimension stay by each measure when a bucket is
	// settled, Few how many at least of each cell, Most how many wait one by one
	// to be settled.
	Keep, Few, Most int
}

// Grains are the limits of the grains; a Keeper has a copy, which tests make smaller.
var Grains = [GrainCount]GrainLimits{
	Minutes: {"traffic_1m", flow.Minute, 500, 12, 20_000},
	Hours:   {"traffic_1h", flow.Hour, 2_000, 12, 200_000},
	Days:    {"traffic_1d", flow.Day, 5_000, 12, 200_000},
}

// Period returns the partition that a bucket is in: its bounds and its name.
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
