package netflow

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"flowtally/flow"
)

// shared returns a path below the folder of shared captures, and skips the test
// when it is not there.
func shared(t testing.TB, elem ...string) string {
	t.Helper()
	root := os.Getenv("FLOWTALLY_SHARED")
	if root == "" {
		dir, err := os.Getwd()
		for err == nil {
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
				root = filepath.Join(dir, "..", "shared")
				break
			}
			up := filepath.Dir(dir)
			if up == dir {
				break
			}
			dir = up
		}
	}
	path := filepath.Join(append([]string{root}, elem...)...)
	if _, err := os.Stat(path); root == "" || err != nil {
		t.Skip("the shared captures are not here (FLOWTALLY_SHARED)")
	}
	return path
}

var somebody = netip.MustParseAddrPort("192.0.2.1:2055")

// noon is a time of export in tests: 2023-11-14 22:13:20 UTC.
const noon = flow.Time(1_700_000_000_000)
