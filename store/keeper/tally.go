package keeper

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/store/rollup"
)

// tally sums flows by minute, and counts them by hour and batch.
type tally struct {
	limits  rollup.GrainLimits // of minutes
	memory  memoryLimits
	buckets map[flow.Time]*rollup.Summary
	hours   map[flow.Time]*rollup.HourTally
	found   map[int32]int // records by batch, of those that were read
	records int

	// read takes the flows that are read, and parcels are those that were handed over.
	// They are summed when they are many, and at the end. deferred are flows that were
	// read when read was full.
	read     *rollup.Parcel
	parcels  []*rollup.Parcel
	deferred []rollup.Flow
	// spill is called when the buckets have too many values, and stores them.
	spill func() error
}

// memoryLimits bound the memory of a tally: they say when it sums its rows, and when it
// spills its sums.
type memoryLimits struct {
	// rows are summed at once, or sparseRows when they are in sparseGroups or more
	// groups. With many flows in few minutes a value's rows become one, and what is
	// dropped is dropped early. Long flows, each in thousands of minutes, gain nothing
	// from being summed together.
	rows, sparseRows, sparseGroups int
	// values stay in memory between two sums.
	values int
}

// defaultMemory has a million values, of 64 bytes each.
var defaultMemory = memoryLimits{rows: 1 << 20, sparseRows: 1 << 18, sparseGroups: 1 << 12, values: 1_000_000}

func (k *Keeper) newTally() *tally {
	return &tally{
		limits: k.grains[rollup.Minutes], memory: k.memory,
		buckets: make(map[flow.Time]*rollup.Summary), hours: make(map[flow.Time]*rollup.HourTally),
		found: make(map[int32]int), read: rollup.NewParcel(),
	}
}

// complete reports whether all records of the batches were read.
func (t *tally) complete(batches []unsummed) bool {
	for _, b := range batches {
		if t.found[b.id] != b.records {
			return false
		}
	}
	return true
}

// addParcel adds flows that were handed over.
func (t *tally) addParcel(p *rollup.Parcel) error {
	t.parcels = append(t.parcels, p)
	return t.sumIfMany()
}

// reader returns where rows are copied to. While they come, nothing can be stored over the
// same connection: flows for which there is no room wait for addDeferred.
func (t *tally) reader() *flowReader {
	return &flowReader{each: func(f *rollup.Flow) {
		t.found[f.Batch]++
		if len(t.deferred) > 0 || t.read.Rows() >= t.memory.sparseRows || f.End-f.Start > rollup.MaxRowsPerFlow*flow.Minute {
			t.deferred = append(t.deferred, *f)
			return
		}
		t.read.Add(f)
	}}
}

// addDeferred adds the flows that were read and had to wait.
func (t *tally) addDeferred() error {
	for i := range t.deferred {
		t.read.Add(&t.deferred[i])
		if t.read.Rows() >= t.memory.sparseRows {
			if err := t.sumIfMany(); err != nil {
				return err
			}
		}
	}
	t.deferred = nil
	return nil
}

// sumIfMany sums the rows when they are many, and spills the sums when these are many.
func (t *tally) sumIfMany() error {
	rows, groups := t.read.Rows(), t.read.Groups()
	for _, p := range t.parcels {
		rows += p.Rows()
		groups += p.Groups()
	}
	if rows < t.memory.sparseRows || rows < t.memory.rows && groups < t.memory.sparseGroups {
		return nil
	}
	t.sum()
	values := 0
	for _, s := range t.buckets {
		values += s.Len()
	}
	if values < t.memory.values {
		return nil
	}
	return t.spill()
}

// sum sums the rows there are, and drops them.
func (t *tally) sum() {
	if t.read.Records > 0 {
		t.read.Close()
		t.parcels = append(t.parcels, t.read)
	}
	for _, p := range t.parcels {
		t.records += p.Records
		t.addHours(p)
	}
	for bucket, s := range rollup.SumParcels(t.parcels, t.limits.Pending, t.limits.PerCell) {
		if sum := t.buckets[bucket]; sum == nil {
			t.buckets[bucket] = s
		} else {
			merge(sum, s, t.limits)
		}
	}
	from, to := t.read.From, t.read.To
	t.read.Reset()
	t.read.From, t.read.To = from, to
	t.parcels = t.parcels[:0]
}

// merge adds o to s, and compacts s when it has too many values.
func merge(s, o *rollup.Summary, limits rollup.GrainLimits) {
	s.Merge(o)
	if s.LargestDimension() > 2*limits.Pending {
		s.Compact(limits.Pending, limits.PerCell)
	}
}

func (t *tally) addHours(p *rollup.Parcel) {
	for hour, h := range p.Hours {
		sum := t.hours[hour]
		if sum == nil {
			sum = &rollup.HourTally{}
			t.hours[hour] = sum
		}
		sum.Records += h.Records
		sum.LastReceived = max(sum.LastReceived, h.LastReceived)
		sum.LastPage = max(sum.LastPage, h.LastPage)
	}
}

// storeHours adds the flows to the counts of the partitions that their hours are in.
func (t *tally) storeHours(ctx context.Context, tx pgx.Tx) error {
	var (
		hours, received []time.Time
		records         []int64
	)
	for _, hour := range slices.Sorted(maps.Keys(t.hours)) {
		if h := t.hours[hour]; h.Records > 0 {
			hours, records, received = append(hours, hour.Time()), append(records, int64(h.Records)), append(received, h.LastReceived.Time())
		}
	}
	_, err := tx.Exec(ctx, `insert into parts.hour (hour, records, last_received)
		select p.hour, sum(h.records), max(h.received)
		from unnest($1::timestamptz[], $2::bigint[], $3::timestamptz[]) h (hour, records, received)
		join lateral (select hour, until from parts.partition where hour <= h.hour order by hour desc limit 1) p on p.until > h.hour
		group by 1
		on conflict (hour) do update set records = parts.hour.records + excluded.records,
		last_received = greatest(parts.hour.last_received, excluded.last_received)`, hours, records, received)
	return err
}
