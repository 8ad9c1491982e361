package postgres

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
)

// sysProcAttr puts the server into a process group of its own, as the account,
// and has the kernel ask it to shut down (fast) when we are gone.
func sysProcAttr(a *account) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT, Credential: a.credential()}
}

// isServer reports whether the process is there and is the PostgreSQL of that
// cluster: numbers of processes come again, in containers nearly always.
func isServer(pid int, data string) bool {
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil || !bytes.HasPrefix(comm, []byte("postgres")) {
		return false
	}
	// A server works in the directory of its cluster. Where we may not see that,
	// it is another user's, and the answer is the careful one.
	dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	return err != nil || sameFile(dir, data)
}

func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}
