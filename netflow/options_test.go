package netflow

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"flowtally/flow"
	"flowtally/lab/truth"
)

// padded returns text in hexadecimal, padded with NUL to n octets.
func padded(text string, n int) string {
	b := make([]byte, n)
	copy(b, text)
	return hex.EncodeToString(b)
}

func TestInterfacesAreDescribedByOptions(t *testing.T) {
	name, description := padded("Te0/0/1", 16), padded("uplink \xff", 12)
	for _, c := range []struct {
		name      string
		version   Version
		tpl, data string
	}{
		{"scope_of_v9", V9, `0101 0004 0008 0002 0004 0052 0010 0053 000c`, `0000002a` + name + description},
		{"system_scope_and_ingress_index", V9, `0101 0004 000c 0001 0004 000a 0004 0052 0010 0053 000c`, `00000000 0000002a` + name + description},
		{"scope_of_ipfix", IPFIX, `0101 0003 0001 000a 0004 0052 0010 0053 000c`, `0000002a` + name + description},
		{"scope_of_two_octets", IPFIX, `0101 0003 0001 000e 0002 0052 0010 0053 000c`, `002a` + name + description},
		{"variable_length", IPFIX, `0101 0003 0001 000a 0004 0052 ffff 0053 ffff`, `0000002a 07` + hex.EncodeToString([]byte("Te0/0/1")) + `0a` + hex.EncodeToString([]byte(" uplink \xff\x00"))},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDecoder(Limits{})
			var m Message
			optionsSet := uint16(3)
			if c.version == V9 {
				optionsSet = 1
				b := octets(t, c.tpl)
				binary.BigEndian.PutUint16(b[4:], uint16(len(b)-6-4))
				c.tpl = hex.EncodeToString(b)
			}
			_, err := d.Decode(nil, &m, somebody, noon, message(c.version, set(t, optionsSet, c.tpl), set(t, 257, c.data)))
			want := []flow.Interface{{Exporter: m.Exporter.ID(), Index: 42, Name: "Te0/0/1", Description: "uplink \uFFFD"}}
			if err != nil || !slices.Equal(m.Interfaces, want) {
				t.Errorf("%+v: %v, want %+v", m.Interfaces, err, want)
			}
			d.Decode(nil, &m, somebody, noon, message(c.version))
			if len(m.Interfaces) != 0 {
				t.Errorf("the next message describes %+v", m.Interfaces)
			}
		})
	}
}

func TestProcessStatsAreRead(t *testing.T) {
	d := NewDecoder(Limits{})
	var m Message
	_, err := d.Decode(nil, &m, somebody, noon, message(IPFIX,
		set(t, 3, `0101 0005 0002 0095 0004 0090 0004 0029 0008 002a 0008 0028 0004`),
		set(t, 3, `0102 0004 0001 008f 0004 00a4 0008 0087 0008 00a6 0002`),
		set(t, 257, `00000007 00000005 0000000000000064 00000000000009c4 0000ffff`),
		set(t, 258, `00000009 0000000000000001 0000000000000002 0003`)))
	want := []ProcessStats{
		{Said: TotalMessages | TotalRecords | TotalOctets, Process: 5, Messages: 100, Records: 2500, Octets: 65535},
		{Said: TotalIgnoredPackets | TotalDroppedPackets | TotalNotSentFlows, Process: 9, IgnoredPackets: 1, DroppedPackets: 2, NotSentFlows: 3},
	}
	if err != nil || !slices.Equal(m.Stats, want) || m.OptionRecords != 2 {
		t.Errorf("%+v: %v\nwant %+v", m.Stats, err, want)
	}
}

func TestNamesFromOptionsStandBesideTheirIdentifiers(t *testing.T) {
	app := set(t, 3, `0101 0003 0001 005f 0004 0060 0008 005e 0002`)
	vrf := set(t, 3, `0102 0002 0001 00ea 0004 00ec 0006`)
	sampler := set(t, 1, `0101 0004 000c 0001 0004 0030 0001 0054 0008 0032 0004`)
	for _, c := range []struct {
		name    string
		version Version
		sets    [][]byte
		want    string
		rate    uint32
	}{
		{"application", IPFIX, [][]byte{app, set(t, 257, `0d000050`+padded("http", 8)+`4142`),
			set(t, 2, `0100 0002 0001 0001 005f 0004`), set(t, 256, `01 0d000050`)},
			`{"applicationId":"0d000050","applicationName":"http"}`, 0},
		{"application_named_in_the_record", IPFIX, [][]byte{app, set(t, 257, `0d000050`+padded("http", 8)+`4142`),
			set(t, 2, `0100 0002 005f 0004 0060 0004`), set(t, 256, `0d000050`+padded("mine", 4))},
			`{"applicationId":"0d000050","applicationName":"mine"}`, 0},
		{"unknown_application", IPFIX, [][]byte{app, set(t, 2, `0100 0002 0001 0001 005f 0004`), set(t, 256, `01 0d000051`)},
			`{"applicationId":"0d000051"}`, 0},
		{"vrf", IPFIX, [][]byte{vrf, set(t, 258, `00000001`+padded("blue", 6)), set(t, 258, `00000002`+padded("red", 6)),
			set(t, 2, `0100 0002 00ea 0004 00eb 0004`), set(t, 256, `00000001 00000002`)},
			`{"ingressVRFID":1,"ingressVRFname":"blue","egressVRFID":2,"egressVRFname":"red"}`, 0},
		{"sampler", V9, [][]byte{sampler, set(t, 257, `00000000 03`+padded("edge", 8)+`000003e8`),
			set(t, 0, `0100 0002 0001 0004 0030 0001`), set(t, 256, `0000002a 03`)},
			`{"samplerName":"edge"}`, 1000},
		{"sampler_beside_other_extras", V9, [][]byte{sampler, set(t, 257, `00000000 03`+padded("edge", 8)+`000003e8`),
			set(t, 0, `0100 0003 0001 0004 0030 0001 0059 0001`), set(t, 256, `0000002a 03 40`)},
			`{"forwardingStatus":64,"samplerName":"edge"}`, 1000},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDecoder(Limits{})
			var m Message
			recs, err := d.Decode(nil, &m, somebody, noon, message(c.version, c.sets...))
			if err != nil || len(recs) != 1 || string(recs[0].Extra) != c.want || recs[0].SamplingRate != c.rate {
				t.Errorf("%+v: %v\nwant %s", recs, err, c.want)
				for _, r := range recs {
					t.Logf("%s", r.Extra)
				}
			}
		})
	}
}

func TestSamplingOfOneInterface(t *testing.T) {
	options := [][]byte{
		set(t, 1, `0101 0004 0004 0002 0004 0022 0004`), set(t, 257, `00000005 00000064 00000006 000000c8`),
		set(t, 1, `0102 0004 0004 0001 0004 0022 0004`), set(t, 258, `00000000 0000000a`),
		set(t, 0, `0100 0004 0001 0004 000a 0004 000e 0004 003d 0001`),
	}
	for _, c := range []struct {
		name, data string
		want       uint32
	}{
		{"of_the_ingress", `0000002a 00000005 00000006 00`, 100},
		{"of_the_egress_where_it_was_seen_there", `0000002a 00000005 00000006 01`, 200},
		{"of_the_other_when_one_says_nothing", `0000002a 00000009 00000006 00`, 200},
		{"of_the_domain", `0000002a 00000009 00000008 00`, 10},
	} {
		d := NewDecoder(Limits{})
		var m Message
		recs, err := d.Decode(nil, &m, somebody, noon, message(V9, append(slices.Clone(options), set(t, 256, c.data))...))
		if err != nil || len(recs) != 1 || recs[0].SamplingRate != c.want || m.SamplingRate != 10 {
			t.Errorf("%s: %+v %v, want %d", c.name, recs, err, c.want)
		}
	}
}

func TestSamplingProbability(t *testing.T) {
	for data, want := range map[string]uint32{`3f800000`: 1, `3c23d70a`: 100, `00000000`: 0, `7fc00000`: 0, `bf800000`: 0} {
		d := NewDecoder(Limits{})
		var m Message
		_, err := d.Decode(nil, &m, somebody, noon, message(IPFIX, set(t, 3, `0101 0002 0001 0095 0004 0137 0004`), set(t, 257, `00000007`+data)))
		if err != nil || m.SamplingRate != want {
			t.Errorf("probability %s: rate %d, want %d: %v", data, m.SamplingRate, want, err)
		}
	}
}

func TestNamesAreBounded(t *testing.T) {
	l := Limits{NameOctets: 64 << 10, ExporterNameOctets: 16 << 10}
	d := NewDecoder(l)
	var m Message
	for a := range byte(8) {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, a}), 1)
		d.Decode(nil, &m, from, noon, message(IPFIX, set(t, 3, `0101 0002 0001 005f 0004 0060 00c8`)))
		for i := range 500 {
			d.Decode(nil, &m, from, noon, message(IPFIX, set(t, 257, fmt.Sprintf("%08x", i)+strings.Repeat("61", 200))))
		}
	}
	sum := 0
	for _, e := range d.store.exporters {
		own := 0
		for _, name := range e.names {
			own += nameCost(name)
			if len(name) > maxName {
				t.Errorf("a name of %d octets", len(name))
			}
		}
		if own != e.nameOctets || own > l.ExporterNameOctets {
			t.Errorf("%d octets of names of one address, counted as %d", own, e.nameOctets)
		}
		sum += own
	}
	if sum != d.store.nameOctets || sum > l.NameOctets {
		t.Errorf("%d octets of names, counted as %d", sum, d.store.nameOctets)
	}
}

// TestEventsOfARealFirewall: a teardown that an ASA reported, with the values of
// the source of the capture.
func TestEventsOfARealFirewall(t *testing.T) {
	data := truth.Data(t)
	files := [][2]string{
		{"wire/ls_nf9_cisco_asa_1/01_netflow9_test_cisco_asa_1_tpl.dat", "dgram"},
		{"wire/ls_nf9_cisco_asa_1/02_netflow9_test_cisco_asa_1_data.dat", "dgram"},
	}
	_, recs := replay(t, data, files, Limits{})
	if len(recs) != 14 {
		t.Fatal(len(recs), "records")
	}
	r := recs[1]
	typ, code, ok := r.ICMP()
	if r.SrcAddr.String() != "192.168.23.22" || !ok || typ != 8 || code != 0 || r.InIf != 2 || r.Bytes != 56 || r.Start != 1444384068169 || r.End != 1444384070179 {
		t.Errorf("%+v", r)
	}
	if typ, code, _ := recs[0].ICMP(); typ != 0 || code != 0 {
		t.Errorf("an echo reply is type %d, code %d", typ, code)
	}
	for _, want := range []string{
		`"postNATSourceIPv4Address":"192.168.23.22"`, `"postNAPTSourceTransportPort":17549`, `"firewallEvent":2`,
		`"asaExtendedEvent":2025`, `"asaIngressAcl":"0f8e7ff3fc1a030f00000000"`, `"flowId":8501`,
	} {
		if !strings.Contains(string(r.Extra), want) {
			t.Errorf("%s is not in %s", want, r.Extra)
		}
	}
}

// TestOptionsCostTheirOctets: a message of many Sets of options that each change
// something costs no more copies of what is known than one that changes one
// thing, and what changes nothing costs none.
func TestOptionsCostTheirOctets(t *testing.T) {
	d := NewDecoder(Limits{})
	var m Message
	decode := func(msg []byte) {
		if _, err := d.Decode(nil, &m, somebody, noon, msg); err != nil {
			t.Fatal(err)
		}
	}
	decode(message(V9, set(t, 1, `0101 0004 0004 0002 0004 0022 0004`)))
	var all strings.Builder
	for i := range 512 {
		fmt.Fprintf(&all, "%08x %08x ", i+1, 100)
	}
	decode(message(V9, set(t, 257, all.String())))
	changing := func(sets int) (x [2][]byte) {
		for i := range x {
			var of [][]byte
			for k := range sets {
				of = append(of, set(t, 257, fmt.Sprintf("00000001 %08x", 2*k+i+1)))
			}
			x[i] = message(V9, of...)
		}
		return x
	}
	allocations := func(msgs [2][]byte) float64 {
		i := 0
		return testing.AllocsPerRun(100, func() { decode(msgs[i%2]); i++ })
	}
	one, many := allocations(changing(1)), allocations(changing(100))
	if many > 2*one {
		t.Errorf("%v allocations for a change, %v for a hundred in a message", one, many)
	}
	same := message(V9, set(t, 257, all.String()))
	decode(same)
	if n := allocations([2][]byte{same, same}); n != 0 {
		t.Errorf("%v allocations for what is known", n)
	}
	if got := d.store.optionsOf(m.Exporter.Addr, domainKey{7, V9}).interfaces; len(got) != 512 || got[1] != 100 {
		t.Errorf("%d interfaces, the first has %d", len(got), got[1])
	}
}
