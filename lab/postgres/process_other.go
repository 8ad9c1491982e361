//go:build !linux

package postgres

import (
	"errors"
	"os"
	"syscall"
)

// sysProcAttr puts the server into a process group of its own, as the account.
func sysProcAttr(a *account) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: a.credential()}
}

// isServer reports whether the process is there; what it is, cannot be told
// alike on all systems.
func isServer(pid int, _ string) bool {
	if pid == os.Getpid() {
		return false
	}
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}
