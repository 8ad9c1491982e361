package rollup

import (
	"encoding/binary"
	"slices"

	"flowtally/flow"
)

// SumParcels returns the summaries of the parcels by minute. Each keeps of a dimension the
// values that Summary.Compact(n, perCell) keeps.
func SumParcels(parcels []*Parcel, n, perCell int) map[flow.Time]*Summary {
	a := &adder{limit: n, perCell: perCell, cellID: make(map[bucketCell]uint32), addrID: make(map[flow.Addr]uint32)}
	for _, p := range parcels {
		a.addGroups(p)
	}
	result := a.makeSummaries()
	a.total()
	keys := a.addressKeys(parcels)
	a.addresses(DimSrcAddr, parcels, func(i int) []uint32 { return keys[i].src })
	a.addresses(DimDstAddr, parcels, func(i int) []uint32 { return keys[i].dst })
	a.pairs(parcels, keys)
	for i := range 6 {
		a.numbers(i, parcels)
	}
	a.sameAddress(parcels, keys)
	for i := range 3 {
		a.sameNumber(i, parcels)
	}
	for _, s := range a.summaries {
		s.indexStale = true
	}
	return result
}

// adder sums the rows of parcels, one dimension after the other, so that the table it
// works on stays in the processor's caches. Values that do not stay never become entries
// of a summary.
type adder struct {
	limit, perCell int // as in Summary.Compact

	// cells are those of all parcels, apart by bucket. Of each, cellBucket is the index
	// of its bucket, and cellIndex its index in the bucket's summary.
	cells      []bucketCell
	cellID     map[bucketCell]uint32
	cellBucket []uint32
	cellIndex  []uint32
	// codes and totals are, by parcel and group, the slot code of the group's cell, and
	// the sums of its rows.
	codes  [][]uint32
	totals [][]Sums

	buckets   []flow.Time // ascending
	summaries []*Summary  // of each bucket

	addrs  []flow.Addr // the IPv6 addresses of all parcels, each once
	addrID map[flow.Addr]uint32

	table  slotTable
	sorted []slot
	values []slot
}

type bucketCell struct {
	bucket flow.Time
	cell   Cell
}

// addGroups adds the cells of a parcel's groups, and sums each group.
func (a *adder) addGroups(p *Parcel) {
	codes := make([]uint32, len(p.groups))
	for i, g := range p.groups {
		c := bucketCell{g.bucket, g.cell}
		id, ok := a.cellID[c]
		if !ok {
			id = uint32(len(a.cells))
			a.cellID[c] = id
			a.cells = append(a.cells, c)
		}
		codes[i] = codeOf(id)
	}
	a.codes = append(a.codes, codes)
	totals := make([]Sums, len(p.groups))
	for i, tag := range p.tags {
		t := &totals[tag>>1]
		t[0] += uint64(tag & 1)
		t[1] = flow.SaturatingAdd(t[1], p.packets[i])
		t[2] = flow.SaturatingAdd(t[2], p.bytes[i])
	}
	a.totals = append(a.totals, totals)
}

// makeSummaries makes a summary without values for each bucket.
func (a *adder) makeSummaries() map[flow.Time]*Summary {
	result := make(map[flow.Time]*Summary)
	for _, c := range a.cells {
		if result[c.bucket] == nil {
			result[c.bucket] = NewSummary()
			a.buckets = append(a.buckets, c.bucket)
		}
	}
	slices.Sort(a.buckets)
	for _, b := range a.buckets {
		a.summaries = append(a.summaries, result[b])
	}
	for _, c := range a.cells {
		i, _ := slices.BinarySearch(a.buckets, c.bucket)
		a.cellBucket = append(a.cellBucket, uint32(i))
		a.cellIndex = append(a.cellIndex, a.summaries[i].cell(c.cell))
	}
	return result
}

func (a *adder) total() {
	a.table.reset(len(a.cells))
	for i, totals := range a.totals {
		for j, t := range totals {
			a.table.add(0, a.codes[i][j], uint32(t[0]), t[1], t[2])
		}
	}
	a.emit(DimTotal, a.table.appendTo(nil))
}

type addressKeys struct{ src, dst []uint32 }

// addressKeys returns the addresses of the parcels as numbers: IPv4 addresses as they
// are, IPv6 addresses as indices into a.addrs.
func (a *adder) addressKeys(parcels []*Parcel) []addressKeys {
	keys := make([]addressKeys, len(parcels))
	for i, p := range parcels {
		keys[i] = addressKeys{p.src, p.dst}
		if len(p.addrs) == 0 {
			continue
		}
		ids := make([]uint32, len(p.addrs))
		for j, addr := range p.addrs {
			n, ok := a.addrID[addr]
			if !ok {
				n = uint32(len(a.addrs))
				a.addrID[addr] = n
				a.addrs = append(a.addrs, addr)
			}
			ids[j] = n
		}
		k := addressKeys{slices.Clone(p.src), slices.Clone(p.dst)}
		for j, tag := range p.tags {
			if p.groups[tag>>1].family == IPv6 {
				k.src[j], k.dst[j] = ids[k.src[j]], ids[k.dst[j]]
			}
		}
		keys[i] = k
	}
	return keys
}

// addressCodes returns the codes of a parcel's groups with the form of their addresses.
func (a *adder) addressCodes(i int, p *Parcel) []uint32 {
	list := slices.Clone(a.codes[i])
	for j := range list {
		list[j] |= uint32(p.groups[j].family)
	}
	return list
}

func (a *adder) addresses(d Dimension, parcels []*Parcel, keys func(i int) []uint32) {
	a.table.reset(1024)
	for i, p := range parcels {
		codes, key := a.addressCodes(i, p), keys(i)
		for j, tag := range p.tags {
			a.table.add(uint64(key[j]), codes[tag>>1], tag&1, p.packets[j], p.bytes[j])
		}
	}
	a.values = a.table.appendTo(a.values[:0])
	a.emit(d, a.values)
}

// pairPartitions is how many partitions the pairs are sorted into by their hash, so that
// the table of each fits the cache.
const pairPartitions = 64

// pairs sums the pairs of addresses, which are nearly as many as the flows.
func (a *adder) pairs(parcels []*Parcel, keys []addressKeys) {
	rows := 0
	for _, p := range parcels {
		rows += p.Rows()
	}
	var ends [pairPartitions + 1]int
	partition := make([]uint8, rows)
	n := 0
	for i, p := range parcels {
		src, dst := keys[i].src, keys[i].dst
		codes := a.addressCodes(i, p)
		for j, tag := range p.tags {
			h := uint8(slotHash(uint64(src[j])<<32|uint64(dst[j]), codes[tag>>1]) >> 58)
			partition[n] = h
			ends[h+1]++
			n++
		}
	}
	for i := range pairPartitions {
		ends[i+1] += ends[i]
	}
	a.sorted = slices.Grow(a.sorted[:0], rows)[:rows]
	next := ends
	n = 0
	for i, p := range parcels {
		src, dst := keys[i].src, keys[i].dst
		codes := a.addressCodes(i, p)
		for j, tag := range p.tags {
			to := &next[partition[n]]
			a.sorted[*to] = slot{uint64(src[j])<<32 | uint64(dst[j]), codes[tag>>1], tag & 1, p.packets[j], p.bytes[j]}
			*to++
			n++
		}
	}
	a.values = a.values[:0]
	for i := range pairPartitions {
		part := a.sorted[ends[i]:ends[i+1]]
		a.table.reset(len(part))
		for j := range part {
			s := &part[j]
			a.table.add(s.key, s.code, s.flows, s.packets, s.bytes)
		}
		a.values = a.table.appendTo(a.values)
	}
	a.emit(DimPair, a.values)
}

// numbers sums the i-th of the numbers of a flow.
func (a *adder) numbers(i int, parcels []*Parcel) {
	a.table.reset(1024)
	for k, p := range parcels {
		codes, column := a.codes[k], p.numbers[i]
		if p.constant[i] {
			for j, t := range a.totals[k] {
				a.number(i, column[0], codes[j], uint32(t[0]), t[1], t[2])
			}
			continue
		}
		for j, tag := range p.tags {
			a.number(i, column[j], codes[tag>>1], tag&1, p.packets[j], p.bytes[j])
		}
	}
	a.values = a.table.appendTo(a.values[:0])
	a.emit(DimSrcPort+Dimension(i), a.values)
}

// number adds to a value of the i-th of the numbers.
func (a *adder) number(i int, n, code, flows uint32, packets, bytes uint64) {
	switch {
	case n == 0:
		a.table.add(0, code|uint32(Null), flows, packets, bytes)
	case i < 2:
		a.table.add(uint64(n-1), code|uint32(Number), flows, packets, bytes)
	default:
		a.table.add(uint64(n), code|uint32(Number), flows, packets, bytes)
	}
}

// sameAddress sums the flows from an address to itself.
func (a *adder) sameAddress(parcels []*Parcel, keys []addressKeys) {
	a.table.reset(1024)
	for i, p := range parcels {
		codes, src, dst := a.addressCodes(i, p), keys[i].src, keys[i].dst
		for j, tag := range p.tags {
			if src[j] == dst[j] {
				a.table.add(uint64(src[j]), codes[tag>>1], tag&1, p.packets[j], p.bytes[j])
			}
		}
	}
	a.values = a.table.appendTo(a.values[:0])
	a.emit(DimSameAddr, a.values)
}

// sameNumber sums the flows whose source and destination have the same port (kind 0),
// interface (1) or AS (2).
func (a *adder) sameNumber(kind int, parcels []*Parcel) {
	a.table.reset(1024)
	i := 2 * kind
	for k, p := range parcels {
		codes, src, dst := a.codes[k], p.numbers[i], p.numbers[i+1]
		if p.constant[i] && p.constant[i+1] {
			if len(src) > 0 && src[0] == dst[0] {
				for j, t := range a.totals[k] {
					a.number(i, src[0], codes[j], uint32(t[0]), t[1], t[2])
				}
			}
			continue
		}
		for j, tag := range p.tags {
			if src[j] == dst[j] {
				a.number(i, src[j], codes[tag>>1], tag&1, p.packets[j], p.bytes[j])
			}
		}
	}
	a.values = a.table.appendTo(a.values[:0])
	a.emit(DimSamePort+Dimension(kind), a.values)
}

// emit adds the values of a dimension to the summaries of their buckets.
func (a *adder) emit(d Dimension, values []slot) {
	limits := a.limits(d, values)
	for i := range values {
		v := &values[i]
		cell := v.cell()
		sums := Sums{uint64(v.flows), v.packets, v.bytes}
		if limits != nil {
			if l := limits.cells[cell]; l != nil && !l.stays(&sums) {
				l.drop(&sums)
				continue
			}
		}
		e := entry{sums: sums, value: value{cell: a.cellIndex[cell], dimension: d, form: v.form()}}
		switch {
		case d == DimTotal:
		case d == DimPair:
			e.addr, e.addr2 = a.addr(e.form, uint32(v.key>>32)), a.addr(e.form, uint32(v.key))
		case d < DimPair, d == DimSameAddr:
			e.addr = a.addr(e.form, uint32(v.key))
		default:
			e.setNumber(v.key)
		}
		s := a.summaries[a.cellBucket[cell]]
		s.entries = append(s.entries, e)
	}
	if limits == nil {
		return
	}
	for cell, l := range limits.cells {
		if l != nil && l.remainder != (remainder{}) {
			a.summaries[a.cellBucket[cell]].remainders[remainderKey{a.cellIndex[cell], d}] = l.remainder
		}
	}
}

// addr returns the address of a key.
func (a *adder) addr(form Form, key uint32) (addr flow.Addr) {
	switch form {
	case IPv4:
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], key)
		addr = flow.Addr4(b)
	case IPv6:
		addr = a.addrs[key]
	}
	return addr
}
