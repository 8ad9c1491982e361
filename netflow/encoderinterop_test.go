package netflow

import (
	"bytes"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"

	"flowtally/flow"
)

// everything returns messages with all that an encoder can say: options at the
// start, flows with the given groups of fields, options at the end.
func everything(t *testing.T, v Version, fields Fields, rate uint32) (msgs [][]byte, recs []flow.Record) {
	t.Helper()
	e, err := NewEncoder(EncoderConfig{Version: v, Domain: 77, Boot: noon - flow.Hour, SamplingRate: rate, Fields: fields})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range detailed(60) {
		recs = e.Prepare(recs, &r)
	}
	options := func() {
		if msg, _ := e.AppendOptions(nil, noon+123, &someStats, someInterfaces(3)); len(msg) > 0 {
			msgs = append(msgs, msg)
		}
	}
	options()
	msgs = append(msgs, send(t, e, noon+123, recs)...)
	options()
	return msgs, recs
}

// fieldChoices are the groups one by one, none, and all.
func fieldChoices() []Fields {
	choices := []Fields{0, allFields}
	for i := range fieldNames {
		choices = append(choices, 1<<i)
	}
	return choices
}

// TestNfcapdReadsOptionsAndFields: nfcapd takes all groups of fields, and options
// in between, and has the same sums. It leaves options out of IPFIX's sequence
// number, though RFC 7011 §3.1 counts them, so there it sees a gap behind them.
func TestNfcapdReadsOptionsAndFields(t *testing.T) {
	nfcapd, err := exec.LookPath("nfcapd")
	if err != nil {
		t.Skip("nfcapd (package nfdump) is not installed")
	}
	for _, v := range []Version{V9, IPFIX} {
		for _, fields := range fieldChoices() {
			t.Run(fmt.Sprint(v, fields), func(t *testing.T) {
				msgs, recs := everything(t, v, fields, 0)
				port := freePort(t)
				var log bytes.Buffer
				cmd := exec.Command(nfcapd, "-w", t.TempDir(), "-b", "127.0.0.1", "-p", strconv.Itoa(port), "-t", "3600")
				cmd.Stdout, cmd.Stderr = &log, &log
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				await(t, "nfcapd listens", func() bool { _, open := queued(port); return open })
				post(t, port, msgs)
				await(t, "nfcapd has read everything", func() bool { n, _ := queued(port); return n == 0 })
				cmd.Process.Signal(syscall.SIGTERM)
				cmd.Wait()
				var packets, octets uint64
				for _, r := range recs {
					packets, octets = packets+r.Packets, octets+r.Bytes
				}
				errors := "0"
				if v == IPFIX {
					errors = "[01]"
				}
				want := fmt.Sprintf("Flows: %d, Packets: %d, Bytes: %d, Sequence Errors: %s, Bad Packets: 0", len(recs), packets, octets, errors)
				if !regexp.MustCompile(want).MatchString(log.String()) {
					t.Errorf("nfcapd says\n%s\nwant %s", &log, want)
				}
				if bad := regexp.MustCompile(`(?i).*(panic|not decod|corrupt|skip).*`).Find(log.Bytes()); bad != nil {
					t.Errorf("nfcapd complains: %s", bad)
				}
			})
		}
	}
}

// freePort returns a port that nobody listened to a moment ago: nfcapd and
// nfacctd cannot be given one that is bound, nor say which they took.
func freePort(t *testing.T) int {
	t.Helper()
	probe, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Skip(err)
	}
	defer probe.Close()
	return probe.LocalAddr().(*net.UDPAddr).Port
}

func post(t *testing.T, port int, msgs [][]byte) {
	t.Helper()
	c, err := net.Dial("udp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, msg := range msgs {
		if _, err := c.Write(msg); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTsharkReadsOptionsAndFields: tshark knows every template, and finds nothing
// malformed.
func TestTsharkReadsOptionsAndFields(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	for _, v := range []Version{V9, IPFIX} {
		for _, fields := range []Fields{0, allFields} {
			t.Run(fmt.Sprint(v, fields), func(t *testing.T) {
				msgs, recs := everything(t, v, fields, 100)
				file := filepath.Join(t.TempDir(), "sent.pcap")
				writePcap(t, file, msgs)
				out, err := exec.Command(tshark, "-n", "-r", file, "-d", "udp.port==2055,cflow", "-V").Output()
				if err != nil {
					t.Fatal(err)
				}
				if bad := regexp.MustCompile(`(?i).*(malformed|expert info|no template found).*`).Find(out); bad != nil {
					t.Errorf("tshark complains: %s", bad)
				}
				records := len(regexp.MustCompile(`(?m)^\s+Flow \d+`).FindAll(out, -1))
				// Sampling with each of three announcements; three totals and three
				// interfaces, twice.
				if want := len(recs) + 3 + 2*(3+3); records != want {
					t.Errorf("tshark reads %d records, want %d", records, want)
				}
				for _, word := range []string{"vxlan 10.0.0.2 vni 14", "ExportedFlowRecordTotalCount: 12|FlowsExp: 12"} {
					if !regexp.MustCompile(word).Match(out) {
						t.Errorf("tshark does not say %s", word)
					}
				}
			})
		}
	}
}
