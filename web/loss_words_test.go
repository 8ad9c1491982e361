package web

import (
	"os"
	"regexp"
	"testing"
)

// The causes that have words here are those of docs/ledger.md, and none has a space: they
// are typed in queries.
func TestLossWordsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/ledger.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[lossCause]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| `([a-z_]+)` \\|").FindAllSubmatch(doc, -1) {
		documented[lossCause{string(m[1]), string(m[2])}] = true
	}
	for k, w := range lossWords {
		if !documented[k] {
			t.Errorf("%s/%s is not in docs/ledger.md", k.stage, k.cause)
		}
		if w.text == "" || w.brief == "" {
			t.Errorf("%s/%s has no words", k.stage, k.cause)
		}
	}
	for k := range documented {
		if _, ok := lossWords[k]; !ok {
			t.Errorf("docs/ledger.md has %s/%s, which has no words here", k.stage, k.cause)
		}
	}
}
