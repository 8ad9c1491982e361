package command

import (
	"bytes"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// warned is what is said of an environment.
func warned(environ ...string) string {
	var b bytes.Buffer
	warnOfVariables(rootCommand("", nil, nil), environ, slog.New(slog.NewTextHandler(&b, nil)))
	return b.String()
}

// A variable that is nobody's is warned of, with the nearest that is somebody's.
func TestUnknownVariables(t *testing.T) {
	for _, tt := range []struct{ variable, near string }{
		{"FLOWTALLY_EXPORTER_TOO", "FLOWTALLY_EXPORTER_TO"},
		{"FLOWTALLY_EXPORTER_PACE_", "FLOWTALLY_EXPORTER_PACE"},
		{"FLOWTALLY_COLECTOR_LISTEN", "FLOWTALLY_COLLECTOR_LISTEN"},
		{"FLOWTALLY_WEB_ALLOWHOST", "FLOWTALLY_WEB_ALLOW_HOST"},
		{"FLOWTALLY_LOGLEVEL", "FLOWTALLY_LOG_LEVEL"},
		{"FLOWTALLY_WEB_USER_ROL", "FLOWTALLY_WEB_USER_ROLE"},
		{"FLOWTALLY_XYZZY", ""},
	} {
		said := warned(tt.variable+"=1", "PATH=/bin", "FLOWTALLYNOT=1")
		if strings.Count(said, "\n") != 1 || !strings.Contains(said, "variable="+tt.variable+" ") && !strings.Contains(said, "variable="+tt.variable+"\n") {
			t.Errorf("of %s it is said %q", tt.variable, said)
		}
		if tt.near != "" && !strings.Contains(said, "did_you_mean="+tt.near+"\n") || tt.near == "" && strings.Contains(said, "did_you_mean") {
			t.Errorf("of %s it is said %q, want %s", tt.variable, said, tt.near)
		}
	}
	// It is said where it counts, and on standard error alone.
	t.Setenv("FLOWTALLY_EXPORTER_PASE", "5")
	status, stdout, stderr := flowtally(t, "version")
	if status != 0 || strings.Contains(stdout, "PASE") || !strings.Contains(stderr, "did_you_mean=FLOWTALLY_EXPORTER_PACE") {
		t.Errorf("status %d, it said %q", status, stderr)
	}
	// Whoever completes a word reads standard output, and nobody the rest.
	if _, _, stderr := flowtally(t, "__complete", "top", "--by", ""); strings.Contains(stderr, "PASE") {
		t.Errorf("completing says %q", stderr)
	}
}

// Nothing that stands in this repository is warned of: not what scripts, the file of
// docker compose, units, documents and tests set.
func TestOurOwnVariablesAreKnown(t *testing.T) {
	name := regexp.MustCompile(`FLOWTALLY_[A-Z][A-Z0-9_]*[A-Z0-9]`)
	found := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "dist" || d.Name() == ".tools" || d.Name() == ".git"):
			return filepath.SkipDir
		case d.IsDir() || strings.HasPrefix(d.Name(), "variables") || !d.Type().IsRegular():
			return nil
		}
		switch filepath.Ext(path) {
		case ".go", ".sh", ".yml", ".yaml", ".md", ".service", ".mjs", ".ts", ".js", "":
		default:
			return nil
		}
		if info, err := d.Info(); err != nil || info.Size() > 1<<20 {
			return err // a program that was built here
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, v := range name.FindAllString(string(b), -1) {
			found++
			if v == "FLOWTALLY_COMMAND_OPTION" || strings.HasPrefix(v, "FLOWTALLY_PROBE_") || v == "FLOWTALLY_EXPORTER_PASE" {
				continue // an example
			}
			if said := warned(v + "=1"); said != "" {
				t.Errorf("%s: %s", path, said)
			}
		}
		return nil
	})
	if err != nil || found < 50 {
		t.Errorf("%d variables were found, %v", found, err)
	}
}
