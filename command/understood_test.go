package command

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"flowtally/exporter"
)

// valueOfFlag is what a flag of a command has become.
func valueOfFlag(cmd *cobra.Command, name string) string {
	return cmd.Flags().Lookup(name).Value.String()
}

// What people write is understood, and the same in the environment and in the file.
func TestUnderstood(t *testing.T) {
	for _, tt := range []struct{ command, flag, text, want string }{
		{"exporter", "version", "ipfix", "10"},
		{"exporter", "version", "netflow9", "9"},
		{"exporter", "version", "v9", "9"},
		{"exporter", "version", "5", "5"},
		{"exporter", "pace", "100k", "100000"},
		{"exporter", "sample", "1:10", "10"},
		{"exporter", "active-timeout", "300", "5m"},
		{"exporter", "idle-timeout", "90s", "90s"},
		{"exporter", "timeout", "tcp=300", "tcp=300"},
		{"exporter", "listen-vxlan", "4789", ":4789"},
		{"exporter", "listen-geneve", "127.0.0.1", "127.0.0.1:6081"},
		{"exporter", "listen-gre", "[::]", "::"},
		{"exporter", "to", "collector", "collector:9995"},
		{"exporter", "to", "a:1,b", "a:1 b:9995"},
		{"exporter", "fields", "mac,vlan", "mac vlan"},
		{"exporter", "max-flows", "500k", "500000"},
		{"exporter", "capture-buffer", "64", "64M"},
		{"exporter", "metrics", "9100", "127.0.0.1:9100"},
		{"exporter", "speed", "10", "10x"},
		{"collector", "listen", "9995", ":9995"},
		{"collector", "listen", ":9995,:2055", ":9995 :2055"},
		{"collector", "listen-tls", "0.0.0.0", "0.0.0.0:4740"},
		{"collector", "allow", "10.1.2.3,192.0.2.0/24", "10.1.2.3/32 192.0.2.0/24"},
		{"collector", "sampling", "10.0.0.0/8=1:1000", "10.0.0.0/8=1:1000"},
		{"collector", "rate-limit", "50k", "50000"},
		{"collector", "receive-buffer", "32MiB", "32M"},
		{"collector", "spool-size", "4GiB", "4G"},
		{"collector", "retain-raw", "2 weeks", "14d"},
		{"web", "listen", "8080", "127.0.0.1:8080"},
		{"web", "dns", "192.0.2.53", "192.0.2.53:53"},
		{"lab", "web", "8081", "127.0.0.1:8081"},
		{"top", "limit", "1k", "1000"},
		{"top", "timeout", "60", "1m"},
		{"top", "from", "12:00", "12:00"},
		{"top", "from", "2026-11-30 14:00", "2026-11-30 14:00"},
		{"top", "whole", "yes", "true"},
		{"series", "step", "300", "300s"},
		{"inspect", "listen", "9996", ":9996"},
	} {
		t.Run(tt.command+"_"+tt.flag+"_"+strings.ReplaceAll(tt.text, "/", "_"), func(t *testing.T) {
			c := fresh(t, []string{tt.command})
			if err := c.ParseFlags([]string{"--" + tt.flag + "=" + tt.text}); err != nil {
				t.Fatal(err)
			}
			if got := valueOfFlag(c, tt.flag); got != tt.want {
				t.Errorf("it is %q, want %q", got, tt.want)
			}
			if !strings.Contains(tt.text, " ") { // which divides values there
				c = fresh(t, []string{tt.command})
				variable := envName(c, tt.flag)
				if err := applySettings(c, func(name string) (string, bool) {
					if name == variable {
						return tt.text, true
					}
					return "", false
				}); err != nil {
					t.Fatal(err)
				}
				if got := valueOfFlag(c, tt.flag); got != tt.want {
					t.Errorf("by %s it is %q, want %q", variable, got, tt.want)
				}
			}
			c = fresh(t, []string{tt.command})
			file := filepath.Join(t.TempDir(), "flowtally.yaml")
			text := tt.text
			if strings.ContainsAny(text, ":[") && !strings.Contains(text, " ") {
				text = `"` + text + `"`
			}
			if err := os.WriteFile(file, []byte(tt.command+":\n  "+tt.flag+": "+text+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := c.Flags().Set("config", file); err != nil {
				t.Fatal(err)
			}
			if err := applySettings(c, func(string) (string, bool) { return "", false }); err != nil {
				t.Fatal(err)
			}
			if got := valueOfFlag(c, tt.flag); got != tt.want {
				t.Errorf("by the file it is %q, want %q", got, tt.want)
			}
		})
	}
}

// The forms reach the work: softflowd's letters, a version by its name, one in so many.
func TestUnderstoodByTheExporter(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	capture := filepath.Join(t.TempDir(), "one.pcap")
	if err := os.WriteFile(capture, onePacket, 0o600); err != nil {
		t.Fatal(err)
	}
	for version, first := range map[string]byte{"ipfix": 10, "netflow9": 9, "5": 5} {
		status, stdout, stderr := flowtally(t, "exporter", "-r", capture, "-n", conn.LocalAddr().String(), "-v", version,
			"--pace", "100k", "--sample", "1:1", "--active-timeout", "300", "--json")
		var s exporter.Summary
		if err := json.Unmarshal([]byte(stdout), &s); status != 0 || err != nil || s.Records != 1 {
			t.Fatalf("%s: status %d, %v, %s%s", version, status, err, stdout, stderr)
		}
		b := make([]byte, 65536)
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, _, err := conn.ReadFromUDP(b)
		if err != nil || n < 2 || b[1] != first {
			t.Errorf("%s: it sent %x, %v", version, b[:n], err)
		}
		for { // what else there is
			_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if _, _, err := conn.ReadFromUDP(b); err != nil {
				break
			}
		}
	}
	// One of two packets, which are of one flow.
	two := append(bytes.Clone(onePacket), onePacket[24:]...)
	if err := os.WriteFile(capture, two, 0o600); err != nil {
		t.Fatal(err)
	}
	_, stdout, stderr := flowtally(t, "exporter", "-r", capture, "-n", conn.LocalAddr().String(), "--sample", "1:2", "--json")
	var s exporter.Summary
	if err := json.Unmarshal([]byte(stdout), &s); err != nil || s.Seen != 2 || s.SampledOut != 1 || s.Packets != 1 {
		t.Errorf("%v, %+v: %s", err, s, stderr)
	}
}

// A flag that does nothing is named as it was written: by its variable, or by its file.
func TestIdleNamesWhereItWasSaid(t *testing.T) {
	t.Setenv("FLOWTALLY_EXPORTER_KNOWN_CLIENTS", "yes")
	status, _, stderr := flowtally(t, "exporter", "--listen-vxlan", "127.0.0.1:0")
	if status != 2 || !strings.Contains(stderr, "exporter: FLOWTALLY_EXPORTER_KNOWN_CLIENTS does something only with --client") {
		t.Errorf("status %d, it said %s", status, stderr)
	}
	t.Setenv("FLOWTALLY_EXPORTER_KNOWN_CLIENTS", "")
	file := filepath.Join(t.TempDir(), "flowtally.yaml")
	if err := os.WriteFile(file, []byte("exporter:\n  client: 10.0.0.5=web\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, _, stderr = flowtally(t, "exporter", "--read", "x", "--config", file)
	if status != 2 || !strings.Contains(stderr, file+": exporter: client does something only with --listen-vxlan") {
		t.Errorf("status %d, it said %s", status, stderr)
	}
	// What an exporter that runs was told is no mistake of who asks it.
	status, _, stderr = flowtally(t, "exporter", "--status", "/nowhere/sock", "--config", file)
	if status != 1 || !strings.Contains(stderr, "no exporter answers") {
		t.Errorf("status %d, it said %s", status, stderr)
	}
}
