package store

import (
	"encoding/binary"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"flowtally/flow"
)

// parcel is what the roll-ups want of some flows, column by column: a row is a
// flow's part in one minute. Most flows are one row.
//
// There are two ways to one: a Writer makes it of the records that it stores, and
// hands it on through memory; and whoever sums what was not handed on, after a
// crash for instance, makes it of the rows that were stored. They are the same.
type parcel struct {
	// id, key and records are those of the batch, when it is of one.
	id      int32
	key     int64
	records int
	since   time.Time
	// overfull: it has more rows than are handed on, and not all.
	overfull bool

	// places are the minutes, cells and families that the rows are of.
	places []parcelPlace
	byKey  map[parcelPlace]uint32
	recent [64]uint32 // guesses, plus 1

	// Of each row: its place, twice, plus 1 where the flow counts.
	place          []uint32
	packets, bytes []uint64
	// src and dst are IPv4 addresses, or places in addrs.
	src, dst []uint32
	// numbers are src_port and dst_port plus 1, in_if to dst_as; 0 is not said.
	numbers [6][]uint32
	// even says which of the numbers are the same in all rows.
	even  [6]bool
	addrs []flow.Addr

	hours map[flow.Time]*hourTally
	hour  *hourTally // the last one
	at    flow.Time  // its hour
	// from and to bound the minutes, for a rebuild; 0 is no bound.
	from, to flow.Time
}

type parcelPlace struct {
	bucket flow.Time
	cell   cell
	family valueForm
}

func newParcel() *parcel {
	return &parcel{byKey: make(map[parcelPlace]uint32), hours: make(map[flow.Time]*hourTally)}
}

// reset empties the parcel and keeps its room.
func (p *parcel) reset() {
	clear(p.byKey)
	clear(p.hours)
	n := parcel{
		places: p.places[:0], byKey: p.byKey, place: p.place[:0], packets: p.packets[:0], bytes: p.bytes[:0],
		src: p.src[:0], dst: p.dst[:0], addrs: p.addrs[:0], hours: p.hours,
	}
	for i := range p.numbers {
		n.numbers[i] = p.numbers[i][:0]
	}
	*p = n
}

func (p *parcel) rows() int { return len(p.place) }

// parcelRowSize is what a row takes in memory, in octets; an IPv6 flow's takes 32
// more.
const parcelRowSize = 4 + 8 + 8 + 4 + 4 + 6*4

// octets is how much memory the rows take.
func (p *parcel) octets() int { return p.rows()*parcelRowSize + 16*len(p.addrs) }

// addRecord adds a record as it is stored, unless the parcel has too many rows
// already to be handed on.
func (p *parcel) addRecord(f *rawFlow, r *flow.Record) {
	if p.rows() > freshMost {
		p.overfull = true
		return
	}
	f.start, f.end, f.received = r.Start, r.End, r.Received
	f.sums = measured{1, min(r.Packets, math.MaxInt64), min(r.Bytes, math.MaxInt64)}
	f.cell = cell{int32(r.Exporter), int32(min(r.SamplingRate, math.MaxInt32)), int16(r.Protocol)}
	switch r.IPVersion {
	case 0:
		f.family = valueNull
	case 4:
		f.family = value4
	default:
		f.family = value6
	}
	f.src, f.dst = r.SrcAddr, r.DstAddr
	f.numbers = [6]uint32{0, 0, r.InIf, r.OutIf, r.SrcAS, r.DstAS}
	if r.HasPorts() {
		f.numbers[0], f.numbers[1] = uint32(r.SrcPort)+1, uint32(r.DstPort)+1
	}
	p.add(f)
}

// add adds a flow.
func (p *parcel) add(f *rawFlow) {
	p.records++
	if hour := f.end.Floor(flow.Hour); p.hour == nil || p.at != hour {
		h := p.hours[hour]
		if h == nil {
			h = &hourTally{}
			p.hours[hour] = h
		}
		p.hour, p.at = h, hour
	}
	h := p.hour
	h.records++
	h.lastReceived = max(h.lastReceived, f.received)
	h.lastPage = max(h.lastPage, f.page)

	var src, dst uint32
	switch f.family {
	case value4:
		src, dst = binary.BigEndian.Uint32(f.src[12:]), binary.BigEndian.Uint32(f.dst[12:])
	case value6:
		src = uint32(len(p.addrs))
		dst = src + 1
		p.addrs = append(p.addrs, f.src, f.dst)
	}
	first := f.start.Floor(flow.Minute)
	if f.end <= f.start || f.end <= first+flow.Minute {
		p.row(f, first, &f.sums, src, dst)
		return
	}
	// The parts of a flow over several minutes add up to it; it counts where it
	// starts.
	var before measured
	for bucket := first; bucket < f.end; bucket += flow.Minute {
		now := measured{
			f.sums[0],
			flow.Share(f.sums[1], f.start, f.end, f.start, bucket+flow.Minute),
			flow.Share(f.sums[2], f.start, f.end, f.start, bucket+flow.Minute),
		}
		part := measured{now[0] - before[0], now[1] - before[1], now[2] - before[2]}
		if part != (measured{}) {
			p.row(f, bucket, &part, src, dst)
		}
		before = now
	}
}

func (p *parcel) row(f *rawFlow, bucket flow.Time, part *measured, src, dst uint32) {
	if p.to != 0 && (bucket < p.from || bucket >= p.to) {
		return
	}
	at := p.placeOf(bucket, f)
	p.place = append(p.place, at<<1|uint32(part[0]))
	p.packets = append(p.packets, part[1])
	p.bytes = append(p.bytes, part[2])
	p.src = append(p.src, src)
	p.dst = append(p.dst, dst)
	for i, n := range f.numbers {
		p.numbers[i] = append(p.numbers[i], n)
	}
}

func (p *parcel) placeOf(bucket flow.Time, f *rawFlow) uint32 {
	guess := &p.recent[(uint32(bucket/flow.Minute)*31^uint32(f.cell.protocol)^uint32(f.cell.exporter)*7^uint32(f.family)<<3)%uint32(len(p.recent))]
	if i := *guess; i > 0 {
		if at := &p.places[i-1]; at.bucket == bucket && at.cell == f.cell && at.family == f.family {
			return i - 1
		}
	}
	k := parcelPlace{bucket, f.cell, f.family}
	i, ok := p.byKey[k]
	if !ok {
		i = uint32(len(p.places))
		p.byKey[k] = i
		p.places = append(p.places, k)
	}
	*guess = i + 1
	return i
}

// close finds out which columns are the same throughout: these need not be looked
// at row by row.
func (p *parcel) close() {
	for i, column := range p.numbers {
		p.even[i] = true
		for _, n := range column {
			if n != column[0] {
				p.even[i] = false
				break
			}
		}
	}
}

const (
	// freshRows is how many rows of batches that are not summed are kept in
	// memory: 52 octets each, so 128 MB, and 84 of IPv6. What is more is read from
	// the database.
	freshRows = 2_500_000
	// freshFor is how long. Who sums comes by every few seconds; when it is the
	// Keeper of another process, nobody comes.
	freshFor = 2 * time.Minute
	// freshParts is how many rows a flow may have on average for a batch to be
	// kept.
	freshParts = 16
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
	parcels map[int32]*parcel // by batch
	rows    int
}

// NewHandoff returns an empty Handoff.
func NewHandoff() *Handoff { return &Handoff{parcels: make(map[int32]*parcel)} }

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
func (f *Handoff) Empty() *parcel {
	if f == nil || f.keepers.Load() == 0 {
		return nil
	}
	if p, ok := f.spare.Get().(*parcel); ok {
		p.reset()
		return p
	}
	return newParcel()
}

// Put keeps the parcel of a batch, under its identifier and key, until it is taken,
// unless there are too many. The parcel belongs to the Handoff from then on.
func (f *Handoff) Put(p *parcel) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	weight := p.weight()
	now := time.Now()
	if f.rows+weight > freshRows {
		for _, old := range f.parcels {
			if now.Sub(old.since) > freshFor {
				f.drop(old)
			}
		}
	}
	if p.overfull || f.keepers.Load() == 0 || f.rows+weight > freshRows || p.rows() > freshParts*p.records+1024 {
		f.spare.Put(p)
		return
	}
	if old := f.parcels[p.id]; old != nil {
		f.drop(old)
	}
	p.since = now
	f.parcels[p.id] = p
	f.rows += weight
}

// Reuse takes back a parcel that was summed, for another batch.
func (f *Handoff) Reuse(p *parcel) {
	if f != nil {
		f.spare.Put(p)
	}
}

// weight is a parcel's size in rows of IPv4.
func (p *parcel) weight() int { return p.octets() / parcelRowSize }

// drop takes a parcel out; the lock is held.
func (f *Handoff) drop(p *parcel) {
	delete(f.parcels, p.id)
	f.rows -= p.weight()
	f.spare.Put(p)
}

// Take removes and returns the parcel of a batch, nil when there is none: the batch then
// has to be read from the database.
func (f *Handoff) Take(id int32, key *int64, records int) *parcel {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.parcels[id]
	if p == nil || key == nil || p.key != *key || p.records != records {
		return nil
	}
	delete(f.parcels, id)
	f.rows -= p.weight()
	return p
}
