package story

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// program builds the program as make does, and returns its name.
func program(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip(err)
	}
	name := filepath.Join(t.TempDir(), "flowtally")
	recipe := exec.Command("make", "-s", "-n", "binary", "VERSION=test")
	recipe.Dir = root
	recipe.Env = slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "MAKE") })
	lines, err := recipe.Output()
	if err != nil {
		t.Fatal(err)
	}
	build := exec.Command("bash", "-e", "-c", strings.Replace(string(lines), "-o flowtally ", "-o "+name+" ", 1))
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return name
}

// TestBinaryIsStatic: the program needs nothing of the system that it runs on, neither
// when make builds it nor in the image.
func TestBinaryIsStatic(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems want their own library")
	}
	name := program(t)
	f, err := elf.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("it has a segment %v", p.Type)
		}
	}
	if libraries, _ := f.ImportedLibraries(); len(libraries) > 0 {
		t.Errorf("it needs %v", libraries)
	}
	if out, err := exec.Command(name, "version").CombinedOutput(); err != nil || !strings.Contains(string(out), "test") {
		t.Errorf("flowtally version: %v, %s", err, out)
	}
	docker, err := os.ReadFile(filepath.Join(root, "deploy/Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, build := range regexp.MustCompile(`.*go build`).FindAllString(string(docker), -1) {
		if !strings.Contains(build, "CGO_ENABLED=0 go build") {
			t.Errorf("the image's %q is not static", build)
		}
	}
}

// TestDebianPackage: the package holds the program, units that systemd accepts and that
// start what is in it, and files of settings that are the administrator's, with names that
// the program knows.
func TestDebianPackage(t *testing.T) {
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip(err)
	}
	name, dir := program(t), t.TempDir()
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = root
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	file := run("deploy/deb.sh", name, dir)
	if version := run("dpkg-deb", "--field", file, "Version"); !regexp.MustCompile(`^[0-9][A-Za-z0-9.+~]*$`).MatchString(version) {
		t.Errorf("version %q", version)
	}
	content := filepath.Join(dir, "root")
	run("dpkg-deb", "--raw-extract", file, content)
	if info, err := os.Stat(filepath.Join(content, "usr/bin/flowtally")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the program: %v, %v", info, err)
	}
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		run("sh", "-n", filepath.Join(content, "DEBIAN", script))
	}

	conffiles, err := os.ReadFile(filepath.Join(content, "DEBIAN/conffiles"))
	if err != nil {
		t.Fatal(err)
	}
	settings, err := filepath.Glob(filepath.Join(content, "etc/flowtally/*.env"))
	if err != nil || len(settings) != 4 {
		t.Fatalf("settings: %v, %v", settings, err)
	}
	for _, s := range settings {
		if info, err := os.Stat(s); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v: there will be a password in it", s, info.Mode(), err)
		}
		if !strings.Contains(string(conffiles), strings.TrimPrefix(s, content)+"\n") {
			t.Errorf("%s is not a conffile", s)
		}
		text, err := os.ReadFile(s)
		if err != nil {
			t.Fatal(err)
		}
		command := strings.TrimSuffix(filepath.Base(s), ".env")
		help := run(name, command, "--help")
		for _, m := range regexp.MustCompile(`FLOWTALLY_`+strings.ToUpper(command)+`_([A-Z0-9_]+)`).FindAllStringSubmatch(string(text), -1) {
			if flag := "--" + strings.ReplaceAll(strings.ToLower(m[1]), "_", "-"); !strings.Contains(help, flag+" ") {
				t.Errorf("%s names %s, but flowtally %s has no %s", filepath.Base(s), m[0], command, flag)
			}
		}
	}

	units, err := filepath.Glob(filepath.Join(content, "usr/lib/systemd/system/*.service"))
	if err != nil || len(units) != 4 {
		t.Fatalf("units: %v, %v", units, err)
	}
	states := map[string]string{}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`(?m)^ExecStart=/usr/bin/flowtally [a-z]+`).Match(text) || !regexp.MustCompile(`(?m)^User=flowtally$`).Match(text) {
			t.Errorf("%s starts something else, or as somebody else", filepath.Base(unit))
		}
		for _, m := range regexp.MustCompile(`(?m)^StateDirectory=(.*)$`).FindAllStringSubmatch(string(text), -1) {
			if other := states[m[1]]; other != "" || m[1] == "flowtally" || m[1] == "flowtally-lab" {
				t.Errorf("%s keeps its state where %s or a lab does: %s", filepath.Base(unit), other, m[1])
			}
			states[m[1]] = filepath.Base(unit)
		}
		// systemd looks for the program.
		if err := os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), "/usr/bin/flowtally", name)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Log("systemd-analyze is not installed: units are not verified")
	} else {
		verify := exec.Command("systemd-analyze", append([]string{"verify"}, units...)...)
		verify.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+filepath.Dir(units[0])+":")
		out, err := verify.CombinedOutput()
		if err != nil || strings.Contains(string(out), "flowtally") {
			t.Errorf("systemd-analyze verify: %v\n%s", err, out)
		}
	}
	if _, err := exec.LookPath("lintian"); err == nil {
		if out := run("lintian", "--allow-root", "--fail-on", "none", file); out != "" {
			t.Errorf("lintian says\n%s", out)
		}
	}
}
