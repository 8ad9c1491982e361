package postgres

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
)

// account is the system's user that root runs the server as: PostgreSQL refuses
// to run as root.
type account struct {
	name     string
	uid, gid int
}

// findAccount returns the account to drop to, nil when we are not root.
func findAccount(name string) (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	names := []string{"postgres", "_postgresql", "nobody"}
	if name != "" {
		names = []string{name}
	}
	for _, n := range names {
		u, err := user.Lookup(n)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err1 != nil || err2 != nil || uid == 0 {
			continue
		}
		return &account{name: n, uid: uid, gid: gid}, nil
	}
	return nil, fmt.Errorf("postgres: PostgreSQL refuses to run as root and there is no user %s to run it as: start flowtally as an ordinary user, or make one", names[0])
}

// canEnter reports whether the account may pass through a directory.
func (a *account) canEnter(info fs.FileInfo) bool {
	mode := info.Mode().Perm()
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case ok && int(st.Uid) == a.uid:
		return mode&0o100 != 0
	case ok && int(st.Gid) == a.gid:
		return mode&0o010 != 0
	}
	return mode&0o001 != 0
}

// reaches returns nil when the account may pass through a directory and all that lead to
// it, and for the ordinary user, whom the system itself tells.
func (a *account) reaches(dir string) error {
	if a == nil {
		return nil
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	for p := dir; ; p = filepath.Dir(p) {
		info, err := os.Stat(p)
		if err != nil {
			return fmt.Errorf("postgres: %w", err)
		}
		if !a.canEnter(info) {
			return fmt.Errorf("postgres: user %s, who runs the database, cannot enter %s", a.name, p)
		}
		if p == filepath.Dir(p) {
			return nil
		}
	}
}

// CanServe returns an error when a server started by this process could not get to a
// directory that exists: root's runs as another user.
func CanServe(dir string) error {
	a, err := findAccount("")
	if err != nil {
		return err
	}
	return a.reaches(dir)
}

// credential is nil for the ordinary user, who stays who he is.
func (a *account) credential() *syscall.Credential {
	if a == nil {
		return nil
	}
	return &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
}

// lockThread ties the calling goroutine to its thread until it ends.
func lockThread() { runtime.LockOSThread() }
