package filter_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"flowtally/filter"
	"flowtally/flow"
	"flowtally/netflow"
)

// sent is a field of a record on the wire: an element and its value in hexadecimal
// digits.
type sent struct {
	element flow.Element
	value   string
}

func iana(id uint16, value string) sent { return sent{flow.Element{ID: id}, value} }

// overTheWire decodes a message of one record, of v9 where an element of its numbers
// is among the fields, else of IPFIX.
func overTheWire(t *testing.T, fields []sent) *flow.Record {
	t.Helper()
	v9 := false
	for _, f := range fields {
		v9 = v9 || f.element.ID >= 1<<15
	}
	be := binary.BigEndian
	tpl, rec := be.AppendUint16([]byte{1, 0}, uint16(len(fields))), []byte(nil)
	for _, f := range fields {
		id := f.element.ID
		if f.element.Enterprise != 0 {
			id |= 1 << 15
		}
		value, err := hex.DecodeString(f.value)
		if err != nil {
			t.Fatal(err)
		}
		tpl = be.AppendUint16(be.AppendUint16(tpl, id), uint16(len(value)))
		if f.element.Enterprise != 0 {
			tpl = be.AppendUint32(tpl, f.element.Enterprise)
		}
		rec = append(rec, value...)
	}
	set := func(id uint16, b []byte) []byte {
		return append(be.AppendUint16(be.AppendUint16(nil, id), uint16(4+len(b))), b...)
	}
	msg := []byte{0, 10, 0, 0}
	kind := uint16(2)
	if v9 {
		msg, kind = be.AppendUint32([]byte{0, 9, 0, 2}, 100_000), 0
	}
	msg = be.AppendUint32(msg, uint32(noon/flow.Second))
	msg = append(msg, 0, 0, 0, 1, 0, 0, 1, 2)
	msg = append(append(msg, set(kind, tpl)...), set(256, rec)...)
	if !v9 {
		be.PutUint16(msg[2:], uint16(len(msg)))
	}
	var m netflow.Message
	recs, err := netflow.NewDecoder(netflow.Limits{}).Decode(nil, &m, netip.MustParseAddrPort("192.0.2.7:1"), noon, msg)
	if err != nil || len(recs) != 1 {
		t.Fatalf("%v: %d records: %v", fields, len(recs), err)
	}
	recs[0].RepairTime()
	return &recs[0]
}

// ask sets a value of a field and returns how it is asked for.
func (s *sent) ask(f *flow.Field, n int) (text string) {
	switch id := s.element.ID; {
	case f.Kind == flow.KindAddr && strings.Contains(s.element.Name, "IPv6"):
		s.value = "20010db80000000000000000000000ff"
		return "2001:db8::ff"
	case f.Kind == flow.KindAddr:
		s.value = "c0000209"
		return "192.0.2.9"
	case f.Kind == flow.KindMAC:
		s.value = "00005e005301"
		return "00:00:5e:00:53:01"
	case f.Kind == flow.KindText:
		s.value = "646e7300"
		return `"dns"`
	case f.Kind == flow.KindTime:
		s.value = fmt.Sprintf("%016x", int64(noon))
		return noon.String()
	case f.Kind == flow.KindBytes:
		s.value = fmt.Sprintf("%08x%016x", n, 0)
	case id == 32 || id == 139:
		s.value = fmt.Sprintf("%02x%02x", n, n)
	default:
		s.value = fmt.Sprintf("%02x", n)
	}
	return fmt.Sprint(n)
}

// TestEveryWordCanBeTrue: each element that a word asks for, sent over the wire, is
// found by that word, and with the value 0 where that is one.
func TestEveryWordCanBeTrue(t *testing.T) {
	base4 := []sent{iana(8, "0a010101"), iana(12, "0a010102")}
	base6 := []sent{iana(27, "20010db8000000000000000000000001"), iana(28, "20010db8000000000000000000000002")}
	asked := 0
	ask := func(text string, r *flow.Record) {
		t.Helper()
		f, err := filter.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if asked++; !f.Match(r, names{}) {
			t.Errorf("%s: not true of %s", text, printable(*r))
		}
	}
	record := func(f *flow.Field, e flow.Element, n int) (*flow.Record, string) {
		s := sent{element: e}
		text := s.ask(f, n)
		protocol, base := "06", base4
		switch {
		case f.Name == "icmp_type" || f.Name == "icmp_code":
			protocol = "01"
		case strings.HasPrefix(f.Name, "tunnel") && e.ID == 4 && e.Enterprise == 0:
			return overTheWire(t, append([]sent{base4[0], base4[1], s}, base4[0], base4[1], iana(4, "06"))), text
		case strings.HasPrefix(f.Name, "tunnel") && e.Enterprise == 0 && e.ID >= 27:
			return overTheWire(t, append([]sent{{e, s.value}}, base6...)), text
		case strings.HasPrefix(f.Name, "tunnel") && e.Enterprise == 0:
			return overTheWire(t, append([]sent{{e, s.value}}, base4...)), text
		}
		fields := []sent{s}
		for _, b := range append(base, iana(4, protocol)) {
			twice := b.element.ID == e.ID && e.Enterprise == 0 || b.element.ID == 8 && e.ID == 27 || b.element.ID == 12 && e.ID == 28
			if !twice {
				fields = append(fields, b)
			}
		}
		if strings.HasPrefix(f.Word, "out ") && f.Kind == flow.KindCount {
			fields = append(fields, iana(1, "09"), iana(2, "09"))
		}
		if e.ID == 243 && f.Name == "second_vlan" {
			fields = append(fields, iana(58, "0064"))
		}
		return overTheWire(t, fields), text
	}
	for i := range flow.Fields {
		f := &flow.Fields[i]
		if f.Word == "" {
			continue
		}
		for _, e := range f.Elements {
			for _, n := range []int{1, 5, 0} {
				if n == 0 && !f.Zero || n == 5 && f.Name == "direction" || e.ID == 305 || e.ID == 27 && f.Name == "dst_addr" {
					continue
				}
				r, text := record(f, e, n)
				for _, w := range append([]string{f.Word}, f.Aliases...) {
					ask(w+" "+text, r)
				}
				for _, p := range flow.Pairs {
					if p.Src == f.Name || p.Dst == f.Name {
						ask(p.Word+" "+text, r)
					}
				}
			}
		}
	}
	if asked < 200 {
		t.Errorf("only %d words were asked", asked)
	}

	tcp := iana(4, "06")
	for _, tt := range []struct {
		text   string
		fields []sent
	}{
		{"asa event ignore", []sent{iana(233, "00")}}, {"asa event < 3", []sent{iana(233, "00")}}, {"asa event denied", []sent{iana(233, "03")}},
		{"asa denied ingress", []sent{iana(33002, "03e9")}}, {"asa denied nosyn", []sent{iana(33002, "03ec")}},
		{"fwdstat unknown", []sent{iana(89, "00")}}, {"fwdstat forwarded", []sent{iana(89, "40")}}, {"fwdstat noroute", []sent{iana(89, "83")}}, {"fwdstat DbadTTL", []sent{iana(89, "89")}}, {"fwdstat term", []sent{iana(89, "c1")}},
		{"nat event invalid", []sent{iana(230, "00")}}, {"nat event add64bib", []sent{iana(230, "0a")}}, {"nat event threshld", []sent{iana(230, "12")}},
		{"ingress vrf 0", []sent{iana(234, "00000000"), iana(235, "00000007")}}, {"egress vrf 7", []sent{iana(234, "00000000"), iana(235, "00000007")}},
		{"observation point > 0", []sent{iana(138, "0000000abcabcabc")}}, {"observation point id 0xabcabcabc", []sent{iana(138, "0000000abcabcabc")}},
		{"min ttl 0 and max ttl 64 and ttl 64 and ttl 0", []sent{iana(52, "00"), iana(53, "40")}}, {"ttl equal", []sent{iana(52, "40"), iana(53, "40")}}, {"ttl 3", []sent{iana(192, "03")}},
		{"vlan 3003 and src vlan 3003 and dst vlan 4004 and vlan 4004", []sent{iana(243, "0bbb"), iana(254, "0fa4")}},
		{"vlan 100 and vlan 3003 and src vlan 100 and dot1q vlan 3003 and vlan 7 and inner vlan 7", []sent{iana(58, "0064"), iana(243, "0bbb"), iana(245, "0007")}},
		{"mpls label1 30 and mpls label2 31 and mpls label3 32 and mpls eos 32 and mpls any 31 and mpls exp2 2", []sent{iana(70, "0001e0"), iana(71, "0001f4"), iana(72, "000201")}},
		{"ingress acl 100 and ingress acl 110 and ingress acl 120 and acl > 115 and not ingress acl 130", []sent{iana(33000, "000000640000006e00000078")}},
		{"egress acl 220 and acl 210", []sent{iana(33001, "000000c8000000d2000000dc")}},
		{"in src mac 00:00:5e:00:53:01 and src mac 00:00:5e:00:53:01 and mac 00:00:5e:00:53:01 and in mac 00:00:5e:00:53:01", []sent{iana(56, "00005e005301")}},
		{"out dst mac 00:00:5e:00:53:01 and out mac 00:00:5e:00:53:01 and dst mac 00:00:5e:00:53:01", []sent{iana(57, "00005e005301")}},
		{"icmp and icmp type 0 and icmp code 0", []sent{iana(32, "0000"), iana(4, "01"), iana(7, "1234"), iana(11, "1234")}},
		{"icmp type 8", []sent{iana(4, "01"), iana(176, "08"), iana(177, "00")}}, {"icmp type 3 and icmp code 3", []sent{iana(4, "01"), iana(7, "0000"), iana(11, "0303")}},
		{"duration > 5s and bps 0 and pps 0", []sent{iana(152, fmt.Sprintf("%016x", int64(noon-6000))), iana(153, fmt.Sprintf("%016x", int64(noon)))}},
		{"bytes > 1.5m and bpp 2m and flows 1", []sent{iana(1, "001e8480"), iana(2, "01")}},
		{"tun ip 192.0.2.1 and tun ip 192.0.2.2 and tun proto 4 and ip 10.0.0.1 and tcp and not ip 192.0.2.1", []sent{iana(8, "c0000201"), iana(12, "c0000202"), iana(4, "04"), iana(8, "0a000001"), iana(12, "0a000002"), tcp}},
		{"ip 10.77.0.1 and ipv4 and ip ::ffff:10.77.0.2 and not ipv6", []sent{iana(27, "00000000000000000000ffff0a4d0001"), iana(28, "00000000000000000000ffff0a4d0002")}},
		{"ipv6", base6}, {"marks repaired", base4}, {"exporter fw1 and exporter id > 0 and exporter ip 192.0.2.7 and observation domain 258 and engine-type 1 and engine id 2", base4},
		{"user alice and asa user 'alice' and username alice", []sent{iana(371, "616c69636500000000")}},
		{"nat pblock start 1111 and nat pblock end 2222 and nat pblock size 4444 and nat pblock step 1", []sent{iana(361, "0457"), iana(362, "08ae"), iana(363, "0001"), iana(364, "115c")}},
		{"not port >= 0 and not flags 0 and tcp", []sent{tcp}},
	} {
		ask(tt.text, overTheWire(t, tt.fields))
	}
}
