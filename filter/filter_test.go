package filter

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"flowtally/flow"
)

// house is a Names for tests.
type house struct{}

func (house) Exporter(id flow.ExporterID) (string, netip.Addr) {
	switch id {
	case 7:
		return "fw1", netip.MustParseAddr("192.0.2.7")
	case 8:
		return "2001:db8::8", netip.MustParseAddr("2001:db8::8")
	}
	return "", netip.Addr{}
}

func (house) Interface(id flow.ExporterID, index uint32) string {
	if id == 7 && index == 3 {
		return "uplink"
	}
	return ""
}

func (house) Domain(id flow.ExporterID) (uint32, bool) {
	return map[flow.ExporterID]uint32{7: 0x0102, 8: 1 << 20}[id], id == 7 || id == 8
}

func at(s string) flow.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return flow.TimeOf(t)
}

func addr(s string) flow.Addr { return flow.AddrFrom(netip.MustParseAddr(s)) }

// web is a TCP flow with a column of everything, ping an ICMP one with next to
// nothing, six an IPv6 one, bare a record without addresses.
var (
	web = flow.Record{
		Start: at("2026-11-21T09:30:00Z"), End: at("2026-11-21T09:30:02.5Z"), Received: at("2026-11-21T09:31:00Z"),
		Packets: 10, Bytes: 12_345, Exporter: 7, SamplingRate: 100, TCPFlags: flow.SYN | flow.ACK | flow.FIN,
		EndReason: flow.EndOfFlow, Direction: 1, SrcMask: 24, DstMask: 16, SrcAS: 65001, DstAS: 65002,
		NextHop: addr("192.0.2.254"), Marks: flow.MarkTimeRepaired | flow.MarkDuplicate,
		Key: flow.Key{IPVersion: 4, Protocol: flow.TCP, SrcAddr: addr("10.1.2.3"), DstAddr: addr("198.51.100.7"),
			SrcPort: 40_000, DstPort: 443, InIf: 3, OutIf: 4, VLAN: 10, TOS: 0x20},
		Extra: []byte(`{"outerSourceIPv4Address":"198.51.100.1","outerDestinationIPv4Address":"198.51.100.2",` +
			`"tunnelProtocolIdentifier":17,"tunnelTransportPort":4789,"tunnelIdentifier":42,"duplicatePacketDeltaCount":3}`),
	}
	ping = flow.Record{
		Start: at("2026-11-21T10:00:00Z"), End: at("2026-11-21T10:00:00Z"), Received: at("2026-11-21T10:00:01Z"),
		Packets: 1, Bytes: 84, Exporter: 9,
		Key: flow.Key{IPVersion: 4, Protocol: flow.ICMP, SrcAddr: addr("10.1.2.3"), DstAddr: addr("10.9.9.9"), DstPort: 8 << 8},
	}
	six = flow.Record{
		Start: at("2026-11-21T10:00:00Z"), End: at("2026-11-21T10:00:01Z"), Received: at("2026-11-21T10:00:01Z"),
		Packets: 2, Bytes: 3000, Exporter: 8, NextHop: addr("2001:db8::1"),
		Key: flow.Key{IPVersion: 6, Protocol: flow.UDP, SrcAddr: addr("2001:db8::5"), DstAddr: addr("2001:db8:1::53"), SrcPort: 5353, DstPort: 53},
		Extra: []byte(`{"minimumTTL":60,"maximumTTL":60,"sourceMacAddress":"00:00:5e:00:53:01","postVlanId":20,` +
			`"postNATSourceIPv4Address":"203.0.113.9","postNAPTSourceTransportPort":61000,"mplsTopLabelStackSection":"0012a1",` +
			`"mplsLabelStackSection2":"0012ba","ingressVRFID":5,"asaIngressAcl":"000000ff00000000deadbeef","asaExtendedEvent":1001,` +
			`"firewallEvent":3,"natEvent":1,"applicationName":"dns","forwardingStatus":129,"ethernetType":34525,` +
			`"bgpNextHopIPv6Address":"2001:db8::b","bgpPrevAdjacentAsNumber":64496,"postPacketDeltaCount":2,"observationPointId":77,` +
			`"sourceIPv4Address":"192.0.2.100","protocolIdentifier":4,"deltaFlowCount":6,"postIpClassOfService":184}`),
	}
	bare = flow.Record{Start: 1, End: 1, Received: 1, Key: flow.Key{Protocol: 47}}
)

var named = []struct {
	name string
	r    *flow.Record
}{{"web", &web}, {"ping", &ping}, {"six", &six}, {"bare", &bare}}

// TestMatch: each condition, and which of the four records it means.
func TestMatch(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "web ping six bare"},
		{"  # all of them\n", "web ping six bare"},
		{"any", "web ping six bare"},
		{"not any", ""},
		{"ipv4", "web ping"},
		{"IPv6", "six"},
		{"not ipv4", "six bare"},

		{"proto tcp", "web"},
		{"proto 17", "six"},
		{"proto in [tcp, udp]", "web six"},
		{"proto != tcp", "ping six bare"},
		{"proto > 16", "six bare"},
		{"proto gre", "bare"},

		{"ip 10.1.2.3", "web ping"},
		{"host 198.51.100.7", "web"},
		{"src ip 198.51.100.7", ""},
		{"dst host 198.51.100.7", "web"},
		{"ip = 10.9.9.9", "ping"},
		{"ip != 10.9.9.9", "web six bare"},
		{"net 10.0.0.0/8", "web ping"},
		{"net 10/8", "web ping"},
		{"dst net 10.0.0.0 255.0.0.0", "ping"},
		{"ip 2001:db8::/32", "six"},
		{"dst ip 2001:db8:1::53", "six"},
		{"ip 0.0.0.0/0", "web ping"},
		{"ip ::/0", "six"},
		{"ip ::ffff:10.9.9.9", "ping"},
		{"src ip in [10.1.2.3 2001:db8::/64, 172.16.0.0/12]", "web ping six"},
		{"ip in [10.1.0.0/16, 10.1.2.3]", "web ping"},

		{"port 443", "web"},
		{"port=443", "web"},
		{"port https", "web"},
		{"PORT HTTPS", "web"},
		{"src port 443", ""},
		{"dst port == 443", "web"},
		{"port eq 443", "web"},
		{"port 400-500", "web"},
		{"port in [53 400-500, 1]", "web six"},
		{"port > 5353", "web"},
		{"port>=5353", "web six"},
		{"port < 54", "six"},
		{"port 0x35", "six"},
		{"port != 443", "ping six bare"},
		{"port >= 0", "web six"},
		{"not port >= 0", "ping bare"},
		{"dst port 2048", ""},

		{"icmp type 8", "ping"},
		{"icmp-type 8 and icmp-code 0", "ping"},
		{"icmp code 0", "ping"},
		{"not icmp code 0", "web six bare"},

		{"flags S", "web"},
		{"flags SA", "web"},
		{"flags FSA", "web"},
		{"flags R", ""},
		{"flags SR", ""},
		{"flags =S", ""},
		{"flags =fsa", "web"},
		{"flags = SAF", "web"},
		{"flags 19", "web"},
		{"flags > 2", "web"},
		{"flags S and not flags AFRPU", "web"}, // as nfdump: its manual's "SYN alone" is not
		{"not flags R", "web ping six bare"},

		{"tos 32", "web"},
		{"src tos 32", "web"},
		{"dst tos 184", "six"},
		{"packets > 1", "web six"},
		{"tcp", "web"},
		{"UDP", "six"},
		{"icmp", "ping"},
		{"not tcp and not icmp", "six bare"},
		{"(tcp or udp) and port 443", "web"},
		{"icmp and icmp type 8", "ping"},
		{"gre", "bare"},
		{"port 80,443", "web"},
		{"dst port = 53, 443", "web six"},
		{"port != 80,443", "ping six bare"},
		{"port http,https,1-60", "web six"},
		{"ip 10.9.9.9,198.51.100.7", "web ping"},
		{"proto tcp,udp", "web six"},
		{"duration > 2s", "web"},
		{"duration 2.5s", "web"},
		{"duration 2500ms", "web"},
		{"duration < 0.5min", "web ping six bare"},
		{"duration >= 1h", ""},
		{"duration < 1d", "web ping six bare"},
		{"bytes > 3.5k", "web"},
		{"bytes > 1.5m", ""},
		{"bytes < 0.0000015g", "ping bare"},
		{"packets 10", "web"},
		{"in packets 10", "web"},
		{"out packets 2", "six"},
		{"bytes > 3k", "web"},
		{"bytes>=3k", "web six"},
		{"bytes < 1m", "web ping six bare"},
		{"bytes < 0", ""},
		{"flows 1", "web ping bare"},
		{"flows > 5", "six"},
		{"duration 2500", "web"},
		{"duration 0", "ping bare"},
		{"pps 4", "web"},
		{"bps > 39000", "web"},
		{"bps 39504", "web"},
		{"bps 24k", "six"},
		{"bps 0", "ping bare"},
		{"pps > 0", "web six"},
		{"bpp 1234", "web"},
		{"bpp 0", "bare"},

		{"if 3", "web"},
		{"in if 4", ""},
		{"out if 4", "web"},
		{`if "uplink"`, "web"},
		{"in if uplink", "web"},
		{"out if uplink", ""},
		{"if in [uplink 99]", "web"},
		{"not if > 0", "ping six bare"},
		{"vlan 10", "web"},
		{"vlan 20", "six"},
		{"src vlan 20", ""},
		{"not vlan 10", "ping six bare"},
		{"vlan != 10", "ping six bare"},
		{"mask 16", "web"},
		{"src mask 24", "web"},
		{"as 65002", "web"},
		{"src as in [65001 65002]", "web"},
		{"prev as 64496", "six"},
		{"next as 64496", ""},
		{"mac 00:00:5e:00:53:01", "six"},
		{"src mac 0:0:5E:0:53:1", "six"},
		{"dst mac 00:00:5e:00:53:01", ""},
		{"in src mac 0000.5e00.5301", "six"},
		{"ethertype 0x86dd", "six"},
		{"flowdir ingress", "web"},
		{"flowdir 0", "web"},
		{"flowdir egress", ""},
		{"fwdstat dropped", "six"},
		{"fwdstat 129", "six"},

		{"first seen 2026-11-21T10", "ping six"},
		{"first seen >= 2026-11-21T09:30:00", "web ping six"},
		{"first seen < 2026-11-21T10", "web bare"},
		{"last seen > 2026-11-21T09:30:02.499", "web ping six"},
		{"last seen > 2026-11-21T09:30:02.5", "ping six"},
		{`first seen "2026-11-21 10:00"`, "ping six"},
		{"first seen 2026-11-21T11:00+01:00", "ping six"},
		{"first seen > 2026", "web ping six"},
		{"received > 2026-11-21T10", "ping six"},

		{"next ip 192.0.2.254", "web"},
		{"next ip ::/0", "six"},
		{"bgp next ip 2001:db8::b", "six"},
		{"exporter fw1", "web"},
		{"exporter 192.0.2.7", "web"},
		{"exporter ip 192.0.2.7", "web"},
		{"router ip 2001:db8::/32", "six"},
		{"exporter id 7", "web"},
		{"exporter in [fw1 2001:db8::8]", "web six"},
		{"exporter != fw1", "ping six bare"},
		{"observation domain id 258", "web"},
		{"observation domain > 65535", "six"},
		{"engine type 1", "web"},
		{"engine id 2", "web"},
		{"engine-id 2", "web"},
		{"engine-type > 0", "web"},
		{"engine id 0", ""},
		{"observation point id 77", "six"},

		{"ttl 60", "six"},
		{"min ttl 60", "six"},
		{"max ttl < 60", ""},
		{"ttl equal", "six"},
		{"mpls label1 298", "six"}, // 0x0012a
		{"mpls label2 299", "six"},
		{"mpls any 299", "six"},
		{"mpls exp2 5", "six"},
		{"mpls eos 298", "six"},
		{"mpls eos 299", ""},
		{"nat ip 203.0.113.9", "six"},
		{"src nat ip 203.0.113.0/24", "six"},
		{"src nat net 203.0.113.0/24", "six"},
		{"nat net 203.0.113.0 255.255.255.0", "six"},
		{"dst xlate ip 203.0.113.9", ""},
		{"src nat port 61000", "six"},
		{"nat port > 1k", "six"},
		{"nat event add", "six"},
		{"asa event deny", "six"},
		{"asa event denied", "six"},
		{"not asa event denied or any", "web ping six bare"},
		{"asa event denied ingress", "six"},
		{"asa event denied 1001", "six"},
		{"asa denied ingress", "six"},
		{"asa denied egress", ""},
		{"asa xevent 1001", "six"},
		{"ingress vrf 5", "six"},
		{"vrf 5", "six"},
		{"ingress acl 255", "six"},
		{"acl 0xff", "six"},
		{"egress acl 255", ""},
		{"tun ip 192.0.2.100", "six"},
		{"tun proto ipv4", "six"},
		{"tun ip 198.51.100.0/24", "web"},
		{"src tun ip 198.51.100.1 and dst tun ip 198.51.100.2", "web"},
		{"tun proto udp and tun port 4789 and tun id 42", "web"},
		{"tun vni 43", ""},
		{"duplicates > 0", "web"},
		{`application "dns"`, "six"},

		{"sampling 100", "web"},
		{"sampling > 1", "web"},
		{"not sampling > 0", "ping six bare"},
		{"end reason end", "web"},
		{"end reason 3", "web"},
		{"end reason in [idle active]", ""},
		{"marks repaired", "web"},
		{"marks clamped", ""},
		{"marks 5", "web"},
		{"marks > 0", "web"},

		{"proto tcp or proto udp and port 443", "web"},
		{"(proto tcp or proto udp) and port 53", "six"},
		{"not proto tcp and port 53", "six"},
		{"not (proto tcp and port 53)", "web ping six bare"},
		{"! proto tcp && ! proto udp || port 443", "web ping bare"},
		{"not not port 443", "web"},
	} {
		f, err := Parse(c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		var got []string
		for _, n := range named {
			if f.Match(n.r, house{}) {
				got = append(got, n.name)
			}
			if m := f.Match(n.r, nil); m && !f.Match(n.r, house{}) && !strings.Contains(c.text, "not") && !strings.Contains(c.text, "!") {
				t.Errorf("%q: without names more is meant", c.text)
			}
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%q (%s): got %q, want %q", c.text, f, s, c.want)
		}
		again, err := Parse(f.String())
		if err != nil || again.String() != f.String() {
			t.Errorf("%q prints as %q, which gives %v %v", c.text, f, again, err)
		}
	}
}

// TestErrors: each mistake, where it is and what may have been meant.
func TestErrors(t *testing.T) {
	for _, c := range []struct{ text, at, msg, suggest string }{
		{"prot tcp", "prot", "is not a field", "proto"},
		{"icmp typ 8", "typ", "does not go with", "type"},
		{"port 80,", "", "the text ends", ""},
		{"port 80,htps", "htps", "is not a number or a name of port", "https"},
		{"flags S,A", ",", "not of letters", ""},
		{"port > 80,443", ",", "is not expected", ""},
		{"first seen 2026,2027", ",", "time has no list", ""},
		{"bytes > 1.5", "1.5", "is not a number", ""},
		{"bytes > 1.0005k", "1.0005k", "is not a number", ""},
		{"bytes > 5s", "5s", "is not a number", ""},
		{"duration > 5x", "5x", "is not a number", ""},
		{"src port in nat pblock", "nat", "nat pblock", ""},
		{"nat geo CH", "nat geo", "on the map", ""},
		{"app latency > 5", "app latency", "not measured", ""},
		{"sysid 5", "sysid", "exporter id", ""},
		{"10.0.0.0/8", "10.0.0.0/8", "network", "net 10.0.0.0/8"},
		{"10.0.0.1", "10.0.0.1", "address", "ip 10.0.0.1"},
		{"dport 80", "dport", "is not a field", "dst port"},
		{"src prot 80", "prot", `does not go with "src"`, "port"},
		{"proto tcp prot 80", "prot", "is not expected", ""},
		{"proto tcp port 80", "port", "side by side", "and"},
		{"proto tcp andd port 80", "andd", "is not expected", "and"},
		{"port htps", "htps", "is not a number or a name of port", "https"},
		{"port 70000", "70000", "at most 65535", ""},
		{"port 20-10", "20-10", "ends before it begins", "10-20"},
		{"port > 10-20", "10-20", "range has no order", ""},
		{"port in []", "[", "empty", ""},
		{"port in [80", "[", "not closed", ""},
		{"port in 80", "80", "stands where", ""},
		{"port", "", "the text ends", ""},
		{"port )", ")", "stands where", ""},
		{"(port 80", "(", "not closed", ""},
		{"port 80)", ")", "that none opened", ""},
		{"proto tcp and", "", "the text ends", ""},
		{"ip > 10.0.0.1", ">", "has no order", ""},
		{"ip 10.0.0.300", "10.0.0.300", "neither an address", ""},
		{"ip 10.0.0.0/33", "10.0.0.0/33", "neither an address", ""},
		{"flags SQ", "SQ", "is not flags", ""},
		{"mac 1:2:3", "1:2:3", "MAC address", ""},
		{"first seen soon", "soon", "is not a time", ""},
		{"first seen yesterday", "yesterday", "is relative to now", ""},
		{"first seen 20261121", "20261121", "is not a time", ""},
		{"bytes 1x", "1x", "is not a number", ""},
		{"bytes 99999999999t", "99999999999t", "is not a number", ""},
		{"end reason idel", "idel", "is not a number or a name", "idle"},
		{`exporter "fw1`, `"fw1`, "quote is not closed", ""},
		{`exporter ""`, `""`, "nothing between", ""},
		{"port 80 ; drop", ";", "no meaning", ""},
		{"@include /etc/passwd", "@include", "not included", ""},
		{"src geo CH", "src geo", "on the map", ""},
		{"payload content 'x'", "payload", "contents of packets", ""},
		{"ip tor", "tor", "Tor", ""},
		{"ident here", "ident", "exporter", ""},
		{"count > 5", "count", "no such numbers", ""},
		{"client latency > 5", "client latency", "not measured", ""},
		{"proto tcp and ä", "ä", "is not a field", ""},
		{strings.Repeat("(", 200) + "any", "(", "deeper", ""},
		{strings.Repeat("not ", 200) + "any", "not", "deeper", ""},
		{strings.Repeat(" ", MaxLength+1), "", "bytes", ""},
	} {
		_, err := Parse(c.text)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%.60q: %v", c.text, err)
			continue
		}
		if len(c.text) < MaxLength && c.text[e.Offset:e.End] != c.at || !strings.Contains(e.Msg, c.msg) {
			t.Errorf("%.60q: at %q: %v", c.text, c.text[e.Offset:e.End], err)
		}
		if c.suggest != "" && !slices.Contains(e.Suggest, c.suggest) {
			t.Errorf("%.60q: suggests %q, not %q", c.text, e.Suggest, c.suggest)
		}
	}
	_, err := Parse("any and ä or prot 6")
	if want := `filter: character 9: "ä" is not a field`; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestLimits: what is too much is refused, and what is just not is taken.
func TestLimits(t *testing.T) {
	var hosts []string
	for i := range MaxHosts + 1 {
		hosts = append(hosts, "h"+strconv.Itoa(i)+".example")
	}
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"many in a chain":     {strings.Repeat("port 1 or ", 1000) + "any", true},
		"many in a list":      {"port in [" + strings.Repeat("1 ", MaxList) + "]", true},
		"too many in a list":  {"port in [" + strings.Repeat("1 ", MaxList+1) + "]", false},
		"deep":                {strings.Repeat("(", MaxDepth-1) + "any" + strings.Repeat(")", MaxDepth-1), true},
		"too deep":            {strings.Repeat("(", MaxDepth) + "any" + strings.Repeat(")", MaxDepth), false},
		"many hosts":          {"ip in [" + strings.Join(hosts[:MaxHosts], " ") + "]", true},
		"one host many times": {strings.Repeat("ip h.example or ", 100) + "any", true},
		"too many hosts":      {"host " + strings.Join(hosts, " or host "), false},
		"long":                {"any" + strings.Repeat(" ", MaxLength-3), true},
		"too long":            {"any" + strings.Repeat(" ", MaxLength-2), false},
	} {
		if len(c.text) > MaxLength && name != "too long" {
			t.Fatalf("%s is %d bytes long", name, len(c.text))
		}
		if _, err := Parse(c.text); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestResolve: names of hosts have no address until they are looked up, and then
// all that they were found to have.
func TestResolve(t *testing.T) {
	f, err := Parse("src ip in [www.example.com. 10.0.0.1] or dst host Other.example")
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Hosts(); !slices.Equal(got, []string{"other.example", "www.example.com"}) {
		t.Errorf("hosts %q", got)
	}
	if f.Match(&web, nil) {
		t.Error("a name that was not looked up has an address")
	}
	asked := 0
	g, err := f.Resolve(context.Background(), func(_ context.Context, host string) ([]netip.Addr, error) {
		asked++
		if host == "www.example.com" {
			return []netip.Addr{netip.MustParseAddr("::ffff:10.1.2.3"), netip.MustParseAddr("2001:db8::5")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
	})
	if err != nil || asked != 2 || len(g.Hosts()) != 0 {
		t.Fatalf("%v, asked %d, left %q", err, asked, g.Hosts())
	}
	if !g.Match(&web, nil) || !g.Match(&six, nil) || f.Match(&web, nil) {
		t.Error("what was looked up is not compared with")
	}
	if got := g.Resolved()["www.example.com"]; len(got) != 2 || got[0].String() != "10.1.2.3" {
		t.Errorf("resolved %v", got)
	}
	if g.String() != f.String() {
		t.Errorf("%s became %s", f, g)
	}
	for name, look := range map[string]Resolver{
		"an error":   func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no such host") },
		"no answer":  func(context.Context, string) ([]netip.Addr, error) { return nil, nil },
		"no address": func(context.Context, string) ([]netip.Addr, error) { return make([]netip.Addr, 1), nil },
		"too many":   func(context.Context, string) ([]netip.Addr, error) { return make([]netip.Addr, MaxAnswers+1), nil },
	} {
		if _, err := f.Resolve(context.Background(), look); err == nil || !strings.Contains(err.Error(), "other.example") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestConjuncts: the planner sees what must hold, and what it reads.
func TestConjuncts(t *testing.T) {
	f, err := Parse(`proto tcp and port in [80 443] and not src ip 10.0.0.0/8 and (vlan 3 or exporter "fw1") and flags S`)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range f.Conjuncts() {
		got = append(got, c.Field+"|"+strings.Join(c.Columns, ",")+"|"+c.Text)
	}
	want := []string{
		"proto|protocol|proto tcp",
		"port|dst_port,src_port|port in [80, 443]",
		"src ip|src_addr|not src ip 10.0.0.0/8",
		`|exporter,exporter_id,extra,vlan|vlan 3 or exporter "fw1"`,
		"flags|tcp_flags|flags S",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	terms := f.Conjuncts()
	if !terms[2].Negated || terms[2].Prefixes[0].String() != "10.0.0.0/8" || terms[1].Ranges[1] != (Range{443, 443}) || terms[4].Mask != 2 {
		t.Errorf("%+v", terms)
	}
}

// TestComplete: what may follow, at each place of a text.
func TestComplete(t *testing.T) {
	for _, c := range []struct{ text, want, not string }{
		{"|", "proto src port not (", "and geo client server"},
		{"s|", "src sampling", "server ssl"},
		{"src |", "ip port", "geo payload"},
		{"src ip 10.|", "<address>", "in !="},
		{"port ht|", "https http <port>", "ssh"},
		{"port in [80, ht|", "https http", "and"},
		{"not |", "src proto (", "and"},
		{"not p|", "port proto", "src"},
		{"any and not (|", "src proto", ")"},
		{"any or (src p|", "port", "ip"},
		{"tun |", "ip proto port id", "src"},
		{"pr|", "proto prev protocol", "port and"},
		{"src |", "ip port as mac", "proto and"},
		{"src p|", "port", "ip"},
		{"proto |", "tcp udp in != <protocol>", "and"},
		{"proto t|", "tcp", "udp"},
		{"proto tcp |", "and or", "proto"},
		{"proto tcp a|", "and", "or"},
		{"proto tcp and |", "src proto", "and"},
		{"(proto tcp |", "and or )", ""},
		{"port > |", "https <port>", "in !="},
		{"port in [|", "https <port> ]", "in"},
		{"port in [80 h|", "https", ""},
		{"ip |", "<address> in !=", ">"},
		{"exporter |", "<exporter> ip id", ">"},
		{`exporter "f|`, "<exporter>", ""},
		{`exporter "f|w" and any`, "<exporter>", ""},
		{"if |", "<interface> > in", ""},
		{"first |", "seen", ""},
		{"first seen > |", "<time>", "in"},
		{"end reason |", "idle active", ""},
		{"marks |", "repaired", ""},
		{"prot tcp |", "", "and"},
		{"proto tcp # and |", "", "and"},
		{"proto t| and port 80", "tcp", ""},
	} {
		offset := strings.IndexByte(c.text, '|')
		text := strings.Replace(c.text, "|", "", 1)
		var got []string
		for _, o := range Complete(text, offset) {
			if o.Start < 0 || o.End < o.Start || o.End > len(text) || o.Start > offset {
				t.Errorf("%q: replaces %d to %d", c.text, o.Start, o.End)
			}
			if o.Text == "" {
				got = append(got, "<"+o.Kind+">")
			} else {
				got = append(got, o.Text)
			}
		}
		for _, w := range strings.Fields(c.want) {
			if !slices.Contains(got, w) {
				t.Errorf("%q: no %q in %q", c.text, w, got)
			}
		}
		for _, w := range strings.Fields(c.not) {
			if slices.Contains(got, w) {
				t.Errorf("%q: %q in %q", c.text, w, got)
			}
		}
	}
}

// TestCompleteUsualFirst: what people mean most often stands at the top.
func TestCompleteUsualFirst(t *testing.T) {
	for text, want := range map[string]string{"": "src", "s": "src", "src ": "ip", "p": "port", "proto ": "tcp", "port h": "https", "port in [h": "https", "not (any and e": "exporter"} {
		var got []string
		for _, o := range Complete(text, len(text)) {
			if o.Text != "" && o.Kind != "operator" && o.Kind != "keyword" {
				got = append(got, o.Text)
			}
		}
		if len(got) == 0 || got[0] != want {
			t.Errorf("%q: %q, want %s first", text, got, want)
		}
	}
}

// TestElementsAreTheDecoders: what the language looks for in the extras are names
// that the decoder writes there.
func TestElementsAreTheDecoders(t *testing.T) {
	var source []byte
	for _, name := range []string{"elements_gen.go", "element.go", "encoderfields.go"} {
		b, err := os.ReadFile("../netflow/" + name)
		if err != nil {
			t.Fatal(err)
		}
		source = append(source, b...)
	}
	element := regexp.MustCompile(`extra ->> '([^']*)'`)
	seen := 0
	for _, f := range table {
		for _, side := range f.either() {
			for _, m := range element.FindAllStringSubmatch(side.column, -1) {
				if seen++; !bytes.Contains(source, []byte(`{"`+m[1]+`", `)) {
					t.Errorf("%s: the decoder writes no %q", f.name, m[1])
				}
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d elements", seen)
	}
}

// TestFields: every word of the vocabulary parses, and says what it is.
func TestFields(t *testing.T) {
	value := map[string]string{
		"none": "", "number": " 1", "time": " 2026", "address": " 10.0.0.1", "flags": " S", "marks": " repaired", "text": " x",
		"mac": " 0:0:0:0:0:1", "exporter": " x", "interface": " x", "port": " http", "protocol": " tcp",
	}
	for _, f := range Fields() {
		for _, n := range append([]string{f.Name}, f.Aliases...) {
			g, err := Parse(n + value[f.Kind])
			if err != nil {
				t.Errorf("%s: %v", n, err)
			} else if !strings.HasPrefix(g.String(), f.Name) {
				t.Errorf("%s is printed as %s", n, g)
			}
		}
		if f.What == "" || f.Name != "any" && len(f.Columns) == 0 {
			t.Errorf("%+v", f)
		}
	}
	if ServiceName(443) != "https" || ServiceName(4) != "" {
		t.Error("services are not called what they are")
	}
}

// TestEveryFieldOfTheTableHasItsWords: what the table of fields names is asked for
// by its words, reads what the table says, and is offered for completion.
func TestEveryFieldOfTheTableHasItsWords(t *testing.T) {
	known := make(map[string]Field)
	for _, f := range Fields() {
		known[f.Name] = f
	}
	for i := range flow.Fields {
		d := &flow.Fields[i]
		if d.Word == "" {
			continue
		}
		for _, other := range []string{d.Name, d.Key} {
			var e *Error
			if _, err := Parse(other + " 1"); other != "" && lookup(other) == nil && (!errors.As(err, &e) || !slices.Equal(e.Suggest, []string{d.Word})) {
				t.Errorf("%s: %v does not suggest %q", other, err, d.Word)
			}
		}
		f := known[d.Word]
		columns := []string{"extra"}
		if d.IsColumn() {
			columns = []string{d.Name}
		}
		if !slices.Equal(f.Aliases, d.Aliases) || !strings.HasPrefix(f.What, d.Label) || !slices.Equal(f.Columns, columns) {
			t.Errorf("%s: %+v", d.Name, f)
		}
		for _, w := range append([]string{d.Word}, d.Aliases...) {
			begin, last := "", w
			if at := strings.LastIndexByte(w, ' '); at >= 0 {
				begin, last = w[:at+1], w[at+1:]
			}
			if !slices.ContainsFunc(Complete(begin+last[:1], len(begin)+1), func(c Completion) bool { return c.Kind == "field" && c.Text == last }) {
				t.Errorf("%q is not offered after %q", last, begin+last[:1])
			}
		}
	}
	for _, p := range flow.Pairs {
		src, dst := flow.FieldNamed(p.Src), flow.FieldNamed(p.Dst)
		f := known[p.Word]
		if f.What != p.Label || !slices.Equal(f.Aliases, p.Aliases) {
			t.Errorf("%s: %+v", p.Name, f)
		}
		if src.IsColumn() && dst.IsColumn() && !slices.Equal(f.Columns, slices.Sorted(slices.Values([]string{p.Src, p.Dst}))) {
			t.Errorf("%s reads %q", p.Word, f.Columns)
		}
	}
}

// TestNoFieldIsStoredAndUnasked: what has a column is asked for by a word, but for
// the sums of columns and for what is the store's own.
func TestNoFieldIsStoredAndUnasked(t *testing.T) {
	for i := range flow.Fields {
		f := &flow.Fields[i]
		if f.Word == "" && !slices.Contains([]string{"packets_scaled", "bytes_scaled", "extra", "batch", "ttl"}, f.Name) {
			t.Errorf("%s has no word", f.Name)
		}
	}
}

// simple are the filters that an exporter or a rule may ask of every record.
var simple = []string{
	"proto tcp and port 443", "src ip 10.0.0.0/8", "port in [22 23 3389 5900-5910]", "not vlan 10 and bytes > 1k", "flags =S", "bps > 1m or icmp type 8",
	"ip in [10.0.0.1 10.0.0.2 192.168.0.0/16 2001:db8::/32]", `exporter "fw1" and if "uplink"`, "min ttl > 5",
}

func parse(t testing.TB, text string) *Filter {
	t.Helper()
	f, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestMatchDoesNotAllocate holds what the benchmark measures.
func TestMatchDoesNotAllocate(t *testing.T) {
	var names Names = house{}
	for _, text := range simple {
		f := parse(t, text)
		if n := testing.AllocsPerRun(100, func() { f.Match(&web, names); f.Match(&six, names) }); n != 0 {
			t.Errorf("%q: %v allocations", text, n)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	var names Names = house{}
	for _, text := range simple {
		f := parse(b, text)
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f.Match(&web, names)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range simple {
		f.Add(s)
	}
	for _, s := range []string{
		"", "port=80 # x\nand @include y", "first seen > 2024-07-11T09 or not (ip in [a.b 10/8, ::1])", "mpls any 5 or ttl equal",
		"flags !=S&&marks clamped||exporter 'x'", "net 10.0.0.0 255.0.0.0", "bytes 0x10 and packets 1t", "\xff", "port in [1-2-3", "mac 0000.5e00.5301",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		g, err := Parse(s)
		for i := 0; i <= len(s) && i < 64; i++ {
			Complete(s, i)
		}
		var e *Error
		if errors.As(err, &e) {
			if e.Offset < 0 || e.End < e.Offset || e.End > len(s) {
				t.Fatalf("%q: error at %d to %d", s, e.Offset, e.End)
			}
			_ = e.Error()
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range named {
			g.Match(n.r, house{})
		}
		g.SQL(nil)
		g.Conjuncts()
		text := g.String()
		if len(text) > MaxLength {
			return
		}
		again, err := Parse(text)
		if err != nil || again.String() != text {
			t.Fatalf("%q prints as %q, which gives %v, %v", s, text, again, err)
		}
	})
}

// FuzzMember: no bytes of a stranger's extras make the matcher fail.
func FuzzMember(f *testing.F) {
	f.Add(six.Extra)
	f.Add([]byte(`{"a":{"b":[1,"]"]},"minimumTTL":"6\u0030", "minimumTTL" : 7}`))
	f.Add([]byte(`{"minimumTTL`))
	f.Fuzz(func(t *testing.T, b []byte) {
		member(b, "minimumTTL")
		r := flow.Record{Extra: b}
		for _, g := range table {
			for _, s := range g.either() {
				if s.num != nil {
					s.num(&r, house{})
				}
				if s.addr != nil {
					s.addr(&r, house{})
				}
				if s.str != nil {
					s.str(&r, house{})
				}
			}
		}
	})
}

// TestQuote: a name that can be written is read as it is.
func TestQuote(t *testing.T) {
	for name, ok := range map[string]bool{
		"fw1": true, "and": true, `the "big" one`: true, "it's": true, "ä ö # ( [": true,
		"": false, `it's "it"`: false, "a\nb": false, "\xff": false,
	} {
		text, can := Quote(name)
		if can != ok {
			t.Errorf("%q: %v", name, can)
		}
		if !can {
			continue
		}
		if c := parse(t, "exporter "+text).Conjuncts(); len(c) != 1 || !slices.Equal(c[0].Words, []string{name}) {
			t.Errorf("%q is written %s and read %+v", name, text, c)
		}
	}
}

// TestDocumentation: the examples of docs/filter.md are filters, and its tables
// leave no word of any field out.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile("../docs/filter.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```\n")
	examples, _, _ := strings.Cut(rest, "```")
	n := 0
	for line := range strings.Lines(examples) {
		example, _, _ := strings.Cut(line, "   ")
		if _, err := Parse(example); err != nil {
			t.Errorf("%s: %v", example, err)
		}
		n++
	}
	if n < 8 {
		t.Errorf("%d examples", n)
	}
	written := make(map[string]bool) // what stands between back quotes, word by word
	for i, code := range strings.Split(string(text), "`") {
		if i%2 == 1 {
			for _, w := range regexp.MustCompile(`[a-z0-9-]+`).FindAllString(code, -1) {
				written[strings.TrimRight(w, "0123456789")] = true
			}
		}
	}
	for _, f := range Fields() {
		for _, name := range append([]string{f.Name}, f.Aliases...) {
			for _, w := range strings.Fields(name) {
				if !written[strings.TrimRight(w, "0123456789")] {
					t.Errorf("%q of %q is not in docs/filter.md", w, name)
				}
			}
		}
	}
}
