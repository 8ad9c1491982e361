package command

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"flowtally/query"
)

// asked is the question of a command line, asked at a time.
func asked(t *testing.T, now time.Time, args ...string) query.Question {
	t.Helper()
	var q question
	cmd := &cobra.Command{Use: "top", Args: cobra.ArbitraryArgs}
	q.flags(cmd, "src-addr", 10)
	var got query.Question
	cmd.RunE = func(cmd *cobra.Command, words []string) (err error) {
		got, err = q.parse(now.In(q.zone), words)
		return err
	}
	cmd.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return applySettings(cmd, os.LookupEnv) }
	cmd.Flags().String("config", "", "")
	root := &cobra.Command{Use: "flowtally"}
	root.AddCommand(cmd)
	root.SetArgs(append([]string{"top"}, args...))
	root.SetOut(io.Discard)
	root.SetErr(io.Discard)
	if err := root.Execute(); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return got
}

// The law: the same text means the same instant in the range and in the filter: of UTC
// unless a zone is given, whatever this machine's is.
func TestZone(t *testing.T) {
	now := time.Date(2026, 11, 21, 23, 30, 15, 0, time.UTC)
	for _, zone := range []struct {
		env, flag string
		hours     int // ahead in November
	}{{"", "", 0}, {"", "UTC", 0}, {"", "Europe/Berlin", 1}, {"", "local", -5}, {"Asia/Tokyo", "", 9}, {"Asia/Tokyo", "Europe/Berlin", 1}} {
		t.Setenv("TZ", "America/New_York")
		t.Setenv("FLOWTALLY_TOP_ZONE", zone.env)
		for _, text := range []string{"2026-11-20 10:00", "2026-11-20T10", "2026-11-20", "2026-11", "2026", "today", "yesterday 14:00", "this-month", "-1mo", "-6h", "1795255200", "2026-11-20T10:00:00Z"} {
			args := []string{"--from", text, "--to", "+1d", `first seen >= "` + text + `"`}
			if zone.flag != "" {
				args = append([]string{"--zone", zone.flag}, args...)
			}
			q := asked(t, now, args...)
			if want := "first seen >= " + q.From.UTC().Format("2006-01-02T15:04:05.000Z"); q.Filter.String() != want {
				t.Errorf("%+v, %s: from %v, but the filter is %q", zone, text, q.From, q.Filter)
			}
			if text == "2026-11-20" && !q.From.Equal(time.Date(2026, 11, 20, -zone.hours, 0, 0, 0, time.UTC)) {
				t.Errorf("%+v: %s is %v", zone, text, q.From)
			}
		}
	}
}

// The zone of this machine has a name that means the same elsewhere, or is none.
func TestLocalZone(t *testing.T) {
	dir := t.TempDir()
	link := func(name, to string) string {
		name = filepath.Join(dir, name)
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
		return name
	}
	copied := filepath.Join(dir, "copied")
	if err := os.WriteFile(copied, []byte("TZif2"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ tz, link, want, says string }{
		{"", link("berlin", "/usr/share/zoneinfo/Europe/Berlin"), "Europe/Berlin", ""},
		{"", link("macos", "/var/db/timezone/zoneinfo/Asia/Kolkata"), "Asia/Kolkata", ""},
		{":America/Santiago", copied, "America/Santiago", ""},
		{"", filepath.Join(dir, "none"), "UTC", ""},
		{"", copied, "", "name it"},
		{"CET-1CEST", copied, "", "TZ="},
	} {
		zone, err := localZone(test.tz, test.link)
		switch {
		case test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)):
			t.Errorf("%+v: %v, %v", test, zone, err)
		case test.says == "" && (err != nil || zone.String() != test.want):
			t.Errorf("%+v: %v, %v", test, zone, err)
		}
	}
}

// A zone that is none is a mistake of the call.
func TestZoneThatIsNone(t *testing.T) {
	for _, args := range [][]string{
		{"top", "--zone", "Europe/Nowhere"}, {"flows", "--zone", "CEST"}, {"series", "--zone", "/etc/localtime"}, {"rollup", "--zone", "+02:00"},
	} {
		if status, _, errs := flowtally(t, args...); status != 2 || !strings.Contains(errs, "Europe/Berlin") {
			t.Errorf("%q: status %d, %s", args, status, errs)
		}
	}
}
