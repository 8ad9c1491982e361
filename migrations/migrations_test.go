package migrations

import (
	"io/fs"
	"strings"
	"testing"
)

// Every file takes part: it is named NUMBER_NAME.sql, numbers count up from First without a
// gap, and each begins with goose's mark, without which goose would refuse it only when it
// runs.
func TestFiles(t *testing.T) {
	names, err := fs.Glob(FS, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	versions := Versions()
	if len(names) != len(versions) {
		t.Errorf("%d files, but %d have a number", len(names), len(versions))
	}
	for i, v := range versions {
		if want := First + int64(i); v != want {
			t.Errorf("number %d is where %d should be", v, want)
		}
	}
	if Latest() < Base {
		t.Errorf("the latest is number %d, before the base, %d", Latest(), Base)
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
