package answer

import (
	"slices"
	"sort"
	"strings"
	"time"

	"flowtally/calendar"
	"flowtally/flow"
	"flowtally/query"
)

// slots are the buckets of a series. They begin at first, first+step, …, last; or, where
// they are not all as long, because they are months, or days of a zone that changes its
// clock, at bounds, of which the last is where the last slot ends. Then step is the usual
// length.
type slots struct {
	step, first, last flow.Time
	months            int // of a slot; 0 when it is a number of days or less
	bounds            []flow.Time
}

// newSlots are the slots of a range: months from January on, days from the epoch on, weeks
// on Mondays, by the calendar of the zone; what is shorter than a day from the midnight of
// the zone on, as its clock is where the range begins.
func newSlots(from, to, step flow.Time, months int, zone *time.Location) slots {
	if zone == nil {
		zone = time.UTC
	}
	epoch := time.Unix(0, 0).UTC()
	wall := calendar.Wall(from.Time(), zone)
	var begin func(n int) time.Time // of the slot n, on the clock
	switch {
	case months > 0:
		year, month, _ := wall.Date()
		first := (year*12 + int(month) - 1) / months * months
		begin = func(n int) time.Time { return time.Date(0, time.Month(first+n*months)+1, 1, 0, 0, 0, 0, time.UTC) }
		step = flow.Time(months) * 30 * flow.Day
	case step%flow.Day == 0 && zone != time.UTC:
		first := (flow.TimeOf(wall) - query.Origin(step)).Floor(step) + query.Origin(step)
		begin = func(n int) time.Time { return epoch.AddDate(0, 0, int((first+flow.Time(n)*step)/flow.Day)) }
	default:
		_, offset := from.Time().In(zone).Zone()
		o := query.Origin(step) - flow.Time(offset)*flow.Second
		return slots{step: step, first: (from - o).Floor(step) + o, last: (to - 1 - o).Floor(step) + o}
	}
	var bounds []flow.Time
	for n := 0; len(bounds) == 0 || bounds[len(bounds)-1] < to; n++ {
		at := flow.TimeOf(calendar.At(begin(n), zone))
		// A zone may leave a day out.
		if len(bounds) == 0 || at > bounds[len(bounds)-1] {
			bounds = append(bounds, at)
		}
	}
	return slotsAt(bounds, step, months)
}

// slotsAt are slots between bounds.
func slotsAt(bounds []flow.Time, step flow.Time, months int) slots {
	s := slots{step: step, first: bounds[0], last: bounds[len(bounds)-2], months: months}
	for i, at := range bounds[1:] {
		if months > 0 || at-bounds[i] != step {
			s.bounds = bounds
		}
	}
	return s
}

// count is how many there are.
func (s slots) count() int {
	if s.bounds != nil {
		return len(s.bounds) - 1
	}
	return int((s.last-s.first)/s.step) + 1
}

// index is the slot of a time. Of those that are empty and begin together none is.
func (s slots) index(at flow.Time) (i int, ok bool) {
	if s.bounds != nil {
		i = sort.Search(len(s.bounds), func(i int) bool { return s.bounds[i] > at }) - 1
	} else {
		i = int((at - s.first) / s.step)
	}
	return i, at >= s.first && i < s.count()
}

// begin is where a slot begins; where the one before ends.
func (s slots) begin(i int) flow.Time {
	if s.bounds != nil {
		return s.bounds[i]
	}
	return s.first + flow.Time(i)*s.step
}

// around is where the slot of a time begins and ends.
func (s slots) around(at flow.Time) (begin, end flow.Time) {
	i, _ := s.index(at)
	return s.begin(i), s.begin(i + 1)
}

// starts are where the slots begin.
func (s slots) starts() []time.Time {
	list := make([]time.Time, s.count())
	for i := range list {
		list[i] = s.begin(i).Time()
	}
	return list
}

// whole reports whether the slots consist of whole buckets of a length.
func (s slots) whole(length flow.Time) bool {
	for _, at := range s.bounds {
		if at%length != 0 {
			return false
		}
	}
	return s.bounds != nil || s.step%length == 0 && s.first%length == 0
}

// aligned reports whether the slots begin at multiples of their step.
func (s slots) aligned() bool { return s.bounds == nil && s.first%s.step == 0 }

// earlier are as many slots of an earlier period: each is between where its bounds were
// then. So the slot of an hour that a clock skipped then is empty, that of an hour that
// came twice then is of two; and of an hour that comes twice now the first is empty.
func (s slots) earlier(period calendar.Period, zone *time.Location) slots {
	bounds := make([]flow.Time, s.count()+1)
	for i := len(bounds) - 1; i >= 0; i-- {
		bounds[i] = shifted(s.begin(i), period, zone)
		if i+1 < len(bounds) {
			bounds[i] = min(bounds[i], bounds[i+1])
		}
	}
	return slotsAt(bounds, s.step, s.months)
}

// shifted is where a time lies one period earlier, on the clock of a zone.
func shifted(at flow.Time, period calendar.Period, zone *time.Location) flow.Time {
	return flow.TimeOf(period.Shifted(at.Time().In(zone)))
}

// slotOf is the slot of a time, in SQL.
func (s slots) slotOf(at expression) expression {
	if s.bounds != nil {
		return sql("(", s.array(), ")[width_bucket(", at, ", ", s.array(), ")]")
	}
	start := sql("'epoch'")
	if o := query.Origin(s.step); (s.first-o)%s.step != 0 {
		start = sql(value{s.first}, "::timestamptz")
	} else if o != 0 {
		start = sql("'" + o.Time().Format(time.DateTime) + "+00'")
	}
	return sql("date_bin("+s.interval()+", ", at, ", ", start, ")")
}

// endOf is where the slot ends that begins at the column bucket, in SQL.
func (s slots) endOf() expression {
	if s.bounds != nil {
		return sql("(", s.array(), ")[width_bucket(bucket, ", s.array(), ") + 1]")
	}
	return sql("bucket + " + s.interval())
}

// between are the slots from that of one time to that of another, a row each, in SQL.
func (s slots) between(from, to expression) expression {
	if s.bounds != nil {
		return sql("unnest((", s.array(), ")[width_bucket(", from, ", ", s.array(), "):width_bucket(", to, ", ", s.array(), ")])")
	}
	return sql("generate_series(", s.slotOf(from), ", ", s.slotOf(to), ", "+s.interval()+")")
}

// interval is the step, in SQL.
func (s slots) interval() string { return "interval '" + query.FormatResolution(s.step) + "'" }

// array are the bounds in SQL, each once: of slots that begin together only the last has
// something.
func (s slots) array() expression {
	var b strings.Builder
	b.WriteByte('{')
	for i, at := range slices.Compact(slices.Clone(s.bounds)) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + at.Time().Format("2006-01-02 15:04:05.999") + `+00"`)
	}
	b.WriteByte('}')
	return sql(value{b.String()}, "::timestamptz[]")
}
