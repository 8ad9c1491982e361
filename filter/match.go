package filter

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sort"

	"flowtally/flow"
)

// matcher is a compiled filter or a part of one.
type matcher func(*flow.Record, Names) bool

// compile turns the tree into a function. What depends on the text alone is
// decided here, once.
func (f *Filter) compile(e *expr) matcher {
	if e == nil {
		return func(*flow.Record, Names) bool { return true }
	}
	switch e.op {
	case opNot:
		k := f.compile(e.kids[0])
		return func(r *flow.Record, n Names) bool { return !k(r, n) }
	case opAnd, opOr:
		stop := e.op == opOr
		kids := make([]matcher, len(e.kids))
		for i, k := range e.kids {
			kids[i] = f.compile(k)
		}
		if len(kids) == 2 {
			a, b := kids[0], kids[1]
			if stop {
				return func(r *flow.Record, n Names) bool { return a(r, n) || b(r, n) }
			}
			return func(r *flow.Record, n Names) bool { return a(r, n) && b(r, n) }
		}
		return func(r *flow.Record, n Names) bool {
			for _, k := range kids {
				if k(r, n) == stop {
					return stop
				}
			}
			return !stop
		}
	}
	nets, names := f.addresses(e.prim)
	sides := e.prim.f.either()
	kids := make([]matcher, len(sides))
	for i, s := range sides {
		kids[i] = s.compile(e.prim, nets, names)
	}
	switch len(kids) {
	case 1:
		return kids[0]
	case 2:
		a, b := kids[0], kids[1]
		return func(r *flow.Record, n Names) bool { return a(r, n) || b(r, n) }
	}
	return func(r *flow.Record, n Names) bool {
		for _, k := range kids {
			if k(r, n) {
				return true
			}
		}
		return false
	}
}

// compile makes the matcher of one side of a primitive.
func (f *field) compile(p *prim, nets []netip.Prefix, names []string) matcher {
	if f.test != nil {
		return f.test
	}
	var any []matcher
	num := f.num
	if mask := p.mask; mask != 0 {
		any = append(any, func(r *flow.Record, n Names) bool {
			v, ok := num(r, n)
			return ok && v&mask == mask
		})
	}
	switch {
	case len(p.nums) == 1:
		lo, width := p.nums[0].lo, p.nums[0].hi-p.nums[0].lo
		any = append(any, func(r *flow.Record, n Names) bool {
			v, ok := num(r, n)
			return ok && v-lo <= width
		})
	case len(p.nums) > 1:
		nums := p.nums
		any = append(any, func(r *flow.Record, n Names) bool {
			v, ok := num(r, n)
			if !ok {
				return false
			}
			i := sort.Search(len(nums), func(i int) bool { return nums[i].hi >= v })
			return i < len(nums) && nums[i].lo <= v
		})
	}
	if len(nets) > 0 {
		any = append(any, f.compileNets(nets))
	}
	if len(names) > 0 {
		switch f.kind {
		case kindText, kindMAC:
			str := f.str
			any = append(any, func(r *flow.Record, n Names) bool {
				v, ok := str(r, n)
				if !ok {
					return false
				}
				_, found := slices.BinarySearchFunc(names, v, func(a string, b []byte) int {
					switch {
					case a < string(b):
						return -1
					case a > string(b):
						return 1
					}
					return 0
				})
				return found
			})
		case kindExporter:
			any = append(any, func(r *flow.Record, n Names) bool {
				if n == nil {
					return false
				}
				name, _ := n.Exporter(r.Exporter)
				_, found := slices.BinarySearch(names, name)
				return found && name != ""
			})
		case kindInterface:
			any = append(any, func(r *flow.Record, n Names) bool {
				i, ok := num(r, n)
				if n == nil || !ok {
					return false
				}
				name := n.Interface(r.Exporter, uint32(i))
				_, found := slices.BinarySearch(names, name)
				return found && name != ""
			})
		}
	}
	switch len(any) {
	case 0:
		return func(*flow.Record, Names) bool { return false }
	case 1:
		return any[0]
	}
	return func(r *flow.Record, n Names) bool {
		for _, m := range any {
			if m(r, n) {
				return true
			}
		}
		return false
	}
}

// block is a network as two numbers of 128 bits.
type block struct{ loHi, loLo, hiHi, hiLo uint64 }

func blockOf(n netip.Prefix) block {
	from, to := bounds(n)
	a, b := from.As16(), to.As16()
	return block{
		binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:]),
		binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:]),
	}
}

func (b *block) has(hi, lo uint64) bool {
	return (hi > b.loHi || hi == b.loHi && lo >= b.loLo) && (hi < b.hiHi || hi == b.hiHi && lo <= b.hiLo)
}

// bounds returns the first and the last address of a network.
func bounds(n netip.Prefix) (from, to netip.Addr) {
	from = n.Masked().Addr()
	if from.Is4() {
		b := from.As4()
		for i := n.Bits(); i < 32; i++ {
			b[i/8] |= 0x80 >> (i % 8)
		}
		return from, netip.AddrFrom4(b)
	}
	b := from.As16()
	for i := n.Bits(); i < 128; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return from, netip.AddrFrom16(b)
}

// compileNets makes the matcher of networks, which are sorted and disjoint.
func (f *field) compileNets(nets []netip.Prefix) matcher {
	addr := f.addr
	if len(nets) == 1 {
		b, fam := blockOf(nets[0]), family(6)
		if nets[0].Addr().Is4() {
			fam = 4
		}
		return func(r *flow.Record, n Names) bool {
			a, is := addr(r, n)
			return is == fam && b.has(binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:]))
		}
	}
	var v4, v6 []block
	for _, n := range nets {
		if n.Addr().Is4() {
			v4 = append(v4, blockOf(n))
		} else {
			v6 = append(v6, blockOf(n))
		}
	}
	return func(r *flow.Record, n Names) bool {
		a, is := addr(r, n)
		if is == 0 {
			return false
		}
		blocks := v6
		if is == 4 {
			blocks = v4
		}
		hi, lo := binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])
		i := sort.Search(len(blocks), func(i int) bool {
			b := &blocks[i]
			return hi < b.hiHi || hi == b.hiHi && lo <= b.hiLo
		})
		return i < len(blocks) && blocks[i].has(hi, lo)
	}
}
