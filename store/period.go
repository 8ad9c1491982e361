package store

import (
	"slices"
	"time"

	"flowtally/flow"
)

// Partition is the times that a partition holds: of parts.flows, the flows that end
// in [From, Until); of a roll-up, the buckets that begin there.
type Partition struct{ From, Until flow.Time }

// Name returns the name of the table of flows in schema parts.
func (p Partition) Name() string { return PartitionName(p.From) }

// Holds reports whether a time is in the partition.
func (p Partition) Holds(t flow.Time) bool { return p.From <= t && t < p.Until }

const (
	// HoursFor, DaysFor and MonthsFor are the ages up to which flows that are few get a
	// partition of an hour, a day or a month. What is older gets one of some years.
	HoursFor  = 2 * flow.Day
	DaysFor   = 31 * flow.Day
	MonthsFor = 731 * flow.Day
)

// Period returns the day, month or years (UTC) that a time is in, whichever fits its age:
// the older, the longer. It lies in the past as a whole, unless the time does not.
//
// For any times there are some 110 of them in all: flows with scattered times make no more
// partitions than that.
func Period(at, now flow.Time) Partition {
	t := at.Time()
	var from, until time.Time
	switch age := now - at; {
	case age <= HoursFor:
		hour := at.Floor(flow.Hour)
		return Partition{hour, hour + flow.Hour}
	case age <= DaysFor:
		day := at.Floor(flow.Day)
		return Partition{day, day + flow.Day}
	case age <= MonthsFor:
		from = time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
		until = from.AddDate(0, 1, 0)
	default:
		from = time.Date(t.Year()/10*10, 1, 1, 0, 0, 0, 0, time.UTC)
		until = from.AddDate(10, 0, 0)
		if flow.TimeOf(until) > now-MonthsFor { // the decade is not past
			until = time.Date(t.Year()+1, 1, 1, 0, 0, 0, 0, time.UTC)
		}
	}
	return Partition{flow.TimeOf(from), flow.TimeOf(until)}
}

// Clip returns what is left of a period, around a time, between the partitions that there
// are. These are in order, and none holds the time.
func (p Partition) Clip(at flow.Time, there []Partition) Partition {
	i, _ := find(there, at)
	if i > 0 {
		p.From = max(p.From, there[i-1].Until)
	}
	if i < len(there) {
		p.Until = min(p.Until, there[i].From)
	}
	return p
}

// find returns the index of the partition that holds a time, or where one that does
// belongs.
func find(there []Partition, at flow.Time) (int, bool) {
	return slices.BinarySearchFunc(there, at, func(p Partition, t flow.Time) int {
		switch {
		case p.Until <= t:
			return -1
		case p.From > t:
			return 1
		}
		return 0
	})
}

// FindPartition returns the partition that holds a time, of partitions in order; ok is false
// when none does.
func FindPartition(there []Partition, at flow.Time) (_ Partition, ok bool) {
	i, ok := find(there, at)
	if !ok {
		return Partition{}, false
	}
	return there[i], true
}

// InsertPartition puts a partition in its place.
func InsertPartition(there []Partition, p Partition) []Partition {
	i, _ := find(there, p.From)
	return slices.Insert(there, i, p)
}
