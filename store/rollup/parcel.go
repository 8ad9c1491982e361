package rollup

import (
	"encoding/binary"
	"math"
	"time"

	"flowtally/flow"
)

// pagesBack is how far before the last rows of some batches the next ones'
// may be: writers take turns in a table.
const pagesBack = 2048

// Parcel is what the roll-ups want of some flows, column by column: a row is a
// flow's part in one minute. Most flows are one row.
//
// There are two ways to one: a Writer makes it of the records that it stores, and
// hands it on through memory; and whoever sums what was not handed on, after a
// crash for instance, makes it of the rows that were stored. They are the same.
type Parcel struct {
	// id, key and records are those of the batch, when it is of one.
	Id      int32
	Key     int64
	Records int
	since   time.Time
	// overfull: it has more rows than are handed on, and not all.
	overfull bool

	// Places are the minutes, cells and families that the rows are of.
	Places []parcelPlace
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

	Hours map[flow.Time]*HourTally
	hour  *HourTally // the last one
	at    flow.Time  // its hour
	// From and to bound the minutes, for a rebuild; 0 is no bound.
	From, To flow.Time
}

type parcelPlace struct {
	bucket flow.Time
	cell   Cell
	family Form
}

func NewParcel() *Parcel {
	return &Parcel{byKey: make(map[parcelPlace]uint32), Hours: make(map[flow.Time]*HourTally)}
}

// Reset empties the parcel and keeps its room.
func (p *Parcel) Reset() {
	clear(p.byKey)
	clear(p.Hours)
	n := Parcel{
		Places: p.Places[:0], byKey: p.byKey, place: p.place[:0], packets: p.packets[:0], bytes: p.bytes[:0],
		src: p.src[:0], dst: p.dst[:0], addrs: p.addrs[:0], Hours: p.Hours,
	}
	for i := range p.numbers {
		n.numbers[i] = p.numbers[i][:0]
	}
	*p = n
}

func (p *Parcel) Rows() int { return len(p.place) }

// parcelRowSize is what a row takes in memory, in octets; an IPv6 flow's takes 32
// more.
const parcelRowSize = 4 + 8 + 8 + 4 + 4 + 6*4

// octets is how much memory the rows take.
func (p *Parcel) octets() int { return p.Rows()*parcelRowSize + 16*len(p.addrs) }

// AddRecord adds a record as it is stored, unless the parcel has too many rows
// already to be handed on.
func (p *Parcel) AddRecord(f *Flow, r *flow.Record) {
	if p.Rows() > freshMost {
		p.overfull = true
		return
	}
	f.Start, f.End, f.Received = r.Start, r.End, r.Received
	f.Sums = Sums{1, min(r.Packets, math.MaxInt64), min(r.Bytes, math.MaxInt64)}
	f.Cell = Cell{int32(r.Exporter), int32(min(r.SamplingRate, math.MaxInt32)), int16(r.Protocol)}
	switch r.Family() {
	case 0:
		f.Family = Null
	case 4:
		f.Family = IPv4
	default:
		f.Family = IPv6
	}
	f.Src, f.Dst = r.SrcAddr, r.DstAddr
	f.Numbers = [6]uint32{0, 0, r.InIf, r.OutIf, r.SrcAS, r.DstAS}
	if r.HasSrcPort() {
		f.Numbers[0] = uint32(r.SrcPort) + 1
	}
	if r.HasDstPort() {
		f.Numbers[1] = uint32(r.DstPort) + 1
	}
	p.Add(f)
}

// Add adds a flow.
func (p *Parcel) Add(f *Flow) {
	p.Records++
	if hour := f.End.Floor(flow.Hour); p.hour == nil || p.at != hour {
		h := p.Hours[hour]
		if h == nil {
			h = &HourTally{}
			p.Hours[hour] = h
		}
		p.hour, p.at = h, hour
	}
	h := p.hour
	h.Records++
	h.LastReceived = max(h.LastReceived, f.Received)
	h.LastPage = max(h.LastPage, f.Page)

	var src, dst uint32
	switch f.Family {
	case IPv4:
		src, dst = binary.BigEndian.Uint32(f.Src[12:]), binary.BigEndian.Uint32(f.Dst[12:])
	case IPv6:
		src = uint32(len(p.addrs))
		dst = src + 1
		p.addrs = append(p.addrs, f.Src, f.Dst)
	}
	first := f.Start.Floor(flow.Minute)
	if f.End <= f.Start || f.End <= first+flow.Minute {
		p.row(f, first, &f.Sums, src, dst)
		return
	}
	// The parts of a flow over several minutes add up to it; it counts where it
	// starts.
	var before Sums
	for bucket := first; bucket < f.End; bucket += flow.Minute {
		now := Sums{
			f.Sums[0],
			flow.Share(f.Sums[1], f.Start, f.End, f.Start, bucket+flow.Minute),
			flow.Share(f.Sums[2], f.Start, f.End, f.Start, bucket+flow.Minute),
		}
		part := Sums{now[0] - before[0], now[1] - before[1], now[2] - before[2]}
		if part != (Sums{}) {
			p.row(f, bucket, &part, src, dst)
		}
		before = now
	}
}

func (p *Parcel) row(f *Flow, bucket flow.Time, part *Sums, src, dst uint32) {
	if p.To != 0 && (bucket < p.From || bucket >= p.To) {
		return
	}
	at := p.placeOf(bucket, f)
	p.place = append(p.place, at<<1|uint32(part[0]))
	p.packets = append(p.packets, part[1])
	p.bytes = append(p.bytes, part[2])
	p.src = append(p.src, src)
	p.dst = append(p.dst, dst)
	for i, n := range f.Numbers {
		p.numbers[i] = append(p.numbers[i], n)
	}
}

func (p *Parcel) placeOf(bucket flow.Time, f *Flow) uint32 {
	guess := &p.recent[(uint32(bucket/flow.Minute)*31^uint32(f.Cell.Protocol)^uint32(f.Cell.Exporter)*7^uint32(f.Family)<<3)%uint32(len(p.recent))]
	if i := *guess; i > 0 {
		if at := &p.Places[i-1]; at.bucket == bucket && at.cell == f.Cell && at.family == f.Family {
			return i - 1
		}
	}
	k := parcelPlace{bucket, f.Cell, f.Family}
	i, ok := p.byKey[k]
	if !ok {
		i = uint32(len(p.Places))
		p.byKey[k] = i
		p.Places = append(p.Places, k)
	}
	*guess = i + 1
	return i
}

// Close finds out which columns are the same throughout: these need not be looked
// at row by row.
func (p *Parcel) Close() {
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

// Weight is a parcel's size in rows of IPv4.
func (p *Parcel) Weight() int { return p.octets() / parcelRowSize }

type HourTally struct {
	Records      int
	LastReceived flow.Time
	LastPage     uint32
}

// NextPage is where the rows of the next batches begin, at the earliest, unless a
// batch was very long under way; whoever reads from there counts what it finds.
func (h *HourTally) NextPage() uint32 { return max(h.LastPage, pagesBack) - pagesBack }
