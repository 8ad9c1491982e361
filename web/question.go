package web

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"flowtally/query"
)

// Ranged is what every question about a range is asked with. Like Sums it is
// exported for the library's sake.
type Ranged struct {
	From     string `query:"from" default:"-6h" example:"-6h" doc:"Start of the range, inside it. RFC 3339, a date, or relative to now: -30m, -6h, -7d, -2w, today, yesterday; more than ten minutes ago is the begin of that minute. Also yesterday 14:00, this-week, last-month, -1mo, or seconds since 1970."`
	To       string `query:"to" default:"now" example:"now" doc:"End of the range, outside it. Written like from."`
	Exporter string `query:"exporter" doc:"Only of this exporter: its name, address or number. Empty: of all."`
	Zoned
}

// Zoned is what every question that reads times is asked with.
type Zoned struct {
	Zone string `query:"zone" example:"Europe/Berlin" doc:"Whose times, days, weeks and months are meant where a time says no zone, in the range and in the filter: UTC, or a name of the IANA time zone database. Empty: UTC."`
}

// Filtered is what every question about flows is asked with besides.
type Filtered struct {
	Ranged
	Filter string `query:"filter" example:"proto tcp and dst port 443" doc:"Only flows that match this filter (docs/filter.md). Empty: all."`
	Whole  bool   `query:"whole" doc:"Book each flow whole at its end, as nfdump does, in place of the share that lies inside the range."`
	Scaled bool   `query:"scaled" doc:"Multiply packets and bytes by the exporter's sampling rate, by 1 where that is not known. Flows are never multiplied."`
	Raw    bool   `query:"raw" doc:"Read the flows themselves, also where the roll-ups could answer."`
}

// Asked is what is asked with by who ranks groups.
type Asked struct {
	Filtered
	Formatted
	By byMeasure `query:"by" default:"flows" doc:"What the groups are ranked by: a sum, packets or bits a second, bytes a packet, or the average duration."`
}

// lostPlus is a time whose offset's plus sign was read as a space, as the rules
// for queries have it: 2026-11-21T10:00:00 01:00.
var lostPlus = regexp.MustCompile(`^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?) (\d\d:?\d\d)$`)

// question turns parameters into a question of the store.
func (s *server) question(in Filtered, by query.Measure, key string, limit int) (query.Question, error) {
	q := query.Question{By: by, Limit: limit, Exporter: in.Exporter, Whole: in.Whole, Scaled: in.Scaled, Raw: in.Raw, Timeout: s.config.Timeout}
	now, err := s.clock(in.Zoned)
	if err != nil {
		return q, err
	}
	if q.From, q.To, err = rangeAt(now, in.Ranged); err != nil {
		return q, err
	}
	if in.Zone != "" {
		q.Zone = now.Location()
	}
	if key != "" {
		keys, err := query.ParseKeys(key)
		if err != nil {
			return q, parameterProblem("key", key, reason(err))
		}
		q.Keys = keys
	}
	if in.Filter != "" {
		if q.Filter, err = parseFilter("filter", in.Filter, now); err != nil {
			return q, err
		}
	}
	return q, nil
}

// clock is now in the zone of a question. What is written without a zone is UTC: the
// server's own would surprise everyone who is elsewhere.
func (s *server) clock(in Zoned) (time.Time, error) {
	// The plus sign of Etc/GMT+1 is read as a space, too.
	zone, err := query.ParseZone(strings.ReplaceAll(in.Zone, " ", "+"))
	if err != nil {
		return time.Time{}, parameterProblem("zone", in.Zone, reason(err))
	}
	return s.now().In(zone), nil
}

// rangeOf reads the range of a question.
func (s *server) rangeOf(in Ranged) (from, to time.Time, err error) {
	now, err := s.clock(in.Zoned)
	if err != nil {
		return from, to, err
	}
	return rangeAt(now, in)
}

// rangeAt reads a range that is seen from now.
func rangeAt(now time.Time, in Ranged) (from, to time.Time, err error) {
	for _, p := range []struct {
		name, value string
		to          *time.Time
	}{{"from", in.From, &from}, {"to", in.To, &to}} {
		t, err := query.ParseTime(lostPlus.ReplaceAllString(p.value, "$1+$2"), now)
		if err != nil {
			return from, to, parameterProblem(p.name, p.value, reason(err))
		}
		*p.to = t
	}
	if !from.Before(to) {
		return from, to, parameterProblem("from", in.From, fmt.Sprintf(
			"the range is empty: it starts at %s and ends at %s; from must be earlier than to",
			from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339)))
	}
	return from, to, nil
}

// reason is what is wrong with a parameter, without its name.
func reason(err error) string {
	if q, ok := errors.AsType[*query.Error](err); ok {
		return q.Reason
	}
	return err.Error()
}
