package command

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"flowtally/exporter"
	"flowtally/exporter/meter"
	"flowtally/flow"
	"flowtally/lab/traffic"
	"flowtally/lab/truth"
	"flowtally/netflow"
)

// What cannot be meant is refused before anything is opened, by name.
func TestExporterFlags(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		args       []string
	}{
		{"filter_points_at_the_word", `"prot"`, []string{"--read", "x", "--filter", "tcp prot 80"}},
		{"filter_twice", "-F", []string{"--read", "x", "--filter", "tcp", "-F", "y"}},
		{"unknown_tunnels", "outer, inner or both", []string{"--read", "x", "--tunnels", "all"}},
		{"unknown_sample_mode", "deterministic or random", []string{"--read", "x", "--sample-mode", "hash"}},
		{"unknown_timeout", "tcp.rst", []string{"--read", "x", "--timeout", "sctp=3s"}},
		{"more_flows_than_there_can_be", "at most 268435456", []string{"--read", "x", "--max-flows", "268435457"}},
		{"unknown_key", "want tos", []string{"--read", "x", "--key", "ecn"}},
		{"timeout_of_nothing", "at least 1ms", []string{"--read", "x", "--timeout", "tcp=0s"}},
		{"speed_of_a_word", "1x or 10x", []string{"--read", "x", "--speed", "fast"}},
		{"speed_of_an_interface", "--read", []string{"--interface", "x", "--speed", "10x"}},
		{"state_of_a_file", "--demo", []string{"--read", "x", "--state", "y"}},
		{"fanout_of_a_file", "--interface", []string{"--read", "x", "--fanout", "2"}},
		{"negative_workers", "--workers", []string{"--read", "x", "--workers", "-1"}},
		{"two_tunnels", "--listen-gre", []string{"--listen-vxlan", ":0", "--listen-gre", "::1"}},
		{"unknown_field", "tunnel, duplicates or all", []string{"--read", "x", "--fields", "vni"}},
		{"fields_of_v5", "9 or 10", []string{"--read", "x", "--fields", "mac", "--version", "5"}},
		{"unknown_template", "flowtally or pflow", []string{"--read", "x", "--template", "nprobe"}},
		{"pflow_of_v9", "5 or 10", []string{"--read", "x", "--template", "pflow", "--version", "9"}},
		{"unknown_part_of_to", "HOST:PORT[", []string{"--read", "x", "--to", "127.0.0.1:1,speed=9"}},
		{"unknown_version_of_to", "5, 9 or 10", []string{"--read", "x", "--to", "127.0.0.1:1,version=7"}},
		{"filter_of_to_points_at_the_word", "prot", []string{"--read", "x", "--to", "127.0.0.1:1,filter=prot tcp"}},
		{"filter_and_balance", "--balance", []string{"--read", "x", "--balance", "--to", "127.0.0.1:1,filter=proto tcp"}},
		{"no_authorities", "--tls-ca", []string{"--read", "x", "--to", "tls://127.0.0.1:1", "--tls-ca", "/nowhere"}},
		{"certificate_without_key", "--tls-key", []string{"--read", "x", "--to", "tls://127.0.0.1:1", "--tls-cert", "/nowhere"}},
		{"word_without_status", "dump-flows", []string{"--read", "x", "dump-flows"}},
		{"client_without_name", "ADDRESS[/ID]=NAME", []string{"--listen-vxlan", "127.0.0.1:0", "--client", "10.0.0.1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if status := Run(context.Background(), "", append([]string{"exporter"}, tt.args...), &stdout, &stderr); status != 2 {
				t.Errorf("status %d", status)
			}
			if !strings.Contains(stderr.String(), tt.want) {
				t.Errorf("it said %q, not %q", stderr.String(), tt.want)
			}
		})
	}
}

// A destination of the configuration file is the same as one of the command line,
// with its version and its filter.
func TestDestinationsOfTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "flowtally.yaml")
	const text = `exporter:
  to:
    - 192.0.2.1:9995
    - {address: "192.0.2.2:9995", version: 9}
    - address: "[2001:db8::3]:9995"
      filter: dst port in [53, 853] and proto udp
      version: 5
  fields: [mac, ttl]
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd, _, err := rootCommand("", &bytes.Buffer{}, &bytes.Buffer{}).Find([]string{"exporter"})
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.ParseFlags([]string{"--config", file}); err != nil {
		t.Fatal(err)
	}
	if err := applySettings(cmd, func(string) (string, bool) { return "", false }); err != nil {
		t.Fatal(err)
	}
	to := cmd.Flags().Lookup("to").Value.(pflag.SliceValue).GetSlice()
	var got []exporter.Collector
	for _, s := range to {
		c, err := collectorOf(s)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, c)
	}
	if len(got) != 3 || got[0] != (exporter.Collector{To: "192.0.2.1:9995"}) || got[1] != (exporter.Collector{To: "192.0.2.2:9995", Version: netflow.V9}) {
		t.Fatalf("%+v", got)
	}
	last := got[2]
	ask := flow.Record{Key: flow.Key{Protocol: flow.UDP, DstPort: 853, IPVersion: 4}}
	if last.To != "[2001:db8::3]:9995" || last.Version != netflow.V5 || last.Filter == nil || !last.Filter.Match(&ask, nil) {
		t.Errorf("%+v", last)
	}
	ask.DstPort = 443
	if last.Filter.Match(&ask, nil) {
		t.Error("the filter takes another port")
	}
}

// The timeouts are those of the flags, and later ones win.
func TestExporterTimeouts(t *testing.T) {
	f := exporterFlags{active: 1e9, idle: 2e9, linger: 3e9, timeouts: []string{"softflowd", "tcp.rst=7s", "maxlife=1h"}}
	got, err := f.meter()
	if err != nil {
		t.Fatal(err)
	}
	want := meter.Config{
		ActiveTimeout: flow.Hour, IdleTimeout: flow.Hour, Linger: 3 * flow.Second,
		Timeouts: meter.Timeouts{
			TCP: flow.Hour, TCPFin: 300 * flow.Second, TCPRst: 7 * flow.Second, UDP: 300 * flow.Second, ICMP: 300 * flow.Second,
		},
	}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// What the flags say of the packets is in the summary: filtered, sampled out,
// metered, and their sum is the capture.
func TestExporterSummary(t *testing.T) {
	var name string
	var frames uint64
	for _, row := range truth.Table(t, "TRUTH.tsv") {
		if row.Agreed() && row.Uint(t, "packets") > 1000 && row.Uint(t, "packets") < 20_000 && row.Uint(t, "v6_packets") == 0 {
			name, frames = truth.Data(t, row["path"]), row.Uint(t, "frames")
			break
		}
	}
	if name == "" {
		t.Skip("no capture of that size")
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	program := filepath.Join(t.TempDir(), "all.bpf")
	if err := os.WriteFile(program, []byte("1\n6 0 0 262144\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		nil,
		{"--filter", "tcp", "--workers", "2"},
		{"-F", program, "--tunnels", "inner"},
		{"--sample", "7", "--sample-mode", "random", "--duplicates", "drop"},
		{"--speed", "1000000x", "--shift-to-now", "--timeout", "softflowd"},
	} {
		var stdout, stderr bytes.Buffer
		all := append([]string{"exporter", "--read", name, "--to", conn.LocalAddr().String(), "--pace", "0", "--json"}, args...)
		if status := Run(context.Background(), "", all, &stdout, &stderr); status != 0 {
			t.Fatalf("%q: status %d, it said %s", args, status, stderr.String())
		}
		var s exporter.Summary
		if err := json.Unmarshal(stdout.Bytes(), &s); err != nil {
			t.Fatalf("%q: %v in %s", args, err, stdout.String())
		}
		if s.Packets == 0 || s.Seen+s.Filtered != frames || s.Seen+s.Inner != s.Packets+s.Ignored+s.DuplicatesDropped+s.SampledOut {
			t.Errorf("%q: of %d frames: %+v", args, frames, s)
		}
	}
}

// A demo that is started again goes on where it stood: what its collectors were told
// is not told twice.
func TestDemoGoesOn(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadBuffer(8 << 20)
	state := traffic.State{Path: filepath.Join(t.TempDir(), "demo"), To: conn.LocalAddr().String() + " domain 0"}
	if err := state.Save(time.Now().Add(-10 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	var told time.Time // until when
	for run := range 2 {
		begin, known, err := state.Begin(time.Now())
		if err != nil || !known || begin.Before(told) {
			t.Fatalf("run %d: begins at %v, %v, %v; it was told until %v", run, begin, known, err, told)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		var stdout, stderr bytes.Buffer
		status := Run(ctx, "", []string{"exporter", "--demo", "--state", state.Path, "--to", conn.LocalAddr().String(), "--json"}, &stdout, &stderr)
		cancel()
		var s exporter.Summary
		if err := json.Unmarshal(stdout.Bytes(), &s); status != 0 || err != nil || s.Flows == 0 {
			t.Fatalf("run %d: status %d, %v, %+v: %s", run, status, err, s, stderr.String())
		}
		if !strings.Contains(stderr.String(), "goes on where") {
			t.Errorf("run %d: it said %s", run, stderr.String())
		}
		d := netflow.NewDecoder(netflow.Limits{})
		b := make([]byte, 65536)
		for {
			_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			n, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				break
			}
			var m netflow.Message
			recs, err := d.Decode(nil, &m, from, flow.TimeOf(time.Now()), b[:n])
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range recs {
				if r.Start.Time().Before(begin.Truncate(time.Millisecond)) {
					t.Fatalf("run %d: a flow of %v, told before %v", run, r.Start.Time(), begin)
				}
				if end := r.End.Time(); end.After(told) {
					told = end
				}
			}
		}
		if told.Before(begin) {
			t.Errorf("run %d: no flow came", run)
		}
	}
}
