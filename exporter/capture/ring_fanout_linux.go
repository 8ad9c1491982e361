package capture

import (
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// joinFanout makes captures that receive nothing yet the members of a new group,
// and lets packets in.
func joinFanout(all []live, filter []bpf.RawInstruction) error {
	first := all[0].packetSocket()
	kind := unix.PACKET_FANOUT_CBPF | unix.PACKET_FANOUT_FLAG_UNIQUEID // the kernel finds a number
	if err := unix.SetsockoptInt(first.fd, unix.SOL_PACKET, unix.PACKET_FANOUT, kind<<16); err != nil {
		return fmt.Errorf("fan-out, which needs Linux 4.12: %w", err)
	}
	if err := unix.SetsockoptSockFprog(first.fd, unix.SOL_PACKET, unix.PACKET_FANOUT_DATA, kernelProgram(fanoutProgram(first.link))); err != nil {
		return fmt.Errorf("fan-out program: %w", err)
	}
	id, err := unix.GetsockoptInt(first.fd, unix.SOL_PACKET, unix.PACKET_FANOUT)
	if err != nil {
		return fmt.Errorf("number of the fan-out group: %w", err)
	}
	for _, l := range all[1:] {
		if err := unix.SetsockoptInt(l.packetSocket().fd, unix.SOL_PACKET, unix.PACKET_FANOUT, id&0xffff|unix.PACKET_FANOUT_CBPF<<16); err != nil {
			return fmt.Errorf("fan-out: %w", err)
		}
	}
	for _, l := range all {
		if err := l.packetSocket().attach(filter); err != nil {
			return err
		}
	}
	return nil
}

// fanoutProgram returns, of packets of a link type, a number that depends on the
// two addresses alone, and not on which of them comes first; 0 where it finds
// none.
func fanoutProgram(link uint32) []bpf.RawInstruction {
	// What comes in begins at its network header here, which is behind the one
	// tag that the kernel took off.
	in := addressHash(0, 0, bpf.LoadExtension{Num: bpf.ExtProto})
	// What goes out begins at its link header; where its network header is, of
	// tagged frames, depends on where it comes from.
	out := addressHash(0, 14, bpf.LoadAbsolute{Off: 12, Size: 2})
	if link != linkEthernet {
		const fromNetwork = 0xfff00000 // SKF_NET_OFF: offsets from the network header
		out = addressHash(fromNetwork, 0, bpf.LoadExtension{Num: bpf.ExtProto})
	}
	program := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_OUTGOING, SkipFalse: 1},
		bpf.Jump{Skip: uint32(len(in))},
	}
	program = append(program, in...)
	program = append(program, out...)
	raw, err := bpf.Assemble(program)
	if err != nil {
		panic(err) // of a program that is always the same
	}
	return raw
}

// addressHash is fanoutProgram for packets whose header behind the link's is at
// so many octets from base, and is of the Ethernet type that is loaded.
func addressHash(base, start uint32, ethernetType bpf.Instruction) []bpf.Instruction {
	const (
		offset  = 0 // scratch: of the next header from base; X, too
		kept    = 1 // scratch: A, while something else is in it
		address = 2 // scratch: what was made of the first address
	)
	var program []bpf.Instruction
	emit := func(i ...bpf.Instruction) { program = append(program, i...) }
	load := func(at uint32, size int) { emit(bpf.LoadIndirect{Off: base + at, Size: size}) }
	// when emits the body to be run where A is one of the values.
	when := func(values []uint32, body func()) {
		outer := program
		program = nil
		body()
		inner := program
		program = outer
		for i, v := range values {
			emit(bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipTrue: uint8(len(values) - i)})
		}
		emit(bpf.Jump{Skip: uint32(len(inner))})
		emit(inner...)
	}
	// advance moves the offset, and keeps A.
	advance := func(by uint32) {
		emit(bpf.StoreScratch{Src: bpf.RegA, N: kept},
			bpf.LoadScratch{Dst: bpf.RegA, N: offset},
			bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: by},
			bpf.StoreScratch{Src: bpf.RegA, N: offset},
			bpf.TAX{},
			bpf.LoadScratch{Dst: bpf.RegA, N: kept})
	}
	// mix spreads what is in A over its bits.
	mix := func() {
		emit(bpf.ALUOpConstant{Op: bpf.ALUOpMul, Val: 0x9e3779b1},
			bpf.StoreScratch{Src: bpf.RegA, N: kept},
			bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 15},
			bpf.TAX{},
			bpf.LoadScratch{Dst: bpf.RegA, N: kept},
			bpf.ALUOpX{Op: bpf.ALUOpXor})
	}
	// hash makes a number of an address.
	hash := func(at uint32, words int) {
		load(at, 4)
		for i := 1; i < words; i++ {
			mix()
			emit(bpf.StoreScratch{Src: bpf.RegA, N: kept}, bpf.LoadScratch{Dst: bpf.RegX, N: offset})
			load(at+4*uint32(i), 4)
			emit(bpf.LoadScratch{Dst: bpf.RegX, N: kept}, bpf.ALUOpX{Op: bpf.ALUOpAdd})
		}
		mix()
	}
	// finish returns the hash of two addresses.
	finish := func(src, dst uint32, words int) {
		hash(src, words)
		emit(bpf.StoreScratch{Src: bpf.RegA, N: address}, bpf.LoadScratch{Dst: bpf.RegX, N: offset})
		hash(dst, words)
		emit(bpf.LoadScratch{Dst: bpf.RegX, N: address}, bpf.ALUOpX{Op: bpf.ALUOpAdd})
		mix()
		emit(bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 7}, bpf.RetA{})
	}

	emit(bpf.LoadConstant{Dst: bpf.RegA, Val: start}, bpf.StoreScratch{Src: bpf.RegA, N: offset}, bpf.TAX{}, ethernetType)
	for range 3 {
		when([]uint32{0x8100, 0x88a8, 0x9100, 0x9200, 0x9300}, func() { load(2, 2); advance(4) })
	}
	when([]uint32{0x8864}, func() { // PPPoE
		load(6, 2)
		advance(8)
		when([]uint32{0x0021}, func() { emit(bpf.LoadConstant{Dst: bpf.RegA, Val: 0x0800}) })
		when([]uint32{0x0057}, func() { emit(bpf.LoadConstant{Dst: bpf.RegA, Val: 0x86dd}) })
	})
	when([]uint32{0x8847, 0x8848}, func() { // MPLS
		const label = 0xffffffff // no Ethernet type: another label follows
		emit(bpf.LoadConstant{Dst: bpf.RegA, Val: label})
		for range 6 {
			when([]uint32{label}, func() {
				load(2, 1)
				advance(4)
				emit(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 1})
				when([]uint32{0}, func() { emit(bpf.LoadConstant{Dst: bpf.RegA, Val: label}) })
				when([]uint32{1}, func() {
					load(0, 1) // the version, if it is IP
					emit(bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 4})
					when([]uint32{4}, func() { emit(bpf.LoadConstant{Dst: bpf.RegA, Val: 0x0800}) })
					when([]uint32{6}, func() { emit(bpf.LoadConstant{Dst: bpf.RegA, Val: 0x86dd}) })
				})
			})
		}
	})
	when([]uint32{0x0800}, func() { finish(12, 16, 1) })
	when([]uint32{0x86dd}, func() { finish(8, 24, 4) })
	emit(bpf.RetConstant{Val: 0})
	return program
}
