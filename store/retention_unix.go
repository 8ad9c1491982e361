//go:build linux || darwin || freebsd

package store

import "golang.org/x/sys/unix"

// diskUse returns the size of the disk that path is on and how much of it is in
// use, in octets.
func diskUse(path string) (total, used int64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, 0, err
	}
	return int64(s.Blocks) * int64(s.Bsize), int64(s.Blocks-s.Bfree) * int64(s.Bsize), nil
}
