package collector

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"flowtally/flow"
	"flowtally/netflow"
)

// announces is an options template (149 in scope, 130) with a record that
// announces an address.
func announces(a [4]byte) []byte {
	return append([]byte{0, 3, 0, 18, 1, 1, 0, 2, 0, 1, 0, 149, 0, 4, 0, 130, 0, 4,
		1, 1, 0, 12, 0, 0, 0, 7}, a[:]...)
}

var (
	router   = netip.MustParseAddr("172.18.0.1")
	stranger = netip.MustParseAddr("192.0.2.66")
	one, two = [4]byte{10, 9, 0, 1}, [4]byte{10, 9, 0, 2}
)

// identified is a process whose gateway is router.
func identified(t *testing.T, mode Identity) (*process, *filler) {
	t.Helper()
	p := newProcess(Config{Identity: mode}.withDefaults())
	p.ledger.local = func(a flow.Addr) bool { return a.Netip() == router }
	f := &filler{}
	p.open(f, netflow.NewDecoder(p.Limits))
	return p, f
}

// whose counts the records of a batch by exporter, all of domain 7.
func whose(recs []flow.Record, addrs ...netip.Addr) (n []int) {
	for _, a := range addrs {
		id := flow.Exporter{Addr: flow.AddrFrom(a), Domain: 7}.ID()
		c := 0
		for _, r := range recs {
			if r.Exporter == id {
				c++
			}
		}
		n = append(n, c)
	}
	return n
}

// TestExportersBehindOneAddress: with one address and one domain, what they
// announce makes them two, in rows, status and sequence numbers.
func TestExportersBehindOneAddress(t *testing.T) {
	for _, mode := range []Identity{IdentityAuto, IdentitySource, IdentityAnnounced, ""} {
		t.Run("identity_"+string(mode), func(t *testing.T) {
			p, f := identified(t, mode)
			ports := []netip.AddrPort{netip.AddrPortFrom(router, 4001), netip.AddrPortFrom(router, 4002)}
			now := flow.Time(1_000_000)
			for i, from := range ports {
				base := uint32(i) * 500_000
				p.decode(f, from, now, message(base, template256, data256(2))) // before the announcement
				p.decode(f, from, now, message(base+2, announces([][4]byte{one, two}[i])))
				for k := range uint32(5) {
					p.decode(f, from, now, message(base+3+10*k, data256(10)))
				}
			}
			p.decode(f, ports[1], now, message(500_000+53+6, data256(10))) // six are missing
			got := whose(f.batch, router, netip.AddrFrom4(one), netip.AddrFrom4(two))
			h, _ := p.takeBatch(f)
			r := p.ledger.take(now+flow.Minute, true)
			missing := map[flow.ExporterID]uint64{}
			for _, x := range append(r.Loss, h.loss...) {
				missing[x.Exporter] += x.Count
			}
			id := func(a netip.Addr) flow.ExporterID { return flow.Exporter{Addr: flow.AddrFrom(a), Domain: 7}.ID() }
			if mode == IdentitySource {
				if got[0] != 114 || len(r.Status) != 1 || !r.Status[0].Gateway || r.Status[0].Senders != 2 || missing[id(router)] != 6 {
					t.Fatalf("records %v, status %+v, missing %v", got, r.Status, missing)
				}
				return
			}
			if got[0] != 4 || got[1] != 50 || got[2] != 60 {
				t.Errorf("records of the router and of the two: %v", got)
			}
			if len(missing) != 1 || missing[id(netip.AddrFrom4(two))] != 6 {
				t.Errorf("missing %v, want 6 of the second", missing)
			}
			if len(r.Status) != 3 {
				t.Errorf("status %+v", r.Status)
			}
			for _, s := range r.Status {
				if want := s.Addr.Netip() == router; s.Gateway != want {
					t.Errorf("%v: gateway %v", s.Addr, s.Gateway)
				}
			}
		})
	}
}

// TestStrangersNameIsNotBelieved: who sends from an address of his own has that
// one, and nobody behind the gateway has the name of one who sends himself.
func TestStrangersNameIsNotBelieved(t *testing.T) {
	p, f := identified(t, IdentityAuto)
	now := flow.Time(1_000_000)
	direct := netip.AddrPortFrom(netip.AddrFrom4(two), 4000)
	p.decode(f, netip.AddrPortFrom(stranger, 4000), now, message(0, announces(one), template256, data256(3)))
	p.decode(f, direct, now, message(0, template256, data256(4)))
	p.decode(f, netip.AddrPortFrom(router, 4000), now, message(0, announces(two), template256, data256(5)))
	if got := whose(f.batch, stranger, netip.AddrFrom4(one), netip.AddrFrom4(two), router); got[0] != 3 || got[1] != 0 || got[2] != 4 || got[3] != 5 {
		t.Errorf("records of the stranger, of whom he named, of the direct one, of the router: %v", got)
	}
}

// TestDirectSourceTakesItsNameBack: also when it was announced before.
func TestDirectSourceTakesItsNameBack(t *testing.T) {
	p, f := identified(t, IdentityAuto)
	now := flow.Time(1_000_000)
	behind := netip.AddrPortFrom(router, 4000)
	p.decode(f, behind, now, message(0, announces(one), template256, data256(3)))
	p.decode(f, netip.AddrPortFrom(netip.AddrFrom4(one), 4000), now, message(0, template256, data256(4)))
	p.decode(f, behind, now, message(4, data256(5)))
	if got := whose(f.batch, netip.AddrFrom4(one), router); got[0] != 7 || got[1] != 5 {
		t.Errorf("records of the direct one and of the router: %v", got)
	}
	if r := p.ledger.take(now+flow.Minute, true); len(r.Loss) != 0 {
		t.Errorf("loss %v", r.Loss)
	}
}

// TestAnnouncementsThatNameNobody are no names.
func TestAnnouncementsThatNameNobody(t *testing.T) {
	for name, a := range map[string][4]byte{"zero": {}, "loopback": {127, 0, 0, 1}, "multicast": {224, 0, 0, 1}, "link_local": {169, 254, 0, 1}, "router": router.As4()} {
		t.Run(name, func(t *testing.T) {
			p, f := identified(t, IdentityAuto)
			p.decode(f, netip.AddrPortFrom(router, 1), 1000, message(0, announces(a), template256, data256(3)))
			if got := whose(f.batch, router); got[0] != 3 {
				t.Errorf("%d records of the router, want all", got[0])
			}
		})
	}
}

// TestAnnouncementEnds when it was not repeated for long.
func TestAnnouncementEnds(t *testing.T) {
	p, f := identified(t, IdentityAuto)
	from := netip.AddrPortFrom(router, 1)
	p.decode(f, from, 1000, message(0, announces(one), template256, data256(3)))
	p.decode(f, from, 1000+identityTime-1, message(4, data256(4)))
	p.decode(f, from, 1000+identityTime, message(8, data256(5)))
	if got := whose(f.batch, netip.AddrFrom4(one), router); got[0] != 7 || got[1] != 5 {
		t.Errorf("records of the exporter and of the router: %v", got)
	}
}

// TestIdentitiesAreBounded: there are as many as there may be exporters.
func TestIdentitiesAreBounded(t *testing.T) {
	x := newIdentities(IdentityAuto, 10, func(a flow.Addr) bool { return a.Netip() == router })
	m := netflow.Message{Version: netflow.IPFIX, Exporter: flow.Exporter{Addr: flow.AddrFrom(router)}, Announced: flow.Addr4(one)}
	learn := func(port uint16, now flow.Time) bool {
		e, _ := x.of(&m, port, now)
		return e.Addr == m.Announced
	}
	for i := range uint16(20) {
		if got := learn(i, 1000); got != (i < 10) {
			t.Errorf("announcement %d believed: %v", i, got)
		}
	}
	if !learn(20, 1000+identityTime) || len(x.known) != 1 {
		t.Errorf("old ones did not give way: %d", len(x.known))
	}
}

// TestRestartAfterAName: what an earlier run left of the time before the
// announcement, and what this one takes before it, is not missing.
func TestRestartAfterAName(t *testing.T) {
	p, f := identified(t, IdentityAuto)
	at := func(a netip.Addr, next uint32, when flow.Time) flow.Sequence {
		return flow.Sequence{Exporter: flow.Exporter{Addr: flow.AddrFrom(a), Domain: 7}, Port: 1, Version: 10, Next: next, At: when}
	}
	p.ledger.recall([]flow.Sequence{at(router, 10, 1000), at(netip.AddrFrom4(one), 5000, 60_000)}, true)
	from := netip.AddrPortFrom(router, 1)
	p.decode(f, from, 70_000, message(5100, template256, data256(10)))
	p.decode(f, from, 70_100, message(5110, announces(one)))
	p.decode(f, from, 70_200, message(5111, data256(10)))
	if r := p.ledger.take(200_000, true); len(r.Loss) != 0 {
		t.Errorf("loss %v", r.Loss)
	}
	if got := whose(f.batch, netip.AddrFrom4(one), router); got[0] != 10 || got[1] != 10 {
		t.Errorf("records of the exporter and of the router: %v", got)
	}
}

// TestNumbersGoOnUnderTheName: what was passed over before the announcement and
// comes late is not missing, and what does not come is, once.
func TestNumbersGoOnUnderTheName(t *testing.T) {
	for _, late := range []bool{true, false} {
		p, f := identified(t, IdentityAuto)
		from := netip.AddrPortFrom(router, 1)
		p.decode(f, from, 1000, message(0, template256, data256(2)))
		p.decode(f, from, 1100, message(5, announces(one)))
		want := uint64(3)
		if late {
			p.decode(f, from, 1200, message(2, data256(3)))
			want = 0
		}
		p.decode(f, from, 1300, message(6, data256(4)))
		h, _ := p.takeBatch(f)
		var missing uint64
		for _, x := range append(p.ledger.take(100_000, true).Loss, h.loss...) {
			missing += x.Count
		}
		if missing != want {
			t.Errorf("late %v: %d missing, want %d", late, missing, want)
		}
	}
}

// TestAnnouncementsOutliveTheCollector: what was announced to an earlier run holds
// for the first message of the next one; a file makes nobody believe what the
// network would not.
func TestAnnouncementsOutliveTheCollector(t *testing.T) {
	p, f := identified(t, IdentityAuto)
	from := netip.AddrPortFrom(router, 1)
	p.decode(f, from, 1000, message(0, template256, announces(one)))
	var file bytes.Buffer
	if err := p.identities.save(&file); err != nil {
		t.Fatal(err)
	}
	text := file.String() + strings.Replace(file.String(), router.String(), stranger.String(), 1) + "{}\nnonsense\n"
	p, f = identified(t, IdentityAuto)
	if n := p.identities.load(strings.NewReader(text)); n != 1 {
		t.Errorf("%d announcements taken over", n)
	}
	p.decode(f, from, 2000, message(1, template256, data256(4)))
	p.decode(f, netip.AddrPortFrom(stranger, 1), 2000, message(1, template256, data256(3)))
	if got := whose(f.batch, netip.AddrFrom4(one), stranger); got[0] != 4 || got[1] != 3 {
		t.Errorf("records of the exporter and of the stranger: %v", got)
	}
}
