package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"flowtally/lab/postgres"
)

// Names of directories among a user's data, or root's /var/lib.
const (
	// dirName is the lab's. It is nobody else's: a collector that root started, or a
	// service, closes the directory of its spool to others, and root's PostgreSQL is
	// another user.
	dirName = "flowtally-lab"
	// formerName is what earlier versions of the lab had in common with the collector.
	formerName = "flowtally"
)

// defaultDir is where data lives that nobody gave a place: where an earlier version of
// the lab left some, if it can be used there. The notice is for people, when it is not
// empty.
func defaultDir() (dir, notice string, err error) {
	parent, err := dataHome()
	if err != nil {
		return "", "", err
	}
	dir, former := filepath.Join(parent, dirName), filepath.Join(parent, formerName)
	if hasCluster(dir) || !hasCluster(former) {
		return dir, "", nil
	}
	if err := postgres.CanServe(former); err != nil {
		return dir, fmt.Sprintf("an earlier lab's data is in %s, where it cannot be used (%v); this one begins anew in %s. To go on with the earlier: mkdir -p %[3]s && mv %[1]s/postgres %[3]s/", former, err, dir), nil
	}
	return former, "", nil
}

// hasCluster reports whether a lab has its database in dir.
func hasCluster(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "postgres", "data", "PG_VERSION"))
	return err == nil
}

// dataHome is where a user's programs keep their data.
func dataHome() (string, error) {
	if os.Geteuid() == 0 {
		return rootHome, nil
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", errors.New("lab: HOME is not set: say where the data goes with --data")
	}
	return filepath.Join(home, ".local", "share"), nil
}

// rootHome is where root's programs keep their data. Tests have another.
var rootHome = "/var/lib"
