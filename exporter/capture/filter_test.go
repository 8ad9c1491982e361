package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
)

// numbered is a capture of frames with the numbers below n.
func numbered(n int) []byte {
	file := header(little, micro, 2, 4, 65535, 1)
	for i := range n {
		f := append([]byte("\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x88\xb5"), binary.BigEndian.AppendUint32(nil, uint32(i))...)
		file = append(file, packetRecord(little, second, uint32(i%1000000), string(append(f, make([]byte, 40)...)))...)
	}
	return file
}

// thirds wants each third of numbered's frames, and keeps 20 octets.
func thirds(t testing.TB) []bpf.RawInstruction {
	t.Helper()
	raw, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 14, Size: 4},
		bpf.ALUOpConstant{Op: bpf.ALUOpMod, Val: 3},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipFalse: 1},
		bpf.RetConstant{Val: 20},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// What a filter wants is given in order, the rest is counted: wanted + left out =
// all, one by one and in batches.
func TestFiltered(t *testing.T) {
	const all = 20000
	for _, size := range []int{1, 64} {
		src, err := NewReader(bytes.NewReader(numbered(all)))
		if err != nil {
			t.Fatal(err)
		}
		s, err := Filtered(src, thirds(t))
		if err != nil {
			t.Fatal(err)
		}
		dst := make([]Packet, size)
		next := uint32(0)
		for {
			n, err := s.(Batcher).ReadBatch(dst)
			for _, p := range dst[:n] {
				if number := binary.BigEndian.Uint32(p.Data[14:]); number != next || len(p.Data) != 20 || p.Length != 58 || p.Link != 1 {
					t.Fatalf("frame %d, want %d: %d octets of %d, link type %d", number, next, len(p.Data), p.Length, p.Link)
				}
				next += 3
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if wanted := uint64(next / 3); wanted != (all+2)/3 || s.Stats() != (Stats{Filtered: all - wanted}) || s.LinkType() != 1 {
			t.Errorf("%d wanted, %+v", wanted, s.Stats())
		}
		if p, ok := As[Positioner](s); !ok {
			t.Error("the file's position is not to be had behind the filter")
		} else if done, _ := p.Position(); done == 0 {
			t.Error("position 0 at the end")
		}
	}
}

// Each link type has its program; where there is none, what comes before that
// is given first, and then the error.
func TestFilteredByLink(t *testing.T) {
	file := join(section(little, 1, 0), description(little, 1, 0), description(little, 276, 0), description(little, 101, 0),
		packetBlock(little, 0, 0, "one"), packetBlock(little, 1, 0, "two"), packetBlock(little, 0, 0, "three"), packetBlock(little, 1, 0, "four"),
		packetBlock(little, 0, 0, "five"), packetBlock(little, 2, 0, "six"), packetBlock(little, 0, 0, "seven"))
	for _, size := range []int{1, 3, 10} {
		src, err := NewReader(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		asked := map[uint32]int{}
		broken := errors.New("no such header")
		s := FilteredByLink(src, func(link uint32) ([]bpf.RawInstruction, error) {
			asked[link]++
			switch link {
			case 1:
				return program1(100), nil
			case 276:
				return program1(0), nil
			}
			return nil, broken
		})
		var got []string
		dst := make([]Packet, size)
		for err == nil {
			var n int
			n, err = s.(Batcher).ReadBatch(dst)
			if (n == 0) != (err != nil) {
				t.Fatalf("%d packets and %v", n, err)
			}
			for _, p := range dst[:n] {
				got = append(got, fmt.Sprintf("%d %s", p.Link, p.Data))
			}
		}
		if !errors.Is(err, broken) || err.Error() != "capture: filter for link type 101: no such header" {
			t.Errorf("%v", err)
		}
		if want := "1 one, 1 three, 1 five"; strings.Join(got, ", ") != want || s.Stats().Filtered != 2 || s.LinkType() != 1 {
			t.Errorf("%q, want %s; %+v", got, want, s.Stats())
		}
		if asked[1] != 1 || asked[276] != 1 {
			t.Errorf("programs were asked for more than once: %v", asked)
		}
	}
}

// A filter that wants nothing still lets the reader come to what is due.
func TestFilteredNothing(t *testing.T) {
	src, err := NewReader(bytes.NewReader(numbered(2 * patience)))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Filtered(src, program1(0))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []error{ErrTimeout, ErrTimeout, io.EOF} {
		if _, _, err := s.ZeroCopyReadPacketData(); err != want {
			t.Errorf("%v, want %v", err, want)
		}
	}
}

// program1 returns a number.
func program1(k uint32) []bpf.RawInstruction { return []bpf.RawInstruction{{Op: retK, K: k}} }

// A program that cannot be run is refused, and why is said.
func TestFilteredRefuses(t *testing.T) {
	for want, program := range map[string][]bpf.RawInstruction{
		"a program of 0 instructions":                                nil,
		"a program of 4097 instructions":                             make([]bpf.RawInstruction, 4097),
		"instruction 0 (0x20): asks the kernel":                      {{Op: ldW, K: 0xfffff004}, {Op: retA}},
		"instruction 0 (0x60): memory cell 16, of 16":                {{Op: ldMem, K: 16}, {Op: retA}},
		"instruction 0 (0x34): divides by zero":                      {{Op: aluK | div}, {Op: retA}},
		"instruction 0 (0x64): shifts by 32 bits":                    {{Op: aluK | lsh, K: 32}, {Op: retA}},
		"instruction 0 (0x05): jumps beyond the program's end":       {{Op: ja, K: 1}, {Op: retA}},
		"instruction 0 (0x15): jumps beyond the program's end":       {{Op: jeqK, Jf: 1}, {Op: retA}},
		"instruction 0 (0xff): no such instruction":                  {{Op: 0xff}, {Op: retA}},
		"capture: filter: the program does not end with a return":    {{Op: tax}},
		"instruction 1 (0x05): jumps beyond the program's end":       {{Op: tax}, {Op: ja, K: 0xffffffff}, {Op: retA}},
		"instruction 0 (0x30): asks the kernel for what no file has": {{Op: ldB, K: 0xfff00000}, {Op: retA}},
		"instruction 0 (0xb1): asks the kernel for what no file has": {{Op: ldxMsh, K: 0xffffffff}, {Op: retA}},
		"instruction 0 (0x02): memory cell 4294967295, of 16":        {{Op: stA, K: 0xffffffff}, {Op: retA}},
		"instruction 0 (0x94): divides by zero":                      {{Op: aluK | mod}, {Op: retA}},
		"instruction 0 (0x74): shifts by 4294967295 bits":            {{Op: aluK | rsh, K: 0xffffffff}, {Op: retA}},
		"instruction 0 (0x1d): jumps beyond the program's end":       {{Op: jeqX, Jt: 255}, {Op: retA}},
		"instruction 0 (0x18): no such instruction":                  {{Op: 0x18}, {Op: retA}},
	} {
		src, err := NewReader(bytes.NewReader(numbered(1)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Filtered(src, program); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// A filter takes no allocation.
func TestFilteredAllocs(t *testing.T) {
	src, err := NewReader(loops(1e6)["pcap"])
	if err != nil {
		t.Fatal(err)
	}
	s, err := Filtered(src, program1(60))
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() {
		if _, _, err := s.ZeroCopyReadPacketData(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

// opcodes are those of a program that a fuzzer makes, by index.
var opcodes = []uint16{
	ldW, ldH, ldB, ldiW, ldiH, ldiB, ldLen, ldImm, ldxImm, ldMem, ldxMem, ldxMsh, stA, stX, neg, ja,
	jeqK, jeqX, jgtK, jgtX, jgeK, jgeX, jsetK, jsetX, retK, retA, tax, txa,
	aluK | add, aluK | sub, aluK | mul, aluK | div, aluK | or, aluK | and, aluK | lsh, aluK | rsh, aluK | mod, aluK | xor,
	aluX | add, aluX | sub, aluX | mul, aluX | div, aluX | or, aluX | and, aluX | lsh, aluX | rsh, aluX | mod, aluX | xor,
}

// FuzzProgram: a program that is accepted runs to its end on any packet, and does
// what the virtual machine of golang.org/x/net/bpf does where that one takes it.
func FuzzProgram(f *testing.F) {
	f.Add([]byte{0, 0, 0, 12, 26, 0, 0, 0, 8, 1, 0, 9, 24, 0, 0, 96}, []byte("0123456789abcdefghi"))
	f.Add([]byte{11, 0, 0, 14, 4, 0, 0, 2, 31, 0, 0, 3, 46, 0, 0, 0, 25, 0, 0, 0}, bytes.Repeat([]byte{0x45}, 60))
	f.Add([]byte{6, 0, 0, 0, 12, 0, 0, 3, 10, 0, 0, 3, 43, 0, 0, 0, 14, 0, 0, 0, 20, 1, 1, 0, 25, 0, 0, 0, 24, 0, 0, 1}, []byte{1})
	f.Fuzz(func(t *testing.T, code, packet []byte) {
		var program []bpf.RawInstruction
		for ; len(code) >= 4 && len(program) < 100; code = code[4:] {
			k := uint32(code[3])
			if k > 250 {
				k = 0xffffffff - (255 - k)
			}
			program = append(program, bpf.RawInstruction{Op: opcodes[int(code[0])%len(opcodes)], Jt: code[1], Jf: code[2], K: k})
		}
		if checkProgram(program) != nil {
			return
		}
		got := runProgram(program, packet, uint32(len(packet)))
		for _, i := range program {
			if i.Op == ldxLen {
				return
			}
		}
		instructions, ok := bpf.Disassemble(program)
		if !ok {
			return
		}
		vm, err := bpf.NewVM(instructions)
		if err != nil {
			return
		}
		want, err := vm.Run(packet)
		if err == nil && got != uint32(want) {
			t.Errorf("%d, want %d of %v", got, want, instructions)
		}
	})
}

// BenchmarkFiltered runs what libpcap makes of "tcp port 80" on a frame that it
// wants.
func BenchmarkFiltered(b *testing.B) {
	raw, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 12, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x0800, SkipFalse: 9},
		bpf.LoadAbsolute{Off: 23, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 6, SkipFalse: 7},
		bpf.LoadAbsolute{Off: 20, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1fff, SkipTrue: 5},
		bpf.LoadMemShift{Off: 14},
		bpf.LoadIndirect{Off: 14, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 80, SkipTrue: 2},
		bpf.LoadIndirect{Off: 16, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 80, SkipFalse: 1},
		bpf.RetConstant{Val: 262144},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		b.Fatal(err)
	}
	packet := make([]byte, 60)
	packet[12], packet[14], packet[23], packet[37] = 8, 0x45, 6, 80
	b.ReportAllocs()
	for b.Loop() {
		if runProgram(raw, packet, 60) == 0 {
			b.Fatal("not wanted")
		}
	}
}

// Errors of the Source come through.
func TestFilteredError(t *testing.T) {
	file := numbered(5)
	src, err := NewReader(bytes.NewReader(file[:len(file)-1]))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Filtered(src, program1(100))
	if err != nil {
		t.Fatal(err)
	}
	got, err := packets(s, nil)
	if len(got) != 4 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%d packets, %v", len(got), fmt.Sprint(err))
	}
}
