package rollup

import (
	"encoding/binary"
	"errors"
	"math"

	"flowtally/flow"
)

// A summary that waits to be settled is stored as the byte summaryVersion and three
// lists, each after its length: cells, entries, remainders. Numbers are varints.
const summaryVersion = 1

var errSummary = errors.New("a stored summary cannot be read")

// AppendTo appends the encoded summary, which ParseSummary reads.
func (s *Summary) AppendTo(b []byte) []byte {
	b = append(b, summaryVersion)
	b = binary.AppendUvarint(b, uint64(len(s.cells)))
	for _, c := range s.cells {
		b = binary.AppendVarint(b, int64(c.Exporter))
		b = binary.AppendUvarint(b, uint64(uint32(c.Rate)))
		b = binary.AppendVarint(b, int64(c.Protocol))
	}
	b = binary.AppendUvarint(b, uint64(len(s.entries)))
	for i := range s.entries {
		e := &s.entries[i]
		bound := s.bound(int32(i))
		bounded := bound != Sums{}
		tag := byte(e.dimension)<<3 | byte(e.form)<<1
		if bounded {
			tag |= 1
		}
		b = append(b, tag)
		b = binary.AppendUvarint(b, uint64(e.cell))
		switch e.form {
		case IPv4:
			b = append(b, e.addr[12:]...)
			if e.dimension == DimPair {
				b = append(b, e.addr2[12:]...)
			}
		case IPv6:
			b = append(b, e.addr[:]...)
			if e.dimension == DimPair {
				b = append(b, e.addr2[:]...)
			}
		case Number:
			b = binary.AppendUvarint(b, e.number())
		}
		b = e.sums.appendTo(b)
		if bounded {
			b = bound.appendTo(b)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(s.remainders)))
	for k, r := range s.remainders {
		b = binary.AppendUvarint(b, uint64(k.cell))
		b = append(b, byte(k.dimension))
		b = r.sums.appendTo(b)
		b = r.maxDropped.appendTo(b)
	}
	return b
}

func (m *Sums) appendTo(b []byte) []byte {
	for _, v := range m {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

// ParseSummary reads a summary that AppendTo encoded.
func ParseSummary(b []byte) (*Summary, error) {
	r := &summaryReader{b: b}
	if r.byte() != summaryVersion {
		return nil, errSummary
	}
	s := NewSummary()
	for range r.count(3) {
		s.cell(Cell{int32(r.varint()), int32(uint32(r.uvarint())), int16(r.varint())})
	}
	n := r.count(5)
	s.entries, s.indexStale = make([]entry, 0, n), true
	for range n {
		tag := r.byte()
		v := value{dimension: Dimension(tag >> 3), form: Form(tag >> 1 & 3), cell: uint32(r.uvarint())}
		if v.dimension >= DimensionCount || int(v.cell) >= len(s.cells) {
			return nil, errSummary
		}
		switch v.form {
		case IPv4:
			v.addr = flow.Addr4([4]byte{})
			r.read(v.addr[12:])
			if v.dimension == DimPair {
				v.addr2 = flow.Addr4([4]byte{})
				r.read(v.addr2[12:])
			}
		case IPv6:
			r.read(v.addr[:])
			if v.dimension == DimPair {
				r.read(v.addr2[:])
			}
		case Number:
			v.setNumber(r.uvarint())
		}
		sums := r.sums()
		s.entries = append(s.entries, entry{v, sums})
		if tag&1 != 0 {
			s.addBound(int32(len(s.entries)-1), r.sums())
		}
	}
	for range r.count(8) {
		k := remainderKey{cell: uint32(r.uvarint())}
		k.dimension = Dimension(r.byte())
		if k.dimension >= DimensionCount || int(k.cell) >= len(s.cells) {
			return nil, errSummary
		}
		s.remainders[k] = remainder{r.sums(), r.sums()}
	}
	if r.bad || len(r.b) > 0 {
		return nil, errSummary
	}
	return s, nil
}

// summaryReader reads an encoded summary. After an error it reads zeros.
type summaryReader struct {
	b   []byte
	bad bool
}

func (r *summaryReader) fail() { r.bad, r.b = true, nil }

func (r *summaryReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *summaryReader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *summaryReader) read(to []byte) {
	if len(r.b) < len(to) {
		r.fail()
		return
	}
	copy(to, r.b)
	r.b = r.b[len(to):]
}

func (r *summaryReader) byte() byte {
	var b [1]byte
	r.read(b[:])
	return b[0]
}

// count reads the length of a list whose elements take at least size bytes each.
func (r *summaryReader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/size) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *summaryReader) sums() (m Sums) {
	for i := range m {
		m[i] = min(r.uvarint(), math.MaxInt64)
	}
	return m
}
