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
	// it is another user's, and serves only what belongs to that one.
	dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		return sameOwner(fmt.Sprintf("/proc/%d", pid), data)
	}
	return sameFile(dir, data)
}

// sameOwner reports whether two files belong to one user, also when that cannot
// be told: the careful answer.
func sameOwner(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	if err1 != nil || err2 != nil {
		return true
	}
	p, ok1 := x.Sys().(*syscall.Stat_t)
	q, ok2 := y.Sys().(*syscall.Stat_t)
	return !ok1 || !ok2 || p.Uid == q.Uid
}

func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}
