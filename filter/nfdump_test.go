package filter_test

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"flowtally/filter"
	"flowtally/flow"
	"flowtally/netflow"
)

// deviations are where nfdump and we do not mean the same, each by its name; in
// docs/filter.md they stand with their reasons. The filters below do without.
//
//   - a protocol without ports has none here; nfdump compares what stands in the
//     place of ports, which for ICMP is type and code: ports are asked of TCP,
//     UDP and SCTP alone
//   - a number that was not said is no number here, and 0 in nfdump: of
//     interfaces, systems and prefix lengths, 0 is not asked and < is not asked
//   - not flags with several letters: "not all of them", here and in nfdump's code
//     of today; "none of them" in 1.7.1
//   - masks and systems: nfcapd keeps no prefix lengths of what we export, and
//     nfdump 1.7.1 asks for a map before it compares systems
//   - !=, port ranges, names of services are not nfdump's

// wireRecord makes a record that comes through NetFlow v9 as it is, numbered by
// its bytes.
func wireRecord(t *rapid.T, i int) flow.Record {
	small := func(label string, values ...uint64) uint64 { return rapid.SampledFrom(values).Draw(t, label) }
	r := flow.Record{
		Packets: small("packets", 1, 2, 999, 1000, 1001), Bytes: 40 + 37*uint64(i),
	}
	r.End = noon + flow.Time(small("end", 0, 1, 1000, 60_000, 599_999))
	r.Start = r.End - flow.Time(small("length", 0, 1, 999, 1000, 1001, 60_000))
	r.Protocol = flow.Protocol(small("protocol", 6, 6, 6, 17, 1, 58, 132))
	pool := addrs4
	r.IPVersion = 4
	if r.Protocol == flow.ICMPv6 || rapid.Bool().Draw(t, "six") && r.Protocol != flow.ICMP {
		pool, r.IPVersion = addrs6[:2], 6
	} else {
		pool = pool[:5]
	}
	r.SrcAddr = flow.AddrFrom(netip.MustParseAddr(rapid.SampledFrom(pool).Draw(t, "src")))
	r.DstAddr = flow.AddrFrom(netip.MustParseAddr(rapid.SampledFrom(pool).Draw(t, "dst")))
	r.InIf, r.OutIf = uint32(small("in", 1, 3, 4)), uint32(small("out", 1, 3, 4))
	if r.HasPorts() {
		r.SrcPort, r.DstPort = uint16(small("sport", 22, 80, 443, 1024, 65535)), uint16(small("dport", 80, 443, 2048, 2049, 33434))
	} else {
		r.DstPort = uint16(small("icmp", 0, 2048, 3<<8|1, 128<<8))
	}
	if r.Protocol == flow.TCP {
		r.TCPFlags = flow.TCPFlags(small("flags", 0, 2, 18, 19, 61, 63, 255))
	}
	r.VLAN, r.TOS = uint16(small("vlan", 10, 11)), uint8(small("tos", 0, 32, 184))
	return r
}

// nfdumpText makes a filter in the language that both have.
func nfdumpText(t *rapid.T, depth int) string {
	of := func(words ...string) string { return rapid.SampledFrom(words).Draw(t, "word") }
	if depth > 0 {
		switch rapid.IntRange(0, 5).Draw(t, "shape") {
		case 0:
			return "not (" + nfdumpText(t, depth-1) + ")"
		case 1:
			return "(" + nfdumpText(t, depth-1) + ") and " + nfdumpText(t, depth-1)
		case 2:
			return nfdumpText(t, depth-1) + " or " + nfdumpText(t, depth-1)
		case 3:
			return nfdumpText(t, depth-1) + " and not " + nfdumpText(t, 0)
		}
	}
	side, comp := of("", "src ", "dst "), of("", "= ", "== ", "> ", "< ", ">= ", "<= ", "gt ", "lt ", "eq ")
	if comp == ">= " || comp == "<= " {
		comp = of("> ", "< ")
	}
	switch rapid.IntRange(0, 14).Draw(t, "primitive") {
	case 0:
		return of("ipv4", "ipv6", "any", "proto tcp", "proto udp", "proto icmp", "proto 58", "proto 132")
	case 1:
		return "((proto tcp or proto udp or proto 132) and " + side + "port " + comp + of("80", "443", "1024", "2048", "65535") + ")"
	case 2:
		return "((proto tcp or proto udp or proto 132) and " + side + "port in [ " + of("80 443", "22,1024", "2048 2049 33434") + " ])"
	case 3:
		return side + of("ip ", "host ") + of("10.0.0.1", "192.168.1.1", "2001:db8::1", "10.0.0.9")
	case 4:
		return side + "net " + of("10.0.0.0/8", "10.0.0.0/30", "10.0.0.0 255.0.0.0", "2001:db8::/64", "192.168.0.0/16", "0.0.0.0/1")
	case 5:
		return side + "ip in [ " + of("10.0.0.1 10.0.0.2", "10.0.0.2, 192.168.1.1", "2001:db8::1 10.0.0.1") + " ]"
	case 6:
		return "flags " + of("S", "F", "R", "P", "A", "U", "E", "C")
	case 7:
		return "packets " + comp + of("1", "2", "999", "1k", "1001")
	case 8:
		return "bytes " + comp + of("40", "77", "1k", "3k", "0x400", "5000")
	case 9:
		return "duration " + comp + of("0", "1", "999", "1000", "60000")
	case 10:
		return of("pps ", "bps ", "bpp ") + comp + of("0", "1", "100", "1000", "8k", "50k", "1m", "10m")
	case 11:
		return of("", "in ", "out ") + "if " + of("1", "3", "4", "9")
	case 12:
		return "tos " + of("0", "32", "184")
	case 13:
		return of("icmp-type ", "icmp-code ") + of("0", "1", "3", "8", "128")
	}
	return "src vlan " + of("10", "11")
}

// TestSameAsNfdump: on records that nfcapd stored, filters of the language that
// both have mean the same ones to nfdump as to us.
func TestSameAsNfdump(t *testing.T) {
	for _, name := range []string{"nfcapd", "nfdump"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("no %s here (package nfdump)", name)
		}
	}
	recs := make([]flow.Record, 300)
	for i := range recs {
		recs[i] = rapid.Custom(func(t *rapid.T) flow.Record { return wireRecord(t, i) }).Example(i + 1)
	}
	dir := t.TempDir()
	nfcapd(t, dir, recs)
	ask := func(text string) ([]int, string) {
		cmd := exec.Command("nfdump", "-R", dir, "-q", "-N", "-o", "fmt:%byt", text)
		cmd.Env = append(os.Environ(), "TZ=UTC")
		var said bytes.Buffer
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Sprintf("%v: %s%s", err, said.String(), out)
		}
		var got []int
		if bytes.Contains(out, []byte("No matching flows")) {
			return nil, ""
		}
		for _, w := range strings.Fields(string(out)) {
			n, err := strconv.Atoi(w)
			if err != nil {
				return nil, fmt.Sprintf("%q", out)
			}
			got = append(got, (n-40)/37)
		}
		slices.Sort(got)
		return got, ""
	}
	if got, said := ask("any"); len(got) != len(recs) {
		t.Fatalf("nfdump has %d of %d records: %s", len(got), len(recs), said)
	}
	var refused []string
	some := 0
	texts := []string{"flags SA", "flags SAF", "flags X", "flags SAF and bytes > 1k", "proto tcp and flags FU or proto udp"}
	for i := range 250 {
		texts = append(texts, rapid.Custom(func(t *rapid.T) string { return nfdumpText(t, 2) }).Example(i+1))
	}
	for _, text := range texts {
		f, err := filter.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var want []int
		for i := range recs {
			if f.Match(&recs[i], nil) {
				want = append(want, i)
			}
		}
		got, said := ask(text)
		if said != "" {
			refused = append(refused, text+": "+said)
			continue
		}
		if len(got) > 0 && len(got) < len(recs) {
			some++
		}
		if !slices.Equal(got, want) {
			var first string
			for i := range recs {
				if slices.Contains(got, i) != slices.Contains(want, i) {
					first = fmt.Sprintf("%+v", recs[i])
					break
				}
			}
			t.Errorf("%s: nfdump means %d records, we %d; the first: %s", text, len(got), len(want), first)
		}
	}
	t.Logf("%d filters, of which %d mean some records and not others; nfdump does not take %d", len(texts), some, len(refused))
	if len(refused) > 25 || some < 100 {
		t.Errorf("nfdump does not take %d, %d tell records apart: the test says too little\n%s", len(refused), some, strings.Join(refused[:min(5, len(refused))], "\n"))
	}
}

// nfcapd has nfcapd store records in dir.
func nfcapd(t *testing.T, dir string, recs []flow.Record) {
	t.Helper()
	free, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	to := free.LocalAddr().(*net.UDPAddr)
	free.Close()
	var said bytes.Buffer
	cmd := exec.Command("nfcapd", "-w", dir, "-b", "127.0.0.1", "-p", strconv.Itoa(to.Port), "-t", "86400", "-B", "8000000")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	defer func() { _ = cmd.Process.Kill(); <-exited }()
	listens := fmt.Sprintf(" 0100007F:%04X ", to.Port)
	for range 1000 {
		if sockets, err := os.ReadFile("/proc/net/udp"); err != nil || strings.Contains(string(sockets), listens) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}

	e, err := netflow.NewEncoder(netflow.EncoderConfig{Version: netflow.V9, Domain: 1, Boot: noon - flow.Hour})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialUDP("udp", nil, to)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var ready []flow.Record
	for i := range recs {
		ready = e.Prepare(ready, &recs[i])
	}
	for len(ready) > 0 {
		msg, n := e.Append(nil, noon+10*flow.Minute, ready)
		if _, err := conn.Write(msg); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			t.Fatal("a message without records")
		}
		ready = ready[n:]
	}
	// It reads its socket's buffer empty before it looks at the signal only if it
	// is given the time: until the kernel says that there is nothing left.
	for range 500 {
		sockets, err := os.ReadFile("/proc/net/udp")
		i := bytes.Index(sockets, []byte(listens))
		if err != nil || i < 0 || strings.Contains(string(sockets[i:min(len(sockets), i+60)]), ":00000000 ") {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(200 * time.Millisecond)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-exited:
	case <-time.After(30 * time.Second):
		t.Fatalf("nfcapd does not end: %s", said.String())
	}
}
