package story

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flowtally/exporter"
	"flowtally/flow"
	"flowtally/lab/truth"
	"flowtally/netflow"
	"flowtally/query"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestStory runs through the whole house, in one process: capture → exporter →
// UDP → collector → PostgreSQL → JSON.
func TestStory(t *testing.T) {
	h := build(t)
	file := storyCapture(t)
	sum, err := h.export(t, file, netflow.IPFIX, 1)
	if err != nil {
		t.Fatal(err)
	}
	if sum.Packets != 1101 || sum.Records != 53 || sum.Ignored != 0 {
		t.Fatalf("summary %+v", sum)
	}
	h.stop()

	for name, query := range map[string]string{
		"top_by_flows":       "/api/v1/top?key=src-addr&by=flows",
		"top_by_bytes":       "/api/v1/top?key=src-addr&by=bytes&limit=1",
		"top_pairs":          "/api/v1/top?key=src-addr,dst-addr&by=packets",
		"top_either_address": "/api/v1/top?key=addr&by=flows",
		"top_protocol":       "/api/v1/top?key=protocol&by=packets",
		"series":             "/api/v1/series?step=5s",
		"series_by_protocol": "/api/v1/series?key=protocol&by=bytes&step=5s",
	} {
		t.Run(name, func(t *testing.T) {
			sep := "&from=2026-03-02T09:41:00Z&to=2026-03-02T09:41:15Z"
			res, err := http.Get(h.web + query + sep)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != 200 {
				t.Fatalf("status %d: %s", res.StatusCode, body)
			}
			var answer map[string]any
			if err := json.Unmarshal(body, &answer); err != nil {
				t.Fatal(err)
			}
			for _, k := range []string{"sql", "command", "source", "resolution", "exact"} {
				if _, ok := answer[k]; !ok {
					t.Errorf("the answer has no %q", k)
				}
			}
			for _, k := range []string{"took_ms", "growing_from"} { // differ from run to run
				delete(answer, k)
			}
			got, err := json.MarshalIndent(answer, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".golden.json")
			if *update {
				if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimSpace(string(want)), string(got)); diff != "" {
				t.Errorf("answer differs from %s (-want +got):\n%s", golden, diff)
			}
		})
	}

	// The command line gives the numbers of the page.
	status, stdout, stderr := flowtally(t, "top", "--database", h.dsn, "--key", "src-addr", "--by", "flows",
		"--from", "2026-03-02T09:41:00Z", "--to", "2026-03-02T09:42:00Z", "--output", "csv")
	want := "src_addr,flows,packets,bytes\n10.1.4.7,50,100,4000\n2001:db8::20,2,1000,1048000\n10.1.9.9,1,1,84\n"
	if status != 0 || strings.ReplaceAll(stdout, "\r", "") != want {
		t.Errorf("flowtally top: status %d\n%s\nwant\n%s%s", status, stdout, want, stderr)
	}
}

// TestTotalsAreTrue: for every shared capture, packets and bytes summed over the
// table are the capture's, in each version.
func TestTotalsAreTrue(t *testing.T) {
	rows := truth.Table(t, "TRUTH.tsv")
	h := build(t)
	type run struct {
		row     truth.Row
		version netflow.Version
		sum     exporter.Summary
	}
	runs := map[flow.ExporterID]run{}
	var records uint64
	agreed := 0
	for i, row := range rows {
		if !row.Agreed() {
			continue
		}
		agreed++
		for k, v := range []netflow.Version{netflow.V5, netflow.V9, netflow.IPFIX} {
			if v == netflow.V5 && row.Uint(t, "v6_packets") > 0 {
				continue // v5 cannot say IPv6
			}
			domain := uint32(3*i + k + 1)
			sum, err := h.export(t, truth.Data(t, row["path"]), v, domain)
			if err != nil && row.Uint(t, "packets") > 0 {
				t.Errorf("%s: %v", row["path"], err)
			}
			if err != nil {
				continue
			}
			records += sum.Records
			id := flow.Exporter{Addr: flow.Addr4([4]byte{127, 0, 0, 1}), Domain: domain}.ID()
			if _, taken := runs[id]; taken {
				t.Fatalf("two exporters share identifier %d", id)
			}
			runs[id] = run{row, v, sum}
		}
	}
	h.stop()
	got := h.sums(t, "")
	var stored uint64
	for id, r := range runs {
		s := got[id]
		stored += uint64(s.Flows)
		packets, bytes := r.row.Uint(t, "packets"), r.row.Uint(t, "ip_bytes")
		if uint64(s.Packets) != packets || uint64(s.Bytes) != bytes || uint64(s.Flows) != r.sum.Records {
			t.Errorf("%s %v: stored %d packets %d bytes %d flows; the capture has %d packets %d bytes, %d records were sent",
				r.row["path"], r.version, s.Packets, s.Bytes, s.Flows, packets, bytes, r.sum.Records)
		}
	}
	if stored != records {
		t.Errorf("%d records sent, %d stored", records, stored)
	}
	t.Logf("%d captures, %d exports, %d records: sent = stored", agreed, len(runs), stored)
}

// TestSoftflowd: what softflowd exports from the same capture agrees with the
// truth, and so with our own exporter, in packets and flows. It counts Ethernet
// padding as bytes, so its bytes are not compared.
func TestSoftflowd(t *testing.T) {
	softflowd, err := exec.LookPath("softflowd")
	if err != nil {
		if softflowd, err = exec.LookPath("/usr/sbin/softflowd"); err != nil {
			t.Skip("softflowd is not installed")
		}
	}
	rows := truth.Table(t, "TRUTH.tsv")
	for _, version := range []string{"5", "9", "10"} {
		t.Run("v"+version, func(t *testing.T) {
			n := 0
			for _, row := range rows {
				span := seconds(t, row["last_ts"]) - seconds(t, row["first_ts"])
				packets := row.Uint(t, "packets")
				// What softflowd can do: Ethernet, no fragments, no options that its
				// short snap length cuts; and no capture so long that a timeout
				// splits its flows.
				if !row.Agreed() || row["linktypes"] != "ETH" || row.Uint(t, "ip_fragments") > 0 || span > 30 || packets == 0 || packets > 2000 ||
					(version == "5" && row.Uint(t, "v6_packets") > 0) || !strings.Contains(row["path"], "/general/") {
					continue
				}
				if n++; n > 8 {
					break
				}
				theirs, err := softflowdExport(t, softflowd, truth.Data(t, row["path"]), version)
				if err != nil {
					t.Errorf("%s: softflowd: %v", row["path"], err)
					continue
				}
				// How it counts the flows of ICMP depends on the version.
				flows, typed := row.Uint(t, "uni_flows_outer"), row.Uint(t, "uni_flows_icmp_typecode_as_dport")
				if uint64(theirs.Packets) != packets || (uint64(theirs.Flows) != flows && uint64(theirs.Flows) != typed) {
					t.Errorf("%s: softflowd's export holds %d packets in %d flows, the capture %d in %d",
						row["path"], theirs.Packets, theirs.Flows, packets, flows)
				}
			}
			if n == 0 {
				t.Error("no capture was compared")
			}
		})
	}
}

func seconds(t *testing.T, s string) float64 {
	t.Helper()
	if s == "" {
		return 0
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// softflowdExport has softflowd export a capture to a house of its own and
// returns what was stored.
func softflowdExport(t *testing.T, softflowd, file, version string) (sums query.Sums, err error) {
	h := build(t)
	dir, err := os.MkdirTemp("", "sf")
	if err != nil {
		return sums, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, softflowd, "-r", file, "-n", h.collector.String(), "-v", version, "-d",
		"-p", filepath.Join(dir, "pid"), "-c", filepath.Join(dir, "ctl"))
	cmd.WaitDelay = time.Second
	// Reading a file, softflowd may wait for somebody at its control socket, by
	// what happens to be in its memory (it looks at the result of a poll that it
	// did not make). So somebody knocks until it is through.
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
			if c, err := net.Dial("unix", filepath.Join(dir, "ctl")); err == nil {
				c.SetDeadline(time.Now().Add(10 * time.Second))
				io.WriteString(c, "statistics\n")
				io.Copy(io.Discard, c)
				c.Close()
			}
		}
	}()
	out, err := cmd.CombinedOutput()
	close(done)
	if err != nil {
		return sums, fmt.Errorf("%w: %s", err, out)
	}
	h.stop()
	for _, s := range h.sums(t, "") {
		sums = query.Sums{Flows: sums.Flows + s.Flows, Packets: sums.Packets + s.Packets, Bytes: sums.Bytes + s.Bytes}
	}
	return sums, nil
}

// TestExporterCommand: the summary is one line of JSON at the end of standard
// output, a capture cut short is read to the cut and reported.
func TestExporterCommand(t *testing.T) {
	sink, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	file := storyCapture(t)
	status, stdout, stderr := flowtally(t, "exporter", "--read", file, "--to", sink.LocalAddr().String(), "--version", "9", "--json")
	if status != 0 {
		t.Fatalf("status %d: %s", status, stderr)
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	var sum map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &sum); err != nil {
		t.Fatalf("%v in %q", err, stdout)
	}
	for k, want := range map[string]float64{"packets": 1101, "flows": 53, "records": 53, "bytes": 4000 + 1048000 + 84, "ignored": 0, "evicted": 0, "kernel_drops": 0, "duplicates": 0} {
		if got, ok := sum[k].(float64); !ok || (k != "duplicates" && got != want) {
			t.Errorf("%s is %v, want %v", k, sum[k], want)
		}
	}
	if n, ok := sum["messages"].(float64); !ok || n < 1 {
		t.Errorf("messages is %v", sum["messages"])
	}

	// Nobody listens there any more.
	gone, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	status, stdout, stderr = flowtally(t, "exporter", "--read", file, "--to", gone.LocalAddr().String(), "--json")
	if status != 1 || !strings.Contains(stderr, "is a collector listening there?") || !strings.Contains(stdout, `"packets":1101`) {
		t.Errorf("nobody listens: status %d\n%s%s", status, stdout, stderr)
	}

	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.pcap")
	if err := os.WriteFile(cut, whole[:len(whole)-20], 0o600); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr = flowtally(t, "exporter", "--read", cut, "--to", sink.LocalAddr().String(), "--json")
	if status != 1 || !strings.Contains(stderr, "cut.pcap") || !strings.Contains(stdout, `"packets":1100`) {
		t.Errorf("a capture cut short: status %d\n%s%s", status, stdout, stderr)
	}
}

// TestSQLOfThePage: the statement beside an answer, run by the readers' role in
// psql, gives the numbers of the answer.
func TestSQLOfThePage(t *testing.T) {
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Skip("psql is not installed")
	}
	h := build(t)
	if _, err := h.export(t, storyCapture(t), netflow.V9, 0); err != nil {
		t.Fatal(err)
	}
	h.stop()
	q := url.Values{"key": {"src-addr"}, "by": {"flows"}, "from": {"2026-03-02T09:41:00Z"}, "to": {"2026-03-02T09:42:00Z"}}
	res, err := http.Get(h.web + "/api/v1/top?" + q.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		SQL  string
		Rows []struct {
			Values                map[string]any
			Flows, Packets, Bytes int64
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(psql, "-X", "-At", "-F", ",", "-v", "ON_ERROR_STOP=1", h.dsn)
	cmd.Stdin = strings.NewReader("set role flow_reader;\n" + strings.TrimRight(answer.SQL, ";\n") + ";\n")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("psql: %v\n%s\n%s", err, stderr.String(), answer.SQL)
	}
	for _, r := range answer.Rows {
		want := fmt.Sprintf("%v,%d,%d,%d", r.Values["src_addr"], r.Flows, r.Packets, r.Bytes)
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("psql does not print %s:\n%s", want, stdout.String())
		}
	}
	if len(answer.Rows) != 3 {
		t.Errorf("%d rows", len(answer.Rows))
	}
}
