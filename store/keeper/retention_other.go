//go:build !(linux || darwin || freebsd)

package keeper

import "errors"

func diskFree(string) (int64, error) {
	return 0, errors.New("how full a disk is is not known on this system: limit the database by its size in octets, and say --retain-path none")
}
