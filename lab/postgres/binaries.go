package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"time"
)

// MinVersion is the oldest PostgreSQL that will do.
const MinVersion = 15

// envBin names the variable that says where the server's binaries are.
const envBin = "FLOWTALLY_PG_BIN"

// ErrNoBinaries reports that no PostgreSQL server is installed, or none that is
// new enough.
var ErrNoBinaries = errors.New("no PostgreSQL server of version 15 or newer is installed")

// Binaries are the programs of one PostgreSQL server.
type Binaries struct {
	// Dir holds initdb and postgres.
	Dir string
	// Version is the major version.
	Version int
}

// fetched is where deploy/setup.sh puts a server that it got from npm's registry, beside
// the program that it builds.
const fetched = ".tools/postgresql/bin"

// places are where systems put servers, as patterns.
var places = []string{
	"/usr/local/lib/flowtally/postgresql/bin", // deploy/setup.sh, where .tools is closed to the server's user
	"/usr/lib/postgresql/*/bin",               // Debian, Ubuntu
	"/usr/pgsql-*/bin",                        // PostgreSQL's own RPMs
	"/usr/lib/postgresql*/bin",                // SUSE, Alpine's postgresql15
	"/usr/libexec/postgresql*",                // Alpine
	"/opt/homebrew/opt/postgresql@*/bin",      // Homebrew, ARM
	"/usr/local/opt/postgresql@*/bin",         // Homebrew, Intel
	"/Applications/Postgres.app/Contents/Versions/*/bin",
	"/usr/local/pgsql/bin", // from source
	"/usr/local/bin",       // OpenBSD, FreeBSD
	"/usr/pkg/bin",         // NetBSD
	"/usr/bin",             // Fedora, Arch
}

// Find returns the binaries to use: those in FLOWTALLY_PG_BIN when that is set,
// else those in the PATH, else the newest of the usual places.
func Find() (Binaries, error) {
	if dir := os.Getenv(envBin); dir != "" {
		b, err := look(dir)
		if err != nil {
			return Binaries{}, fmt.Errorf("postgres: %s=%s: %w", envBin, dir, err)
		}
		if b.Version < MinVersion {
			return Binaries{}, fmt.Errorf("postgres: %s=%s is version %d: %w", envBin, dir, b.Version, ErrNoBinaries)
		}
		return b, nil
	}
	for _, name := range []string{"postgres", "initdb"} {
		if path, err := exec.LookPath(name); err == nil {
			if real, err := filepath.EvalSymlinks(path); err == nil {
				path = real
			}
			if b, err := look(filepath.Dir(path)); err == nil && b.Version >= MinVersion {
				return b, nil
			}
		}
	}
	var best Binaries
	for b := range installed() {
		if b.Version > best.Version {
			best = b
		}
	}
	if best.Dir == "" {
		return Binaries{}, fmt.Errorf("postgres: %w: %s, or set %s to the directory of its binaries", ErrNoBinaries, advice(), envBin)
	}
	return best, nil
}

// findFor returns the binaries for a cluster that was made by a server of that version, 0
// for a new cluster: those of Find, unless others in the usual places fit better. Systems
// have several versions side by side, and a cluster stays with its own.
func findFor(version int) (Binaries, error) {
	b, err := Find()
	if version == 0 || err != nil || b.Version == version || os.Getenv(envBin) != "" {
		return b, err
	}
	for other := range installed() {
		if other.Version == version {
			return other, nil
		}
	}
	return b, nil
}

// installed yields the servers in the usual places that are new enough.
func installed() iter.Seq[Binaries] {
	patterns := places
	if self, err := os.Executable(); err == nil {
		patterns = append([]string{filepath.Join(filepath.Dir(self), fetched)}, places...)
	}
	return func(yield func(Binaries) bool) {
		for _, pattern := range patterns {
			dirs, _ := filepath.Glob(pattern) // only a malformed pattern gives an error
			for _, dir := range dirs {
				if b, err := look(dir); err == nil && b.Version >= MinVersion && !yield(b) {
					return
				}
			}
		}
	}
}

// advice says how to install a server here.
func advice() string {
	switch runtime.GOOS {
	case "darwin":
		return "run brew install postgresql@17"
	case "openbsd":
		return "run pkg_add postgresql-server"
	case "freebsd":
		return "run pkg install postgresql17-server"
	}
	if _, err := exec.LookPath("apt-get"); err == nil {
		return "run apt-get install postgresql"
	}
	return "install the package postgresql-server or postgresql"
}

var versionPattern = regexp.MustCompile(`\) (\d+)`)

// look asks the server in dir for its version.
func look(dir string) (Binaries, error) {
	for _, name := range []string{"initdb", "postgres"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return Binaries{}, err
		} else if info.IsDir() {
			return Binaries{}, fmt.Errorf("%s is a directory", filepath.Join(dir, name))
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return Binaries{}, fmt.Errorf("%s --version: %w", filepath.Join(dir, "postgres"), err)
	}
	m := versionPattern.FindSubmatch(out)
	if m == nil {
		return Binaries{}, fmt.Errorf("%s --version: %q is no version", filepath.Join(dir, "postgres"), out)
	}
	v, err := strconv.Atoi(string(m[1]))
	if err != nil {
		return Binaries{}, err
	}
	return Binaries{Dir: dir, Version: v}, nil
}
