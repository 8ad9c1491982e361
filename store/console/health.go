package console

import (
	"cmp"
	"slices"
	"time"
)

// Health is the word for how an exporter fares: that of the gravest of its findings.
type Health string

// The words, the gravest first.
const (
	HealthWaiting    Health = "waiting"    // nothing of it can be read, because its templates or its flows did not come
	HealthClock      Health = "clock"      // its clock is hours off
	HealthTimes      Health = "times"      // its flows have impossible or faraway times
	HealthSilent     Health = "silent"     // nothing came for five minutes
	HealthUnreadable Health = "unreadable" // some of what it sends contradicts the specification
	HealthLosing     Health = "losing"     // something was lost in the last hour
	HealthNumbers    Health = "numbers"    // its sequence numbers do not tell what is lost
	HealthShared     Health = "shared"     // several exporters are behind its address
	HealthRestarts   Health = "restarts"   // it starts again and again, or its datagrams come twice
	HealthHealthy    Health = "healthy"
)

// Healths lists every word, the gravest first.
func Healths() []Health {
	return []Health{HealthWaiting, HealthClock, HealthTimes, HealthSilent, HealthUnreadable, HealthLosing, HealthNumbers, HealthShared, HealthRestarts, HealthHealthy}
}

// hoursOff is how far a clock is off to be graver than what it brings about.
const hoursOff = time.Hour

// rank is the place of a finding among those that need a change, 0 for the gravest.
func (f Finding) rank() int {
	h := f.Code.Health()
	n := slices.Index(Healths(), h)
	if h == HealthClock && f.Offset.Abs() < hoursOff {
		n = slices.Index(Healths(), HealthLosing) // wrong, but hardly in the way
	}
	return n
}

// Gravest returns the finding that says most about why something is wrong, nil when no
// finding needs a change. The list of exporters, the headline of a diagnosis and the
// overview all have their word from it.
func Gravest(found []Finding) *Finding {
	var worst *Finding
	for i := range found {
		f := &found[i]
		if !f.Code.OK() && (worst == nil || cmp.Compare(f.rank(), worst.rank()) < 0) {
			worst = f
		}
	}
	return worst
}

// HealthOf is the word for an exporter with these findings.
func HealthOf(found []Finding) Health {
	if f := Gravest(found); f != nil {
		return f.Code.Health()
	}
	return HealthHealthy
}
