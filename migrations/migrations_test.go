package migrations

import (
	"io/fs"
	"strings"
	"testing"
)

// Every file takes part: it is named NUMBER_NAME.sql, numbers count up from one
// without a gap, and each begins with goose's mark, without which goose would
// refuse it only when it runs.
func TestFiles(t *testing.T) {
	names, err := fs.Glob(FS, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(names)) != Latest() {
		t.Errorf("%d files, but the latest is number %d", len(names), Latest())
	}
	for _, name := range names {
		b, err := FS.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(b), "-- +goose Up\n") {
			t.Errorf("%s does not begin with -- +goose Up", name)
		}
	}
}
