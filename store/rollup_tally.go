package store

import "flowtally/flow"

// tally is what is known of some batches: their sums by minute, and what they have
// in each hour.
type tally struct {
	law     grainLaw
	buckets map[flow.Time]*summary
	hours   map[flow.Time]*hourTally
	found   map[int32]int // records by batch, of those that were read
	records int

	// own takes the rows that are read, parcels those that were handed on; they are
	// summed when they are many, and at the end. later are flows that were read and
	// wait for room in own.
	own     *parcel
	parcels []*parcel
	later   []rawFlow
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

type hourTally struct {
	records      int
	lastReceived flow.Time
	lastPage     uint32
}

// nextPage is where the rows of the next batches begin, at the earliest, unless a
// batch was very long under way; whoever reads from there counts what it finds.
func (h *hourTally) nextPage() uint32 { return max(h.lastPage, pagesBack) - pagesBack }

func (k *Keeper) newTally() *tally {
	return &tally{
		law: k.laws[minutes], buckets: make(map[flow.Time]*summary), hours: make(map[flow.Time]*hourTally),
		found: make(map[int32]int), own: newParcel(), pieces: k.pieces,
	}
}

// take adds the flows of a parcel.
func (t *tally) take(p *parcel) error {
	t.parcels = append(t.parcels, p)
	return t.sumMany()
}

// reader returns where rows are copied to. While they come, nothing can be put
// aside on the same connection: what there is no room for waits for addLater.
func (t *tally) reader() *rawReader {
	return &rawReader{each: func(r *rawFlow) {
		t.found[r.batch]++
		if len(t.later) > 0 || t.own.rows() >= t.pieces.thin || r.end-r.start > freshParts*flow.Minute {
			t.later = append(t.later, *r)
			return
		}
		t.own.add(r)
	}}
}

// addLater adds the flows that were read and had to wait.
func (t *tally) addLater() error {
	for i := range t.later {
		t.own.add(&t.later[i])
		if t.own.rows() >= t.pieces.thin {
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
	rows, places := t.own.rows(), len(t.own.places)
	for _, p := range t.parcels {
		rows += p.rows()
		places += len(p.places)
	}
	if rows < t.pieces.thin || rows < t.pieces.rows && places < t.pieces.places {
		return nil
	}
	t.flush()
	values := 0
	for _, s := range t.buckets {
		values += len(s.entries)
	}
	if values < t.pieces.values {
		return nil
	}
	return t.full()
}

// flush sums what is there.
func (t *tally) flush() {
	if t.own.records > 0 {
		t.own.close()
		t.parcels = append(t.parcels, t.own)
	}
	for _, p := range t.parcels {
		t.records += p.records
		for hour, h := range p.hours {
			mine := t.hours[hour]
			if mine == nil {
				mine = &hourTally{}
				t.hours[hour] = mine
			}
			mine.records += h.records
			mine.lastReceived = max(mine.lastReceived, h.lastReceived)
			mine.lastPage = max(mine.lastPage, h.lastPage)
		}
	}
	for bucket, s := range sumParcels(t.parcels, t.law.Most, t.law.Few) {
		if mine := t.buckets[bucket]; mine == nil {
			t.buckets[bucket] = s
		} else {
			mine.merge(s)
			if mine.count() > 2*t.law.Most {
				mine.compact(t.law.Most, t.law.Few)
			}
		}
	}
	from, to := t.own.from, t.own.to
	t.own.reset()
	t.own.from, t.own.to = from, to
	t.parcels = t.parcels[:0]
}
