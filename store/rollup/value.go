package rollup

import (
	"encoding/binary"

	"flowtally/flow"
)

// Cell separates values that are equal: the same address of two exporters, of two
// sampling rates or of two protocols is counted in two cells.
type Cell struct {
	Exporter, Rate int32 // a Rate of 0 is not known
	Protocol       int16
}

// Form says what a value is: an address of either family, a number, or Null when the
// flow does not have the field.
type Form uint8

// The forms.
const (
	Null Form = iota
	IPv4
	IPv6
	Number
)

// Sums are flows, packets and bytes. No sum exceeds the largest bigint.
type Sums [3]uint64

// Add adds o to m.
func (m *Sums) Add(o *Sums) {
	for i := range m {
		m[i] = flow.SaturatingAdd(m[i], o[i])
	}
}

// raise raises each measure of m to that of o, where that is larger.
func (m *Sums) raise(o *Sums) {
	for i := range m {
		m[i] = max(m[i], o[i])
	}
}

// value is a value of a dimension in a cell, as a key without pointers.
type value struct {
	cell        uint32 // an index into Summary.cells
	dimension   Dimension
	form        Form
	addr, addr2 flow.Addr // addr2 is the destination of a pair
}

// number returns the value of form Number.
func (v *value) number() uint64 { return binary.BigEndian.Uint64(v.addr[8:]) }

func (v *value) setNumber(n uint64) { binary.BigEndian.PutUint64(v.addr[8:], n) }

// entry is a value and its sums.
type entry struct {
	value
	sums Sums
}

// remainder sums the values of a cell and dimension that have no entry.
type remainder struct {
	sums Sums
	// maxDropped is the most that any of these values has, by each measure.
	maxDropped Sums
}

type remainderKey struct {
	cell      uint32
	dimension Dimension
}
