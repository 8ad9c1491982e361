//go:build !(linux || darwin || freebsd)

package store

import "errors"

func diskUse(string) (total, used int64, err error) {
	return 0, 0, errors.New("the size of a disk is not known on this system: limit the database by its size in octets")
}
