//go:build linux || darwin || freebsd

package keeper

import (
	"golang.org/x/sys/unix"
)

// diskFree returns how many octets an ordinary user may yet write to the disk that
// path is on.
func diskFree(path string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
