package rollup

import (
	"iter"

	"flowtally/flow"
)

// Row is what a summary says of one value, or of the remainder of a cell and dimension,
// as a roll-up's table stores it.
type Row struct {
	Cell      Cell
	Dimension Dimension
	// Remainder says that the row is no value, but sums those that have no row.
	Remainder bool
	// Form says what the value is: Addr, Addr2 as well when the dimension is DimPair,
	// Number, or nothing. A remainder is Null.
	Form        Form
	Addr, Addr2 flow.Addr
	Number      uint64

	Sums Sums
	// Bound is the error bound of a value. Of a remainder, it is the most that any
	// dropped value has, by each measure.
	Bound Sums
}

// Rows returns all values in the order of their dimensions, and then the remainders. A
// row is valid until the next one.
func (s *Summary) Rows() iter.Seq[*Row] {
	return func(yield func(*Row) bool) {
		var r Row
		for _, i := range s.byDimension() {
			e := &s.entries[i]
			r = Row{Cell: s.cells[e.cell], Dimension: e.dimension, Form: e.form, Sums: e.sums, Bound: s.bound(i)}
			if e.form == Number {
				r.Number = e.number()
			} else {
				r.Addr, r.Addr2 = e.addr, e.addr2
			}
			if !yield(&r) {
				return
			}
		}
		for k, m := range s.remainders {
			r = Row{Cell: s.cells[k.cell], Dimension: k.dimension, Remainder: true, Sums: m.sums, Bound: m.maxDropped}
			if !yield(&r) {
				return
			}
		}
	}
}

// AddRow adds a row of the same bucket that Rows returned.
func (s *Summary) AddRow(r *Row) {
	cell := s.cell(r.Cell)
	if r.Remainder {
		s.addRemainder(remainderKey{cell, r.Dimension}, &remainder{r.Sums, r.Bound})
		return
	}
	v := value{cell: cell, dimension: r.Dimension, form: r.Form, addr: r.Addr, addr2: r.Addr2}
	if r.Form == Number {
		v.setNumber(r.Number)
	}
	s.addBound(s.add(&v, &r.Sums), r.Bound)
}
