package story

import (
	"context"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"

	"flowtally/exporter"
	"flowtally/exporter/capture"
	"flowtally/netflow"
)

// Two machines are mirrored by VXLAN to an exporter that has a name and knows theirs, and
// another exporter of the same address numbers its interfaces alike: the interfaces are
// ranked by name, and those of two exporters apart, in the API, on the command line and by
// the statement that is printed.
func TestNamesWhereNumbersStand(t *testing.T) {
	h := build(t)
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tunnel := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	conn.Close()
	clients := []capture.TunnelClient{
		{Addr: netip.MustParseAddr("127.0.0.31"), ID: 42, HasID: true, Name: "floor-1"},
		{Addr: netip.MustParseAddr("127.0.0.32"), ID: 43, HasID: true, Name: "floor-2"},
	}
	run := func(domain uint32, name string, clients []capture.TunnelClient) {
		t.Helper()
		source, err := capture.ListenVXLAN(tunnel.String(), capture.TunnelConfig{Clients: clients})
		if err != nil {
			t.Fatal(err)
		}
		seen := &counted{Source: source}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := exporter.Run(ctx, exporter.Config{
				Source: seen, To: []string{h.collector.String()}, Version: netflow.IPFIX, Domain: domain, Name: name, Options: true,
				Logger: slog.New(slog.DiscardHandler),
			})
			ended <- err
		}()
		for i, from := range []string{"127.0.0.31", "127.0.0.32"} {
			sender, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(from)}, net.UDPAddrFromAddrPort(tunnel))
			if err != nil {
				t.Fatal(err)
			}
			for k := range 3 + i { // as many flows
				if _, err := sender.Write(vxlan(uint32(42+i), k)); err != nil {
					t.Fatal(err)
				}
			}
			sender.Close()
		}
		for deadline := time.Now().Add(time.Minute); seen.packets.Load() < 7; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d packets came", seen.packets.Load())
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		source.Close()
	}
	run(1, "trading", clients)
	run(2, "", nil)
	h.stop()

	const day = 24 * time.Hour
	from, to := time.Now().Add(-day/24).UTC().Format(time.RFC3339), time.Now().Add(day/24).UTC().Format(time.RFC3339)
	want := []string{
		"127.0.0.1 domain 2,vxlan 127.0.0.32 vni 43,4", "trading,floor-2,4",
		"127.0.0.1 domain 2,vxlan 127.0.0.31 vni 42,3", "trading,floor-1,3",
	}
	slices.Sort(want)
	compare := func(what string, got []string) {
		t.Helper()
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got): %s", what, diff)
		}
	}

	res, err := http.Get(h.web + "/api/v1/top?key=in-if&from=" + from + "&to=" + to)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		Rows []struct {
			Values struct {
				Exporter string `json:"exporter"`
				Index    int64  `json:"in_if"`
				Name     string `json:"in_if_name"`
			} `json:"values"`
			Flows int64 `json:"flows"`
		} `json:"rows"`
		SQL string `json:"sql"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	var byAPI []string
	numbers := map[int64]int{}
	for _, r := range answer.Rows {
		byAPI = append(byAPI, fmt.Sprintf("%s,%s,%d", r.Values.Exporter, r.Values.Name, r.Flows))
		numbers[r.Values.Index]++
	}
	compare("the API", byAPI)
	if len(numbers) != 2 {
		t.Errorf("the two exporters do not number alike, so nothing is shown: %v", numbers)
	}

	status, stdout, stderr := flowtally(t, "top", "--database", h.dsn, "--key", "in-if", "--from", from, "--to", to, "--output", "csv")
	if status != 0 {
		t.Fatalf("status %d: %s", status, stderr)
	}
	lines, err := csv.NewReader(strings.NewReader(stdout)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var byCSV []string
	for _, l := range lines[1:] {
		byCSV = append(byCSV, l[0]+","+l[2]+","+l[3])
	}
	compare("the command line as CSV, "+strings.Join(lines[0], ","), byCSV)

	status, stdout, stderr = flowtally(t, "top", "--database", h.dsn, "--key", "in-if", "--from", from, "--to", to)
	for _, name := range []string{"trading", "127.0.0.1 domain 2", "floor-1", "floor-2", "vxlan 127.0.0.32 vni 43"} {
		if status != 0 || !strings.Contains(stdout, name) {
			t.Errorf("%s is not in the table: status %d\n%s%s", name, status, stdout, stderr)
		}
	}
	var bySQL []string
	for _, row := range h.rows(t, answer.SQL) {
		if row["line"] == "group" {
			bySQL = append(bySQL, fmt.Sprintf("%v,%v,%v", row["exporter"], row["in_if_name"], row["flows"]))
		}
	}
	compare("the printed statement", bySQL)

	// And renamed on the command line.
	status, _, stderr = flowtally(t, "exporters", "rename", "--database", h.dsn, "127.0.0.1 domain 2", "the other")
	if status != 0 {
		t.Fatalf("status %d: %s", status, stderr)
	}
	if status, stdout, _ = flowtally(t, "exporters", "--database", h.dsn); status != 0 || !strings.Contains(stdout, "the other") || !strings.Contains(stdout, "itself") {
		t.Errorf("renamed, the list is\n%s", stdout)
	}
	for args, says := range map[string]string{
		"127.0.0.1=x":                  "2 exporters have the address",
		"trading=the other":            "another exporter is called",
		"trading=10.0.0.1":             "an address is no name",
		"the other=127.0.0.1 domain 1": "an address is no name",
		"nobody=x":                     "there is no exporter",
	} {
		who, name, _ := strings.Cut(args, "=")
		if status, _, stderr := flowtally(t, "exporters", "rename", "--database", h.dsn, who, name); status != 2 || !strings.Contains(stderr, says) {
			t.Errorf("%s: status %d: %s", args, status, stderr)
		}
	}
}

// vxlan is a packet of its own flow in a VXLAN header.
func vxlan(vni uint32, flow int) []byte {
	b := []byte{8, 0, 0, 0}
	b = binary.BigEndian.AppendUint32(b, vni<<8)
	b = append(b, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0)
	return append(b, ipv4UDP(netip.AddrFrom4([4]byte{10, 55, byte(vni), byte(1 + flow)}), netip.MustParseAddr("10.55.0.99"), 100)...)
}

// counted counts the packets that a source has given.
type counted struct {
	capture.Source
	packets atomic.Int64
}

// Unwrap returns the source, which names its interfaces.
func (c *counted) Unwrap() capture.Source { return c.Source }

// ZeroCopyReadPacketData returns the source's next packet.
func (c *counted) ZeroCopyReadPacketData() ([]byte, gopacket.CaptureInfo, error) {
	b, ci, err := c.Source.ZeroCopyReadPacketData()
	if err == nil {
		c.packets.Add(1)
	}
	return b, ci, err
}
