// Package migrations is the history of the database's schema: SQL files in the
// order in which they are applied, embedded in the binary.
//
// A file that was released is never changed; what is to be different is a new
// file. There is no way down: whoever needs the past restores a backup.
package migrations

import (
	"embed"
	"io/fs"
	"strconv"
	"strings"
)

// FS holds the migrations, in goose's form: NUMBER_NAME.sql.
//
//go:embed *.sql
var FS embed.FS

// Latest returns the number of the last migration: the version of the schema
// that this binary reads and writes.
func Latest() int64 {
	var last int64
	names, err := fs.Glob(FS, "*.sql")
	if err != nil {
		return 0 // only a malformed pattern gives an error
	}
	for _, name := range names {
		number, _, _ := strings.Cut(name, "_")
		if n, err := strconv.ParseInt(number, 10, 64); err == nil && n > last {
			last = n
		}
	}
	return last
}
