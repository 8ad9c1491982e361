//go:build !(linux || darwin || freebsd)

package keeper

import "errors"

// diskFree returns an error, because this system has no way to ask.
func diskFree(string) (int64, error) {
	return 0, errors.New("this system does not tell how full a disk is: limit the database with --retain-size, and use --retain-path none")
}
