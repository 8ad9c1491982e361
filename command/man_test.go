package command

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// Every command that people call has a manual page, which has all of its flags, and which
// mandoc and groff read without a warning, where they are installed.
func TestManualPages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man1") // is made
	if status, _, stderr := flowtally(t, "man", dir); status != 0 {
		t.Fatalf("status %d: %s", status, stderr)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil {
		t.Fatal(err)
	}
	pages := documented(rootCommand("", nil, nil))
	if len(files) != len(pages) || len(pages) < 18 {
		t.Errorf("%d pages of %d commands", len(files), len(pages))
	}
	for _, c := range pages {
		b, err := os.ReadFile(filepath.Join(dir, pageName(c)+".1"))
		if err != nil {
			t.Error(err)
			continue
		}
		page := string(b)
		for _, part := range []string{".Dt " + strings.ToUpper(pageName(c)) + " 1\n", ".Sh NAME\n", ".Sh SYNOPSIS\n", ".Sh DESCRIPTION\n", ".Sh EXIT STATUS\n", ".Sh SEE ALSO\n"} {
			if !strings.Contains(page, part) {
				t.Errorf("%s has no %q", pageName(c), part)
			}
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && !strings.Contains(page, "Fl -"+roff(f.Name)) {
				t.Errorf("%s says nothing of --%s", pageName(c), f.Name)
			}
		})
		for line := range strings.Lines(page) {
			if strings.HasPrefix(line, "'") || strings.ContainsRune(line, '\t') {
				t.Errorf("%s: %q is taken for a request", pageName(c), line)
			}
		}
	}
	for _, check := range [][]string{{"mandoc", "-Tlint", "-Wwarning"}, {"groff", "-mdoc", "-ww", "-z", "-Tutf8"}} {
		if _, err := exec.LookPath(check[0]); err != nil {
			t.Logf("%s is not installed", check[0])
			continue
		}
		for _, file := range files {
			if out, err := exec.Command(check[0], append(check[1:], file)...).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%s of %s: %v %s", check[0], filepath.Base(file), err, out)
			}
		}
	}
	if _, err := exec.LookPath("man"); err == nil {
		show := exec.Command("man", filepath.Join(dir, "flowtally-exporter.1"))
		show.Env = append(os.Environ(), "MANPAGER=cat", "MANWIDTH=80")
		if out, err := show.CombinedOutput(); err == nil && !strings.Contains(string(out), "active") {
			t.Errorf("man shows %s", out)
		}
	}
}
