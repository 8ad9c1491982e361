package traffic

import "time"

// rhythm is how a kind of traffic goes through the week.
type rhythm uint8

const (
	steady rhythm = iota // machines among themselves
	office               // people at desks
	market               // people and machines that trade
	night                // what waits until everybody has left
	hourly               // what a clock starts, for some minutes of each hour
	rhythms
)

// point is a level at a minute of the day; between two the level is on their line.
type point struct {
	minute int
	level  float64
}

// The weekday, in minutes since midnight.
var (
	officeDay = []point{{0, .06}, {6*60 + 30, .07}, {8 * 60, .6}, {9 * 60, .95}, {12 * 60, 1}, {12*60 + 40, .55},
		{13*60 + 20, .6}, {14 * 60, 1}, {17 * 60, .95}, {18*60 + 30, .4}, {20 * 60, .15}, {22 * 60, .07}, {24 * 60, .06}}
	marketDay = []point{{0, .03}, {6 * 60, .04}, {7*60 + 30, .3}, {8*60 + 58, .65}, {9 * 60, 1.9}, {9*60 + 20, 1.2},
		{10 * 60, .95}, {12 * 60, .85}, {12*60 + 40, .6}, {13*60 + 20, .6}, {14 * 60, .9}, {15*60 + 28, .95}, {15*60 + 30, 1.5},
		{16 * 60, 1.05}, {17*60 + 15, 1.1}, {17*60 + 30, 1.7}, {17*60 + 40, .5}, {19 * 60, .2}, {21 * 60, .06}, {24 * 60, .03}}
	nightDay = []point{{0, 0}, {1*60 - 1, 0}, {1 * 60, 1}, {2*60 + 40, 1}, {2*60 + 50, 0}, {24 * 60, 0}}
)

// weekend is what is left of people and markets on Saturday and Sunday.
const weekend = 0.4

// levelsAt returns the level of each rhythm at a local time.
func levelsAt(local time.Time) (l [rhythms]float64) {
	minute := local.Hour()*60 + local.Minute()
	part := 1.0
	if d := local.Weekday(); d == time.Saturday || d == time.Sunday {
		part = weekend
	}
	l[steady] = 1
	l[office] = part * levelOf(officeDay, minute)
	l[market] = part * levelOf(marketDay, minute)
	l[night] = levelOf(nightDay, minute)
	if in := floorDiv(local.Unix(), 60) - hourlyAt; in-60*floorDiv(in, 60) < hourlyMinutes {
		l[hourly] = 1
	}
	return l
}

func levelOf(day []point, minute int) float64 {
	for i := 1; i < len(day); i++ {
		a, b := day[i-1], day[i]
		if minute < b.minute {
			return a.level + (b.level-a.level)*float64(minute-a.minute)/float64(b.minute-a.minute)
		}
	}
	return day[len(day)-1].level
}

const (
	// hourlyAt is the minute of the hour in which the hourly rhythm wakes, and
	// hourlyMinutes how many it stays awake. The hour is UTC's, as it is for bursts.
	hourlyAt      = 5
	hourlyMinutes = 7

	// burstEvery is the stretch of time that has one burst each.
	burstEvery = 4 * time.Hour
	// burstLength is how long a burst lasts, in whole minutes of the clock.
	burstLength = 2 * time.Minute
	// burstRate is how many flows the report generator opens a second.
	burstRate = 175
)

// burstIn returns the start of the burst in the n-th stretch since the epoch. It falls
// where the hourly rhythm is well awake: by night, too, a link carries enough then to
// hide the burst's bytes.
func burstIn(seed uint64, n int64) int64 {
	// One step of splitmix64: neighbouring n give unrelated minutes.
	x := seed + uint64(n)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	const hours, minutes = uint64(burstEvery / time.Hour), hourlyMinutes - uint64(burstLength/time.Minute)
	start := time.Duration(x%hours)*time.Hour + time.Duration(hourlyAt+1+x/hours%minutes)*time.Minute
	return n*int64(burstEvery) + int64(start)
}

// inBurst reports whether at, ns since the epoch, falls into a burst.
func inBurst(seed uint64, at int64) bool {
	start := burstIn(seed, floorDiv(at, int64(burstEvery)))
	return at >= start && at < start+int64(burstLength)
}
