package story

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"github.com/jackc/pgx/v5"

	"flowtally/collector"
	"flowtally/command"
	"flowtally/exporter"
	"flowtally/exporter/capture"
	"flowtally/flow"
	"flowtally/lab/postgres/pgtest"
	"flowtally/netflow"
	"flowtally/query"
	"flowtally/service"
	"flowtally/store"
	"flowtally/web"
)

// house is a collector, a database and a web server, running.
type house struct {
	dsn       string
	collector netip.AddrPort
	web       string
	stop      func() // stops the collector; what it received is stored then
}

// flowtally runs the program as a user would.
func flowtally(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = command.Run(context.Background(), "", args, &out, &errs)
	return status, out.String(), errs.String()
}

// build starts a house on free ports. It ends with the test.
func build(t *testing.T) *house {
	t.Helper()
	h := &house{dsn: pgtest.New(t)}
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.DiscardHandler)
	db, err := store.Open(ctx, h.dsn)
	if err != nil {
		t.Fatal(err)
	}
	cctx, stopCollector := context.WithCancel(ctx)
	bound := make(chan []netip.AddrPort, 1)
	served := make(chan netip.AddrPort, 1)
	collected, webbed := make(chan error, 1), make(chan error, 1)
	go func() {
		collected <- service.Run(cctx, service.Config{DSN: h.dsn, Logger: log, Collector: collector.Config{
			Listen: []string{"127.0.0.1:0"}, BatchAge: 200 * time.Millisecond,
			Ready: func(a []netip.AddrPort) { bound <- a }}})
	}()
	go func() {
		webbed <- web.Run(ctx, web.Config{Listen: "127.0.0.1:0", DB: web.NewDatabase(db), Logger: log, Ready: func(a netip.AddrPort) { served <- a }})
	}()
	select {
	case a := <-bound:
		h.collector = a[0]
	case err := <-collected:
		t.Fatal(err)
	}
	select {
	case a := <-served:
		h.web = "http://" + a.String()
	case err := <-webbed:
		t.Fatal(err)
	}
	stopped := false
	h.stop = func() {
		if stopped {
			return
		}
		stopped = true
		stopCollector()
		if err := <-collected; err != nil {
			t.Errorf("collector: %v", err)
		}
	}
	t.Cleanup(func() {
		h.stop()
		cancel()
		if err := <-webbed; err != nil {
			t.Errorf("web: %v", err)
		}
		db.Close()
	})
	return h
}

// sums asks the database what an exporter's flows hold.
func (h *house) sums(t *testing.T, where string) map[flow.ExporterID]query.Sums {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), h.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(context.Background(), "select exporter_id, count(*), sum(packets)::bigint, sum(bytes)::bigint from flows "+where+" group by 1")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	got := map[flow.ExporterID]query.Sums{}
	for rows.Next() {
		var id int32
		var s query.Sums
		if err := rows.Scan(&id, &s.Flows, &s.Packets, &s.Bytes); err != nil {
			t.Fatal(err)
		}
		got[flow.ExporterID(id)] = s
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return got
}

// export meters a capture and sends it.
func (h *house) export(t *testing.T, file string, v netflow.Version, domain uint32) (exporter.Summary, error) {
	t.Helper()
	src, err := capture.OpenFile(file)
	if err != nil {
		return exporter.Summary{}, err
	}
	defer src.Close()
	return exporter.Run(context.Background(), exporter.Config{Source: src, To: []string{h.collector.String()}, Version: v, Domain: domain,
		Pace: 100_000, Logger: slog.New(slog.DiscardHandler)})
}

// storyCapture writes a capture whose answer can be told by hand: one host
// opens 50 short connections, another moves a megabyte in two, a third pings.
func storyCapture(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "story.pcap")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := pcapgo.NewWriter(f)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 2, 9, 41, 0, 0, time.UTC)
	packet := func(src, dst string, l gopacket.SerializableLayer, proto layers.IPProtocol, payload int) {
		eth := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}}
		stack := []gopacket.SerializableLayer{eth}
		if a := netip.MustParseAddr(src); a.Is4() {
			eth.EthernetType = layers.EthernetTypeIPv4
			stack = append(stack, &layers.IPv4{Version: 4, TTL: 64, Protocol: proto, SrcIP: a.AsSlice(), DstIP: netip.MustParseAddr(dst).AsSlice()})
		} else {
			eth.EthernetType = layers.EthernetTypeIPv6
			stack = append(stack, &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: proto, SrcIP: a.AsSlice(), DstIP: netip.MustParseAddr(dst).AsSlice()})
		}
		stack = append(stack, l, gopacket.Payload(make([]byte, payload)))
		buf := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true}, stack...); err != nil {
			t.Fatal(err)
		}
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(buf.Bytes()), Length: len(buf.Bytes())}, buf.Bytes()); err != nil {
			t.Fatal(err)
		}
		at = at.Add(10 * time.Millisecond)
	}
	for i := range 50 { // 50 flows of two packets of 40 octets
		tcp := &layers.TCP{SrcPort: layers.TCPPort(40000 + i), DstPort: 1521, DataOffset: 5, SYN: true}
		packet("10.1.4.7", "10.1.1.5", tcp, layers.IPProtocolTCP, 0)
		tcp.SYN, tcp.RST = false, true
		packet("10.1.4.7", "10.1.1.5", tcp, layers.IPProtocolTCP, 0)
	}
	for i := range 1000 { // two flows of 500 packets of 1048 octets
		packet("2001:db8::20", "2001:db8::99", &layers.UDP{SrcPort: layers.UDPPort(5000 + i%2), DstPort: 4500, Length: 8 + 1000}, layers.IPProtocolUDP, 1000)
	}
	packet("10.1.9.9", "10.1.1.5", &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0)}, layers.IPProtocolICMPv4, 56)
	return name
}

// rows are those of a statement, by the names of their columns.
func (h *house) rows(t *testing.T, sql string) []map[string]any {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), h.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(context.Background(), sql)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToMap)
	if err != nil {
		t.Fatal(err)
	}
	return list
}
