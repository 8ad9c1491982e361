package answer

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/calendar"
	"flowtally/filter"
	"flowtally/flow"
	"flowtally/query"
	"flowtally/store"
)

// request is a query.Question that makes sense: defaults are filled in, words are looked
// up. It is a value; whoever needs another one makes it from a copy.
type request struct {
	from, to flow.Time
	keys     []query.Key
	columns  []query.KeyColumn // that flows are grouped by, which the keys ask for
	by       query.Measure
	limit    int
	// exporter is the word, exporters are the numbers that it means; of all exporters both
	// are empty.
	exporter  string
	exporters []int32
	filter    *filter.Filter
	having    *query.Having
	whole     bool
	scaled    bool
	raw       bool
	timeout   time.Duration
	zone      *time.Location // whose days, weeks and months are meant
	// slots are the buckets of a series; without a series its step is 0.
	slots slots
}

// newRequest checks a question and fills in its defaults. The error is a *query.Error.
func newRequest(q query.Question) (request, error) {
	if q.From.Before(query.FirstTime) || q.From.After(query.LastTime) {
		return request{}, &query.Error{Parameter: "from", Reason: q.From.Format(time.RFC3339) + " is outside of the years 1970 to 2199"}
	}
	if q.To.Before(query.FirstTime) || q.To.After(query.LastTime) {
		return request{}, &query.Error{Parameter: "to", Reason: q.To.Format(time.RFC3339) + " is outside of the years 1970 to 2199"}
	}
	r := request{
		from: flow.TimeOf(q.From), to: flow.TimeOf(q.To), keys: q.Keys, exporter: q.Exporter,
		whole: q.Whole, scaled: q.Scaled, raw: q.Raw, limit: q.Limit, timeout: q.Timeout,
		filter: q.Filter, having: q.Having, zone: q.Zone,
	}
	if r.zone == nil {
		r.zone = time.UTC
	}
	if r.filter == nil {
		r.filter, _ = filter.Parse("")
	}
	if err := query.CheckRange(r.from.Time(), r.to.Time()); err != nil {
		return request{}, err
	}
	var err error
	if r.columns, err = query.Grouped(q.Keys); err != nil {
		return request{}, err
	}
	if r.by, err = query.ParseMeasure(string(q.By)); err != nil {
		return request{}, err
	}
	if r.limit == 0 {
		r.limit = query.DefaultLimit
	}
	if r.timeout <= 0 {
		r.timeout = store.DefaultTimeout
	}
	return r, nil
}

// checkLimit refuses a limit that is none.
func (r request) checkLimit(most int) error {
	if r.limit < 1 || r.limit > most {
		return &query.Error{Parameter: "limit", Reason: fmt.Sprintf("%d is not between 1 and %d", r.limit, most)}
	}
	return nil
}

// inSlots returns the request as one for a series in slots of a step or of months, both 0
// being the smallest step of a ladder that makes no more than so many. A step that nobody
// asked for is a minute or more for half an hour and more where roll-ups can answer.
func (r request) inSlots(step time.Duration, months, most int) (request, error) {
	if most == 0 {
		most = query.DefaultBuckets
	}
	if most < 1 || most > query.MaxBuckets {
		return r, &query.Error{Parameter: "step", Reason: fmt.Sprintf("%d buckets is not between 1 and %d", most, query.MaxBuckets)}
	}
	if step < 0 || step%time.Millisecond != 0 {
		return r, &query.Error{Parameter: "step", Reason: fmt.Sprintf("%v is not a positive number of whole milliseconds", step)}
	}
	if months < 0 || months > 0 && step > 0 {
		return r, &query.Error{Parameter: "step", Reason: fmt.Sprintf("%d months is not a positive number, or a step is given besides", months)}
	}
	if step == 0 && months == 0 {
		r.slots = r.autoSlots(most)
		return r, nil
	}
	length := flow.Time(step / time.Millisecond)
	r.slots = newSlots(r.from, r.to, length, months, r.zone)
	if n := r.slots.count(); n > query.MaxBuckets {
		return r, &query.Error{Parameter: "step", Reason: fmt.Sprintf("a step of %s cuts this range into %d buckets, at most %d are possible: take %s or more",
			query.FormatStep(length, months), n, query.MaxBuckets, query.ShortDuration(query.AutoStep(r.from, r.to, query.MaxBuckets)))}
	}
	return r, nil
}

// autoSlots are the slots of the smallest step of a ladder that makes no more than so many;
// days of a zone may make one more than days of UTC.
func (r request) autoSlots(most int) slots {
	length := query.AutoStep(r.from, r.to, most)
	if !r.raw && length < flow.Minute && r.to-r.from >= 30*flow.Minute {
		if _, why := r.dimensions(); why == "" {
			length = flow.Minute
		}
	}
	s := newSlots(r.from, r.to, length, 0, r.zone)
	for s.count() > max(2, most) {
		i, found := slices.BinarySearch(query.Steps, s.step)
		next := s.step + query.Week
		if found && i+1 < len(query.Steps) {
			next = query.Steps[i+1]
		}
		s = newSlots(r.from, r.to, next, 0, r.zone)
	}
	return s
}

// keyed is the same request grouped by other keys, with as many groups as there can be.
func (r request) keyed(keys ...query.Key) request {
	r.keys = keys
	r.columns, _ = query.Grouped(keys)
	r.limit = query.MaxLimit
	return r
}

// fromFlows is the same request of the flows themselves.
func (r request) fromFlows() request {
	r.raw = true
	return r
}

// earlier is the same request about an earlier period, on the clock of the zone. The
// period may have left out all of it: then its range is empty.
func (r request) earlier(period calendar.Period) request {
	r.slots = r.slots.earlier(period, r.zone)
	end := r.slots.begin(r.slots.count())
	r.to = min(shifted(r.to, period, r.zone), end)
	r.from = min(max(shifted(r.from, period, r.zone), r.slots.first), r.to)
	return r
}

// asksForRates reports whether the answer depends on sampling rates.
func (r request) asksForRates() bool {
	return r.scaled || slices.Contains(r.filter.Columns(), "sampling_rate")
}

// needsTimes reports whether the answer needs to know when a group was seen.
func (r request) needsTimes() bool { return r.by.NeedsTimes() || r.having.NeedsTimes() }

// hostsTimeout is how long the names of hosts in a filter may take to look up.
const hostsTimeout = 3 * time.Second

// lookUpHosts finds the addresses of hosts that the filter names.
func (r request) lookUpHosts(ctx context.Context) (request, error) {
	if len(r.filter.Hosts()) == 0 {
		return r, nil
	}
	ctx, cancel := context.WithTimeout(ctx, hostsTimeout)
	defer cancel()
	f, err := r.filter.Resolve(ctx, func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	})
	if err != nil {
		return r, &query.Error{Parameter: "filter", Reason: err.Error()}
	}
	r.filter = f
	return r, nil
}

// lookUpExporters finds the numbers of the exporters that are meant.
func (r request) lookUpExporters(ctx context.Context, tx pgx.Tx) (request, error) {
	if r.exporter == "" {
		return r, nil
	}
	ids, err := store.FindExporters(ctx, tx, r.exporter)
	r.exporters = ids
	return r, exporterError(err)
}

// commandParts says which flags of a question a command line has beside its range and its
// filter; more are flags of one answer alone, as name and value in turn.
type commandParts struct {
	key, by, limit, step, ascending bool
	more                            []string
}

// command is the command line that asks the same.
func (r request) command(p commandParts, name ...string) string {
	c := query.NewCommand(name...)
	if p.key && len(r.keys) > 0 {
		c = c.With("key", query.JoinKeys(r.keys))
	}
	if p.by {
		c = c.With("by", string(r.by))
	}
	c = c.With("from", query.FormatTime(r.from)).With("to", query.FormatTime(r.to))
	if p.limit {
		c = c.With("limit", strconv.Itoa(r.limit))
	}
	if p.step {
		c = c.With("step", query.FormatStep(r.slots.step, r.slots.months))
		if r.zone != nil && r.zone != time.UTC { // which is what the slots are of
			c = c.With("zone", r.zone.String())
		}
	}
	if r.exporter != "" {
		c = c.With("exporter", r.exporter)
	}
	c = c.If(r.whole, "whole").If(r.scaled, "scaled").If(r.raw, "raw")
	if r.having != nil && len(r.keys) > 0 { // of groups
		c = c.With("having", r.having.String())
	}
	for i := 0; i+1 < len(p.more); i += 2 {
		c = c.With(p.more[i], p.more[i+1])
	}
	c = c.If(p.ascending, "ascending")
	if r.filter.Any() {
		return c.String()
	}
	return c.Words(r.filter.String()).String()
}
