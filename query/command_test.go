package query

import (
	"os/exec"
	"testing"
)

// The law: a shell reads back the word that was quoted.
func TestCommandForAShell(t *testing.T) {
	for _, s := range []string{"", "plain", "10.0.0.1", "two words", "it's", "$HOME `id` \\ \"x\" ; &", "*", "~", "#1", "new\nline", "ü"} {
		out, err := exec.Command("sh", "-c", "printf %s "+shellQuote(s)).Output()
		if err != nil || string(out) != s {
			t.Errorf("%q becomes %s, read back as %q, %v", s, shellQuote(s), out, err)
		}
	}
}
