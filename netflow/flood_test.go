package netflow

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"flowtally/flow"
)

// floods returns messages of 172 templates each, of which no two are alike.
func floods(n int) [][]byte {
	msgs := make([][]byte, n)
	for i := range msgs {
		tpls := []byte{0, 2, 0, 0}
		for j := range 172 {
			k := i*172 + j
			tpls = binary.BigEndian.AppendUint16(tpls, uint16(256+k%65000))
			tpls = append(tpls, 0, 1, 0, byte(1+k%200), 0, byte(1+k/200%250))
		}
		binary.BigEndian.PutUint16(tpls[2:], uint16(len(tpls)))
		msgs[i] = message(IPFIX, tpls)
	}
	return msgs
}

// BenchmarkTemplateFlood is a datagram of 172 templates: the same again, and
// always new ones.
func BenchmarkTemplateFlood(b *testing.B) {
	for _, c := range []struct {
		name string
		msgs [][]byte
	}{{"repeated", floods(1)}, {"new", floods(300)}} {
		b.Run(c.name, func(b *testing.B) {
			d := NewDecoder(Limits{})
			var m Message
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				d.Decode(nil, &m, somebody, noon+flow.Time(i), c.msgs[i%len(c.msgs)])
				i++
			}
		})
	}
}

// TestNothingThatStrangersSendOutgrowsTheFormula: templates, options, names,
// samplers and data without templates, from many addresses, ports and domains.
func TestNothingThatStrangersSendOutgrowsTheFormula(t *testing.T) {
	l := Limits{
		Templates: 512, TemplateOctets: 32 << 10, ExporterTemplates: 128, ExporterOctets: 8 << 10,
		Domains: 16, ExporterDomains: 4, HoldOctets: 256 << 10, ExporterHoldOctets: 64 << 10,
		NameOctets: 256 << 10, ExporterNameOctets: 64 << 10,
	}.withDefaults()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	d := NewDecoder(l)
	rng := rand.New(rand.NewPCG(7, 8))
	octets := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32() >> (rng.Uint32() & 7))
		}
		return b
	}
	raw := func(id uint16, content ...byte) []byte {
		b := binary.BigEndian.AppendUint16(nil, id)
		return append(binary.BigEndian.AppendUint16(b, uint16(4+len(content))), content...)
	}
	var m Message
	var dst []flow.Record
	for i := range 6_000 {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(rng.Uint32())}), uint16(rng.Uint32()))
		id := uint16(256 + rng.UintN(40))
		var sets [][]byte
		switch i % 4 {
		case 0: // a template of random fields, and data for it
			tpl := binary.BigEndian.AppendUint16(nil, id)
			n := 1 + rng.UintN(30)
			tpl = append(tpl, 0, byte(n))
			for range n {
				tpl = append(tpl, byte(rng.UintN(2)), byte(rng.Uint32()), 0, byte(rng.UintN(12)))
			}
			sets = [][]byte{raw(2, tpl...), raw(id, octets(200)...)}
		case 1: // data without one
			sets = [][]byte{raw(uint16(300+rng.UintN(60000)), octets(int(rng.UintN(1000)))...)}
		case 2: // samplers with names and rates, interfaces with rates
			sets = [][]byte{
				raw(3, 1, 0, 0, 4, 0, 1, 0, 149, 0, 4, 0, 48, 0, 4, 0, 34, 0, 4, 0, 84, 0, 60), raw(256, octets(72*10)...),
				raw(3, 1, 1, 0, 2, 0, 1, 0, 10, 0, 4, 0, 34, 0, 4), raw(257, octets(8*50)...),
			}
		case 3: // names
			sets = [][]byte{raw(3, 1, 0, 0, 2, 0, 1, 0, 95, 0, 4, 0, 96, 0, 100), raw(256, octets(104*10)...)}
		}
		msg := message(IPFIX, sets...)
		binary.BigEndian.PutUint32(msg[12:], rng.Uint32()&7)
		dst, _ = d.Decode(dst[:0], &m, from, noon+flow.Time(i), msg)
	}
	clear(dst)
	dst, m = nil, Message{}
	runtime.GC()
	runtime.ReadMemStats(&after)
	used := int(after.HeapAlloc) - int(before.HeapAlloc)
	most := l.Templates*1536 + l.TemplateOctets*30 + l.Domains*64<<10 + 2*(l.HoldOctets+l.NameOctets)
	s := &d.store
	t.Logf("%d templates of %d octets, %d domains, names of %d octets, %d octets held: %d KiB, at most %d KiB",
		s.templates, s.octets, s.domains, s.nameOctets, d.hold.octets, used>>10, most>>10)
	if used > most {
		t.Errorf("%d octets in use, the formula says at most %d", used, most)
	}
	if s.templates > l.Templates || s.octets > l.TemplateOctets || s.domains > l.Domains || s.nameOctets > l.NameOctets {
		t.Error("a limit was passed")
	}
	if s.templates < l.Templates || s.domains < l.Domains || s.nameOctets < l.NameOctets*9/10 || d.hold.octets < l.HoldOctets*9/10 {
		t.Error("the flood did not fill what there is")
	}
	runtime.KeepAlive(d)
}

// TestADomainCostsWhatTheFormulaSays: as many samplers as there may be, with
// names that are longest in JSON, and as many interfaces.
func TestADomainCostsWhatTheFormulaSays(t *testing.T) {
	var samplers, interfaces strings.Builder
	for i := range 200 {
		fmt.Fprintf(&samplers, "00000000 %08x 00000064 %s", i+1, strings.Repeat("01", 32))
	}
	for i := range 600 {
		fmt.Fprintf(&interfaces, "%08x 00000064", i+1)
	}
	msg := message(IPFIX,
		set(t, 3, `0100 0004 0001 0095 0004 0030 0004 0022 0004 0054 0020`), set(t, 256, samplers.String()),
		set(t, 3, `0101 0002 0001 000a 0004 0022 0004`), set(t, 257, interfaces.String()))
	const domains = 64
	d := NewDecoder(Limits{})
	var m Message
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range domains {
		binary.BigEndian.PutUint32(msg[12:], uint32(i))
		if _, err := d.Decode(nil, &m, somebody, noon, msg); err != nil {
			t.Fatal(err)
		}
	}
	m = Message{}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int(after.HeapAlloc) - int(before.HeapAlloc)) / domains
	t.Logf("%d octets a domain", each)
	if each > 96<<10 {
		t.Errorf("%d octets a domain", each)
	}
	o := d.store.optionsOf(flow.AddrFrom(somebody.Addr()), domainKey{1, IPFIX})
	if o == nil || len(o.selectors) != 128 || len(o.interfaces) != 512 {
		t.Errorf("%+v", o)
	}
	runtime.KeepAlive(d)
}
