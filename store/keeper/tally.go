package keeper

import (
	"flowtally/flow"
	"flowtally/store/rollup"
)

// tally is what is known of some batches: their sums by minute, and what they have
// in each hour.
type tally struct {
	law     rollup.GrainLimits
	buckets map[flow.Time]*rollup.Summary
	hours   map[flow.Time]*rollup.HourTally
	found   map[int32]int // records by batch, of those that were read
	records int

	// own takes the rows that are read, parcels those that were handed on; they are
	// summed when they are many, and at the end. later are flows that were read and
	// wait for room in own.
	own     *rollup.Parcel
	parcels []*rollup.Parcel
	later   []rollup.Flow
	// full puts the buckets aside when they have too many values.
	full   func() error
	pieces pieces
}

// pieces says when a tally sums what it has, and when it puts its sums aside: the
// bounds of its memory.
type pieces struct {
	// rows are summed at once, thin when they are of places or more: with many
	// flows in few minutes a value's rows become one, and what is cut is cut early;
	// long flows, each in thousands of minutes, have no gain from each other.
	rows, thin, places int
	// values stay in memory between two sums.
	values int
}

func (k *Keeper) newTally() *tally {
	return &tally{
		law: k.laws[rollup.Minutes], buckets: make(map[flow.Time]*rollup.Summary), hours: make(map[flow.Time]*rollup.HourTally),
		found: make(map[int32]int), own: rollup.NewParcel(), pieces: k.pieces,
	}
}

// take adds the flows of a parcel.
func (t *tally) take(p *rollup.Parcel) error {
	t.parcels = append(t.parcels, p)
	return t.sumMany()
}

// reader returns where rows are copied to. While they come, nothing can be put
// aside on the same connection: what there is no room for waits for addLater.
func (t *tally) reader() *rawReader {
	return &rawReader{each: func(r *rollup.Flow) {
		t.found[r.Batch]++
		if len(t.later) > 0 || t.own.Rows() >= t.pieces.thin || r.End-r.Start > rollup.MaxRowsPerFlow*flow.Minute {
			t.later = append(t.later, *r)
			return
		}
		t.own.Add(r)
	}}
}

// addLater adds the flows that were read and had to wait.
func (t *tally) addLater() error {
	for i := range t.later {
		t.own.Add(&t.later[i])
		if t.own.Rows() >= t.pieces.thin {
			if err := t.sumMany(); err != nil {
				return err
			}
		}
	}
	t.later = nil
	return nil
}

// sumMany sums what is there when it is much, and puts the sums aside when these
// are many.
func (t *tally) sumMany() error {
	rows, places := t.own.Rows(), t.own.Groups()
	for _, p := range t.parcels {
		rows += p.Rows()
		places += p.Groups()
	}
	if rows < t.pieces.thin || rows < t.pieces.rows && places < t.pieces.places {
		return nil
	}
	t.flush()
	values := 0
	for _, s := range t.buckets {
		values += s.Len()
	}
	if values < t.pieces.values {
		return nil
	}
	return t.full()
}

// flush sums what is there.
func (t *tally) flush() {
	if t.own.Records > 0 {
		t.own.Close()
		t.parcels = append(t.parcels, t.own)
	}
	for _, p := range t.parcels {
		t.records += p.Records
		for hour, h := range p.Hours {
			mine := t.hours[hour]
			if mine == nil {
				mine = &rollup.HourTally{}
				t.hours[hour] = mine
			}
			mine.Records += h.Records
			mine.LastReceived = max(mine.LastReceived, h.LastReceived)
			mine.LastPage = max(mine.LastPage, h.LastPage)
		}
	}
	for bucket, s := range rollup.SumParcels(t.parcels, t.law.Pending, t.law.PerCell) {
		if mine := t.buckets[bucket]; mine == nil {
			t.buckets[bucket] = s
		} else {
			mine.Merge(s)
			if mine.LargestDimension() > 2*t.law.Pending {
				mine.Compact(t.law.Pending, t.law.PerCell)
			}
		}
	}
	from, to := t.own.From, t.own.To
	t.own.Reset()
	t.own.From, t.own.To = from, to
	t.parcels = t.parcels[:0]
}
