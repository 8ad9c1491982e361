package netflow

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"flowtally/flow"
)

// nsel is the template of the connection below: of a Cisco ASA.
const nsel = `0107 000e 0008 0004 0007 0002 000c 0004 000b 0002 0004 0001 0094 0004 00e9 0001 80ea 0002 0098 0008 0143 0008 00e7 0008 00e8 0008 012a 0008 012b 0008`

// nselRecord is a record of a connection that began at start.
func nselRecord(connection, event int, start, at flow.Time, sums [4]uint64) string {
	return fmt.Sprintf("c633640a d78e cb007105 01bb 06 %08x %02x 0000 %016x %016x %016x %016x %016x %016x",
		connection, event, uint64(start), uint64(at), sums[0], sums[2], sums[1], sums[3])
}

// connection is one TCP connection that carried 2,588 octets from the initiator and
// 1,117 back: created, updated twice, torn down.
func connection(t *testing.T, number int, start flow.Time) []byte {
	return set(t, 263,
		nselRecord(number, 1, start, start, [4]uint64{})+
			nselRecord(number, 5, start, start+20*flow.Second, [4]uint64{2557, 12, 1117, 9})+
			nselRecord(number, 5, start, start+40*flow.Second, [4]uint64{31, 1, 0, 0})+
			nselRecord(number, 2, start, start+59*flow.Second, [4]uint64{2588, 13, 1117, 9}))
}

func nselTemplate(t *testing.T) []byte { return set(t, 0, nsel) }

func kinds(events []flow.Event) (list []string) {
	for i := range events {
		list = append(list, events[i].Kind())
	}
	return list
}

func sumOf(recs []flow.Record, src string) (sum flow.Record) {
	for i := range recs {
		if recs[i].SrcAddr == flow.AddrFrom(netip.MustParseAddr(src)) {
			sum.Bytes += recs[i].Bytes
			sum.Packets += recs[i].Packets
			sum.Marks |= recs[i].Marks
		}
	}
	return sum
}

// The deltas of an ASA's updates are flows; its create and its teardown are events, and
// the total that the teardown states has been told.
func TestConnectionCountsOnce(t *testing.T) {
	d := NewDecoder(Limits{})
	var m Message
	start := noon - flow.Minute
	recs, err := d.Decode(nil, &m, somebody, noon, message(V9, nselTemplate(t), connection(t, 4711, start)))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := sumOf(recs, "198.51.100.10"), sumOf(recs, "203.0.113.5"); a.Bytes != 2588 || a.Packets != 13 || b.Bytes != 1117 || b.Packets != 9 {
		t.Errorf("%d octets in %d packets and %d in %d, want 2588 in 13 and 1117 in 9", a.Bytes, a.Packets, b.Bytes, b.Packets)
	}
	if len(recs) != 3 {
		t.Errorf("%d flows, want 3: the second update has nothing of the responder", len(recs))
	}
	// The second update tells of the time since the first.
	if last := recs[2]; last.Start != start+20*flow.Second || last.End != start+40*flow.Second {
		t.Errorf("the second update is from %v to %v", last.Start, last.End)
	}
	if got := kinds(m.Events); fmt.Sprint(got) != "[create teardown]" {
		t.Errorf("events %v", got)
	}
	e := m.Events[1]
	if e.Time != start+59*flow.Second || e.SrcPort != 0xd78e || e.DstPort != 443 || e.Protocol != flow.TCP ||
		e.DstAddr != flow.AddrFrom(netip.MustParseAddr("203.0.113.5")) || !bytes.Contains(e.Extra, []byte(`"initiatorOctets":2588`)) || !bytes.Contains(e.Extra, []byte(`"flowId":4711`)) {
		t.Errorf("%+v %s", e, e.Extra)
	}
	if m.Records != 4 || m.DataRecords != 4 {
		t.Errorf("%d records on the wire, want 4", m.Records)
	}
	if d.Connections() != 0 {
		t.Errorf("%d connections are remembered after the teardown", d.Connections())
	}
}

// A total counts only for what no update told.
func TestTotalCountsWhatNobodyTold(t *testing.T) {
	start := noon - flow.Minute
	for _, c := range []struct {
		name   string
		data   string
		want   uint64
		events string
	}{
		{"no_update", nselRecord(1, 1, noon, noon, [4]uint64{}) + nselRecord(1, 2, noon, noon+flow.Second, [4]uint64{150, 3, 260, 4}), 410, "[create teardown]"},
		{"an_update_was_lost", nselRecord(1, 5, start, noon-10*flow.Second, [4]uint64{100, 2, 200, 3}) + nselRecord(1, 2, start, noon, [4]uint64{150, 3, 260, 4}), 410, "[teardown]"},
		{"an_update_came_twice", strings.Repeat(nselRecord(1, 5, start, noon-10*flow.Second, [4]uint64{100, 2, 200, 3}), 2) + nselRecord(1, 2, start, noon, [4]uint64{150, 3, 260, 4}), 600, "[teardown]"},
		{"the_number_is_used_again", nselRecord(1, 5, start, noon-10*flow.Second, [4]uint64{100, 2, 200, 3}) + nselRecord(1, 2, start+flow.Second, noon, [4]uint64{150, 3, 260, 4}), 710, "[teardown]"},
		{"denied", nselRecord(0, 3, noon, noon, [4]uint64{}), 0, "[denied]"},
		{"alert", nselRecord(7, 4, noon, noon, [4]uint64{}), 0, "[alert]"},
		{"an_update_of_nothing", nselRecord(7, 5, start, noon, [4]uint64{}), 0, "[update]"},
		{"of_a_later_registry", nselRecord(7, 9, start, noon, [4]uint64{}), 0, "[other]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDecoder(Limits{})
			var m Message
			recs, err := d.Decode(nil, &m, somebody, noon, message(V9, nselTemplate(t), set(t, 263, c.data)))
			sum := uint64(0)
			for i := range recs {
				sum += recs[i].Bytes
			}
			if err != nil || sum != c.want || fmt.Sprint(kinds(m.Events)) != c.events {
				t.Errorf("%d octets and %v (%v), want %d and %s", sum, kinds(m.Events), err, c.want, c.events)
			}
		})
	}
}

// What was told survives an end that was saved. Where it was not, the rest of a total may
// have been told, and says so.
func TestToldSurvivesARestart(t *testing.T) {
	start := noon - 10*flow.Minute
	before := NewDecoder(Limits{})
	var m Message
	// What began before the first message of all may have been told to nobody knows whom.
	if _, err := before.Decode(nil, &m, somebody, start, message(V9, nselTemplate(t), connection(t, 99, start-flow.Minute))); err != nil {
		t.Fatal(err)
	}
	if _, err := before.Decode(nil, &m, somebody, noon-5*flow.Minute, message(V9, nselTemplate(t),
		set(t, 263, nselRecord(1, 5, start, noon-5*flow.Minute, [4]uint64{100, 2, 200, 3})))); err != nil {
		t.Fatal(err)
	}
	var crashed, ended bytes.Buffer
	if err := before.Save(&crashed); err != nil {
		t.Fatal(err)
	}
	before.End()
	if err := before.Save(&ended); err != nil {
		t.Fatal(err)
	}
	teardown := message(V9, nselTemplate(t), set(t, 263, nselRecord(1, 2, start, noon, [4]uint64{150, 3, 260, 4})))
	for _, c := range []struct {
		name  string
		saved *bytes.Buffer
		bytes uint64
		marks flow.Marks
	}{
		{"ended", &ended, 110, 0},
		{"crashed", &crashed, 110, flow.MarkTotal},
		{"lost", nil, 410, flow.MarkTotal},
	} {
		after := NewDecoder(Limits{})
		if c.saved != nil {
			if n, err := after.Load(bytes.NewReader(c.saved.Bytes())); n != 1 || err != nil {
				t.Fatalf("%s: %d templates, %v", c.name, n, err)
			}
		}
		recs, err := after.Decode(nil, &m, somebody, noon, teardown)
		sum, marks := uint64(0), flow.Marks(0)
		for i := range recs {
			sum += recs[i].Bytes
			marks |= recs[i].Marks
		}
		if err != nil || sum != c.bytes || marks != c.marks {
			t.Errorf("%s: %d octets, marks %d (%v), want %d, %d", c.name, sum, marks, err, c.bytes, c.marks)
		}
		// What began afterwards is known whole.
		recs, _ = after.Decode(nil, &m, somebody, noon+flow.Minute, message(V9, set(t, 263, nselRecord(2, 2, noon+flow.Second, noon+flow.Minute, [4]uint64{1, 1, 1, 1}))))
		if len(recs) != 2 || recs[0].Marks != 0 || recs[0].Bytes != 1 {
			t.Errorf("%s: a new connection: %+v", c.name, recs)
		}
	}
}

// What is remembered is bounded, of everybody and of each address, and the total of a
// connection that had to give way is marked.
func TestToldIsBounded(t *testing.T) {
	d := NewDecoder(Limits{Connections: 100})
	var m Message
	d.told.since = 1 // all is known
	start := noon - flow.Minute
	send := func(from string, data string) []flow.Record {
		t.Helper()
		recs, err := d.Decode(nil, &m, netip.MustParseAddrPort(from+":9"), noon, message(V9, nselTemplate(t), set(t, 263, data)))
		if err != nil {
			t.Fatal(err)
		}
		return recs
	}
	for i := range 1000 {
		send("192.0.2.1", nselRecord(i+1, 5, start+flow.Time(i), noon, [4]uint64{100, 1, 0, 0}))
		if i < 10 {
			send("192.0.2.2", nselRecord(i+1, 5, start, noon, [4]uint64{100, 1, 0, 0}))
		}
	}
	if n := d.Connections(); n != 35 {
		t.Errorf("%d connections are remembered, want 25 and 10", n)
	}
	if recs := send("192.0.2.2", nselRecord(3, 2, start, noon, [4]uint64{100, 1, 0, 0})); len(recs) != 0 {
		t.Errorf("another exporter's connection was forgotten: %+v", recs)
	}
	if recs := send("192.0.2.1", nselRecord(1000, 2, start+999, noon, [4]uint64{100, 1, 0, 0})); len(recs) != 0 {
		t.Errorf("the last connection was forgotten: %+v", recs)
	}
	if recs := send("192.0.2.1", nselRecord(5, 2, start+4, noon, [4]uint64{100, 1, 0, 0})); len(recs) != 1 || recs[0].Marks != flow.MarkTotal {
		t.Errorf("a forgotten connection: %+v", recs)
	}
	for i := range 300 {
		send(fmt.Sprintf("198.51.100.%d", i%256), nselRecord(i, 5, start, noon, [4]uint64{100, 1, 0, 0}))
	}
	if n := d.Connections(); n > 100 || len(d.told.slots) > 100 || len(d.told.from) > 100 {
		t.Errorf("%d connections of %d senders, want at most 100", n, len(d.told.from))
	}
}

// Totals of one flow count as their differences (IE 85, 86).
func TestRunningTotals(t *testing.T) {
	const template = `0100 0007 0008 0004 000c 0004 0055 0008 0056 0008 0098 0008 0099 0008 0088 0001`
	record := func(sum, packets uint64, start, end flow.Time, reason int) string {
		return fmt.Sprintf("0a000001 0a000002 %016x %016x %016x %016x %02x", sum, packets, uint64(start), uint64(end), reason)
	}
	d := NewDecoder(Limits{})
	var m Message
	start := noon + flow.Second
	recs, err := d.Decode(nil, &m, somebody, noon, message(IPFIX, set(t, 2, template), set(t, 256,
		record(1000, 10, start, start+60_000, 2)+
			record(2500, 20, start, start+120_000, 2)+
			record(2500, 20, start, start+180_000, 2)+
			record(2600, 21, start, start+190_000, 3)+
			record(400, 4, start+200_000, start+210_000, 3)+ // another flow
			record(300, 3, start+200_000, start+210_000, 3)))) // and one that nobody remembers
	var got []string
	for i := range recs {
		got = append(got, fmt.Sprintf("%d/%d from %d", recs[i].Bytes, recs[i].Packets, int64(recs[i].Start-start)))
	}
	want := "[1000/10 from 0 1500/10 from 60000 100/1 from 180000 400/4 from 200000 300/3 from 200000]"
	if err != nil || fmt.Sprint(got) != want || len(m.Events) != 0 {
		t.Errorf("%v %v, want %s", got, err, want)
	}
	if d.Connections() != 0 {
		t.Errorf("%d flows are remembered after their end", d.Connections())
	}
}

// NAT events of all kinds are events and no flows.
func TestTranslationsAreEvents(t *testing.T) {
	for _, c := range []struct {
		name, template, data string
		version              Version
		want                 string
	}{
		// FreeBSD's pflow(4), template 258: observation time, natEvent, protocol,
		// source and its translation, destination and its translation.
		{"pflow", `0102 000b 0143 0008 00e6 0001 0004 0001 0008 0004 0007 0002 00e1 0004 00e3 0002 000c 0004 000b 0002 00e2 0004 00e4 0002`,
			`00000193529a0000 04 06 0a000001 04d2 c6336407 9c40 cb007105 01bb cb007105 01bb`, IPFIX,
			"nat44 create 10.0.0.1:1234 > 203.0.113.5:443 as 198.51.100.7:40000 > 203.0.113.5:443 tcp"},
		// ipt-netflow's natevents=1.
		{"ipt_netflow", `0103 000b 0143 0008 0008 0004 000c 0004 00e1 0004 00e2 0004 0007 0002 000b 0002 00e3 0002 00e4 0002 0004 0001 00e6 0001`,
			`00000193529a0000 0a000001 cb007105 c6336407 cb007105 04d2 01bb 9c40 01bb 11 02`, V9,
			"nat delete 10.0.0.1:1234 > 203.0.113.5:443 as 198.51.100.7:40000 > 203.0.113.5:443 udp"},
		{"port_block", `0105 0006 0143 0008 00e6 0001 0008 0004 00e1 0004 0169 0002 016a 0002`,
			`00000193529a0000 10 64400005 c6336407 0400 07ff`, IPFIX,
			"port block allocated 100.64.0.5:0 > :0 as 198.51.100.7:0 > :0 ports 1024-2047 0"},
		{"port_block_by_its_size", `0105 0006 0143 0008 00e6 0001 0008 0004 00e1 0004 0169 0002 016c 0002`,
			`00000193529a0000 11 64400005 c6336407 0400 0200`, IPFIX,
			"port block released 100.64.0.5:0 > :0 as 198.51.100.7:0 > :0 ports 1024-1535 0"},
		// Cisco's CGv6 tells by the template alone.
		{"port_block_without_an_event", `0105 0005 00ea 0004 0008 0004 00e1 0004 0169 0002 016a 0002`,
			`00000001 64400005 c6336407 0400 07ff`, V9,
			"port block 100.64.0.5:0 > :0 as 198.51.100.7:0 > :0 ports 1024-2047 0"},
		{"translation_without_an_event", `0100 0007 00ea 0004 00eb 0004 0008 0004 00e1 0004 0007 0002 00e3 0002 0004 0001`,
			`00000001 00000002 64400005 c6336407 04d2 9c40 06`, V9,
			"translation 100.64.0.5:1234 > :0 as 198.51.100.7:40000 > :0 tcp"},
		{"exhausted", `0106 0003 0143 0008 00e6 0001 011b 0004`, `00000193529a0000 03 00000009`, IPFIX, "addresses exhausted :0 > :0 as :0 > :0 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := 0
			fmt.Sscanf(c.template, "%04x", &id)
			templates := uint16(2)
			if c.version == V9 {
				templates = 0
			}
			d := NewDecoder(Limits{})
			var m Message
			recs, err := d.Decode(nil, &m, somebody, noon, message(c.version, set(t, templates, c.template), set(t, uint16(id), c.data)))
			if err != nil || len(recs) != 0 || len(m.Events) != 1 || m.Records != 1 {
				t.Fatalf("%d flows, %d events, %v", len(recs), len(m.Events), err)
			}
			e := &m.Events[0]
			at := func(a flow.Addr, port uint16) string { return fmt.Sprintf("%v:%d", a, port) }
			got := fmt.Sprintf("%s %s > %s as %s > %s ", e.Kind(), at(e.SrcAddr, e.SrcPort), at(e.DstAddr, e.DstPort), at(e.NATSrcAddr, e.NATSrcPort), at(e.NATDstAddr, e.NATDstPort))
			if e.BlockFirst != 0 {
				got += fmt.Sprintf("ports %d-%d ", e.BlockFirst, e.BlockLast)
			}
			switch e.Protocol {
			case flow.TCP:
				got += "tcp"
			case flow.UDP:
				got += "udp"
			default:
				got += "0"
			}
			if got != c.want || e.Time <= 0 {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

// A NAT64 has addresses of two versions.
func TestNAT64(t *testing.T) {
	d := NewDecoder(Limits{})
	var m Message
	recs, err := d.Decode(nil, &m, somebody, noon, message(IPFIX,
		set(t, 2, `0104 0009 0143 0008 00e6 0001 0004 0001 001b 0010 001c 0010 00e1 0004 00e2 0004 0007 0002 00e3 0002`),
		set(t, 260, `00000193529a0000 06 06 20010db8000000000000000000000001 0064ff9b0000000000000000cb007105 c6336407 cb007105 04d2 9c40`)))
	if err != nil || len(recs) != 0 || len(m.Events) != 1 {
		t.Fatal(recs, m.Events, err)
	}
	e := m.Events[0]
	if got := fmt.Sprint(e.Kind(), " ", e.SrcAddr, " ", e.DstAddr, " ", e.NATSrcAddr, " ", e.NATDstAddr); got != "nat64 create 2001:db8::1 64:ff9b::cb00:7105 198.51.100.7 203.0.113.5" {
		t.Error(got)
	}
}

// A record that counts and names what a translator made of it stays a flow; one with an
// event besides is both.
func TestFlowsWithTranslations(t *testing.T) {
	d := NewDecoder(Limits{})
	var m Message
	recs, err := d.Decode(nil, &m, somebody, noon, message(V9,
		set(t, 0, `0100 0004 0008 0004 00e1 0004 0001 0004 0002 0004`), set(t, 256, `0a000001 c6336407 00000064 00000001`),
		set(t, 0, `0101 0004 0008 0004 00e9 0001 0001 0004 0002 0004`), set(t, 257, `0a000001 02 00000064 00000001  0a000002 01 00000000 00000000`)))
	if err != nil || len(recs) != 2 || recs[0].Bytes != 100 || recs[1].Bytes != 100 || fmt.Sprint(kinds(m.Events)) != "[teardown create]" {
		t.Errorf("%+v %v %v", recs, kinds(m.Events), err)
	}
}

// The user of a connection ends at the NUL, of whatever width the element is.
func TestUserOfAnEvent(t *testing.T) {
	d := NewDecoder(Limits{})
	var m Message
	_, err := d.Decode(nil, &m, somebody, noon, message(V9, set(t, 0, `0100 0003 0008 0004 9c45 0001 9c40 0008`), set(t, 256, "0a000001 03 "+padded("alice", 8))))
	if err != nil || len(m.Events) != 1 || m.Events[0].User != "alice" || m.Events[0].Kind() != "denied" {
		t.Errorf("%+v %v", m.Events, err)
	}
}

// ipt-netflow's natevents=1 in v5: records that carry nothing, with the translation in the
// next hop and an AS number.
func TestTranslationsInV5(t *testing.T) {
	record := func(src, dst, hop string, packets uint32, srcPort, dstPort, srcAS, dstAS uint16, flags flow.TCPFlags) string {
		a := func(s string) []byte { b := netip.MustParseAddr(s).As4(); return b[:] }
		return fmt.Sprintf("%x%x%x 0001 0002 %08x %08x 00000000 00000000 %04x %04x 00 %02x 06 00 %04x %04x 0000 0000",
			a(src), a(dst), a(hop), packets, packets*40, srcPort, dstPort, uint8(flags), srcAS, dstAS)
	}
	header := fmt.Sprintf("0005 0004 00000000 %08x 00000000 00000000 00 00 0000", uint32(noon/1000))
	d := NewDecoder(Limits{})
	var m Message
	recs, err := d.Decode(nil, &m, somebody, noon, octets(t, header+
		record("10.0.0.1", "203.0.113.5", "198.51.100.7", 0, 1234, 443, 40000, 0, flow.SYN|flow.ACK)+
		record("192.0.2.9", "10.0.0.8", "198.51.100.7", 0, 5555, 8443, 0, 443, flow.RST|flow.FIN)+
		record("10.0.0.1", "203.0.113.5", "198.51.100.7", 1, 1234, 443, 64496, 0, flow.SYN|flow.ACK)+
		record("10.0.0.1", "203.0.113.5", "0.0.0.0", 0, 1234, 443, 64496, 0, flow.SYN|flow.ACK)))
	if err != nil || len(recs) != 2 || len(m.Events) != 2 || m.Records != 4 {
		t.Fatalf("%d flows, %d events, %v", len(recs), len(m.Events), err)
	}
	var got []string
	for i := range m.Events {
		e := &m.Events[i]
		got = append(got, fmt.Sprint(e.Kind(), " ", e.SrcAddr, " ", e.DstAddr, " ", e.DstPort, " as ", e.NATSrcAddr, " ", e.NATSrcPort, " ", e.NATDstAddr, " ", e.NATDstPort))
	}
	want := []string{"nat create 10.0.0.1 203.0.113.5 443 as 198.51.100.7 40000  0", "nat delete 192.0.2.9 198.51.100.7 443 as  0 10.0.0.8 8443"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

// cgn is a body for a benchmark and a law: a message of 26 translations, as a carrier's
// translator logs them.
func cgn(tb testing.TB, v Version) (body func(), n int) {
	const records = 26
	template := `0102 000b 0143 0008 00e6 0001 0004 0001 0008 0004 0007 0002 00e1 0004 00e3 0002 000c 0004 000b 0002 00e2 0004 00e4 0002`
	d := NewDecoder(Limits{})
	var m Message
	if _, err := d.Decode(nil, &m, somebody, noon, message(v, set(tb, templateSet(v), template))); err != nil {
		tb.Fatal(err)
	}
	msg := message(v, set(tb, 258, strings.Repeat(`00000193529a0000 04 06 0a000001 04d2 c6336407 9c40 cb007105 01bb cb007105 01bb`, records)))
	return func() {
		if _, err := d.Decode(nil, &m, somebody, noon, msg); err != nil || len(m.Events) != records {
			tb.Fatal(len(m.Events), err)
		}
	}, records
}

func BenchmarkDecodeTranslations(b *testing.B) { each(b, cgn, V9, IPFIX) }

// Translations whose elements all have a column cost no allocation each: a message has the
// record that each of them is decoded by, and under the race detector one more.
func TestTranslationsDoNotAllocate(t *testing.T) {
	body, translations := cgn(t, IPFIX)
	body()
	if n := testing.AllocsPerRun(100, body); n > 2 {
		t.Errorf("%v allocations for %d translations", n, translations)
	}
}
