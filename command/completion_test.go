package command

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// completed are the words that a shell is told for the last of some.
func completed(t *testing.T, words ...string) (out []string) {
	t.Helper()
	status, stdout, stderr := flowtally(t, append([]string{"__complete"}, words...)...)
	if status != 0 {
		t.Fatalf("%q: status %d, %s", words, status, stderr)
	}
	for line := range strings.Lines(stdout) {
		word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		out = append(out, word)
	}
	return out
}

// A shell completes commands, flags, the values of flags, and a filter word by word.
func TestCompletion(t *testing.T) {
	t.Setenv("DATABASE_URL", "")
	for _, tt := range []struct {
		words   []string
		want    []string // among what is told
		without string   // not among it
	}{
		{[]string{"ex"}, []string{"exporter", "exporters"}, "top"},
		{[]string{"exporters", ""}, []string{"forget"}, ""},
		{[]string{"completion", ""}, []string{"bash", "zsh", "fish"}, "powershell"},
		{[]string{"exporter", "--act"}, []string{"--active-timeout"}, "--idle-timeout"},
		{[]string{"exporter", "--version", ""}, []string{"ipfix", "9", "5"}, ""},
		{[]string{"exporter", "-v", "i"}, []string{"ipfix"}, "9"},
		{[]string{"exporter", "--interface", "l"}, []string{"lo"}, ""},
		{[]string{"exporter", "--duplicates", "d"}, []string{"drop"}, "keep"},
		{[]string{"exporter", "--fields", "mac,vl"}, []string{"mac,vlan"}, "vlan"},
		{[]string{"exporter", "--timeout", "tcp."}, []string{"tcp.rst=", "tcp.fin="}, "udp="},
		{[]string{"exporter", "--log-level", "w"}, []string{"warn"}, "info"},
		{[]string{"top", "--key", "src-"}, []string{"src-addr", "src-port"}, "dst-addr"},
		{[]string{"top", "--key", "src-addr,dst-"}, []string{"src-addr,dst-addr"}, "dst-addr"},
		{[]string{"top", "--by", "b"}, []string{"bytes", "bps"}, "flows"},
		{[]string{"top", "--from", "yes"}, []string{"yesterday"}, "today"},
		{[]string{"top", "--output", ""}, []string{"table", "json", "csv"}, ""},
		{[]string{"series", "--step", "1"}, []string{"1h", "1d", "1mo"}, "auto"},
		{[]string{"top", "--exporter", ""}, nil, ""},
		{[]string{"exporters", "rename", ""}, []string{":4"}, ""},
		{[]string{"exporters", "forget", "one", ""}, []string{":4"}, ""},
		// The filter.
		{[]string{"top", "pro"}, []string{"proto"}, "src"},
		{[]string{"top", "src", "p"}, []string{"port"}, "proto"},
		{[]string{"top", "proto", "tcp", "a"}, []string{"and"}, "or"},
		{[]string{"flows", "proto", "tc"}, []string{"tcp"}, "udp"},
		{[]string{"flows", "port", "http"}, []string{"https"}, ""},
		{[]string{"events", "kin"}, []string{"kind"}, ""},
		{[]string{"series", "nonsense", "no"}, nil, "not"},
	} {
		got := completed(t, tt.words...)
		for _, w := range tt.want {
			if !slices.Contains(got, w) {
				t.Errorf("%q is completed by %q, which has no %q", tt.words, got, w)
			}
		}
		if tt.without != "" && slices.Contains(got, tt.without) {
			t.Errorf("%q is completed by %q, with %q", tt.words, got, tt.without)
		}
		if last := got[len(got)-1]; !strings.HasPrefix(last, ":") {
			t.Errorf("%q: %q", tt.words, got)
		}
	}
	// Files are left to the shell.
	if got := completed(t, "exporter", "--read", ""); len(got) != 1 || got[0] != ":0" {
		t.Errorf("of files it says %q", got)
	}
}

// The scripts are what their shells read, where these are installed, and bash completes by
// its own.
func TestCompletionScripts(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, shell := range []string{"bash", "zsh", "fish"} {
		status, script, _ := flowtally(t, "completion", shell)
		if status != 0 || len(script) < 1000 {
			t.Errorf("%s: status %d, %d bytes", shell, status, len(script))
		}
		if _, err := exec.LookPath(shell); err != nil {
			t.Logf("%s is not installed", shell)
			continue
		}
		file := filepath.Join(dir, shell)
		if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(shell, "-n", file).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v %s", shell, err, out)
		}
		if shell != "bash" {
			continue
		}
		// As it is when somebody presses the key behind "top --by b".
		if err := os.Symlink(self, filepath.Join(dir, "flowtally")); err != nil {
			t.Fatal(err)
		}
		press := exec.Command("bash", "-c", `_get_comp_words_by_ref() { cur=b prev=--by cword=3; words=("${COMP_WORDS[@]}"); } # of bash-completion
			. "$1"; COMP_WORDS=(flowtally top --by b); COMP_CWORD=3; COMP_LINE="flowtally top --by b"; COMP_POINT=20; COMP_TYPE=9
			__start_flowtally flowtally b --by; printf '%s\n' "${COMPREPLY[@]}"`, "bash", file)
		press.Env = append(os.Environ(), mainVariable+"=1", "PATH="+dir+":"+os.Getenv("PATH"))
		out, err := press.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "bytes") || strings.Contains(string(out), "flows") {
			t.Errorf("bash completes to %q, %v", out, err)
		}
	}
}
