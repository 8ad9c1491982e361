// Package truth finds the real captures and export streams with known totals
// that tests compare with, and reads the tables that go with them. They are not
// part of the repository: a test that asks for them where they are not is
// skipped, with the reason.
package truth

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Data returns a path below the folder of the data: that of the environment
// variable FLOWTALLY_SHARED, else of the folder "shared" beside the repository.
func Data(t testing.TB, elem ...string) string {
	t.Helper()
	root := os.Getenv("FLOWTALLY_SHARED")
	if root == "" {
		root = filepath.Join(repository(t), "..", "shared")
	}
	path := filepath.Join(append([]string{root, "data"}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skip("the shared captures are not here: ../shared is missing and FLOWTALLY_SHARED does not name another place")
	}
	return path
}

// repository returns the folder that has go.mod, above the package under test.
func repository(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the package")
		}
		dir = up
	}
}

// Row is one line of a table, by column name.
type Row map[string]string

// Uint returns a count; an empty one is 0.
func (r Row) Uint(t testing.TB, column string) uint64 {
	t.Helper()
	if r[column] == "" {
		return 0
	}
	n, err := strconv.ParseUint(r[column], 10, 64)
	if err != nil {
		t.Fatalf("%s: %s: %v", r["path"], column, err)
	}
	return n
}

// Agreed reports whether two programs that are not ours agree on the row. That neither
// knows a link type is no agreement that there is nothing in it.
func (r Row) Agreed() bool {
	return strings.HasPrefix(r["notes"], "agree") && !strings.Contains(r["notes"], "unknown or unsupported")
}

// Table reads a table with a line of column names, such as TRUTH.tsv.
func Table(t testing.TB, name string) []Row {
	t.Helper()
	f, err := os.Open(Data(t, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var rows []Row
	var columns []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "\t")
		if columns == nil {
			columns = fields
			continue
		}
		row := Row{}
		for i, v := range fields {
			row[columns[i]] = v
		}
		rows = append(rows, row)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}
