package rollup

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// freshRows is how many rows of batches that are not summed are kept in
	// memory: 52 octets each, so 128 MB, and 84 of IPv6. What is more is read from
	// the database.
	freshRows = 2_500_000
	// freshFor is how long. Who sums comes by every few seconds; when it is the
	// Keeper of another process, nobody comes.
	freshFor = 2 * time.Minute
	// FreshParts is how many rows a flow may have on average for a batch to be
	// kept.
	FreshParts = 16
	// freshMost is how many rows a batch may have to be kept: 33 MB in the hands of
	// a Writer.
	freshMost = freshRows / 4
)

// Handoff carries the flows of batches that were just stored from the Writer to the
// Keeper of the same process, which would otherwise read back from the database what
// the Writer sent there a moment ago. Whoever assembles the two gives the same Handoff
// to both. It holds nothing that is not in the database as well, so that it may drop
// parcels at any time. A nil Handoff takes nothing and has nothing.
type Handoff struct {
	// keepers is how many Keepers are at work.
	keepers atomic.Int32
	spare   sync.Pool

	mu      sync.Mutex
	parcels map[int32]*Parcel // by batch
	rows    int
}

// NewHandoff returns an empty Handoff.
func NewHandoff() *Handoff { return &Handoff{parcels: make(map[int32]*Parcel)} }

// Begin says that a Keeper has started to take parcels. Until the returned function is
// called, Writers fill them.
func (f *Handoff) Begin() (end func()) {
	if f == nil {
		return func() {}
	}
	f.keepers.Add(1)
	return func() { f.keepers.Add(-1) }
}

// Waiting returns how many batches wait to be taken, and how many rows they have.
func (f *Handoff) Waiting() (batches, rows int) {
	if f == nil {
		return 0, 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.parcels), f.rows
}

// Empty returns an empty parcel, nil while no Keeper is at work.
func (f *Handoff) Empty() *Parcel {
	if f == nil || f.keepers.Load() == 0 {
		return nil
	}
	if p, ok := f.spare.Get().(*Parcel); ok {
		p.Reset()
		return p
	}
	return NewParcel()
}

// Put keeps the parcel of a batch, under its identifier and key, until it is taken,
// unless there are too many; now is the time. The parcel belongs to the Handoff from then on.
func (f *Handoff) Put(p *Parcel, now time.Time) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	weight := p.Weight()
	if f.rows+weight > freshRows {
		for _, old := range f.parcels {
			if now.Sub(old.since) > freshFor {
				f.drop(old)
			}
		}
	}
	if p.overfull || f.keepers.Load() == 0 || f.rows+weight > freshRows || p.Rows() > FreshParts*p.Records+1024 {
		f.spare.Put(p)
		return
	}
	if old := f.parcels[p.Id]; old != nil {
		f.drop(old)
	}
	p.since = now
	f.parcels[p.Id] = p
	f.rows += weight
}

// Reuse takes back a parcel that was summed, for another batch.
func (f *Handoff) Reuse(p *Parcel) {
	if f != nil {
		f.spare.Put(p)
	}
}

// drop takes a parcel out; the lock is held.
func (f *Handoff) drop(p *Parcel) {
	delete(f.parcels, p.Id)
	f.rows -= p.Weight()
	f.spare.Put(p)
}

// Take removes and returns the parcel of a batch, nil when there is none: the batch then
// has to be read from the database.
func (f *Handoff) Take(id int32, key *int64, records int) *Parcel {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.parcels[id]
	if p == nil || key == nil || p.Key != *key || p.Records != records {
		return nil
	}
	delete(f.parcels, id)
	f.rows -= p.Weight()
	return p
}
