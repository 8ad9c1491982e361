// Package pcapfilter compiles libpcap's filter expressions ("tcp port 80 and not
// net 10.0.0.0/8") into classic BPF, which the kernel runs on a live interface
// and golang.org/x/net/bpf's machine on a file.
//
// It is the language of pcap-filter(7) as people use it: hosts, nets, ports and
// their ranges, protocols, Ethernet addresses, vlan, mpls and pppoes, lengths,
// and comparisons of octets (tcp[tcpflags] & tcp-syn != 0). What it means is what
// libpcap 1.10 makes of it: and and or bind equally and to the left, an
// address, net or port after them takes the qualifiers of the one before, and
// vlan, mpls and pppoes move what follows behind their header. Where a program
// reads beyond the packet, the packet is refused. Names of hosts are not looked
// up, and what cannot be compiled is an *Error that points at the word.
//
// The package reads no files and knows no interfaces; a program of another
// compiler comes in by ParseProgram.
package pcapfilter

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/net/bpf"
)

// The limits of an expression and of what is made of it.
const (
	// MaxText is how many octets of text an expression may have.
	MaxText = 10_240
	// MaxProgram is how many instructions the kernel takes (BPF_MAXINSNS).
	MaxProgram = 4096
	// maxDepth bounds parentheses and negations inside of each other.
	maxDepth = 100
)

// Error says what is wrong with an expression and where.
type Error struct {
	// Offset and End are where in the text the word stands that is wrong, in
	// octets; both are the text's length when something is missing there.
	Offset, End int
	// Word is that word, empty at the end of the text.
	Word string
	// Msg is what is wrong with it.
	Msg string
}

func (e *Error) Error() string {
	if e.Word == "" {
		return "filter: at its end: " + e.Msg
	}
	return fmt.Sprintf("filter: at %q (character %d): %s", e.Word, e.Offset+1, e.Msg)
}

// Compile returns the program of an expression for packets of a link type (its
// LINKTYPE_ number in capture files). It accepts a packet by the number snapLen,
// and refuses it by 0. The empty expression accepts every packet.
//
// The errors of an expression are *Error; those of a link type that no filter
// can be compiled for are not.
func Compile(expr string, link uint32, snapLen int) ([]bpf.RawInstruction, error) {
	if snapLen <= 0 {
		snapLen = 1 << 18
	}
	l, ok := links[link]
	if !ok {
		return nil, fmt.Errorf("filter: no filter can be compiled for packets of link type %d", link)
	}
	if len(expr) > MaxText {
		return nil, fmt.Errorf("filter: %d characters are too many; at most %d", len(expr), MaxText)
	}
	p := &parser{text: expr, link: l}
	if err := p.lex(); err != nil {
		return nil, err
	}
	tree, err := p.parse()
	if err != nil {
		return nil, err
	}
	g := &generator{}
	accept := g.emit(bpf.RetConstant{Val: uint32(snapLen)})
	refuse := g.emit(bpf.RetConstant{Val: 0})
	if start := g.node(tree, accept, refuse); start != g.here() {
		g.jumpTo(start)
	}
	prog := g.program()
	if len(prog) > MaxProgram {
		return nil, fmt.Errorf("filter: it needs %d instructions; the kernel takes %d", len(prog), MaxProgram)
	}
	raw, err := bpf.Assemble(prog)
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	return raw, nil
}

// MentionsTags reports whether an expression asks for VLAN tags. The kernel takes
// the tag off before a program of the socket sees the packet, so such an
// expression must run where the tag was put back.
func MentionsTags(expr string) bool {
	p := &parser{text: expr}
	if p.lex() != nil {
		return false
	}
	for _, t := range p.tokens {
		if t.kind == word && t.text == "vlan" {
			return true
		}
	}
	return false
}

// ParseProgram reads a program as "tcpdump -ddd" prints it: the number of
// instructions, then one a line: code, jump if true, jump if false, operand. A
// program that the machine refuses (a jump out of it, an unknown code, no end) is
// an error.
func ParseProgram(text string) ([]bpf.RawInstruction, error) {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	n, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || n < 1 || n > MaxProgram {
		return nil, fmt.Errorf("filter program: line 1: %q is not a number of instructions (1 to %d)", shorten(lines[0]), MaxProgram)
	}
	if len(lines)-1 != n {
		return nil, fmt.Errorf("filter program: line 1 says %d instructions, there are %d", n, len(lines)-1)
	}
	raw := make([]bpf.RawInstruction, n)
	for i, line := range lines[1:] {
		f := strings.Fields(line)
		var v [4]uint64
		for j, bits := range []int{16, 8, 8, 32} {
			if len(f) != 4 {
				return nil, fmt.Errorf("filter program: line %d: %q is not four numbers", i+2, shorten(line))
			}
			if v[j], err = strconv.ParseUint(f[j], 10, bits); err != nil {
				return nil, fmt.Errorf("filter program: line %d: %q is not a number of %d bits", i+2, shorten(f[j]), bits)
			}
		}
		raw[i] = bpf.RawInstruction{Op: uint16(v[0]), Jt: uint8(v[1]), Jf: uint8(v[2]), K: uint32(v[3])}
	}
	prog, ok := bpf.Disassemble(raw)
	if !ok {
		for i := range prog {
			if _, unknown := prog[i].(bpf.RawInstruction); unknown {
				return nil, fmt.Errorf("filter program: line %d: there is no instruction %d", i+2, raw[i].Op)
			}
		}
	}
	if _, err := bpf.NewVM(prog); err != nil {
		return nil, fmt.Errorf("filter program: %w", err)
	}
	return raw, nil
}

// shorten cuts what is quoted in an error.
func shorten(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}
