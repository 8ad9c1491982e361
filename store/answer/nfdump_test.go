package answer_test

import (
	"context"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"flowtally/flow"
	"flowtally/netflow"
	"flowtally/query"
	"flowtally/store"
	"flowtally/store/answer"
	"flowtally/store/ingest"
	"flowtally/store/storetest"
)

// TestSameAsNfdump: booked whole, groups have what nfdump counts for the same
// records, for every value, to the octet.
func TestSameAsNfdump(t *testing.T) {
	for _, name := range []string{"nfcapd", "nfdump"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("no %s here (package nfdump)", name)
		}
	}
	ctx := context.Background()
	rnd := rand.New(rand.NewPCG(21, 22))
	recs := make([]flow.Record, 600)
	for i := range recs {
		r := &recs[i]
		r.End = storetest.Noon + flow.Time(rnd.IntN(int(10*flow.Minute)))
		r.Start = r.End - flow.Time(rnd.IntN(int(flow.Minute)))
		r.Received = r.End + flow.Second
		r.Packets = 1 + uint64(rnd.IntN(500))
		r.Bytes = r.Packets * uint64(40+rnd.IntN(1400))
		r.Exporter, r.TOS = 7, uint8(rnd.IntN(2)*32)
		r.InIf, r.OutIf = uint32(1+rnd.IntN(3)), uint32(4+rnd.IntN(3))
		r.Protocol = []flow.Protocol{flow.TCP, flow.TCP, flow.UDP}[rnd.IntN(3)]
		// No flow has the same address or port on both sides: nfdump counts it
		// twice as either, and we once.
		r.SrcPort, r.DstPort = uint16(1024+rnd.IntN(40)), []uint16{22, 53, 80, 443}[rnd.IntN(4)]
		if r.Protocol == flow.TCP {
			r.TCPFlags = []flow.TCPFlags{2, 18, 27}[rnd.IntN(3)]
		}
		if r.IPVersion = 4; rnd.IntN(4) == 0 {
			r.IPVersion = 6
			r.SrcAddr, r.DstAddr = flow.Addr{0: 0x20, 1: 1, 15: byte(1 + rnd.IntN(9))}, flow.Addr{0: 0x20, 1: 2, 15: byte(1 + rnd.IntN(9))}
		} else {
			r.SrcAddr, r.DstAddr = flow.Addr4([4]byte{10, 0, byte(rnd.IntN(3)), byte(1 + rnd.IntN(20))}), flow.Addr4([4]byte{192, 0, 2, byte(1 + rnd.IntN(20))})
		}
	}
	dir := t.TempDir()
	nfcapd(t, dir, recs)
	db, _, _ := storetest.Open(t)
	storetest.WriteAll(t, ingest.NewWriter(db, ingest.WriterConfig{}), recs, 200)

	nfdump := func(args ...string) string {
		cmd := exec.Command("nfdump", append([]string{"-R", dir, "-q", "-N"}, args...)...)
		cmd.Env = append(os.Environ(), "TZ=UTC")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("nfdump %q: %v: %s", args, err, out)
		}
		return string(out)
	}
	if n := strings.Count(nfdump("-o", "fmt:%byt"), "\n"); n < len(recs) {
		t.Skipf("nfcapd stored %d of %d records", n, len(recs))
	}
	asked := 0
	for _, text := range []string{"", "proto tcp", "src net 10.0.1.0/24 and dst port 443", "ipv6 or bytes > 100k", "not (proto udp and port 53) and flags S"} {
		for _, s := range []struct{ key, stat string }{
			{"src-addr", "srcip"}, {"dst-addr", "dstip"}, {"addr", "ip"}, {"src-port", "srcport"}, {"dst-port", "dstport"}, {"port", "port"},
			{"protocol", "proto"}, {"in-if", "inif"}, {"out-if", "outif"}, {"interface", "if"}, {"tos", "tos"},
		} {
			for _, by := range []query.Measure{query.ByFlows, query.ByPackets, query.ByBytes} {
				args := []string{"-n", "0", "-s", s.stat + "/" + string(by), "-o", "csv"}
				if text != "" {
					args = append(args, text)
				}
				r := csv.NewReader(strings.NewReader(nfdump(args...)))
				r.FieldsPerRecord = -1
				lines, err := r.ReadAll()
				if err != nil {
					t.Fatal(err)
				}
				theirs := make(map[string]query.Sums)
				for i, l := range lines {
					// The names of the columns depend on the version and on the side.
					if i == 0 || len(l) < 10 {
						continue
					}
					var n [3]int64
					for j, at := range []int{5, 7, 9} {
						if n[j], err = strconv.ParseInt(strings.TrimSpace(l[at]), 10, 64); err != nil {
							t.Fatalf("%q: %v", l, err)
						}
					}
					theirs[strings.TrimSpace(l[4])] = query.Sums{Flows: n[0], Packets: n[1], Bytes: n[2]}
				}
				compareNfdump(t, ctx, db, s.key, text, by, theirs)
				asked++
			}
		}
		args := []string{"-n", "0", "-A", "srcip,dstip", "-6", "-o", "fmt:%sa,%da,%fl,%pkt,%byt"}
		if text != "" {
			args = append(args, text)
		}
		theirs := make(map[string]query.Sums)
		for line := range strings.Lines(nfdump(args...)) {
			f := strings.Split(strings.TrimSpace(line), ",")
			if len(f) != 5 {
				continue
			}
			var n [3]int64
			for i := range n {
				n[i], _ = strconv.ParseInt(strings.TrimSpace(f[2+i]), 10, 64)
			}
			theirs[strings.TrimSpace(f[0])+" → "+strings.TrimSpace(f[1])] = query.Sums{Flows: n[0], Packets: n[1], Bytes: n[2]}
		}
		compareNfdump(t, ctx, db, "src-addr,dst-addr", text, query.ByBytes, theirs)
		asked++
	}
	t.Logf("%d questions", asked)
}

func compareNfdump(t *testing.T, ctx context.Context, db *store.DB, key, text string, by query.Measure, theirs map[string]query.Sums) {
	t.Helper()
	keys, err := query.ParseKeys(key)
	if err != nil {
		t.Fatal(err)
	}
	top, err := answer.New(db).Top(ctx, query.Question{From: (storetest.Noon - flow.Hour).Time(), To: (storetest.Noon + flow.Hour).Time(), Keys: keys, By: by, Limit: query.MaxLimit, Whole: true, Filter: storetest.ParseFilter(t, text)})
	if err != nil {
		t.Fatal(err)
	}
	ours := make(map[string]query.Sums)
	for _, r := range top.Rows {
		label := r.Label
		if n, ok := r.Values[len(r.Values)-1].V.(int64); ok && len(keys) == 1 {
			label = fmt.Sprint(n)
		}
		// nfdump adds up interfaces of several exporters.
		ours[label] = ours[label].Plus(r.Sums)
	}
	// nfdump writes protocols by name.
	for name, number := range map[string]string{"TCP": "6", "UDP": "17"} {
		if s, ok := theirs[name]; ok && key == "protocol" {
			delete(theirs, name)
			theirs[number] = s
		}
	}
	if len(ours) == 0 {
		t.Errorf("%s of %q has no groups", key, text)
	}
	if d := gocmp.Diff(theirs, ours); d != "" {
		t.Errorf("top %s by %s of %q (-nfdump +ours):\n%.1500s", key, by, text, d)
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
	said, err := os.Create(filepath.Join(t.TempDir(), "said"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	cmd := exec.Command("nfcapd", "-w", dir, "-b", "127.0.0.1", "-p", strconv.Itoa(to.Port), "-t", "86400", "-B", "8000000")
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	defer func() { _ = cmd.Process.Kill(); <-exited }()
	// The queue of its socket, as the kernel has it; "" without the socket.
	listens := fmt.Sprintf(" 0100007F:%04X ", to.Port)
	queue := func() string {
		sockets, _ := os.ReadFile("/proc/net/udp")
		for line := range strings.Lines(string(sockets)) {
			if strings.Contains(line, listens) {
				return line
			}
		}
		return ""
	}
	wait := func(until func() bool) {
		for range 1000 {
			if until() {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	wait(func() bool { return queue() != "" })
	e, err := netflow.NewEncoder(netflow.EncoderConfig{Version: netflow.V9, Domain: 1, Boot: storetest.Noon - flow.Hour})
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
		msg, n := e.Append(nil, storetest.Noon+10*flow.Minute, ready)
		if _, err := conn.Write(msg); err != nil || n == 0 {
			t.Fatal(n, err)
		}
		ready = ready[n:]
	}
	wait(func() bool { return queue() == "" || strings.Contains(queue(), ":00000000 ") })
	time.Sleep(200 * time.Millisecond)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-exited:
	case <-time.After(30 * time.Second):
		t.Fatal("nfcapd does not end")
	}
}
