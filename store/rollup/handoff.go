package rollup

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxHandoffRows is how many rows of batches that are not summed are kept in
	// memory: 52 bytes each, so 128 MB, and 84 of IPv6. The Keeper reads the others
	// from the database.
	maxHandoffRows = 2_500_000
	// maxHandoffAge is how long a parcel is kept when there is no room for another. A
	// Keeper takes parcels every few seconds; when the Keeper is of another process,
	// nobody takes them.
	maxHandoffAge = 2 * time.Minute
	// MaxRowsPerFlow is how many rows a flow may have on average for its batch to be
	// handed over.
	MaxRowsPerFlow = 16
	// maxParcelRows is how many rows a batch may have to be handed over: 33 MB in the
	// hands of a Writer.
	maxParcelRows = maxHandoffRows / 4
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
func (h *Handoff) Begin() (end func()) {
	if h == nil {
		return func() {}
	}
	h.keepers.Add(1)
	return func() { h.keepers.Add(-1) }
}

// Waiting returns how many batches wait to be taken, and how many rows they have.
func (h *Handoff) Waiting() (batches, rows int) {
	if h == nil {
		return 0, 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.parcels), h.rows
}

// Empty returns an empty parcel, or nil while no Keeper is at work.
func (h *Handoff) Empty() *Parcel {
	if h == nil || h.keepers.Load() == 0 {
		return nil
	}
	if p, ok := h.spare.Get().(*Parcel); ok {
		p.Reset()
		return p
	}
	return NewParcel()
}

// Put keeps the parcel of a batch, under its identifier and key, until it is taken,
// unless there are too many; now is the time. The parcel belongs to the Handoff from
// then on.
func (h *Handoff) Put(p *Parcel, now time.Time) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	weight := p.Weight()
	if h.rows+weight > maxHandoffRows {
		for _, old := range h.parcels {
			if now.Sub(old.handedOver) > maxHandoffAge {
				h.drop(old)
			}
		}
	}
	if p.incomplete || h.keepers.Load() == 0 || h.rows+weight > maxHandoffRows || p.Rows() > MaxRowsPerFlow*p.Records+1024 {
		h.spare.Put(p)
		return
	}
	if old := h.parcels[p.ID]; old != nil {
		h.drop(old)
	}
	p.handedOver = now
	h.parcels[p.ID] = p
	h.rows += weight
}

// Reuse takes back a parcel that was summed, for another batch.
func (h *Handoff) Reuse(p *Parcel) {
	if h != nil {
		h.spare.Put(p)
	}
}

// drop takes a parcel out; the caller holds the lock.
func (h *Handoff) drop(p *Parcel) {
	delete(h.parcels, p.ID)
	h.rows -= p.Weight()
	h.spare.Put(p)
}

// Take removes and returns the parcel of a batch, or nil when there is none: the batch
// then has to be read from the database.
func (h *Handoff) Take(id int32, key *int64, records int) *Parcel {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.parcels[id]
	if p == nil || key == nil || p.Key != *key || p.Records != records {
		return nil
	}
	delete(h.parcels, id)
	h.rows -= p.Weight()
	return p
}
