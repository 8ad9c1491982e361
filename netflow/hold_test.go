package netflow

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"runtime"
	"testing"

	"flowtally/flow"
)

func TestHeldDataKeepsItsOwnTimes(t *testing.T) {
	d := NewDecoder(Limits{})
	var m Message
	data := message(V9, set(t, 256, `00000000 00000001 0000002a`))
	if _, err := d.Decode(nil, &m, somebody, noon, data); err != nil || m.Held != 1 || m.NoTemplate != 0 || m.DataRecords != 0 {
		t.Fatalf("%+v: %v", m, err)
	}
	tpl := message(V9, set(t, 0, `0100 0003 0016 0004 0015 0004 0001 0004`), set(t, 256, `00000000 00000001 0000002b`))
	binary.BigEndian.PutUint32(tpl[8:], exportSeconds+60) // a minute later, with the same uptime
	recs, err := d.Decode(nil, &m, somebody, noon+flow.Minute, tpl)
	if err != nil || len(recs) != 2 || m.Recovered != 1 || m.Records != 2 || m.DataRecords != 1 {
		t.Fatalf("%+v %+v: %v", recs, m, err)
	}
	boot := noon - 100*flow.Second
	if r := recs[0]; r.Bytes != 42 || r.Received != noon || r.Start != boot || r.End != boot+1 {
		t.Errorf("held: %+v", r)
	}
	if r := recs[1]; r.Bytes != 43 || r.Received != noon+flow.Minute || r.Start != boot+flow.Minute || m.ExportTime != noon+flow.Minute {
		t.Errorf("not held: %+v", r)
	}
	if n, octets := d.Held(); n != 0 || octets != 0 {
		t.Errorf("%d sets of %d octets are still held", n, octets)
	}
}

func TestHeldDataIsGivenUpInTime(t *testing.T) {
	d := NewDecoder(Limits{HoldTime: flow.Minute})
	var m Message
	other := netip.MustParseAddrPort("198.51.100.9:1")
	for i := range flow.Time(10) {
		from := somebody
		if i == 9 {
			from = other
		}
		d.Decode(nil, &m, from, noon+i*10*flow.Second, message(IPFIX, set(t, uint16(300+i%2), `00000001`)))
	}
	if lost := d.Expire(nil, noon+59*flow.Second); len(lost) != 0 {
		t.Errorf("given up too early: %+v", lost)
	}
	lost := d.Expire(nil, noon+90*flow.Second)
	if len(lost) != 1 || lost[0] != (GivenUp{flow.Exporter{Addr: flow.AddrFrom(somebody.Addr()), Domain: 7}, IPFIX, 4}) {
		t.Errorf("given up: %+v", lost)
	}
	if lost = d.Expire(lost[:0], noon+flow.Hour); len(lost) != 2 || lost[0].Sets+lost[1].Sets != 6 {
		t.Errorf("given up: %+v", lost)
	}
	if n, octets := d.Held(); n != 0 || octets != 0 || len(d.hold.from) != 0 {
		t.Errorf("%d sets of %d octets are still held", n, octets)
	}
}

// TestHeldMemoryIsBounded: what strangers send without templates stays within
// the octets that were promised, for each address and in total, and is counted.
func TestHeldMemoryIsBounded(t *testing.T) {
	l := Limits{HoldOctets: 1 << 20, ExporterHoldOctets: 64 << 10}
	d := NewDecoder(l)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var m Message
	held, refused := 0, 0
	for i := range 40_000 {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(i % 40)}), uint16(i))
		msg := message(IPFIX, set(t, uint16(256+i%30000), `00000001 00000002`))
		_, err := d.Decode(nil, &m, from, noon, msg)
		held, refused = held+m.Held, refused+m.NoTemplate
		if (m.NoTemplate > 0) != errors.Is(err, ErrNoTemplate) || m.Held+m.NoTemplate != 1 {
			t.Fatalf("%+v: %v", m, err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	waiting, octets := d.Held()
	for a, e := range d.hold.from {
		if e.octets > l.ExporterHoldOctets {
			t.Errorf("%v holds %d octets", a, e.octets)
		}
	}
	if held+refused != 40_000 || octets > l.HoldOctets {
		t.Errorf("%d held, %d refused, %d octets", held, refused, octets)
	}
	if used := int(after.HeapAlloc) - int(before.HeapAlloc); used > 2*l.HoldOctets {
		t.Errorf("%d octets in use for %d that are promised", used, l.HoldOctets)
	}
	pushed := 0
	for _, g := range d.Expire(nil, noon) {
		pushed += g.Sets
	}
	if held != waiting+pushed || pushed == 0 {
		t.Errorf("%d held, %d wait, %d gave way", held, waiting, pushed)
	}
	alone := NewDecoder(l)
	for range 400 {
		alone.Decode(nil, &m, somebody, noon, message(IPFIX, set(t, 999, `00000001`)))
		refused += m.NoTemplate
	}
	if refused == 0 {
		t.Error("one address may hold more than it is allowed")
	}
	runtime.KeepAlive(d)
}

// TestHeldDataOfOneIsNotKeptOutByOthers: forged addresses that fill all there is
// to hold cannot have it to themselves, and what gives way is theirs.
func TestHeldDataOfOneIsNotKeptOutByOthers(t *testing.T) {
	d := NewDecoder(Limits{HoldOctets: 1 << 20, ExporterHoldOctets: 64 << 10})
	var m Message
	forged := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(i % 20)}), 1)
	}
	flood := func(n int) {
		for i := range n {
			d.Decode(nil, &m, forged(i), noon, message(IPFIX, set(t, uint16(300+i%30000), `00000001 00000002`)))
		}
	}
	flood(10_000)
	for range 8 {
		d.Decode(nil, &m, somebody, noon, message(IPFIX, set(t, 256, `0000002a`)))
		if m.Held != 1 {
			t.Fatalf("%+v", m)
		}
		flood(2_000)
	}
	for _, g := range d.Expire(nil, noon) {
		if g.Exporter.Addr == flow.AddrFrom(somebody.Addr()) {
			t.Errorf("%+v", g)
		}
	}
	if d.hold.pushed != nil {
		t.Error("what gave way is reported twice")
	}
	recs, err := d.Decode(nil, &m, somebody, noon, message(IPFIX, set(t, 2, `0100 0001 0001 0004`)))
	if err != nil || len(recs) != 8 || m.Recovered != 8 {
		t.Errorf("%d records, %+v: %v", len(recs), m, err)
	}
	d.Expire(nil, noon+flow.Hour)
	if sets, octets := d.Held(); sets != 0 || octets != 0 || len(d.hold.from) != 0 {
		t.Errorf("%d sets of %d octets are still held", sets, octets)
	}
	for i, l := range d.hold.sizes {
		if l.first != nil || l.last != nil {
			t.Errorf("size %d has an address that holds nothing", i)
		}
	}
}

// TestSetsOfTooManyThatGaveWayAreNobodys: what is remembered of them is bounded,
// and none is left out of the count.
func TestSetsOfTooManyThatGaveWayAreNobodys(t *testing.T) {
	d := NewDecoder(Limits{HoldOctets: 1 << 10})
	var m Message
	const n = 2 * maxPushed
	for i := range n {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), 1)
		d.Decode(nil, &m, from, noon, message(IPFIX, set(t, 256, `0000002a`)))
	}
	lost := d.Expire(nil, noon+flow.Hour)
	sets, nobodys := 0, 0
	for _, g := range lost {
		sets += g.Sets
		if g.Exporter == (flow.Exporter{}) {
			nobodys += g.Sets
		}
	}
	if sets != n || nobodys < n-maxPushed-10 || nobodys > n-maxPushed {
		t.Errorf("%d sets in %d entries, %d of nobody", sets, len(lost), nobodys)
	}
}

func TestHeldSetsOfTinyRecordsStayWithinARecordLimit(t *testing.T) {
	d := NewDecoder(Limits{MessageRecords: 100})
	var m Message
	for range 3 {
		d.Decode(nil, &m, somebody, noon, message(IPFIX, append([]byte{1, 0, 0, 84}, make([]byte, 80)...)))
	}
	recs, err := d.Decode(nil, &m, somebody, noon, message(IPFIX, set(t, 2, `0100 0001 0004 0001`)))
	if len(recs) != 100 || m.Recovered != 3 || m.OverLimit != 2 || !errors.Is(err, ErrLimit) {
		t.Errorf("%d records of %+v: %v", len(recs), m, err)
	}
}

func TestOptionsAreHeldToo(t *testing.T) {
	d := NewDecoder(Limits{})
	var m Message
	d.Decode(nil, &m, somebody, noon, message(V9, set(t, 257, `00000000 00000064 02`)))
	_, err := d.Decode(nil, &m, somebody, noon, message(V9, set(t, 1, `0101 0004 0008 0001 0004 0022 0004 0023 0001`)))
	if err != nil || m.OptionRecords != 1 || m.DataRecords != 0 || m.SamplingRate != 100 {
		t.Errorf("%+v: %v", m, err)
	}
}

func TestWithdrawalsAreObeyedWhereAsked(t *testing.T) {
	for _, c := range []struct {
		name, withdrawal   string
		set                uint16
		template, options  bool // are known afterwards
		otherID, malformed int
	}{
		{"one_template", `0100 0000`, 2, false, true, 1, 0},
		{"one_options_template", `0101 0000`, 3, true, false, 1, 0},
		{"all_templates", `0002 0000`, 2, false, true, 0, 0},
		{"all_options_templates", `0003 0000`, 3, true, false, 1, 0},
		{"of_the_wrong_kind", `0101 0000`, 2, true, true, 1, 0},
		{"of_another_set", `0003 0000`, 2, true, true, 1, 1},
		{"several_and_padding", `0100 0000 0101 0000 0000`, 2, false, true, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDecoder(Limits{Withdrawals: true})
			var m Message
			d.Decode(nil, &m, somebody, noon, message(IPFIX,
				set(t, 2, `0100 0001 0001 0004  0102 0001 0001 0004`), set(t, 3, `0101 0002 0001 0095 0004 0022 0004`)))
			d.Decode(nil, &m, somebody, noon, message(IPFIX, set(t, c.set, c.withdrawal)))
			if m.Malformed != c.malformed {
				t.Errorf("%+v", m)
			}
			known := func(id uint16) bool {
				return d.store.find(m.Exporter.Addr, templateKey{7, somebody.Port(), id, IPFIX}, 0) != nil
			}
			if known(256) != c.template || known(257) != c.options || known(258) != (c.otherID == 1) {
				t.Errorf("256 %v, 257 %v, 258 %v", known(256), known(257), known(258))
			}
		})
	}
}

func TestV7(t *testing.T) {
	msg := octets(t, `0007 0001 00000064 6553f100 00000000 00000005 00000000
		0a000001 0a000002 0a0000fe 0003 0004 00000002 00000064 00000001 00000002 04d2 0050 00 1b 06 08 0001 0002 18 10 0000 c0a80001`)
	var m Message
	recs, err := NewDecoder(Limits{}).Decode(nil, &m, somebody, noon, msg)
	if err != nil || len(recs) != 1 || m.Version != V7 || m.Sequence != 5 || m.DataRecords != 1 {
		t.Fatalf("%+v %+v %v", recs, m, err)
	}
	r := recs[0]
	if r.TCPFlags != 0x1b || r.Protocol != flow.TCP || r.SrcAS != 1 || r.DstMask != 16 || r.OutIf != 4 || r.End-r.Start != 1 || r.TOS != 8 {
		t.Errorf("%+v", r)
	}
}

func TestConfiguredSampling(t *testing.T) {
	tpl := `0100 0001 0001 0004`
	announced := [][]byte{set(t, 3, `0101 0002 0001 0095 0004 0022 0004`), set(t, 257, `00000000 00000064`)}
	for _, c := range []struct {
		name      string
		options   [][]byte
		sampling  Sampling
		want      uint32
		announced uint32
	}{
		{"unknown", nil, Sampling{}, 0, 0},
		{"configured", nil, Sampling{Rate: 10}, 10, 0},
		{"announced_wins", announced, Sampling{Rate: 10}, 100, 100},
		{"override_wins", announced, Sampling{Rate: 10, Override: true}, 10, 100},
		{"override_of_nothing_is_none", announced, Sampling{Override: true}, 100, 100},
	} {
		d := NewDecoder(Limits{})
		d.SetSampling(func(e flow.Exporter) Sampling {
			if e.Domain != 7 {
				t.Errorf("asked for %+v", e)
			}
			return c.sampling
		})
		var m Message
		recs, err := d.Decode(nil, &m, somebody, noon, message(IPFIX, append(append([][]byte{}, c.options...), set(t, 2, tpl), set(t, 256, `0000002a`))...))
		if err != nil || len(recs) != 1 || recs[0].SamplingRate != c.want || m.SamplingRate != c.announced {
			t.Errorf("%s: %+v %+v %v", c.name, recs, m, err)
		}
	}
}

// TestDataOfAnotherExporterBehindOneAddress: data before its template is not read by
// that of another port, which would invent rows.
func TestDataOfAnotherExporterBehindOneAddress(t *testing.T) {
	from := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(somebody.Addr(), port) }
	numbered := func(v Version, sequence uint32, sets ...[]byte) []byte {
		b := message(v, sets...)
		at := 12
		if v == IPFIX {
			at = 8
		}
		binary.BigEndian.PutUint32(b[at:], sequence)
		return b
	}
	const theirs, ours = `0100 0002 0002 0004 0001 0004`, `0100 0002 0001 0004 0002 0004` // packets and octets, octets and packets
	for _, v := range []Version{V9, IPFIX} {
		decode := func(d *Decoder, m *Message, port uint16, at flow.Time, msg []byte) []flow.Record {
			t.Helper()
			recs, err := d.Decode(nil, m, from(port), noon+at, msg)
			if err != nil {
				t.Fatal(err)
			}
			return recs
		}
		var m Message

		// Its own template comes.
		d := NewDecoder(Limits{})
		decode(d, &m, 41, 0, numbered(v, 0, set(t, templateSet(v), theirs), set(t, 256, `00000002 000000de`)))
		if recs := decode(d, &m, 42, 0, numbered(v, 0, set(t, 256, `000005dc 00000003 000005dd 00000003`))); len(recs) != 0 || m.Held != 1 {
			t.Fatalf("%v: %+v %+v", v, recs, m)
		}
		recs := decode(d, &m, 42, flow.Second, numbered(v, 2, set(t, templateSet(v), ours), set(t, 256, `000005de 00000003`)))
		if len(recs) != 3 || m.Recovered != 1 || recs[0].Bytes != 1500 || recs[1].Bytes != 1501 || recs[2].Bytes != 1502 || recs[0].Marks|recs[2].Marks != 0 {
			t.Errorf("%v: %+v %+v", v, recs, m)
		}

		// The other one's comes instead, also for what waits.
		d = NewDecoder(Limits{})
		decode(d, &m, 42, 0, numbered(v, 5000, set(t, 256, `000005dc 00000003`)))
		if recs := decode(d, &m, 41, 2*moment, numbered(v, 0, set(t, templateSet(v), theirs))); len(recs) != 0 {
			t.Errorf("%v: %+v %+v", v, recs, m)
		}
		if recs := decode(d, &m, 42, 3*moment, numbered(v, 5001, set(t, 256, `000005dc 00000003`))); len(recs) != 0 || m.Held != 1 {
			t.Errorf("%v: numbered differently: %+v %+v", v, recs, m)
		}
		recs = decode(d, &m, 42, longMoment, numbered(v, 5002, set(t, 256, `000005dc 00000003`)))
		if len(recs) != 3 || m.Recovered != 2 {
			t.Fatalf("%v: %+v %+v", v, recs, m)
		}
		for _, r := range recs {
			if r.Marks != flow.MarkBorrowed || r.Packets != 1500 {
				t.Errorf("%v: %+v", v, r)
			}
		}

		// One exporter that sends templates and data from two ports, or from a port a
		// message, goes on in its numbering.
		d = NewDecoder(Limits{})
		decode(d, &m, 41, 0, numbered(v, 100, set(t, templateSet(v), theirs)))
		next := uint32(100)
		if v == V9 {
			next++
		}
		for i := range uint32(3) {
			recs := decode(d, &m, uint16(42+i), 0, numbered(v, next+i, set(t, 256, `00000002 000000de`)))
			if len(recs) != 1 || recs[0].Bytes != 222 || recs[0].Marks != flow.MarkBorrowed || m.Held != 0 {
				t.Errorf("%v: message %d: %+v %+v", v, i, recs, m)
			}
		}

		// Of two sessions it is the one that goes on, whichever was learned last.
		for _, last := range []uint16{41, 43} {
			d = NewDecoder(Limits{})
			first, second := numbered(v, 100, set(t, templateSet(v), theirs)), numbered(v, 5000, set(t, templateSet(v), ours))
			decode(d, &m, 41, 0, first)
			decode(d, &m, 43, 0, second)
			if last == 41 {
				decode(d, &m, 41, 0, first)
			}
			number := uint32(100)
			if v == V9 {
				number++
			}
			for i := range uint32(2) {
				recs := decode(d, &m, 42, 0, numbered(v, number+i, set(t, 256, `00000002 000000de`)))
				if len(recs) != 1 || recs[0].Bytes != 222 || recs[0].Marks != flow.MarkBorrowed || m.Held != 0 {
					t.Errorf("%v: %d learned last, message %d: %+v %+v", v, last, i, recs, m)
				}
			}
		}

		// What a port sent once is read when it has waited, with the next data of the
		// session whose template it is.
		d = NewDecoder(Limits{})
		decode(d, &m, 41, 0, numbered(v, 1, set(t, templateSet(v), theirs)))
		decode(d, &m, 42, 0, numbered(v, 9, set(t, 256, `00000002 000000de`)))
		own := numbered(v, 10, set(t, 256, `00000002 000000df`))
		if recs := decode(d, &m, 41, moment-1, own); len(recs) != 1 || m.Recovered != 0 {
			t.Errorf("%v: too early: %+v %+v", v, recs, m)
		}
		recs = decode(d, &m, 41, moment, own)
		if len(recs) != 2 || m.Recovered != 1 || recs[0].Bytes != 222 || recs[0].Marks != flow.MarkBorrowed || recs[1].Bytes != 223 || recs[1].Marks != 0 {
			t.Errorf("%v: it has waited: %+v %+v", v, recs, m)
		}
		if n, octets := d.Held(); n != 0 || octets != 0 {
			t.Errorf("%v: %d sets of %d octets are still held", v, n, octets)
		}

		// Over TCP nothing overtakes, and so nothing is held.
		d = NewDecoder(Limits{Withdrawals: true})
		if _, err := d.Decode(nil, &m, from(42), noon, numbered(v, 0, set(t, 256, `000005dc 00000003`))); !errors.Is(err, ErrNoTemplate) || m.Held != 0 || m.NoTemplate != 1 {
			t.Errorf("%v: %+v: %v", v, m, err)
		}
	}
}
