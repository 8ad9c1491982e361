package collector

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"flowtally/exporter/capture"
	"flowtally/flow"
	"flowtally/lab/truth"
)

// wire calls f with each datagram of a file of the shared captures, those in
// other forms than pcap and whole datagrams excepted.
func wire(t *testing.T, path, format string, f func(now flow.Time, from netip.AddrPort, b []byte)) {
	t.Helper()
	switch format {
	case "dgram":
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f(0, netip.MustParseAddrPort("192.0.2.1:2055"), b)
	case "pcap":
		src, err := capture.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		for {
			data, ci, err := src.ZeroCopyReadPacketData()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			p := gopacket.NewPacket(data, layers.LinkType(src.LinkType()), gopacket.NoCopy)
			udp, _ := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
			if udp == nil || p.NetworkLayer() == nil {
				continue
			}
			a, _ := netip.AddrFromSlice(p.NetworkLayer().NetworkFlow().Src().Raw())
			f(flow.TimeOf(ci.Timestamp), netip.AddrPortFrom(a, uint16(udp.SrcPort)), udp.Payload)
		}
	}
}

// gaps are the captures that are excerpts, so that numbers are missing in them:
// datagrams in v9, records in IPFIX. Excerpts that leave out more than the exporter
// can have sent meanwhile look as if it had begun again.
var gaps = map[string]uint64{
	"ls_nf9_macaddr":            1,
	"ls_nf9_paloalto_panos":     5,
	"ls_nf9_layer2segmentid":    3,
	"ls_ipfix_vmware_vds":       387,
	"ls_ipfix_yaf":              32,
	"gl_nf9_pcap":               5,
	"ak_main":                   15,
	"pm_101_nf9_xr":             18,
	"pm_104_ipfix_sampling":     21,
	"pm_106_ipfix_huawei_vrf":   35,
	"pm_112_ipfix_opt_reassign": 1,
	"pm_403_ipfix_vrf_bmp":      11,
	"pm_500_ipfix_srv6_bgp":     30,
	"vf_ipfix_tpl_data":         16,
	"gf_nf9":                    3,
}

// TestTheWireBalances: of every capture of real devices each datagram is some
// exporter's or booked as nobody's, each record is in a status, and nothing is
// missing that is not missing in the capture.
func TestTheWireBalances(t *testing.T) {
	dir := truth.Data(t)
	var group string
	var p *process
	var f *filler
	var datagrams, records uint64
	now := flow.Time(0)
	check := func() {
		if p == nil {
			return
		}
		r := p.ledger.take(now, true)
		var came, held, missing uint64
		for _, s := range r.Status {
			came += s.Datagrams
			held += s.Records
		}
		for _, x := range r.Loss {
			switch {
			case x.Exporter == anyExporter && x.Unit == unitDatagram:
				came += x.Count
			case x.Stage == stageWay:
				missing += x.Count
			}
		}
		if held != records {
			t.Errorf("%s: %d records and events in the status, %d decoded", group, held, records)
		}
		if came > datagrams {
			t.Errorf("%s: %d datagrams booked of %d", group, came, datagrams)
		}
		if missing != gaps[group] {
			t.Errorf("%s: %d missing, want %d: %+v", group, missing, gaps[group], r.Loss)
		}
	}
	for _, row := range truth.Table(t, "REPLAY.tsv") {
		if row["group"] != group || p == nil {
			check()
			group, datagrams, records = row["group"], 0, 0
			var l *listener
			p, l = reader(t, Config{})
			f = &l.filler
			p.open(f, l.dec)
		}
		wire(t, filepath.Join(dir, row["file"]), row["format"], func(at flow.Time, from netip.AddrPort, b []byte) {
			if now += 10; at > now {
				now = at
			}
			datagrams++
			before := len(f.batch) + len(f.events)
			p.decode(f, from, now, b)
			records += uint64(len(f.batch) + len(f.events) - before)
		})
	}
	check()
}
