// Package migrations is the database's schema: SQL files, embedded in the binary,
// in the order in which they are applied. The first, up to Base, are one a subject
// and make the schema of an empty database; those after them change it.
//
// A file that was released is never changed; what is to be different is a new
// file. There is no way down: whoever needs the past restores a backup.
package migrations

import (
	"embed"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// FS holds the migrations, in goose's form: NUMBER_NAME.sql.
//
//go:embed 0*.sql
var FS embed.FS

// Privileges is what each migrate executes after the migrations, in one simple query: it
// takes away what a restored backup or a newer server left open, and is quiet where nothing
// is.
//
//go:embed privileges.sql
var Privileges string

const (
	// First is the number of the first migration.
	First int64 = 100
	// Base is the number of the last of those that make the schema by subject.
	Base int64 = 109
	// Former is the last version of the numbering that was before: its schema is
	// that of Base (docs/adr/0007-migrations-by-subject.md).
	Former int64 = 22
)

// Versions returns the numbers of the migrations, in order.
func Versions() []int64 {
	names, err := fs.Glob(FS, "*.sql")
	if err != nil {
		return nil // only a malformed pattern gives an error
	}
	var versions []int64
	for _, name := range names {
		number, _, _ := strings.Cut(name, "_")
		if n, err := strconv.ParseInt(number, 10, 64); err == nil {
			versions = append(versions, n)
		}
	}
	slices.Sort(versions)
	return versions
}

// Latest returns the number of the last migration: the version of the schema
// that this binary reads and writes.
func Latest() int64 {
	versions := Versions()
	if len(versions) == 0 {
		return 0
	}
	return versions[len(versions)-1]
}
