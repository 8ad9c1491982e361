//go:build linux || darwin || freebsd

package keeper

import "golang.org/x/sys/unix"

// diskFree returns how many bytes a user without privileges may still write to the disk of
// path.
func diskFree(path string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
