package postgres

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// quick is a server that need not survive anything.
var quick = map[string]string{"fsync": "off", "shared_buffers": "16MB"}

// directory is one that a server can reach which root started as another user.
func directory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "flowtally-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func start(t *testing.T, c Config) *Server {
	t.Helper()
	s, err := try(t, c)
	if errors.Is(err, ErrNoBinaries) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func try(t *testing.T, c Config) (*Server, error) {
	t.Helper()
	c.Settings = quick
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := Start(ctx, c)
	if err == nil {
		t.Cleanup(func() { stop(t, s) })
	}
	return s, err
}

func stop(t *testing.T, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func query(dsn, sql string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	var text string
	return text, conn.QueryRow(ctx, sql).Scan(&text)
}

// A cluster keeps its data, its passwords and its port from one run to the next,
// lets nobody in without a password, and its password file is for one reader.
func TestClusterIsUsedAgain(t *testing.T) {
	c := Config{Dir: directory(t), Roles: []string{"flow_reader"}}
	s := start(t, c)
	dsn, socket := s.DSN(Admin), s.SocketDSN(Admin)
	for _, d := range []string{dsn, socket} {
		if _, err := query(d, "select 'x'"); err != nil {
			t.Fatal(err)
		}
		if _, err := query(strings.Replace(d, s.Password(Admin), "wrong", 1), "select 'x'"); err == nil {
			t.Error("a wrong password is let in")
		}
	}
	info, err := os.Stat(filepath.Join(c.Dir, "passwords"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the password file: %v, %v", info.Mode(), err)
	}
	if p := s.Password("flow_reader"); p == "" || p == s.Password(Admin) {
		t.Error("a role has no password of its own")
	}
	system, err := query(dsn, "select system_identifier::text from pg_control_system()")
	if err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	stop(t, s) // twice does no harm
	select {
	case <-s.Done():
	default:
		t.Error("a stopped server is not done")
	}
	again := start(t, c)
	if again.DSN(Admin) != dsn || again.Password("flow_reader") != s.Password("flow_reader") {
		t.Errorf("the second run has another address: %s, not %s", again.DSN(Admin), dsn)
	}
	if got, err := query(dsn, "select system_identifier::text from pg_control_system()"); err != nil || got != system {
		t.Errorf("another cluster: %s, %v", got, err)
	}
}

// The server is no child of the keyboard's process group, and it is not root.
func TestServerIsOnItsOwn(t *testing.T) {
	s := start(t, Config{Dir: directory(t), Port: NoPort, Trust: true})
	group, err := syscall.Getpgid(s.PID())
	if err != nil || group == syscall.Getpgrp() {
		t.Errorf("process group %d, ours is %d, %v", group, syscall.Getpgrp(), err)
	}
	info, err := os.Stat(filepath.Join(s.config.Dir, "data", "PG_VERSION"))
	if err != nil {
		t.Fatal(err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid == 0 {
		t.Error("the cluster belongs to root")
	}
	if s.Port() != NoPort || !strings.Contains(s.DSN(Admin), "host=") {
		t.Errorf("a server without a port has DSN %s", s.DSN(Admin))
	}
	if got, err := query(s.DSN(Admin), "select current_setting('listen_addresses')"); err != nil || got != "" {
		t.Errorf("it listens on %q, %v", got, err)
	}
}

// What can go wrong at a start is said in one sentence, and a start that failed
// leaves nothing behind that the next one stumbles over.
func TestStartSaysWhatIsWrong(t *testing.T) {
	c := Config{Dir: directory(t)}
	s := start(t, c)
	if _, err := try(t, c); !errors.Is(err, ErrRunning) {
		t.Errorf("a second server in one directory: %v", err)
	} else if !strings.Contains(err.Error(), strconv.Itoa(s.PID())) {
		t.Errorf("it is not said which process: %v", err)
	}
	stop(t, s)

	// A number that another process has now, as after a crash.
	pid := filepath.Join(c.Dir, "data", "postmaster.pid")
	if err := os.WriteFile(pid, []byte(strconv.Itoa(os.Getpid())+"\n"+filepath.Join(c.Dir, "data")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	stop(t, start(t, c))

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := c
	taken.Port = l.Addr().(*net.TCPAddr).Port
	if _, err := try(t, taken); err == nil || !strings.Contains(err.Error(), "is taken") {
		t.Errorf("a port in use: %v", err)
	}

	passwords := filepath.Join(c.Dir, "passwords")
	if err := os.Rename(passwords, passwords+".lost"); err != nil {
		t.Fatal(err)
	}
	if _, err := try(t, c); err == nil || !strings.Contains(err.Error(), "bring the file back") {
		t.Errorf("a lost password file: %v", err)
	}
	if err := os.Rename(passwords+".lost", passwords); err != nil {
		t.Fatal(err)
	}

	version := filepath.Join(c.Dir, "data", "PG_VERSION")
	if err := os.WriteFile(version, []byte("9\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := try(t, c); err == nil || !strings.Contains(err.Error(), "made by PostgreSQL 9") {
		t.Errorf("a cluster of another version: %v", err)
	}

	t.Setenv(envBin, directory(t))
	if _, err := try(t, c); err == nil || !strings.Contains(err.Error(), envBin) {
		t.Errorf("no binaries where they should be: %v", err)
	}
}

// Of several that start in one new directory at the same moment, one serves it
// and the others say so.
func TestStartAtOnce(t *testing.T) {
	if _, err := Find(); err != nil {
		t.Skip(err)
	}
	c := Config{Dir: filepath.Join(directory(t), "new"), Settings: quick}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	type result struct {
		s   *Server
		err error
	}
	results := make(chan result)
	const n = 3
	for range n {
		go func() {
			s, err := Start(ctx, c)
			results <- result{s, err}
		}()
	}
	var served []*Server
	for range n {
		switch r := <-results; {
		case r.err == nil:
			served = append(served, r.s)
		case !errors.Is(r.err, ErrRunning):
			t.Error(r.err)
		}
	}
	if len(served) != 1 {
		t.Errorf("%d of %d serve", len(served), n)
	}
	for _, s := range served {
		if _, err := query(s.DSN(Admin), "select 'x'"); err != nil {
			t.Error(err)
		}
		stop(t, s)
	}
}

// A role that is let into its own database is let into no other.
func TestRolesStayInTheirDatabase(t *testing.T) {
	s := start(t, Config{Dir: directory(t), Roles: []string{"guest"}})
	conn, err := pgx.Connect(t.Context(), s.DSN(Admin))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "create role guest login password '"+s.Password("guest")+"'"); err != nil {
		t.Fatal(err)
	}
	own := s.DSN("guest")
	if _, err := query(own, "select 'x'"); err != nil {
		t.Fatal(err)
	}
	for _, database := range []string{"postgres", "template1"} {
		if _, err := query(strings.Replace(own, "/"+defaultDatabase+"?", "/"+database+"?", 1), "select 'x'"); err == nil {
			t.Errorf("it is let into %s", database)
		}
	}
}

// Root's server, which is not root, is told about a directory out of its reach.
func TestDirectoryOutOfReach(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root drops to another user")
	}
	if _, err := Find(); err != nil {
		t.Skip(err)
	}
	closed := directory(t)
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := try(t, Config{Dir: filepath.Join(closed, "pg")}); err == nil || !strings.Contains(err.Error(), "cannot enter "+closed) {
		t.Errorf("Start gives %v", err)
	}
}

// A directory whose path is too long for a socket's address has its socket
// elsewhere, and not for longer than it runs.
func TestLongPath(t *testing.T) {
	dir := filepath.Join(directory(t), strings.Repeat("long/", 20))
	s := start(t, Config{Dir: dir, Port: NoPort, Trust: true})
	if _, err := query(s.DSN(Admin), "select 'x'"); err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	if _, err := os.Stat(s.socketDir); err == nil {
		t.Errorf("%s is left behind", s.socketDir)
	}
}

// Directories that root makes let the server's user in, whatever root's umask is.
func TestCarefulUmask(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root drops to another user")
	}
	dir := filepath.Join(directory(t), "a", "b")
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	s := start(t, Config{Dir: dir, Port: NoPort, Trust: true})
	if _, err := query(s.DSN(Admin), "select 'x'"); err != nil {
		t.Error(err)
	}
}

// A cluster stays with the version that made it when a newer one is installed beside it.
func TestClusterStaysWithItsVersion(t *testing.T) {
	dir := t.TempDir()
	server := func(version string) string {
		bin := filepath.Join(dir, version, "bin")
		if err := os.MkdirAll(bin, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"initdb", "postgres"} {
			if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\necho 'postgres (PostgreSQL) "+version+".1'\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		return bin
	}
	old, new := server("1015"), server("1017")
	server("14")
	before := places
	places = []string{filepath.Join(dir, "*", "bin")}
	t.Cleanup(func() { places = before })
	t.Setenv("PATH", new)
	for version, want := range map[int]string{0: new, 1015: old, 1017: new, 1016: new, 14: new} {
		if b, err := findFor(version); err != nil || b.Dir != want {
			t.Errorf("for a cluster of %d: %s, %v; want %s", version, b.Dir, err, want)
		}
	}
	t.Setenv("PATH", "")
	if b, err := findFor(0); err != nil || b.Dir != new {
		t.Errorf("the newest is not taken: %s, %v", b.Dir, err)
	}
	t.Setenv(envBin, old)
	if b, err := findFor(1017); err != nil || b.Dir != old {
		t.Errorf("what was asked for is not taken: %s, %v", b.Dir, err)
	}
}
