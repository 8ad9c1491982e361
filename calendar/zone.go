// Package calendar is how people write times and how their clocks go: points in time,
// periods of days, weeks and months, and zones. It is pure: the time and the zone that a
// text is seen from are arguments.
package calendar

import (
	"fmt"
	"strings"
	"time"

	// A program that runs alone in a container knows the zones, too.
	_ "time/tzdata"
)

// Zone returns the zone of a name: UTC, or one of the IANA time zone database such as
// Europe/Berlin. "local" is none here: whose it would be only the caller can know.
func Zone(name string) (*time.Location, error) {
	text := strings.TrimSpace(name)
	switch strings.ToLower(text) {
	case "", "utc", "z":
		return time.UTC, nil
	case "local":
		return nil, fmt.Errorf("%q is a different zone for everyone: write UTC or a name such as Europe/Berlin", name)
	}
	// America/new_york is found where file names have no case, and nowhere else: this is to
	// mean the same everywhere.
	if zone, err := time.LoadLocation(text); err == nil && zone.String() == text && text != "Local" {
		return zone, nil
	}
	return nil, fmt.Errorf("%q is not a zone: write UTC or a name of the IANA time zone database such as Europe/Berlin", name)
}

// Wall returns the clock that a zone shows at a time, written as if it were UTC.
func Wall(t time.Time, zone *time.Location) time.Time {
	_, offset := t.In(zone).Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// At returns when the clock of a zone shows what wall has in UTC. Of a time that comes
// twice it is the first; of one that the clock skips, as much after the change as it
// would have been after it: 02:30 of a skipped hour is 03:30. PostgreSQL does the same.
func At(wall time.Time, zone *time.Location) time.Time {
	t, _ := find(wall, zone)
	return t
}

// find is At, and whether there is such a time.
func find(wall time.Time, zone *time.Location) (t time.Time, exists bool) {
	wall = wall.UTC()
	// Within a day on either side a clock changes once at most.
	_, before := wall.Add(-24 * time.Hour).In(zone).Zone()
	_, after := wall.Add(24 * time.Hour).In(zone).Zone()
	first := wall.Add(-time.Duration(before) * time.Second).In(zone)
	if Wall(first, zone).Equal(wall) {
		return first, true
	}
	second := wall.Add(-time.Duration(after) * time.Second).In(zone)
	if Wall(second, zone).Equal(wall) {
		return second, true
	}
	return first, false
}
