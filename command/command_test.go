package command

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flowtally runs the program as a user would.
func flowtally(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = Run(context.Background(), "", args, &out, &errs)
	return status, out.String(), errs.String()
}

// TestBadInput: one sentence on standard error that says what is wrong and what
// to do, and an exit status of 2 for a call that cannot be meant, 1 for what the
// world refused.
func TestBadInput(t *testing.T) {
	t.Setenv("DATABASE_URL", "")
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	takenTCP, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer takenTCP.Close()
	closedTCP, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closedTCP.Close()
	down := "postgres://x:s3kr1t@" + closedTCP.Addr().String() + "/flowtally"

	dir := t.TempDir()
	write := func(name string, b []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	text := write("notes.txt", []byte("this is no capture, whatever its name says\n"))
	t.Setenv("STATE_DIRECTORY", dir) // nothing here is to leave a spool elsewhere
	empty := write("empty.pcap", nil)
	typo := write("typo.yaml", []byte("exporter:\n  pase: 5\n"))
	broken := write("broken.yaml", []byte("exporter: [\n"))
	wrong := write("wrong.yaml", []byte("exporter:\n  pace: many\n"))

	for _, tt := range []struct {
		name   string
		args   []string
		status int
		says   string
	}{
		{"unknown_command", []string{"colector"}, 2, `no command "colector"`},
		{"unknown_flag", []string{"exporter", "--reed", "x"}, 2, "--reed"},
		{"bad_flag_value", []string{"exporter", "--pace", "fast"}, 2, "pace"},
		{"stray_argument", []string{"collector", "now"}, 2, `"now"`},
		{"no_source", []string{"exporter"}, 2, "--read FILE"},
		{"two_sources", []string{"exporter", "--read", "a", "--interface", "b"}, 2, "--read FILE"},
		{"unknown_version", []string{"exporter", "--read", text, "--version", "8"}, 2, "5, 9 or 10"},
		{"unknown_duplicates", []string{"exporter", "--read", text, "--duplicates", "maybe"}, 2, "keep or drop"},
		{"unknown_log_level", []string{"version", "--log-level", "loud"}, 2, "debug, info, warn or error"},
		{"unreadable_capture", []string{"exporter", "--read", filepath.Join(dir, "missing.pcap")}, 1, "missing.pcap"},
		{"not_a_capture", []string{"exporter", "--read", text}, 1, "notes.txt"},
		{"empty_capture", []string{"exporter", "--read", empty}, 1, "empty.pcap"},
		{"unknown_destination", []string{"exporter", "--read", text, "--to", "nowhere"}, 1, ""},
		{"no_such_interface", []string{"exporter", "--interface", "nosuchif0"}, 1, "nosuchif0"},
		{"no_database", []string{"collector"}, 2, "DATABASE_URL"},
		{"wrong_dsn", []string{"collector", "--database", "postgres://[::1"}, 2, "postgres://USER"},
		{"database_down", []string{"collector", "--spool", "none", "--database", down}, 1, closedTCP.Addr().String()},
		{"database_down_for_top", []string{"top", "--database", down}, 1, closedTCP.Addr().String()},
		{"metrics_port_in_use", []string{"exporter", "--read", text, "--metrics", takenTCP.Addr().String()}, 1, "in use"},
		{"unknown_key", []string{"top", "--database", down, "--key", "src-adr"}, 2, "src-addr"},
		{"unknown_measure", []string{"top", "--database", down, "--by", "size"}, 2, "flows, packets, bytes"},
		{"unknown_time", []string{"top", "--database", down, "--from", "teatime"}, 2, "teatime"},
		{"unknown_output", []string{"top", "--database", down, "--output", "xml"}, 2, "table, json, csv or spreadsheet"},
		{"from_after_to", []string{"top", "--database", down, "--from", "-1h", "--to", "-2h"}, 2, ""},
		{"setting_misspelt", []string{"exporter", "--config", typo}, 2, `"pase"`},
		{"setting_of_wrong_type", []string{"exporter", "--config", wrong}, 2, "pace"},
		{"configuration_broken", []string{"exporter", "--config", broken}, 2, "broken.yaml"},
		{"configuration_missing", []string{"exporter", "--config", filepath.Join(dir, "missing.yaml")}, 1, "missing.yaml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, stdout, stderr := flowtally(t, tt.args...)
			if status != tt.status {
				t.Errorf("exit status %d, want %d", status, tt.status)
			}
			if stdout != "" {
				t.Errorf("standard output is not empty: %q", stdout)
			}
			last := strings.TrimSuffix(stderr[strings.LastIndex(strings.TrimSuffix(stderr, "\n"), "\n")+1:], "\n")
			if !strings.HasPrefix(last, "flowtally: ") || !strings.Contains(last, tt.says) {
				t.Errorf("the last line of standard error is %q, want it to say %q", last, tt.says)
			}
			if strings.Contains(stderr, "s3kr1t") {
				t.Error("a password is in the message")
			}
		})
	}
}

// TestSettings: the command line wins over the environment, that over the file,
// that over the default.
func TestSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "flowtally.yaml")
	if err := os.WriteFile(file, []byte("probe:\n  one: file\n  two: file\n  three: file\n  many: [a, b]\nexporter:\n  pace: 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var one, two, three, four string
	var many []string
	root := rootCommand("", nil, nil)
	cmd := &cobra.Command{Use: "probe", RunE: func(*cobra.Command, []string) error { return nil }}
	cmd.Flags().StringVar(&one, "one", "default", "")
	cmd.Flags().StringVar(&two, "two", "default", "")
	cmd.Flags().StringVar(&three, "three", "default", "")
	cmd.Flags().StringVar(&four, "four", "default", "")
	cmd.Flags().StringArrayVar(&many, "many", []string{"default"}, "")
	root.AddCommand(cmd)
	t.Setenv("FLOWTALLY_PROBE_ONE", "environment")
	t.Setenv("FLOWTALLY_PROBE_TWO", "environment")
	root.SetArgs([]string{"probe", "--config", file, "--one", "flag"})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	if one != "flag" || two != "environment" || three != "file" || four != "default" || strings.Join(many, " ") != "a b" {
		t.Errorf("one=%s two=%s three=%s four=%s many=%v", one, two, three, four, many)
	}
}

// TestHelp: every command explains itself and every flag says what it does.
func TestHelp(t *testing.T) {
	eachCommand(func(words []string, c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%q says nothing about itself", words)
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%q --%s says nothing about itself", words, f.Name)
			}
		})
		status, help, _ := flowtally(t, append(append([]string{}, words...), "--help")...)
		if again, same, _ := flowtally(t, append([]string{"help"}, words...)...); status != 0 || again != 0 || same != help {
			t.Errorf("help of %q is another than --help: %q", words, same)
		}
	})
	status, stdout, _ := flowtally(t, "exporter", "--help")
	if status != 0 || !strings.Contains(stdout, "--read") {
		t.Errorf("exporter --help: status %d, %q", status, stdout)
	}
	for _, word := range []string{"version", "--version", "-v"} {
		status, stdout, _ = flowtally(t, word)
		if status != 0 || !strings.HasPrefix(stdout, "flowtally ") || strings.Count(stdout, "\n") != 1 {
			t.Errorf("%s: status %d, %q", word, status, stdout)
		}
	}
}
