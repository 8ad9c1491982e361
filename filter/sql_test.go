package filter_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"flowtally/filter"
	"flowtally/flow"
	"flowtally/lab/postgres/pgtest"
	"flowtally/store"
	"flowtally/store/ingest"
)

const noon flow.Time = 1_763_726_400_000 // 2025-11-21T12:00Z

// The exporters of the tests: one with a name, one without, and one of which
// nothing has been stored but records.
var exporters = []flow.Exporter{
	{Addr: flow.Addr4([4]byte{192, 0, 2, 7}), Domain: 0x0102},
	{Addr: flow.AddrFrom(netip.MustParseAddr("2001:db8::8")), Domain: 1 << 20},
	{Addr: flow.Addr4([4]byte{192, 0, 2, 9})},
}

// names are what the tests' database has been told of them.
type names struct{}

func (names) Exporter(id flow.ExporterID) (string, netip.Addr) {
	switch id {
	case exporters[0].ID():
		return "fw1", exporters[0].Addr.Netip()
	case exporters[1].ID():
		return "2001:db8::8", exporters[1].Addr.Netip()
	}
	return "", netip.Addr{}
}

func (names) Interface(id flow.ExporterID, index uint32) string {
	if id == exporters[0].ID() && index == 3 {
		return "uplink"
	}
	return ""
}

func (names) Domain(id flow.ExporterID) (uint32, bool) {
	for _, e := range exporters[:2] {
		if e.ID() == id {
			return e.Domain, true
		}
	}
	return 0, false
}

var addrs4 = []string{"10.0.0.1", "10.0.0.2", "10.255.255.255", "11.0.0.0", "192.168.1.1", "0.0.0.0", "255.255.255.255"}
var addrs6 = []string{"2001:db8::1", "2001:db8::ffff", "2001:db9::", "::", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::ffff:10.0.0.1"}

// members are what extras may say, rightly and wrongly.
var members = []string{
	`"minimumTTL":60`, `"minimumTTL":"60"`, `"minimumTTL":null`, `"maximumTTL":60`, `"maximumTTL":64`, `"ipTTL":5`, `"minimumTTL":1234567890123456789`,
	`"sourceMacAddress":"00:00:5e:00:53:01"`, `"postDestinationMacAddress":"00:00:5e:00:53:02"`, `"destinationMacAddress":"00:00:5e:00:53:01"`,
	`"postVlanId":10`, `"postDot1qVlanId":11`, `"postVlanId":"x"`, `"postNATSourceIPv4Address":"10.0.0.1"`, `"postNATSourceIPv6Address":"2001:db8::1"`,
	`"postNATDestinationIPv4Address":"0a000001ff"`, `"postNAPTSourceTransportPort":80`, `"postNAPTDestinationTransportPort":"443"`,
	`"mplsTopLabelStackSection":"0012a1"`, `"mplsTopLabelStackSection":"0012a0"`, `"mplsLabelStackSection2":"0012bf"`, `"mplsLabelStackSection3":"12a1"`,
	`"mplsLabelStackSection10":"fffff1"`, `"ingressVRFID":5`, `"egressVRFID":4294967295`, `"asaIngressAcl":"000000ff00000000deadbeef"`, `"asaEgressAcl":"ffffffff"`,
	`"asaExtendedEvent":1001`, `"firewallEvent":3`, `"natEvent":1`, `"applicationName":"a \"b\" \\ c"`, `"applicationName":"dns"`, `"applicationName":"Düs"`,
	`"forwardingStatus":129`, `"ethernetType":2048`, `"bgpNextHopIPv6Address":"2001:db8::1"`, `"bgpNextHopIPv4Address":"10.0.0.1"`, `"bgpPrevAdjacentAsNumber":64496`,
	`"postPacketDeltaCount":2`, `"postOctetTotalCount":1000`, `"observationPointId":18446744073709551615`, `"sourceIPv4Address":"10.0.0.2"`,
	`"destinationIPv6Address":"::1"`, `"outerSourceIPv4Address":"192.0.2.100"`, `"outerDestinationIPv6Address":"2001::2"`, `"tunnelProtocolIdentifier":47`, `"tunnelTransportPort":4789`, `"tunnelIdentifier":11259375`, `"duplicatePacketDeltaCount":2`, `"protocolIdentifier":4`, `"deltaFlowCount":6`, `"postIpClassOfService":184`, `"nested":{"minimumTTL":1,"l":["}",2]}`,
	`"minimumTTL" : true`, `"minimumTTL":-1`, `"minimumTTL":6.5`, `"bgpNextAdjacentAsNumber":5`, `"postSourceMacAddress":"00:00:5e:00:53:01"`,
	`"dot1qVlanId":10`, `"dot1qCustomerVlanId":60,"userName":"dns"`, `"portRangeStart":80,"portRangeEnd":443,"portRangeStepSize":1,"portRangeNumPorts":64`,
	`"asaIngressAcl":"00000001000000020000003c"`, `"asaExtendedEvent":0`, `"forwardingStatus":0`,
	`"observationPointId":77`, `"postNATDestinationIPv6Address":"2001:db8::1"`,
	`"mplsLabelStackSection3":"0012a2","mplsLabelStackSection4":"0012a4","mplsLabelStackSection5":"0012a6","mplsLabelStackSection6":"0012a8",` +
		`"mplsLabelStackSection7":"0012aa","mplsLabelStackSection8":"0012ac","mplsLabelStackSection9":"0012ae","mplsLabelStackSection10":"0012b1"`,
}

func genAddrs(t *rapid.T, label string) (a, b flow.Addr, version uint8) {
	pool, version := addrs4, uint8(4)
	switch rapid.IntRange(0, 5).Draw(t, label) {
	case 0:
		return flow.Addr{}, flow.Addr{}, 0
	case 1, 2:
		pool, version = addrs6, 6
	}
	return flow.AddrFrom(netip.MustParseAddr(rapid.SampledFrom(pool).Draw(t, "src"))),
		flow.AddrFrom(netip.MustParseAddr(rapid.SampledFrom(pool).Draw(t, "dst"))), version
}

// genRecord makes a record of few values, so that filters meet them. Its time of
// receipt is its number.
func genRecord(t *rapid.T, i int) flow.Record {
	small := func(label string, values ...uint64) uint64 { return rapid.SampledFrom(values).Draw(t, label) }
	r := flow.Record{
		Received: noon + 10*flow.Minute + flow.Time(i),
		Packets:  small("packets", 0, 1, 2, 999, 1000, 1001, 1<<62), Bytes: small("bytes", 0, 40, 1000, 1001, 1500, 10_000_000, 1<<62, 1<<63-1),
		SamplingRate: uint32(small("rate", 0, 1, 100, 1<<31-1)), TCPFlags: flow.TCPFlags(small("flags", 0, 2, 18, 19, 61, 63, 255, 511)),
		EndReason: flow.EndReason(small("reason", 0, 1, 2, 3, 4, 5, 9)), Direction: uint8(small("direction", 0, 1, 2)),
		SrcMask: uint8(small("srcmask", 0, 16, 24)), DstMask: uint8(small("dstmask", 0, 16, 24)),
		SrcAS: uint32(small("srcas", 0, 64496, 1<<32-1)), DstAS: uint32(small("dstas", 0, 64496, 64497)),
		Marks: flow.Marks(small("marks", 0, 1, 2, 4, 5, 8)), Exporter: rapid.SampledFrom(exporters).Draw(t, "exporter").ID(),
	}
	r.End = noon + flow.Time(small("end", 0, 1, 1000, 60_000, 599_999))
	r.Absent = flow.Absent(small("absent", 0, 0, 0, 1, 2, 4, 8, 15))
	r.Start = r.End - flow.Time(small("length", 0, 1, 999, 1000, 1001, 60_000, uint64(flow.MaxDuration)))
	r.Protocol = flow.Protocol(small("protocol", 0, 1, 6, 6, 17, 47, 58, 132))
	r.SrcAddr, r.DstAddr, r.IPVersion = genAddrs(t, "addresses")
	r.NextHop, _, _ = genAddrs(t, "next hop")
	r.InIf, r.OutIf = uint32(small("in", 0, 3, 4, 1<<32-1)), uint32(small("out", 0, 3, 4))
	r.SrcPort, r.DstPort = uint16(small("sport", 0, 22, 80, 443, 1024, 65535)), uint16(small("dport", 0, 80, 443, 2048, 2049, 33434))
	r.VLAN, r.TOS = uint16(small("vlan", 0, 10, 11)), uint8(small("tos", 0, 32, 184))
	if rapid.IntRange(0, 2).Draw(t, "extra") > 0 {
		said := rapid.SliceOfN(rapid.SampledFrom(members), 0, 8).Draw(t, "members")
		r.Extra = []byte("{" + strings.Join(said, ",") + "}")
	}
	return r
}

// values are what fields are compared with, by kind.
var values = map[string][]string{
	"number": {"0", "1", "2", "3", "4", "5", "6", "8", "10", "16", "24", "32", "60", "64", "80", "100", "129", "184", "255", "298", "299", "258", "1001",
		"1k", "0x10", "64496", "65535", "1000000000", "4294967295", "9223372036854775807", "10-20", "0-5", "1000-64496"},
	"time":      {"2025-11-21T12", "2025-11-21T12:00:01", "2025-11-21T12:10:00.050", "2025", `"2025-11-21 12:00:00.001"`},
	"address":   {"10.0.0.1", "10.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::/32", "2001:db8::1", "::ffff:10.0.0.1", "10.0.0.2/31", "255.255.255.255", "no.such.host"},
	"flags":     {"S", "SA", "X", "2", "19", "511", "FSRPAUECN"},
	"marks":     {"repaired", "clamped", "moved", "5", "0"},
	"text":      {`"dns"`, `'a "b" \ c'`, `"Düs"`, `"a"`},
	"mac":       {"00:00:5e:00:53:01", "00:00:5e:00:53:02"},
	"exporter":  {"fw1", `"2001:db8::8"`, "192.0.2.7", "192.0.2.0/24", "2001:db8::8", "nobody"},
	"interface": {"uplink", "3", "4", "nothing", "3-4"},
	"port":      {"80", "http", "443", "0", "22-443", "65535", "2048"},
	"protocol":  {"tcp", "udp", "1", "58", "gre", "6-17"},
}

// genPrimitive makes a condition that parses, nearly always.
func genPrimitive(t *rapid.T) string {
	f := rapid.SampledFrom(filter.Fields()).Draw(t, "field")
	name := rapid.SampledFrom(append([]string{f.Name}, f.Aliases...)).Draw(t, "name")
	if f.Kind == "none" {
		return name
	}
	pool := values[f.Kind]
	if len(f.Values) > 0 && f.Kind == "number" {
		pool = append(slices.Clone(pool), f.Values...)
	}
	switch rapid.IntRange(0, 3).Draw(t, "form") {
	case 0:
		return name + " in [" + strings.Join(rapid.SliceOfN(rapid.SampledFrom(pool), 1, 12).Draw(t, "list"), " ") + "]"
	case 1:
		return name + " " + rapid.SampledFrom([]string{">", "<", ">=", "<=", "!=", "="}).Draw(t, "comparator") + rapid.SampledFrom(pool).Draw(t, "value")
	}
	return name + " " + rapid.SampledFrom(pool).Draw(t, "value")
}

func genText(t *rapid.T, depth int) string {
	switch n := rapid.IntRange(0, 9).Draw(t, "shape"); {
	case depth == 0 || n < 4:
		return genPrimitive(t)
	case n < 6:
		return "not (" + genText(t, depth-1) + ")"
	case n < 8:
		return "(" + genText(t, depth-1) + ") and " + genText(t, depth-1)
	}
	return genText(t, depth-1) + " or (" + genText(t, depth-1) + ")"
}

// fill stores records of all sorts and returns them by their time of receipt.
func fill(t *testing.T, dsn string, n int) []flow.Record {
	t.Helper()
	ctx := context.Background()
	db, err := store.Open(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	recs := make([]flow.Record, n)
	for i := range recs {
		recs[i] = rapid.Custom(func(t *rapid.T) flow.Record { return genRecord(t, i) }).Example(i + 1)
	}
	if err := w.Write(ctx, flow.Batch{Records: slices.Clone(recs)}); err != nil {
		t.Fatal(err)
	}
	var status []flow.ExporterStatus
	for _, e := range exporters[:2] {
		status = append(status, flow.ExporterStatus{Exporter: e, Version: 10, FirstSeen: noon, LastSeen: noon})
	}
	if err := w.Report(ctx, flow.Report{Status: status}); err != nil {
		t.Fatal(err)
	}
	return recs
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// rows returns which rows of the view a filter means, sorted.
func rows(conn *pgx.Conn, f *filter.Filter) ([]int64, error) {
	text, args := f.SQL([]any{noon.Time().Add(-time.Hour)})
	r, err := conn.Query(context.Background(), "select flow_ms(received_at) from flows where flow_end >= $1 and ("+text+") order by 1", args...)
	if err != nil {
		return nil, fmt.Errorf("%s %v: %w", text, args, err)
	}
	got, err := pgx.CollectRows(r, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("%s %v: %w", text, args, err)
	}
	return got, nil
}

func printable(r flow.Record) string {
	extra := r.Extra
	r.Extra = nil
	return fmt.Sprintf("%+v %s", r, extra)
}

// TestMatchIsSQL: the two back ends mean the same records, whatever the filter.
func TestMatchIsSQL(t *testing.T) {
	dsn := pgtest.New(t)
	recs := fill(t, dsn, 250)
	conn := connect(t, dsn)
	for _, sql := range []string{
		fmt.Sprintf("insert into console.exporters (id, name) values (%d, 'fw1')", exporters[0].ID()),
		fmt.Sprintf("insert into interfaces (exporter_id, if_index, updated_at, name, description) values (%d, 3, now(), 'uplink', '')", exporters[0].ID()),
	} {
		if _, err := conn.Exec(context.Background(), sql); err != nil {
			t.Fatal(err)
		}
	}
	agree := func(f *filter.Filter) error {
		got, err := rows(conn, f)
		if err != nil {
			return err
		}
		var want []int64
		for i := range recs {
			if f.Match(&recs[i], names{}) {
				want = append(want, int64(recs[i].Received))
			}
		}
		if !slices.Equal(got, want) {
			for i := range recs {
				id := int64(recs[i].Received)
				if slices.Contains(got, id) != slices.Contains(want, id) {
					return fmt.Errorf("%s: %d rows, %d records; the first: %+v", f, len(got), len(want), printable(recs[i]))
				}
			}
		}
		return nil
	}

	t.Run("every word with every value", func(t *testing.T) {
		hit := map[string]bool{}
		for _, f := range filter.Fields() {
			texts := []string{f.Name}
			if f.Kind != "none" {
				texts = nil
				for i, v := range values[f.Kind] {
					texts = append(texts, f.Name+" "+v)
					if i%3 == 0 {
						texts = append(texts, f.Name+" >= "+v, f.Name+" < "+v)
					}
				}
			}
			for n, text := range texts {
				for i, text := range []string{text, "not " + text} {
					g, err := filter.Parse(text)
					if err != nil || i == 1 && n%4 != 0 {
						continue
					}
					if err := agree(g); err != nil {
						t.Error(err)
					}
					for i := range recs {
						if !strings.HasPrefix(text, "not") && g.Match(&recs[i], names{}) {
							hit[f.Name] = true
						}
					}
				}
			}
			if !hit[f.Name] {
				t.Errorf("no record and no value meet in %s: the test says nothing of it", f.Name)
			}
		}
	})
	t.Run("many networks", func(t *testing.T) {
		var nets []string
		for i := range 12 {
			nets = append(nets, fmt.Sprintf("10.%d.0.0/16 2001:db8:%x::/48 172.16.0.%d", 2*i, 2*i, i))
		}
		for _, field := range []string{"ip", "src ip", "next ip", "nat ip", "exporter"} {
			for _, not := range []string{"", "not "} {
				f, err := filter.Parse(not + field + " in [" + strings.Join(nets, ", ") + ", 10.255.0.0/16, 192.0.2.0/24]")
				if err != nil {
					t.Fatal(err)
				}
				if err := agree(f); err != nil {
					t.Error(err)
				}
			}
		}
	})
	t.Run("any filter", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			text := genText(t, 3)
			f, err := filter.Parse(text)
			if err != nil {
				t.Skip()
			}
			if err := agree(f); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			again, err := filter.Parse(f.String())
			if err != nil || again.String() != f.String() {
				t.Fatalf("%s prints as %s, which gives %v, %v", text, f, again, err)
			}
			for i := range recs[:50] {
				if f.Match(&recs[i], names{}) != again.Match(&recs[i], names{}) {
					t.Fatalf("%s and %s mean different records", text, f)
				}
			}
			all := true
			for _, c := range f.Conjuncts() {
				g, err := filter.Parse(c.Text)
				if err != nil {
					t.Fatal(err)
				}
				all = all && g.Match(&recs[0], names{})
			}
			if all != f.Match(&recs[0], names{}) {
				t.Fatalf("the conjuncts of %s are not the filter", f)
			}
		})
	})
}

// TestPlans: what a filter says of time, addresses and exporters is still what
// partitions and indexes are chosen by.
func TestPlans(t *testing.T) {
	dsn := pgtest.New(t)
	recs := fill(t, dsn, 50)
	conn := connect(t, dsn)
	ctx := context.Background()
	// The longest flow began 35 days before; all ended in the hour from noon on.
	part := "parts.flows_" + noon.Time().Format("2006010215")
	for _, sql := range []string{
		"create index on " + part + " using brin (src_addr inet_bloom_ops)", "create index on " + part + " using brin (flow_end)",
		"create index on " + part + " using btree (src_addr)", "create index on " + part + " (exporter_id)",
		"set enable_seqscan = off", "set plan_cache_mode = force_generic_plan",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	explain := func(text string) string {
		f, err := filter.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		sql, args := f.SQL(nil)
		r, err := conn.Query(ctx, "explain select count(*) from flows where "+sql, args...)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(r, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(lines, "\n")
	}
	for _, text := range []string{
		"src ip 10.0.0.1", "src ip 10.0.0.0/8", "src ip in [10.0.0.1 10.0.0.2 192.168.0.0/16]", "last seen > 2025-11-21T12:00:01", "exporter id 5",
		"src ip 10.0.0.1 and not vlan 10", "exporter id 5 and (port 80 or not proto tcp)",
	} {
		if plan := explain(text); !strings.Contains(plan, "Index Cond") {
			t.Errorf("%s reads everything:\n%s", text, plan)
		}
	}
	if plan := explain("last seen >= 2025-11-21T13"); strings.Contains(plan, part[6:]+" ") {
		t.Errorf("the hour before is read:\n%s", plan)
	}
	if plan := explain("src ip 10.0.0.1"); strings.Contains(plan, " on exporter ") {
		t.Errorf("who does not ask for the exporter pays for it:\n%s", plan)
	}
	_ = recs
}
