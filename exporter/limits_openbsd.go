package exporter

import "golang.org/x/sys/unix"

// memoryLimits are the limits of a process that bound its memory: OpenBSD has none of its
// address space.
var memoryLimits = []int{unix.RLIMIT_DATA}
