package capture

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"github.com/google/gopacket"
	"golang.org/x/net/bpf"
)

// patience is after how many packets in a row that a filter did not want a read
// gives ErrTimeout, so that the reader gets to what is due on a busy link, too.
const patience = 4096

// Filtered gives the packets of src that a classic BPF program wants, as the
// kernel does with InterfaceConfig.Filter: the program sees the packet from its
// link header on, and what it returns is how many octets are kept. It counts what
// it leaves out in Stats.Filtered.
//
// The program must be of src's link type, and src of one; see FilteredByLink for
// others. Programs that ask the kernel for more than the packet has (its
// interface, its type) are refused, as are those that could run off their end.
func Filtered(src Source, program []bpf.RawInstruction) (Source, error) {
	if err := checkProgram(program); err != nil {
		return nil, fmt.Errorf("capture: filter: %w", err)
	}
	program = append([]bpf.RawInstruction(nil), program...)
	compile := func(uint32) ([]bpf.RawInstruction, error) { return program, nil }
	return FilteredByLink(src, compile), nil
}

// FilteredByLink is Filtered with a program for each link type, which compile is
// asked for when the first packet of that type comes: the interfaces of one
// pcapng file may differ, and so may the clients of a mirror tunnel. Where there
// is no program for one, the read that comes to its first packet fails, and so
// does every further one.
func FilteredByLink(src Source, compile func(link uint32) ([]bpf.RawInstruction, error)) Source {
	return &filtered{src: Batch(src), compile: compile, programs: map[uint32][]bpf.RawInstruction{}}
}

// filtered is a Source behind programs.
type filtered struct {
	src      Batcher
	compile  func(link uint32) ([]bpf.RawInstruction, error)
	programs map[uint32][]bpf.RawInstruction
	program  []bpf.RawInstruction // that of link, nil before the first packet
	link     uint32
	err      error // of compile: what was read before it is given first
	out      atomic.Uint64
	last     uint32 // link type of the packet last given
	given    bool
	one      [1]Packet
}

func (f *filtered) Unwrap() Source { return f.src }

func (f *filtered) ZeroCopyReadPacketData() ([]byte, gopacket.CaptureInfo, error) {
	if _, err := f.ReadBatch(f.one[:]); err != nil {
		return nil, gopacket.CaptureInfo{}, err
	}
	return f.one[0].Data, f.one[0].info(), nil
}

func (f *filtered) ReadBatch(dst []Packet) (int, error) {
	for refused := 0; refused < patience; {
		if f.err != nil {
			return 0, f.err
		}
		n, err := f.src.ReadBatch(dst)
		kept := 0
		for i := range dst[:n] {
			p := &dst[i]
			if p.Link != f.link || f.program == nil {
				if f.use(p.Link); f.err != nil {
					n = i
					break
				}
			}
			keep := runProgram(f.program, p.Data, p.Length)
			if keep == 0 {
				continue
			}
			if keep < uint32(len(p.Data)) {
				p.Data = p.Data[:keep:keep]
			}
			if kept != i {
				dst[kept] = *p
			}
			kept++
		}
		f.out.Add(uint64(n - kept))
		if kept > 0 {
			f.last, f.given = dst[kept-1].Link, true
			return kept, nil
		}
		if err != nil || len(dst) == 0 {
			return 0, err
		}
		refused += n
	}
	return 0, ErrTimeout
}

// use makes the program for a link type the one that runs.
func (f *filtered) use(link uint32) {
	program := f.programs[link]
	if program == nil {
		var err error
		if program, err = f.compile(link); err == nil {
			err = checkProgram(program)
		}
		if err != nil {
			f.err = fmt.Errorf("capture: filter for link type %d: %w", link, err)
			return
		}
		f.programs[link] = program
	}
	f.link, f.program = link, program
}

// LinkType is that of the packet last given, and before the first the Source's.
func (f *filtered) LinkType() uint32 {
	if !f.given {
		return f.src.LinkType()
	}
	return f.last
}

func (f *filtered) Stats() Stats {
	s := f.src.Stats()
	s.Filtered += f.out.Load()
	return s
}

func (f *filtered) Close() error { return f.src.Close() }

// Classic BPF (bpf(4), linux/bpf_common.h): the opcodes as they are encoded, class
// and what the class needs, because a program is run in this form.
const (
	ldW, ldH, ldB    = 0x20, 0x28, 0x30 // A = P[k]
	ldiW, ldiH, ldiB = 0x40, 0x48, 0x50 // A = P[X+k]
	ldLen, ldxLen    = 0x80, 0x81       // A, X = the packet's length
	ldImm, ldxImm    = 0x00, 0x01
	ldMem, ldxMem    = 0x60, 0x61
	ldxMsh           = 0xb1 // X = 4 * (P[k] & 15)
	stA, stX         = 0x02, 0x03

	aluK, aluX, neg = 0x04, 0x0c, 0x84

	ja                 = 0x05
	jeqK, jeqX         = 0x15, 0x1d
	jgtK, jgtX         = 0x25, 0x2d
	jgeK, jgeX         = 0x35, 0x3d
	jsetK, jsetX       = 0x45, 0x4d
	retK, retA         = 0x06, 0x16
	tax, txa           = 0x07, 0x87
	scratch            = 16
	maxProgram         = 4096
	firstExtension     = 0xfff00000 // offsets from here on ask the kernel
	add, sub, mul, div = 0x00, 0x10, 0x20, 0x30
	or, and, lsh, rsh  = 0x40, 0x50, 0x60, 0x70
	mod, xor           = 0x90, 0xa0
)

// checkProgram reports why a program cannot be run to an end.
func checkProgram(program []bpf.RawInstruction) error {
	if len(program) == 0 || len(program) > maxProgram {
		return fmt.Errorf("a program of %d instructions; want 1 to %d", len(program), maxProgram)
	}
	for n, i := range program {
		wrong := func(format string, args ...any) error {
			return fmt.Errorf("instruction %d (%#02x): %s", n, i.Op, fmt.Sprintf(format, args...))
		}
		left := uint64(len(program) - n - 1) // instructions behind this one
		switch i.Op {
		case ldW, ldH, ldB, ldiW, ldiH, ldiB, ldxMsh:
			if i.K >= firstExtension {
				return wrong("asks the kernel for what no file has")
			}
		case ldLen, ldxLen, ldImm, ldxImm, tax, txa, neg, retK, retA:
		case ldMem, ldxMem, stA, stX:
			if i.K >= scratch {
				return wrong("memory cell %d, of %d", i.K, scratch)
			}
		case aluK | div, aluK | mod:
			if i.K == 0 {
				return wrong("divides by zero")
			}
		case aluK | lsh, aluK | rsh:
			if i.K > 31 {
				return wrong("shifts by %d bits", i.K)
			}
		case aluK | add, aluK | sub, aluK | mul, aluK | or, aluK | and, aluK | xor,
			aluX | add, aluX | sub, aluX | mul, aluX | div, aluX | or, aluX | and, aluX | lsh, aluX | rsh, aluX | mod, aluX | xor:
		case ja:
			if uint64(i.K) >= left {
				return wrong("jumps beyond the program's end")
			}
		case jeqK, jeqX, jgtK, jgtX, jgeK, jgeX, jsetK, jsetX:
			if uint64(max(i.Jt, i.Jf)) >= left {
				return wrong("jumps beyond the program's end")
			}
		default:
			return wrong("no such instruction")
		}
	}
	switch program[len(program)-1].Op {
	case retK, retA:
		return nil
	}
	return fmt.Errorf("the program does not end with a return")
}

// runProgram returns what a checked program returns for a packet of so many
// octets, of which some are there. Reading beyond those returns 0.
func runProgram(program []bpf.RawInstruction, packet []byte, length uint32) uint32 {
	var a, x uint32
	var memory [scratch]uint32
	for pc := 0; pc < len(program); pc++ {
		i := &program[pc]
		k := i.K
		var yes bool // of a condition
		switch i.Op {
		case ldW, ldiW:
			at := uint64(k)
			if i.Op == ldiW {
				at += uint64(x)
			}
			if at+4 > uint64(len(packet)) {
				return 0
			}
			a = binary.BigEndian.Uint32(packet[at:])
			continue
		case ldH, ldiH:
			at := uint64(k)
			if i.Op == ldiH {
				at += uint64(x)
			}
			if at+2 > uint64(len(packet)) {
				return 0
			}
			a = uint32(binary.BigEndian.Uint16(packet[at:]))
			continue
		case ldB, ldiB:
			at := uint64(k)
			if i.Op == ldiB {
				at += uint64(x)
			}
			if at >= uint64(len(packet)) {
				return 0
			}
			a = uint32(packet[at])
			continue
		case ldxMsh:
			if uint64(k) >= uint64(len(packet)) {
				return 0
			}
			x = uint32(packet[k]&0x0f) * 4
			continue
		case jeqK:
			yes = a == k
		case jeqX:
			yes = a == x
		case jgtK:
			yes = a > k
		case jgtX:
			yes = a > x
		case jgeK:
			yes = a >= k
		case jgeX:
			yes = a >= x
		case jsetK:
			yes = a&k != 0
		case jsetX:
			yes = a&x != 0
		case ja:
			pc += int(k)
			continue
		case retK:
			return k
		case retA:
			return a
		case ldLen:
			a = length
			continue
		case ldxLen:
			x = length
			continue
		case ldImm:
			a = k
			continue
		case ldxImm:
			x = k
			continue
		case ldMem:
			a = memory[k]
			continue
		case ldxMem:
			x = memory[k]
			continue
		case stA:
			memory[k] = a
			continue
		case stX:
			memory[k] = x
			continue
		case tax:
			x = a
			continue
		case txa:
			a = x
			continue
		case neg:
			a = -a
			continue
		default:
			operand := k
			if i.Op&0x08 != 0 {
				operand = x
			}
			switch i.Op & 0xf0 {
			case add:
				a += operand
			case sub:
				a -= operand
			case mul:
				a *= operand
			case div:
				if operand == 0 {
					return 0
				}
				a /= operand
			case mod:
				if operand == 0 {
					return 0
				}
				a %= operand
			case or:
				a |= operand
			case and:
				a &= operand
			case xor:
				a ^= operand
			case lsh:
				a <<= operand
			case rsh:
				a >>= operand
			}
			continue
		}
		if yes {
			pc += int(i.Jt)
		} else {
			pc += int(i.Jf)
		}
	}
	return 0
}
