//go:build linux

package pcapfilter_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
	"golang.org/x/net/bpf"
	"pgregory.net/rapid"

	"flowtally/exporter/pcapfilter"
)

// libpcap is the library itself, opened at run time: the oracle of this package.
var libpcap struct {
	sync.Once
	err      error
	openDead func(link, snapLen int32) uintptr
	compile  func(handle uintptr, program unsafe.Pointer, expr string, optimize int32, mask uint32) int32
	message  func(handle uintptr) string
	free     func(program unsafe.Pointer)
	close    func(handle uintptr)
}

// theirs compiles by libpcap, with its optimiser or without.
func theirs(t testing.TB, expr string, link uint32, optimize int32) ([]bpf.Instruction, error) {
	t.Helper()
	libpcap.Do(func() {
		lib, err := purego.Dlopen("libpcap.so.0.8", purego.RTLD_NOW|purego.RTLD_LOCAL)
		if err != nil {
			libpcap.err = err
			return
		}
		purego.RegisterLibFunc(&libpcap.openDead, lib, "pcap_open_dead")
		purego.RegisterLibFunc(&libpcap.compile, lib, "pcap_compile")
		purego.RegisterLibFunc(&libpcap.message, lib, "pcap_geterr")
		purego.RegisterLibFunc(&libpcap.free, lib, "pcap_freecode")
		purego.RegisterLibFunc(&libpcap.close, lib, "pcap_close")
	})
	if libpcap.err != nil {
		t.Skipf("no libpcap to compare with: %v", libpcap.err)
	}
	if link == 101 {
		link = 12 // LINKTYPE_RAW is DLT_RAW
	}
	h := libpcap.openDead(int32(link), 65535)
	if h == 0 {
		t.Fatalf("pcap_open_dead(%d) failed", link)
	}
	defer libpcap.close(h)
	var program struct {
		length uint32
		insns  *[4096]struct {
			code   uint16
			jt, jf uint8
			k      uint32
		}
	}
	if libpcap.compile(h, unsafe.Pointer(&program), expr, optimize, 0xffffffff) != 0 {
		return nil, fmt.Errorf("libpcap: %s", libpcap.message(h))
	}
	defer libpcap.free(unsafe.Pointer(&program))
	raw := make([]bpf.RawInstruction, program.length)
	for i := range raw {
		x := program.insns[i]
		raw[i] = bpf.RawInstruction{Op: x.code, Jt: x.jt, Jf: x.jf, K: x.k}
	}
	prog, ok := bpf.Disassemble(raw)
	if !ok {
		return nil, fmt.Errorf("libpcap's program of %q has instructions that the machine does not know", expr)
	}
	return prog, nil
}

func machine(t testing.TB, prog []bpf.Instruction) *bpf.VM {
	t.Helper()
	vm, err := bpf.NewVM(prog)
	if err != nil {
		t.Fatal(err)
	}
	return vm
}

func accepts(t testing.TB, vm *bpf.VM, packet []byte) bool {
	t.Helper()
	n, err := vm.Run(packet)
	if err != nil {
		t.Fatal(err)
	}
	return n > 0
}

// expressions are what people write, and what grammars stumble over.
var expressions = []string{
	"ip", "ip6", "arp", "rarp", "tcp", "udp", "icmp", "icmp6", "sctp", "igmp", "pim", "esp", "ah", "vrrp",
	"host 10.1.2.3", "src host 10.1.2.3", "dst 10.1.2.3", "src or dst host 10.1.2.3", "src and dst 10.1.2.3",
	"ip host 10.1.2.3", "arp host 10.1.2.3", "not host 10.1.2.3",
	"net 10.0.0.0/8", "net 10", "net 10.1", "net 10.1.2.0/24", "src net 10.1.0.0 mask 255.255.0.0", "dst net 192.168.0.0/16", "net 0.0.0.0/0",
	"ip6 host 2001:db8::1", "host 2001:db8::1", "net 2001:db8::/32", "src net fe80::/10", "dst net 2001:db8:0:1::/64", "net ::/0",
	"port 80", "src port 80", "dst port 443", "tcp port 80", "udp port 53", "sctp port 80", "tcp dst port 22", "src or dst port 53", "src and dst port 53",
	"portrange 1-1024", "tcp portrange 1000-2000", "udp src portrange 50-60", "portrange 2000-1000",
	"tcp port http", "port domain", "tcp port ssh", "udp port ntp",
	"port 80 or 443", "port (80 or 443)", "tcp port 80 or 443 or 22", "host 10.1.2.3 or 10.1.2.4", "src host (10.1.2.3 or 10.1.2.4)",
	"port 80 and not 443", "tcp dst port 80 or udp", "net 10 or 192.168", "net 10.1.0.0/16 or 192.168.0.0/16", "src port 53 and not dst port 80",
	"tcp port 80 and not net 10.0.0.0/8", "tcp or udp and port 53", "udp and port 53 or tcp", "(tcp or udp) and port 53", "not tcp and not udp",
	"not (tcp or udp)", "not tcp or udp", "ip proto 47", "ip proto \\tcp", "ip6 proto 6", "proto 17", "proto \\icmp", "ip6 proto \\udp",
	"ether proto 0x88cc", "ether proto \\ip", "ether proto \\arp", "ether host 02:00:00:00:00:01", "ether src 02:00:00:00:00:01", "ether dst 02:00:00:00:00:02",
	"broadcast", "ether broadcast", "multicast", "ether multicast", "ip multicast", "ip6 multicast",
	"less 100", "greater 100", "len > 100", "len <= 64", "len = 60", "len != 60",
	"tcp[13] & 2 != 0", "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "tcp[tcpflags] == tcp-syn", "tcp[tcpflags] & tcp-syn != 0 and not port 22",
	"ip[0] & 0xf != 5", "ip[6:2] & 0x1fff = 0", "ip[8] < 5", "ip[2:2] > 576", "icmp[icmptype] = icmp-echo", "icmp[0] == 8 or icmp[0] == 0",
	"icmp6[0] = 128", "icmp6[icmp6type] == icmp6-echo", "udp[4:2] > 20", "ether[0] & 1 = 0", "ether[12:2] = 0x0800", "ip6[6] = 6", "arp[6:2] = 1",
	"tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420", "tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)",
	"ip[2:2] - 20 > 40", "ip[ip[0] & 1] > 3", "-ip[0] != 1", "ip[0] * 2 + 3 > 90", "ip[0] ^ 3 = 70", "ip[0] % 7 = 6", "ip[2:2] / 2 > 30", "5 < ip[8]",
	"ip[12:4] = 0x0a010203", "2 + 3 * 4 = 14", "1 = 2", "len - 14 > 50", "ip[9] = 6 and tcp[2:2] = 443", "0x45 = ip[0]", "(ip[0] & 0xf0) = 0x40 and port 53",
	"vlan", "vlan 10", "vlan and tcp", "vlan 10 and port 80", "vlan 10 and vlan 20", "vlan and vlan and ip", "not vlan", "tcp or vlan and tcp", "vlan 10 or vlan 20",
	"vlan 10 and host 10.1.2.3", "vlan and ip6", "vlan and tcp[13] & 2 != 0",
	"mpls", "mpls 100", "mpls and ip", "mpls 100 and mpls 200 and host 10.1.2.3", "mpls and tcp port 80", "mpls and ip6", "vlan and mpls and ip",
	"pppoes", "pppoes 7", "pppoes and ip", "pppoes and tcp port 80", "pppoes 7 and ip6", "pppoes and host 10.1.2.3",
	"host 10.1.2.3 and (tcp port 80 or udp port 53) and not src net 192.168.0.0/16 and greater 60",
	"", "  tcp  ", "tcp && port 80 || ! udp", "((tcp))", "not not tcp",
}

// TestAgreesWithLibpcap: the program of libpcap and ours accept the same packets.
func TestAgreesWithLibpcap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, link := range []uint32{1, 101, 113, 276, 9} {
		packets := make([][]byte, 0, 1000)
		for range 1000 {
			packets = append(packets, randomPacket(random, link))
		}
		compared, matched := 0, 0
		for _, expr := range expressions {
			want, err := theirs(t, expr, link, 0)
			if err != nil {
				if _, oursErr := pcapfilter.Compile(expr, link, 65535); oursErr == nil && link == 1 {
					t.Errorf("%q compiles here, but %v", expr, err)
				}
				continue
			}
			if slices.ContainsFunc(want, func(i bpf.Instruction) bool { _, negates := i.(bpf.NegateA); return negates }) {
				continue // which x/net/bpf's machine does not know
			}
			if _, err := pcapfilter.Compile(expr, link, 65535); err != nil && link != 1 && (strings.Contains(expr, "ether") || strings.Contains(err.Error(), "such packets")) {
				continue
			}
			optimized, err := theirs(t, expr, link, 1)
			if err != nil {
				if !strings.Contains(err.Error(), "rejects all packets") {
					t.Errorf("%q: %v", expr, err)
				}
				optimized = want
			}
			a, b, c := machine(t, ours(t, expr, link)), machine(t, want), machine(t, optimized)
			for _, packet := range packets {
				got, want := accepts(t, a, packet), accepts(t, b, packet)
				compared++
				if want {
					matched++
				}
				// The optimiser leaves out reads whose result is known: of a packet that
				// ends before them, libpcap has two opinions, and ours may be either.
				if got != want && accepts(t, c, packet) == want {
					t.Errorf("link type %d, %q: we say %v, libpcap %v: %x", link, expr, got, want, packet)
					break
				}
			}
		}
		t.Logf("link type %d: %d comparisons, %d packets accepted", link, compared, matched)
	}
}

// TestGeneratedExpressions: so do programs of expressions that nobody wrote.
func TestGeneratedExpressions(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	packets := make([][]byte, 0, 400)
	for range 400 {
		packets = append(packets, randomPacket(random, 1))
	}
	rapid.Check(t, func(rt *rapid.T) {
		expr := genExpression(rt, 0)
		want, err := theirs(t, expr, 1, 0)
		raw, oursErr := pcapfilter.Compile(expr, 1, 65535)
		if (err == nil) != (oursErr == nil) {
			rt.Fatalf("%q: ours %v, libpcap's %v", expr, oursErr, err)
		}
		if err != nil {
			return
		}
		optimized, err := theirs(t, expr, 1, 1)
		if err != nil { // "expression rejects all packets"
			optimized = want
		}
		prog, _ := bpf.Disassemble(raw)
		a, b, c := machine(t, prog), machine(t, want), machine(t, optimized)
		for _, packet := range packets {
			if got, want := accepts(t, a, packet), accepts(t, b, packet); got != want && accepts(t, c, packet) == want {
				rt.Fatalf("%q: we say %v, libpcap %v: %x", expr, got, want, packet)
			}
		}
	})
}

func genExpression(t *rapid.T, depth int) string {
	if depth < 4 {
		switch rapid.IntRange(0, 5).Draw(t, "shape") {
		case 0:
			return genExpression(t, depth+1) + " and " + genExpression(t, depth+1)
		case 1:
			return genExpression(t, depth+1) + " or " + genExpression(t, depth+1)
		case 2:
			return "not " + genExpression(t, depth+1)
		case 3:
			return "(" + genExpression(t, depth+1) + ")"
		}
	}
	one := func(name string, of ...string) string { return rapid.SampledFrom(of).Draw(t, name) }
	dir := one("dir", "", "", "src ", "dst ", "src or dst ", "src and dst ")
	switch rapid.IntRange(0, 8).Draw(t, "primitive") {
	case 0:
		return one("protocol", "ip", "ip6", "tcp", "udp", "icmp", "icmp6", "arp", "sctp")
	case 1:
		return one("of", "", "ip ", "arp ") + dir + "host " + one("host", "10.1.2.3", "10.1.2.4", "192.168.0.1")
	case 2:
		return dir + "net " + one("net", "10.0.0.0/8", "10.1.2.0/24", "192.168", "2001:db8::/32", "fe80::/10")
	case 3:
		return one("transport", "", "tcp ", "udp ") + dir + "port " + one("port", "53", "80", "443", "domain")
	case 4:
		return dir + "portrange " + one("range", "1-79", "80-443", "1024-65535")
	case 5:
		return dir + "host 2001:db8::1"
	case 6:
		return fmt.Sprintf("%s[%d:%d] %s %s %d", one("of", "ip", "tcp", "udp", "ether", "icmp"), rapid.IntRange(0, 20).Draw(t, "offset"),
			rapid.SampledFrom([]int{1, 2, 4}).Draw(t, "size"), one("op", "&", "|", "+", "-", ">>", "<<", "*"), one("value", "1", "3", "7")+" "+one("cmp", "=", "!=", ">", "<", ">=", "<="),
			rapid.IntRange(0, 300).Draw(t, "number"))
	case 7:
		return "vlan" + one("id", "", " 10", " 20")
	default:
		return "len " + one("cmp", ">", "<", "=", "!=") + " " + one("length", "60", "64", "100")
	}
}

// randomPacket makes a frame of a link type, most of them sound, some cut.
func randomPacket(r *rand.Rand, link uint32) []byte {
	pick := func(of ...uint32) uint32 { return of[r.IntN(len(of))] }
	var b []byte
	be16 := func(v uint32) { b = binary.BigEndian.AppendUint16(b, uint16(v)) }
	var typ uint32
	switch r.IntN(12) {
	case 0:
		typ = pick(0x0806, 0x8035)
	case 1:
		typ = pick(0x88cc, 0x8863, 0x1234)
	case 2, 3, 4, 5:
		typ = 0x86dd
	default:
		typ = 0x0800
	}
	ppp := map[uint32]uint32{0x0800: 0x21, 0x86dd: 0x57}
	switch link {
	case 1:
		b = append(b, byte(pick(2, 2, 0xff)), 0, 0, 0, 0, byte(pick(1, 2)))
		if b[0] == 0xff && r.IntN(2) == 0 {
			copy(b, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		}
		b = append(b, 2, 0, 0, 0, 0, byte(pick(1, 2)))
		for r.IntN(4) == 0 {
			be16(pick(0x8100, 0x88a8, 0x9100))
			be16(pick(0, 0x2000) | pick(10, 20, 30))
		}
		switch {
		case (typ == 0x0800 || typ == 0x86dd) && r.IntN(8) == 0:
			be16(0x8847)
			for more := true; more; {
				more = r.IntN(2) == 0
				bottom := byte(1)
				if more {
					bottom = 0
				}
				label := pick(100, 200)
				b = append(b, byte(label>>12), byte(label>>4), byte(label<<4)|bottom, 64)
			}
		case r.IntN(8) == 0:
			be16(0x8864)
			b = append(b, 0x11, 0)
			be16(pick(7, 8))
			be16(100)
			be16(max(ppp[typ], pick(0, 0xc021)))
		default:
			be16(typ)
		}
	case 113:
		b = append(b, 0, byte(r.IntN(5)), 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0)
		be16(typ)
	case 276:
		be16(typ)
		b = append(b, make([]byte, 18)...)
	case 9:
		b = append(b, 0xff, 3)
		be16(max(ppp[typ], pick(0, 0xc021)))
	}
	a4 := func() uint32 { return pick(0x0a010203, 0x0a010204, 0xc0a80001, 0x0b000001, 0xe0000001) }
	be32 := func(v uint32) { b = binary.BigEndian.AppendUint32(b, v) }
	a6 := func() {
		be32(pick(0x20010db8, 0xfe800000, 0xff020000))
		be32(pick(0, 1))
		be32(0)
		be32(pick(1, 2))
	}
	proto := pick(1, 6, 6, 17, 17, 132, 58, 47, 50, 2)
	switch typ {
	case 0x0806, 0x8035:
		b = append(b, 0, 1, 8, 0, 6, 4, 0, byte(pick(1, 2)), 2, 0, 0, 0, 0, 1)
		be32(a4())
		b = append(b, 2, 0, 0, 0, 0, 2)
		be32(a4())
		return cut(r, b)
	case 0x0800:
		options := r.IntN(3)
		b = append(b, byte(0x45+options), byte(pick(0, 0x10)))
		be16(pick(40, 60, 600, 1500))
		be16(r.Uint32() & 0xffff)
		f := pick(0, 0, 0, 0x4000, 0x2000, 0x0001, 0x20ff)
		be16(f)
		b = append(b, byte(pick(1, 64, 255)), byte(proto), 0, 0)
		be32(a4())
		be32(a4())
		b = append(b, make([]byte, 4*options)...)
	case 0x86dd:
		be32(0x60000000)
		be16(pick(20, 100))
		next := proto
		frag := r.IntN(5) == 0
		if frag {
			next = 44
		}
		b = append(b, byte(next), 64)
		a6()
		a6()
		if frag {
			b = append(b, byte(proto), 0, 0, byte(pick(0, 1, 8)), 0, 0, 0, 1)
		}
	}
	be16(pick(53, 80, 443, 22, 1500, 40000))
	be16(pick(53, 80, 443, 22, 1500, 40000))
	if proto == 1 || proto == 58 {
		b[len(b)-4] = byte(pick(8, 0, 128, 129))
	}
	be32(r.Uint32())
	be32(r.Uint32())
	b = append(b, byte(pick(0x50, 0x60)), byte(pick(2, 0x12, 0x10, 0x11, 4)), 0, 0, 0, 0, 0, 0)
	b = append(b, make([]byte, r.IntN(80))...)
	if r.IntN(4) == 0 {
		copy(b[max(0, len(b)-20):], "GET /")
	}
	return cut(r, b)
}

func cut(r *rand.Rand, b []byte) []byte {
	if r.IntN(10) == 0 {
		return b[:r.IntN(len(b)+1)]
	}
	return b
}

// FuzzCompile: no text panics, and what compiles runs.
func FuzzCompile(f *testing.F) {
	for _, e := range expressions {
		f.Add(e, uint32(1))
	}
	f.Add("((((((((tcp", uint32(101))
	f.Add("tcp[tcp[tcp[tcp[1]]]] = len", uint32(1))
	packet := randomPacket(rand.New(rand.NewPCG(5, 6)), 1)
	f.Fuzz(func(t *testing.T, expr string, link uint32) {
		raw, err := pcapfilter.Compile(expr, link, 65535)
		if err != nil {
			if e, ok := err.(*pcapfilter.Error); ok && (e.Offset < 0 || e.Offset > e.End || e.End > len(expr)) {
				t.Errorf("%q: the error points at %d to %d", expr, e.Offset, e.End)
			}
			return
		}
		prog, ok := bpf.Disassemble(raw)
		if !ok {
			t.Fatalf("%q: the program cannot be read back", expr)
		}
		vm, err := bpf.NewVM(prog)
		if err != nil {
			t.Fatalf("%q: %v", expr, err)
		}
		_, _ = vm.Run(packet)
		pcapfilter.MentionsTags(expr)
	})
}

// FuzzParseProgram: no text panics, and what is accepted runs.
func FuzzParseProgram(f *testing.F) {
	f.Add("1\n6 0 0 65535\n")
	f.Add("4\n40 0 0 12\n21 0 1 2048\n6 0 0 262144\n6 0 0 0\n")
	f.Fuzz(func(t *testing.T, text string) {
		raw, err := pcapfilter.ParseProgram(text)
		if err != nil {
			return
		}
		prog, ok := bpf.Disassemble(raw)
		if !ok {
			t.Fatal("accepted, and cannot be read back")
		}
		vm, err := bpf.NewVM(prog)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = vm.Run(make([]byte, 64))
	})
}

// TestLongJumps: a program of thousands of instructions is the or of its parts.
func TestLongJumps(t *testing.T) {
	var parts []string
	for i := range 100 {
		parts = append(parts, "host 10.9.0."+string(rune('0'+i%10))+" and tcp port 1")
	}
	random := rand.New(rand.NewPCG(7, 8))
	long := machine(t, ours(t, strings.Join(parts, " or ")+" or udp port 53", 1))
	short := machine(t, ours(t, "host 10.9.0.0 and tcp port 1 or udp port 53", 1))
	both := 0
	for range 2000 {
		packet := randomPacket(random, 1)
		if got, want := accepts(t, long, packet), accepts(t, short, packet); got != want {
			t.Fatalf("%v, want %v: %x", got, want, packet)
		} else if got {
			both++
		}
	}
	if both == 0 {
		t.Error("no packet was accepted")
	}
}
