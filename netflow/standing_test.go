package netflow

import (
	"net/netip"
	"testing"

	"flowtally/flow"
)

// TestStrangersDoNotPushOutWhoGoesOn: an exporter that sends its template once,
// and a record every 100 ms, loses none, whatever strangers do who are more than
// there is room for.
func TestStrangersDoNotPushOutWhoGoesOn(t *testing.T) {
	tpl, data := set(t, 2, `0100 0001 0001 0004`), set(t, 256, `0000002a`)
	for _, c := range []struct {
		name  string
		turns int // of 100 ms
		each  int // strangers in one
		again int // data records of each, in later datagrams
		later int // turns between two of them
		ports int // of one address
	}{
		{"templates_only", 50, 1000, -1, 1, 1},
		{"template_and_data", 50, 1000, 0, 1, 1},
		{"all_in_one_turn", 3, 9000, 0, 1, 1},
		{"data_once_more", 100, 300, 1, 1, 1},
		{"data_once_more_in_one_turn", 6, 5000, 1, 1, 1},
		{"data_for_ten_seconds", 300, 60, 10, 10, 1},
		{"many_from_one_address", 100, 300, 3, 1, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDecoder(Limits{Templates: 2048})
			var m Message
			var dst []flow.Record
			now := noon
			from := func(n int) netip.AddrPort {
				a := n / c.ports
				return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(a >> 16), byte(a >> 8), byte(a)}), uint16(n))
			}
			for _, sets := range [][][]byte{{tpl, data}, {data}} {
				dst, _ = d.Decode(dst[:0], &m, somebody, now, message(IPFIX, sets...))
			}
			for i := range c.turns {
				now += 100
				for j := range c.each {
					sets := [][]byte{tpl}
					if c.again >= 0 {
						sets = append(sets, data)
					}
					d.Decode(dst[:0], &m, from(i*c.each+j), now, message(IPFIX, sets...))
				}
				for k := 1; k <= c.again && k*c.later <= i; k++ {
					for j := range c.each {
						d.Decode(dst[:0], &m, from((i-k*c.later)*c.each+j), now, message(IPFIX, data))
					}
				}
				recs, err := d.Decode(dst[:0], &m, somebody, now, message(IPFIX, data))
				if err != nil || len(recs) != 1 {
					t.Fatalf("after %d ms: %+v: %v", now-noon, m, err)
				}
			}
			checkStandings(t, &d.store)
		})
	}
}

// TestWhoIsSteadyStays: once in use for a while, an exporter that falls silent for
// minutes keeps its template; one that is gone gives it up, and a newcomer finds
// a place among steady ones.
func TestWhoIsSteadyStays(t *testing.T) {
	tpl, data := set(t, 2, `0100 0001 0001 0004`), set(t, 256, `0000002a`)
	d := NewDecoder(Limits{Templates: 64})
	var m Message
	now := noon
	at := func(n int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(n >> 8), byte(n)}), 1)
	}
	for i := range 64 {
		d.Decode(nil, &m, at(i), now, message(IPFIX, tpl, data))
	}
	for range steadyUses + 1 {
		now += flow.Second
		for i := range 64 {
			d.Decode(nil, &m, at(i), now, message(IPFIX, data))
		}
	}
	flood := func() {
		for i := range 1000 {
			d.Decode(nil, &m, at(1000+i), now, message(IPFIX, tpl, data))
			d.Decode(nil, &m, at(1000+i), now, message(IPFIX, data))
		}
	}
	known := func() (n int) {
		for i := range 64 {
			n += d.Templates(flow.Exporter{Addr: flow.AddrFrom(at(i).Addr()), Domain: 7})
		}
		return n
	}
	now += 5 * flow.Minute
	flood()
	if n := known(); n != 63 {
		t.Errorf("%d of 64 steady templates are known after a flood", n)
	}
	now += 6 * flow.Minute
	flood()
	if n := known(); n > 64*7/8 {
		t.Errorf("%d steady templates that nobody uses leave no room", n)
	}
	checkStandings(t, &d.store)
}

// checkStandings holds the lists of a store against its templates.
func checkStandings(t *testing.T, s *store) {
	t.Helper()
	sum := 0
	for k := range standings {
		n := 0
		for i, l := range s.standings[k].sizes {
			var last *exporter
			for e := l.first; e != nil; last, e = e, e.standings[k].next {
				p := &e.standings[k]
				m := 0
				var before *template
				for x := p.first; x != nil; before, x = x, x.next {
					if x.prev != before || x.stands != k || e.templates[x.key] != x {
						t.Fatal("a template is out of its place")
					}
					m++
				}
				if p.prev != last || p.last != before || m != p.templates || size(m) != i || s.exporters[e.addr] != e {
					t.Fatal("an address is out of its place")
				}
				n += m
			}
			if l.last != last {
				t.Fatal("a list ends elsewhere")
			}
		}
		if n != s.standings[k].templates {
			t.Errorf("%d templates of standing %d, counted as %d", n, k, s.standings[k].templates)
		}
		sum += n
	}
	if sum != s.templates {
		t.Errorf("%d templates have a place, of %d", sum, s.templates)
	}
}
