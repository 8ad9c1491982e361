package store

import (
	"os"
	"regexp"
	"testing"
)

// The causes that have words here are those of docs/ledger.md, and none has a
// space: they are typed in queries.
func TestLossWordsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/ledger.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[[2]string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| `([a-z_]+)` \\|").FindAllSubmatch(doc, -1) {
		documented[[2]string{string(m[1]), string(m[2])}] = true
	}
	for k := range lossWords {
		if !documented[k] {
			t.Errorf("%s/%s is not in docs/ledger.md", k[0], k[1])
		}
	}
	for k := range documented {
		if _, ok := lossWords[k]; !ok {
			t.Errorf("docs/ledger.md has %s/%s, of which nothing is known here", k[0], k[1])
		}
	}
}
