package rollup

import (
	"encoding/binary"
	"math"
	"time"

	"flowtally/flow"
)

// Flow is what the roll-ups need of a flow.
type Flow struct {
	Start, End flow.Time
	Received   flow.Time
	Sums       Sums // one flow, its packets and bytes
	Cell       Cell
	Family     Form // IPv4, IPv6, or Null without addresses
	Src, Dst   flow.Addr
	Numbers    [6]uint32 // src_port and dst_port plus 1, in_if, out_if, src_as, dst_as; 0: not known
	Batch      int32
	Page       uint32 // the page of its table that holds its row
}

// Parcel holds what the roll-ups need of some flows, column by column: a row is a flow's
// part in one minute. Most flows are one row.
//
// A parcel is filled in one of two ways: a Writer adds the records that it stores, and
// hands it over in memory; or, after a crash for instance, whoever sums adds the rows
// that were stored. The parcels are the same.
type Parcel struct {
	// ID, Key and Records are those of the batch whose flows these are.
	ID      int32
	Key     int64
	Records int
	// handedOver is when the Handoff received it.
	handedOver time.Time
	// incomplete says that some flows were left out: the parcel has more rows than
	// are handed over.
	incomplete bool

	groups     []group
	groupIndex map[group]uint32
	recent     [64]uint32 // of groups seen lately the index plus 1, by a hash

	// tags are, of each row, its group's index, twice, plus 1 where the flow counts.
	tags           []uint32
	packets, bytes []uint64
	// src and dst are IPv4 addresses, or indices into addrs.
	src, dst []uint32
	addrs    []flow.Addr
	// numbers are as in Flow; constant says which of them are the same in all rows.
	numbers  [6][]uint32
	constant [6]bool

	// Hours are the flows by the hour that they end in.
	Hours    map[flow.Time]*HourTally
	lastHour flow.Time
	last     *HourTally // of lastHour

	// From and To bound the minutes that are counted, for a rebuild; a To of 0 is no
	// bound.
	From, To flow.Time
}

// group is what many rows of a parcel have in common.
type group struct {
	bucket flow.Time
	cell   Cell
	family Form
}

// HourTally is what is known of some flows that end in one hour.
type HourTally struct {
	Records      int
	LastReceived flow.Time
	LastPage     uint32 // the last page of the hour's table that holds one of them
}

// pagesBack is how many pages before the last rows of some batches the rows of the next
// batches may begin: several writers share a table.
const pagesBack = 2048

// NextPage returns the page at which the rows of later batches begin, at the earliest,
// unless a batch took very long to be stored. Whoever reads from there counts the rows.
func (h *HourTally) NextPage() uint32 { return max(h.LastPage, pagesBack) - pagesBack }

// NewParcel returns an empty Parcel.
func NewParcel() *Parcel {
	return &Parcel{groupIndex: make(map[group]uint32), Hours: make(map[flow.Time]*HourTally)}
}

// Reset empties the parcel and keeps its memory.
func (p *Parcel) Reset() {
	clear(p.groupIndex)
	clear(p.Hours)
	n := Parcel{
		groups: p.groups[:0], groupIndex: p.groupIndex, tags: p.tags[:0], packets: p.packets[:0], bytes: p.bytes[:0],
		src: p.src[:0], dst: p.dst[:0], addrs: p.addrs[:0], Hours: p.Hours,
	}
	for i := range p.numbers {
		n.numbers[i] = p.numbers[i][:0]
	}
	*p = n
}

// Rows returns how many rows the parcel has.
func (p *Parcel) Rows() int { return len(p.tags) }

// Groups returns how many combinations of minute, cell and address family the rows have.
func (p *Parcel) Groups() int { return len(p.groups) }

// rowSize is how many bytes of memory a row takes; an IPv6 flow takes 32 more.
const rowSize = 4 + 8 + 8 + 4 + 4 + 6*4

// Weight returns the parcel's size in rows of IPv4.
func (p *Parcel) Weight() int { return (p.Rows()*rowSize + 16*len(p.addrs)) / rowSize }

// AddRecord adds a record as it is stored. It leaves the record out when the parcel has
// more rows already than are handed over. The caller provides f to save an allocation.
func (p *Parcel) AddRecord(f *Flow, r *flow.Record) {
	if p.Rows() > maxParcelRows {
		p.incomplete = true
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
	if hour := f.End.Floor(flow.Hour); p.last == nil || p.lastHour != hour {
		h := p.Hours[hour]
		if h == nil {
			h = &HourTally{}
			p.Hours[hour] = h
		}
		p.last, p.lastHour = h, hour
	}
	h := p.last
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
		p.addRow(f, first, &f.Sums, src, dst)
		return
	}
	// The shares of a flow that lasts several minutes add up to it. It counts as one
	// flow in the minute in which it starts.
	var before Sums
	for bucket := first; bucket < f.End; bucket += flow.Minute {
		now := Sums{
			f.Sums[0],
			flow.Share(f.Sums[1], f.Start, f.End, f.Start, bucket+flow.Minute),
			flow.Share(f.Sums[2], f.Start, f.End, f.Start, bucket+flow.Minute),
		}
		share := Sums{now[0] - before[0], now[1] - before[1], now[2] - before[2]}
		if share != (Sums{}) {
			p.addRow(f, bucket, &share, src, dst)
		}
		before = now
	}
}

func (p *Parcel) addRow(f *Flow, bucket flow.Time, share *Sums, src, dst uint32) {
	if p.To != 0 && (bucket < p.From || bucket >= p.To) {
		return
	}
	p.tags = append(p.tags, p.group(bucket, f)<<1|uint32(share[0]))
	p.packets = append(p.packets, share[1])
	p.bytes = append(p.bytes, share[2])
	p.src = append(p.src, src)
	p.dst = append(p.dst, dst)
	for i, n := range f.Numbers {
		p.numbers[i] = append(p.numbers[i], n)
	}
}

// group returns the index of a row's group, and adds the group when it is new.
func (p *Parcel) group(bucket flow.Time, f *Flow) uint32 {
	guess := &p.recent[(uint32(bucket/flow.Minute)*31^uint32(f.Cell.Protocol)^uint32(f.Cell.Exporter)*7^uint32(f.Family)<<3)%uint32(len(p.recent))]
	if i := *guess; i > 0 {
		if g := &p.groups[i-1]; g.bucket == bucket && g.cell == f.Cell && g.family == f.Family {
			return i - 1
		}
	}
	g := group{bucket, f.Cell, f.Family}
	i, ok := p.groupIndex[g]
	if !ok {
		i = uint32(len(p.groups))
		p.groupIndex[g] = i
		p.groups = append(p.groups, g)
	}
	*guess = i + 1
	return i
}

// Close ends the adding of flows. It finds out which columns are constant, so that
// SumParcels need not read these row by row.
func (p *Parcel) Close() {
	for i, column := range p.numbers {
		p.constant[i] = true
		for _, n := range column {
			if n != column[0] {
				p.constant[i] = false
				break
			}
		}
	}
}
