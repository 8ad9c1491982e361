package netflow

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"flowtally/flow"

	"github.com/calmh/ipfix"
)

// allFields are all groups.
const allFields = FieldMAC | FieldVLAN | FieldMPLS | FieldTTL | FieldLength | FieldTunnel | FieldDuplicates

var someStats = ProcessStats{
	Messages: 11, Records: 12, Octets: 13, NotSentFlows: 14, NotSentPackets: 15, NotSentOctets: 16,
	IgnoredPackets: 17, IgnoredOctets: 18, DroppedPackets: 19,
	ObservedFlows: 20, DuplicatePackets: 21, EvictedFlows: 1 << 40,
}

// someInterfaces returns n interfaces, some with names that need cutting.
func someInterfaces(n int) []flow.Interface {
	all := make([]flow.Interface, n)
	for i := range all {
		all[i] = flow.Interface{Index: uint32(i + 1), Name: fmt.Sprintf("vxlan 10.0.0.%d vni %d", i, i*7)}
		if i%3 == 0 {
			all[i].Description = strings.Repeat("ü", 10*i%60)
		}
	}
	return all
}

// TestOptionsSayWhatTheyWereGiven: the options that an encoder makes are read as
// the same totals and names, in as many messages as they need, each of which
// stands for itself, and the sequence number counts them as the dialect does.
func TestOptionsSayWhatTheyWereGiven(t *testing.T) {
	for _, v := range []Version{V9, IPFIX} {
		for _, rate := range []uint32{0, 1, 100} {
			for _, random := range []bool{false, true} {
				t.Run(fmt.Sprint(v, rate, random), func(t *testing.T) {
					e, err := NewEncoder(EncoderConfig{Version: v, Domain: 5, Boot: noon - flow.Hour, MaxMessage: 548, SamplingRate: rate, SamplingRandom: random})
					if err != nil {
						t.Fatal(err)
					}
					ifs := someInterfaces(50)
					seen := map[uint32]flow.Interface{}
					var stats []ProcessStats
					sequence := uint32(0)
					s := &someStats
					for rest := ifs; len(rest) > 0; {
						msg, n := e.AppendOptions(nil, noon, s, rest)
						if len(msg) > 548 {
							t.Fatalf("a message of %d octets", len(msg))
						}
						d := NewDecoder(Limits{})
						var m Message
						if _, err := d.Decode(nil, &m, somebody, noon, msg); err != nil {
							t.Fatal(err)
						}
						if m.Sequence != sequence {
							t.Errorf("sequence %d, want %d", m.Sequence, sequence)
						}
						sequence++
						if v == IPFIX {
							sequence += uint32(m.OptionRecords) - 1
						}
						for _, x := range m.Interfaces {
							seen[x.Index] = x
						}
						stats = append(stats, m.Stats...)
						rest, s = rest[n:], nil

						// What follows knows the rate.
						r := traffic(1, false)
						e.Renew()
						flows, _ := e.Append(nil, noon, r)
						recs, err := d.Decode(nil, &m, somebody, noon, flows)
						if err != nil || len(recs) != 1 || recs[0].SamplingRate != rate {
							t.Errorf("%v, %+v", err, recs)
						}
						sequence++
						if v == IPFIX {
							sequence += uint32(m.OptionRecords)
						}
					}
					for _, x := range ifs {
						got := seen[x.Index]
						got.Exporter = 0
						if x.Description = cutText(x.Description); got != x {
							t.Errorf("interface %+v, want %+v", got, x)
						}
					}
					var sum ProcessStats
					for _, x := range stats {
						sum.Said |= x.Said
						sum.Messages += x.Messages
						sum.Records += x.Records
						sum.Octets += x.Octets
						sum.NotSentFlows += x.NotSentFlows
						sum.NotSentPackets += x.NotSentPackets
						sum.NotSentOctets += x.NotSentOctets
						sum.IgnoredPackets += x.IgnoredPackets
						sum.IgnoredOctets += x.IgnoredOctets
						sum.DroppedPackets += x.DroppedPackets
						sum.ObservedFlows += x.ObservedFlows
						sum.DuplicatePackets += x.DuplicatePackets
						sum.EvictedFlows += x.EvictedFlows
					}
					want := someStats
					want.Said = (1<<totals - 1) &^ TotalDroppedOctets
					if v == V9 { // has no enterprise elements
						want.DuplicatePackets, want.EvictedFlows = 0, 0
						want.Said &^= TotalDuplicates | TotalEvicted
					}
					if len(stats) != 3 || sum != want {
						t.Errorf("%d records, together %+v, want %+v", len(stats), sum, want)
					}
				})
			}
		}
	}
}

// cutText is s as options can say it.
func cutText(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), optionText)], "")
}

func TestOptionsAreNotForEverybody(t *testing.T) {
	for _, c := range []EncoderConfig{{Version: V5}, {Version: IPFIX, Template: Pflow}} {
		e, err := NewEncoder(c)
		if err != nil {
			t.Fatal(err)
		}
		if msg, n := e.AppendOptions([]byte{1}, noon, &someStats, someInterfaces(2)); len(msg) != 1 || n != 2 {
			t.Errorf("%v: % x, %d", c.Version, msg, n)
		}
	}
	e, _ := NewEncoder(EncoderConfig{Version: IPFIX})
	if msg, _ := e.AppendOptions(nil, noon, nil, nil); msg != nil {
		t.Errorf("nothing to say: % x", msg)
	}
}

// detailed returns traffic with details: tunnels of both families, and every
// number at its largest.
func detailed(n int) []flow.Record {
	recs := traffic(n, true)
	for i := range recs {
		d := &flow.Details{
			OuterSrc: flow.Addr4([4]byte{192, 0, 2, 1}), OuterDst: flow.Addr4([4]byte{192, 0, 2, 2}),
			TunnelID: 0xabcdef, Tunnel: uint32(flow.UDP)<<16 | portVXLAN, Copies: uint64(i % 2),
			SrcMAC: [6]byte{2, 0, 0, 0, 0, 1}, DstMAC: [6]byte{2, 0, 0, 0, 0, byte(i)},
			MPLS: [3]uint32{0x123450, 0x123461, 0xfffff1}, MinLength: 40, MaxLength: 65535, MinTTL: 1, MaxTTL: 255, InnerVLAN: 4094,
		}
		switch i % 5 {
		case 1:
			d.OuterSrc, d.OuterDst = flow.Addr{0x20, 1, 15: 1}, flow.Addr{0x20, 1, 15: 2}
			d.Tunnel, d.TunnelID = 47<<16, 1<<31
		case 4:
			d = nil
		}
		recs[i].Details = d
	}
	return recs
}

// TestFieldsAreReadByName: every group of fields is read by its elements' names,
// those of ours too, and a flow of which packets were copies is marked.
func TestFieldsAreReadByName(t *testing.T) {
	for _, v := range []Version{V9, IPFIX} {
		t.Run(v.String(), func(t *testing.T) {
			e, err := NewEncoder(EncoderConfig{Version: v, Boot: noon - flow.Hour, Fields: allFields})
			if err != nil {
				t.Fatal(err)
			}
			var prepared []flow.Record
			for _, r := range detailed(50) {
				prepared = e.Prepare(prepared, &r)
			}
			got := receive(t, NewDecoder(Limits{}), send(t, e, noon, prepared))
			if len(got) != len(prepared) {
				t.Fatalf("%d records, want %d", len(got), len(prepared))
			}
			for i, r := range got {
				d := prepared[i].Details
				if d == nil {
					d = &flow.Details{}
				}
				want := map[string]any{"minimumTTL": 0.0, "maximumTTL": 0.0} // 0 is a time to live
				if prepared[i].Details != nil {
					want = map[string]any{
						"sourceMacAddress": "02:00:00:00:00:01", "destinationMacAddress": fmt.Sprintf("02:00:00:00:00:%02x", i),
						"dot1qCustomerVlanId":       4094.0,
						"mplsTopLabelStackSection":  "123450",
						"mplsLabelStackSection2":    "123461",
						"mplsLabelStackSection3":    "fffff1",
						"minimumTTL":                1.0,
						"maximumTTL":                255.0,
						"minimumIpTotalLength":      40.0,
						"maximumIpTotalLength":      65535.0,
						"outerSourceIPv4Address":    "192.0.2.1",
						"tunnelTransportPort":       4789.0,
						"tunnelProtocolIdentifier":  17.0,
						"tunnelIdentifier":          float64(0xabcdef),
						"layer2SegmentId":           float64(1<<56 | 0xabcdef),
						"duplicatePacketDeltaCount": float64(i % 2),
					}
					want["outerDestinationIPv4Address"] = "192.0.2.2"
					if i%5 == 1 {
						for _, name := range []string{"outerSourceIPv4Address", "outerDestinationIPv4Address", "tunnelTransportPort", "layer2SegmentId"} {
							delete(want, name)
						}
						want["outerSourceIPv6Address"], want["outerDestinationIPv6Address"] = "2001::1", "2001::2"
						want["tunnelProtocolIdentifier"], want["tunnelIdentifier"] = 47.0, float64(1<<31)
					}
					if i%2 == 0 {
						delete(want, "duplicatePacketDeltaCount")
					}
					if v == V9 {
						for name := range want {
							if strings.HasPrefix(name, "outer") || strings.HasPrefix(name, "tunnel") || strings.HasPrefix(name, "duplicate") {
								delete(want, name)
							}
						}
					}
				}
				extra := map[string]any{}
				if r.Extra != nil {
					if err := json.Unmarshal(r.Extra, &extra); err != nil {
						t.Fatal(err)
					}
				}
				if fmt.Sprint(extra) != fmt.Sprint(want) {
					t.Fatalf("record %d: %s\nwant %v", i, r.Extra, want)
				}
				r.Extra = nil
				if !sameFlow(r, prepared[i]) {
					t.Fatalf("record %d: %+v\nwant %+v", i, r, prepared[i])
				}
				if copies := d.Copies > 0 && v == IPFIX; copies != (r.Marks&flow.MarkDuplicate != 0) {
					t.Errorf("record %d: marks %v", i, r.Marks)
				}
			}
		})
	}
}

// TestEachGroupAlone: a template of one group is one that can be read.
func TestEachGroupAlone(t *testing.T) {
	for i, name := range append(slices.Clone(fieldNames), "all") {
		f, err := ParseFields(name)
		if err != nil || name != "all" && (f != 1<<i || f.String() != name) {
			t.Fatalf("%s: %v, %v", name, f, err)
		}
		for _, v := range []Version{V9, IPFIX} {
			e, err := NewEncoder(EncoderConfig{Version: v, Fields: f})
			if err != nil {
				t.Fatal(err)
			}
			recs := detailed(40)
			got := receive(t, NewDecoder(Limits{}), send(t, e, noon, recs))
			if len(got) != len(recs) {
				t.Errorf("%s: %d records of %d", name, len(got), len(recs))
			}
		}
	}
	if _, err := ParseFields("mac", "macs"); err == nil {
		t.Error("macs is no group")
	}
}

// TestCalmhReadsFields: the library, which passes over options, reads all records
// with every group of fields, and knows the elements by their names.
func TestCalmhReadsFields(t *testing.T) {
	e, err := NewEncoder(EncoderConfig{Version: IPFIX, Fields: allFields, SamplingRate: 10})
	if err != nil {
		t.Fatal(err)
	}
	completeDictionary()
	s := ipfix.NewSession()
	in := ipfix.NewInterpreter(s)
	msg, _ := e.AppendOptions(nil, noon, &someStats, someInterfaces(3))
	recs := detailed(30)
	msgs := append([][]byte{msg}, send(t, e, noon, recs)...)
	i := 0
	for _, msg := range msgs {
		m, err := s.ParseBuffer(msg)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range m.DataRecords {
			d := recs[i].Details
			if d == nil {
				d = &flow.Details{}
			}
			got := map[string]any{}
			for _, f := range in.Interpret(r) {
				got[f.Name] = f.Value
			}
			if len(got) != 16+19 || got[""] != nil {
				t.Fatalf("fields %v", got)
			}
			for name, want := range map[string]any{
				"packetDeltaCount": recs[i].Packets, "octetDeltaCount": recs[i].Bytes,
				"maximumIpTotalLength": uint64(d.MaxLength), "minimumTTL": d.MinTTL, "dot1qCustomerVlanId": d.InnerVLAN,
				"tunnelIdentifier": d.TunnelID, "duplicatePacketDeltaCount": d.Copies,
				"tunnelTransportPort": uint16(d.Tunnel), "tunnelProtocolIdentifier": uint8(d.Tunnel >> 16),
			} {
				if got[name] != want {
					t.Errorf("%s: %v, want %v", name, got[name], want)
				}
			}
			i++
		}
	}
	if i != len(recs) {
		t.Errorf("%d records read, want %d", i, len(recs))
	}
}

// TestPflowTemplates: what Pflow sends is what OpenBSD's pflow(4) does, octet by
// octet where it is not data.
func TestPflowTemplates(t *testing.T) {
	e, err := NewEncoder(EncoderConfig{Version: IPFIX, Domain: 42, Template: Pflow})
	if err != nil {
		t.Fatal(err)
	}
	var recs []flow.Record
	for _, r := range append(traffic(75, false), traffic(8, true)...) {
		r.Protocol, r.DstPort, r.SrcPort = flow.ICMP, 8<<8, 0
		if r.IPVersion == 6 {
			r.Protocol, r.DstPort = flow.ICMPv6, 128<<8
		}
		recs = e.Prepare(recs, &r)
	}
	msg, n := e.Append(nil, noon, recs)
	if n != 0 || len(msg) != 16+4+2*(4+12*4) {
		t.Fatalf("the templates are a message of %d octets, with %d records", len(msg), n)
	}
	var specs [][2]uint16
	for b := msg[24:]; len(b) >= 4; b = b[4:] {
		specs = append(specs, [2]uint16{binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])})
	}
	rest := [][2]uint16{{10, 4}, {14, 4}, {2, 8}, {1, 8}, {152, 8}, {153, 8}, {7, 2}, {11, 2}, {5, 1}, {4, 1}}
	want := slices.Concat([][2]uint16{{8, 4}, {12, 4}}, rest, [][2]uint16{{257, 12}, {27, 16}, {28, 16}}, rest)
	if !slices.Equal(specs, want) || binary.BigEndian.Uint16(msg[16:]) != 2 || binary.BigEndian.Uint16(msg[20:]) != 256 {
		t.Errorf("templates % x", msg)
	}
	d := NewDecoder(Limits{})
	receive(t, d, [][]byte{msg})
	if e.sequence != 0 {
		t.Errorf("sequence %d after templates", e.sequence)
	}
	var got []flow.Record
	for left := recs; len(left) > 0; left = left[n:] {
		msg, n = e.Append(nil, noon, left)
		size := 54
		if left[0].IPVersion == 6 {
			size = 78
		}
		if n < 1 || n > 30 || len(msg) != 16+4+n*size {
			t.Fatalf("a message of %d records in %d octets", n, len(msg))
		}
		got = append(got, receive(t, d, [][]byte{msg})...)
	}
	if !slices.EqualFunc(got, recs, sameFlow) {
		t.Errorf("read %+v", got)
	}
	if msg, _ := e.Append(nil, noon+29*flow.Second, nil); msg != nil {
		t.Error("templates before 30 s")
	}
	if msg, _ := e.Append(nil, noon+30*flow.Second, nil); len(msg) != 124 {
		t.Error("no templates after 30 s")
	}

	if _, err := NewEncoder(EncoderConfig{Version: V9, Template: Pflow}); err == nil {
		t.Error("pflow(4) has no v9")
	}
	five, err := NewEncoder(EncoderConfig{Version: V5, Domain: 42<<8 | 42, Template: Pflow})
	if err != nil {
		t.Fatal(err)
	}
	r := traffic(1, false)[0]
	r.SrcAS, r.SrcMask, r.NextHop = 5, 24, r.SrcAddr
	p := five.Prepare(nil, &r)[0]
	if p.TCPFlags != 0 || p.SrcAS != 0 || p.SrcMask != 0 || !p.NextHop.IsZero() {
		t.Errorf("%+v", p)
	}
}

// TestRenew: templates come again with the next message.
func TestRenew(t *testing.T) {
	e, _ := NewEncoder(EncoderConfig{Version: IPFIX})
	recs := traffic(1, false)
	first, _ := e.Append(nil, noon, recs)
	second, _ := e.Append(nil, noon, recs)
	e.Renew()
	third, _ := e.Append(nil, noon, recs)
	if len(second) >= len(first) || len(third) != len(first) {
		t.Errorf("messages of %d, %d and %d octets", len(first), len(second), len(third))
	}
}

// Records that state their direction are in templates of their own, which are sent
// from the first of them on; where a message has no room for so many templates the
// direction is left out.
func TestDirections(t *testing.T) {
	for _, v := range []Version{V9, IPFIX} {
		for _, tt := range []struct {
			fields Fields
			tight  bool
			want   [4]uint8
		}{{0, false, [4]uint8{0, 1, 2, 0}}, {allFields, true, [4]uint8{}}} {
			c := EncoderConfig{Version: v, Fields: tt.fields}
			if tt.tight {
				c.MaxMessage = 100
			}
			e, err := NewEncoder(c)
			for ; err != nil && tt.tight; e, err = NewEncoder(c) {
				c.MaxMessage++ // up to the least that it takes
			}
			if err != nil {
				t.Fatal(err)
			}
			recs := traffic(4, true)
			var prepared []flow.Record
			for i := range recs {
				recs[i].Direction = uint8(i)
				prepared = e.Prepare(prepared, &recs[i])
			}
			d := NewDecoder(Limits{})
			var got []flow.Record
			for i := range prepared {
				got = append(got, receive(t, d, send(t, e, noon, prepared[i:i+1]))...)
			}
			for i, want := range tt.want {
				if got[i].Direction != want {
					t.Errorf("%v: record %d has direction %d, want %d", v, i, got[i].Direction, want)
				}
			}
		}
	}
}

// The flags are one byte, which every collector reads, unless two are asked for.
func TestFlagsInOneByte(t *testing.T) {
	const ns = 0x100
	for _, tt := range []struct {
		version Version
		fields  Fields
		want    flow.TCPFlags
		octets  byte
	}{{IPFIX, 0, flow.SYN, 1}, {IPFIX, FieldFlags, flow.SYN | ns, 2}, {V9, 0, flow.SYN, 1}, {V9, FieldFlags, flow.SYN, 1}} {
		e, err := NewEncoder(EncoderConfig{Version: tt.version, Fields: tt.fields})
		if err != nil {
			t.Fatal(err)
		}
		recs := traffic(1, false)
		recs[0].TCPFlags = flow.SYN | ns
		msgs := send(t, e, noon, e.Prepare(nil, &recs[0]))
		got := receive(t, NewDecoder(Limits{}), msgs)
		if len(got) != 1 || got[0].TCPFlags != tt.want || !bytes.Contains(msgs[0], []byte{0, 6, 0, tt.octets}) {
			t.Errorf("%v %v: %v, want %v", tt.version, tt.fields, got[0].TCPFlags, tt.want)
		}
	}
}

// An exporter that has a name tells it in options, and is told apart by it: in either
// dialect, cut where it is too long, and by a reader that is not ours. One without tells
// nothing. What is said of another domain, or of an interface, is not its name.
func TestOptionsSayWhatTheExporterIsCalled(t *testing.T) {
	for _, v := range []Version{V9, IPFIX} {
		for _, name := range []string{"", "edge-1", "Bonn, Keller", strings.Repeat("ü", 40)} {
			e, err := NewEncoder(EncoderConfig{Version: v, Domain: 5, Boot: noon - flow.Hour, Name: name})
			if err != nil {
				t.Fatal(err)
			}
			msg, _ := e.AppendOptions(nil, noon, &someStats, someInterfaces(3))
			var m Message
			if _, err := NewDecoder(Limits{}).Decode(nil, &m, somebody, noon, msg); err != nil {
				t.Fatal(v, err)
			}
			want := name[:min(len(name), optionText)]
			if m.Name != want || len(m.Stats) == 0 || len(m.Interfaces) != 3 {
				t.Errorf("%s %q: read as %q, %d totals, %d interfaces", v, name, m.Name, len(m.Stats), len(m.Interfaces))
			}
			if msg, _ := e.AppendOptions(nil, noon+1, nil, someInterfaces(1)); true {
				if _, err := NewDecoder(Limits{}).Decode(nil, &m, somebody, noon, msg); err != nil || m.Name != "" {
					t.Errorf("%s: a message of interfaces alone says %q, %v", v, m.Name, err)
				}
			}
			// The same record about another domain: its scope, which is 5, is changed.
			if name == "" {
				continue
			}
			at := bytes.Index(msg, append([]byte{0, 0, 0, 5}, nameOnWire(v, want)...))
			if at < 0 {
				t.Fatalf("%s: no record of domain 5 in % x", v, msg)
			}
			other := bytes.Clone(msg)
			other[at+3] = 6
			_, err = NewDecoder(Limits{}).Decode(nil, &m, somebody, noon, other)
			if of := map[Version]string{IPFIX: "", V9: want}[v]; err != nil || m.Name != of {
				t.Errorf("%s: of another domain, it is called %q, %v", v, m.Name, err)
			}
		}
	}
}

// nameOnWire is how a name stands behind the scope.
func nameOnWire(v Version, name string) []byte {
	if v == IPFIX {
		return append([]byte{byte(len(name))}, name...)
	}
	return []byte(name)
}
