package ingest

import (
	"os"
	"path/filepath"
	"strings"
)

// DefaultSpool returns the directory for a spool that nobody named: spool under
// $STATE_DIRECTORY, where systemd gives one; else /var/lib/flowtally/spool, where
// that can be written; else flowtally/spool among the user's data
// ($XDG_DATA_HOME, ~/.local/share). It is made if need be; empty when there is
// none of these.
func DefaultSpool() string {
	var candidates []string
	if dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); dir != "" {
		candidates = append(candidates, dir)
	}
	candidates = append(candidates, "/var/lib/flowtally")
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		candidates = append(candidates, filepath.Join(dir, "flowtally"))
	} else if home, err := os.UserHomeDir(); err == nil {
		candidates = append(candidates, filepath.Join(home, ".local", "share", "flowtally"))
	}
	for _, dir := range candidates {
		dir = filepath.Join(dir, "spool")
		if os.MkdirAll(dir, 0o700) != nil {
			continue
		}
		f, err := os.CreateTemp(dir, "try-*.tmp")
		if err != nil {
			continue
		}
		_ = f.Close()
		_ = os.Remove(f.Name())
		return dir
	}
	return ""
}
