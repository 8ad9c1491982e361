//go:build !openbsd

package exporter

import "golang.org/x/sys/unix"

// memoryLimits are the limits of a process that bound its memory.
var memoryLimits = []int{unix.RLIMIT_AS, unix.RLIMIT_DATA}
