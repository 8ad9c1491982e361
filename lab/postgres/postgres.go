// Package postgres runs a private PostgreSQL: a cluster of its own in a
// directory of its own, from the server binaries that the system has installed,
// as an ordinary user, for as long as this process wants it.
//
// The server listens on a Unix socket and, unless told otherwise, on a loopback
// port. It is in a process group of its own, so that an interrupt from the
// keyboard reaches the program first, which can still write what it has; and on
// Linux it is shut down by the kernel when the program dies without a word.
package postgres

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// Admin is the superuser of the cluster.
	Admin = "flowtally"
	// defaultDatabase is made in a new cluster when Config names none.
	defaultDatabase = "flowtally"
	// maxSocketPath is what a socket's address can hold on the systems we run
	// on: 104 octets on the BSDs, 108 on Linux, the closing NUL included.
	maxSocketPath = 103
	// NoPort as Config.Port makes the server listen on its Unix socket alone.
	NoPort = -1
)

// ErrRunning reports that a server is running in the directory already.
var ErrRunning = errors.New("a PostgreSQL is running there already")

// Config says what server to run. Only Dir has to be set.
type Config struct {
	// Dir holds the cluster, its passwords and its log; it is made when it is
	// not there, and used again when it is.
	Dir string
	// Port is the port on 127.0.0.1: 0 takes the one of the last time when it is
	// free, else any; NoPort means none.
	Port int
	// Database is made when it is not there; "flowtally" when empty.
	Database string
	// Roles get a password each, which DSN then uses. Making the roles is the
	// caller's business.
	Roles []string
	// User is the system's user to run as when started by root: "postgres", else
	// "nobody", when empty. Others run the server as themselves.
	User string
	// Trust lets everybody in without a password. It is for tests, with NoPort.
	Trust bool
	// Settings are added to the server's command line.
	Settings map[string]string
}

// Server is a running server.
type Server struct {
	config    Config
	bin       Binaries
	account   *account
	socketDir string
	socketTmp bool
	port      int
	passwords map[string]string

	lock *os.File // holds the directory's lock for as long as it is open
	cmd  *exec.Cmd
	done chan struct{}
}

// Start runs a server and returns when it takes connections. The context bounds
// the start alone.
func Start(ctx context.Context, c Config) (*Server, error) {
	if c.Dir == "" {
		return nil, errors.New("postgres: no directory given")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	c.Dir = dir
	if c.Database == "" {
		c.Database = defaultDatabase
	}
	s := &Server{config: c}
	if s.bin, err = findFor(clusterVersion(s.data())); err != nil {
		return nil, err
	}
	if s.account, err = findAccount(c.User); err != nil {
		return nil, err
	}
	if err := s.account.reaches(s.bin.Dir); err != nil {
		return nil, fmt.Errorf("%w: set %s to the binaries of a server elsewhere", err, envBin)
	}
	if err := s.prepareDir(); err != nil {
		return nil, err
	}
	if err := s.lockDir(ctx); err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		s.leave()
		return nil, err
	}
	return s, nil
}

// start does what one program at a time may do in a directory.
func (s *Server) start(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		s.loadPasswords, s.makeCluster, s.checkPID, s.makeSocketDir, s.choosePort, s.run,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if err := s.makeDatabase(ctx); err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return errors.Join(err, s.Stop(stop))
	}
	return nil
}

// DSN returns the URL under which role reaches the database: over TCP where the
// server listens there, else over its socket.
func (s *Server) DSN(role string) string {
	if s.config.Port == NoPort {
		return s.SocketDSN(role)
	}
	u := url.URL{
		Scheme:   "postgres",
		User:     s.userinfo(role),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)),
		Path:     "/" + s.config.Database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// SocketDSN is like DSN, over the Unix socket. Only root and the user that runs
// the server can open it.
func (s *Server) SocketDSN(role string) string {
	q := url.Values{"host": {s.socketDir}, "port": {strconv.Itoa(s.port)}}
	u := url.URL{Scheme: "postgres", User: s.userinfo(role), Path: "/" + s.config.Database, RawQuery: q.Encode()}
	return u.String()
}

func (s *Server) userinfo(role string) *url.Userinfo {
	if p := s.passwords[role]; p != "" {
		return url.UserPassword(role, p)
	}
	return url.User(role)
}

// Password returns the password of Admin or of one of Config.Roles, empty for
// others and under Trust.
func (s *Server) Password(role string) string { return s.passwords[role] }

// Port returns the port on 127.0.0.1, NoPort when there is none.
func (s *Server) Port() int {
	if s.config.Port == NoPort {
		return NoPort
	}
	return s.port
}

// PID returns the process identifier of the server.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Log returns the name of the server's log.
func (s *Server) Log() string { return filepath.Join(s.config.Dir, "postgres.log") }

// Done is closed when the server has ended, for whatever reason.
func (s *Server) Done() <-chan struct{} { return s.done }

// Stop shuts the server down, ending its sessions, and waits for it. When the
// context ends first, the server is stopped without a checkpoint; it recovers at
// the next start. Stop may be called more than once.
func (s *Server) Stop(ctx context.Context) error {
	defer s.leave()
	select {
	case <-s.done:
		return nil
	default:
	}
	_ = s.cmd.Process.Signal(syscall.SIGINT) // fast shutdown; fails only when it has ended
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	_ = s.cmd.Process.Signal(syscall.SIGQUIT) // immediate shutdown
	select {
	case <-s.done:
	case <-time.After(5 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	return fmt.Errorf("postgres: stopped without a checkpoint: %w", ctx.Err())
}

func (s *Server) data() string { return filepath.Join(s.config.Dir, "data") }

// prepareDir makes Dir and sees to it that the server's user gets there.
func (s *Server) prepareDir() error {
	dir := s.config.Dir
	var made []string
	for p := dir; ; p = filepath.Dir(p) {
		if _, err := os.Stat(p); err == nil || p == filepath.Dir(p) {
			break
		}
		made = append(made, p)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	if s.account == nil {
		return nil
	}
	// Root's umask may be a careful one.
	for _, p := range made {
		if err := os.Chmod(p, 0o755); err != nil {
			return fmt.Errorf("postgres: %w", err)
		}
	}
	if err := s.account.reaches(filepath.Dir(dir)); err != nil {
		return fmt.Errorf("%w: choose another directory, or allow it with chmod o+x", err)
	}
	if err := os.Chown(dir, s.account.uid, s.account.gid); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	return nil
}

// patience is how long a start waits for another program to leave the directory.
const patience = 5 * time.Second

// lockDir keeps others out of the directory: two that start at once would make
// the same cluster, each in the other's way. The lock ends with this program,
// however that ends.
func (s *Server) lockDir(ctx context.Context) error {
	f, err := os.OpenFile(filepath.Join(s.config.Dir, "lock"), os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	for deadline := time.Now().Add(patience); ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			s.lock = f
			return nil
		}
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case !errors.Is(err, syscall.EWOULDBLOCK):
			err = fmt.Errorf("postgres: lock of %s: %w", s.config.Dir, err)
		case time.Now().After(deadline):
			who := "another program"
			if pid, err := s.readPID(); err == nil {
				who = fmt.Sprintf("process %d", pid)
			}
			err = fmt.Errorf("postgres: %w: %s serves %s: stop it, or choose another directory", ErrRunning, who, s.config.Dir)
		default:
			select {
			case <-ctx.Done():
				err = fmt.Errorf("postgres: %w", ctx.Err())
			case <-time.After(100 * time.Millisecond):
				continue
			}
		}
		_ = f.Close()
		return err
	}
}

// loadPasswords reads the passwords of the cluster, and adds what is missing.
// The file belongs to whoever runs this program, not to the server.
func (s *Server) loadPasswords(context.Context) error {
	s.passwords = map[string]string{}
	if s.config.Trust {
		return nil
	}
	name := filepath.Join(s.config.Dir, "passwords")
	b, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("postgres: %w", err)
	}
	lines := bufio.NewScanner(strings.NewReader(string(b)))
	for lines.Scan() {
		if role, password, ok := strings.Cut(lines.Text(), "="); ok {
			s.passwords[role] = password
		}
	}
	if s.passwords[Admin] == "" && isCluster(s.data()) {
		return fmt.Errorf("postgres: %s does not hold the password of the cluster in %s: bring the file back, or choose another directory", name, s.config.Dir)
	}
	var added strings.Builder
	for _, role := range append([]string{Admin}, s.config.Roles...) {
		if s.passwords[role] == "" {
			s.passwords[role] = rand.Text()
			fmt.Fprintf(&added, "%s=%s\n", role, s.passwords[role])
		}
	}
	if added.Len() == 0 {
		return nil
	}
	return writeFile(name, append(b, added.String()...), 0o600)
}

// writeFile replaces a file at once: a reader finds the old or the new.
func writeFile(name string, b []byte, mode fs.FileMode) error {
	tmp := name + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("postgres: %w", err)
	}
	// Root writes into a directory that another user owns: what that one has put
	// there in the meantime is not followed.
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	if err := os.Rename(tmp, name); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	return nil
}

func isCluster(data string) bool {
	_, err := os.Stat(filepath.Join(data, "PG_VERSION"))
	return err == nil
}

// clusterVersion returns the major version that made the cluster, 0 where there is none.
func clusterVersion(data string) int {
	b, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if err != nil {
		return 0
	}
	v, _ := strconv.Atoi(strings.TrimSpace(string(b))) // another number is refused later
	return v
}

// makeCluster makes the cluster, or checks that the one there is of our version.
// A cluster is whole or not there: it is made beside its place and moved.
func (s *Server) makeCluster(ctx context.Context) error {
	data := s.data()
	if b, err := os.ReadFile(filepath.Join(data, "PG_VERSION")); err == nil {
		if v := strings.TrimSpace(string(b)); v != strconv.Itoa(s.bin.Version) {
			return fmt.Errorf("postgres: the cluster in %s was made by PostgreSQL %s, but %s is version %d: set %s to the binaries of version %s, or choose another directory",
				s.config.Dir, v, s.bin.Dir, s.bin.Version, envBin, v)
		}
		return nil
	}
	tmp := data + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	args := []string{
		"--pgdata=" + tmp, "--username=" + Admin, "--encoding=UTF8", "--locale=C", "--no-instructions",
	}
	if s.config.Settings["fsync"] == "off" {
		args = append(args, "--no-sync")
	}
	if s.config.Trust {
		args = append(args, "--auth=trust")
	} else {
		// The server's user has to read it, and nobody else may.
		pw := filepath.Join(s.config.Dir, "initdb.password")
		if err := writeFile(pw, []byte(s.passwords[Admin]+"\n"), 0o600); err != nil {
			return err
		}
		defer func() { _ = os.Remove(pw) }()
		if s.account != nil {
			if err := os.Lchown(pw, s.account.uid, s.account.gid); err != nil {
				return fmt.Errorf("postgres: %w", err)
			}
		}
		args = append(args, "--auth=scram-sha-256", "--pwfile="+pw)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin.Dir, "initdb"), args...)
	cmd.Dir = s.config.Dir
	cmd.Env = environment()
	cmd.SysProcAttr = sysProcAttr(s.account)
	if out, err := cmd.CombinedOutput(); err != nil {
		_ = os.RemoveAll(tmp)
		return fmt.Errorf("postgres: initdb: %w: %s", err, lastLines(string(out), 3))
	}
	if err := os.Rename(tmp, data); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	return nil
}

// environment is ours without what would change how the server behaves.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(s string) bool {
		return strings.HasPrefix(s, "PG") || strings.HasPrefix(s, "LC_") || strings.HasPrefix(s, "LANG")
	})
}

// checkPID looks at what an earlier server left. One that is shutting down,
// because the program that ran it has died, is waited for.
func (s *Server) checkPID(ctx context.Context) error {
	name := filepath.Join(s.data(), "postmaster.pid")
	for deadline := time.Now().Add(patience); ; {
		pid, err := s.readPID()
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case errors.Is(err, errNoPID):
			return nil // the server decides
		case err != nil:
			return fmt.Errorf("postgres: %w", err)
		case !isServer(pid, s.data()):
			// Another process has the number now, or none has. The server itself
			// still refuses when its shared memory is in use.
			if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("postgres: %w", err)
			}
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("postgres: %w: process %d serves %s: stop it, or choose another directory", ErrRunning, pid, s.config.Dir)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("postgres: %w", ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

var errNoPID = errors.New("no process in it")

// readPID returns the process that says it serves the cluster.
func (s *Server) readPID() (int, error) {
	b, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 0 {
		return 0, errNoPID
	}
	return pid, nil
}

// makeSocketDir chooses where the socket is: beside the cluster when the path is
// short enough for a socket's address.
func (s *Server) makeSocketDir(context.Context) error {
	dir := filepath.Join(s.config.Dir, "run")
	if len(filepath.Join(dir, ".s.PGSQL.65535")) > maxSocketPath {
		tmp := os.TempDir()
		if len(tmp) > 60 || s.account != nil {
			tmp = "/tmp" // our own may be out of the server's reach
		}
		var err error
		if dir, err = os.MkdirTemp(tmp, "flowtally-"); err != nil {
			return fmt.Errorf("postgres: %w", err)
		}
		s.socketTmp = true
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	s.socketDir = dir
	if s.account != nil {
		if err := os.Chown(dir, s.account.uid, s.account.gid); err != nil {
			return fmt.Errorf("postgres: %w", err)
		}
	}
	return nil
}

// leave gives the directory to whoever comes next.
func (s *Server) leave() {
	if s.socketTmp {
		_ = os.RemoveAll(s.socketDir)
	}
	_ = s.lock.Close() // it may be closed
}

// choosePort settles the port. That it is free now does not keep it free: the
// server's own words tell when somebody was faster.
func (s *Server) choosePort(context.Context) error {
	if s.config.Port == NoPort {
		s.port = 5432 // the socket's name has a number all the same
		return nil
	}
	file := filepath.Join(s.config.Dir, "port")
	want := s.config.Port
	if want == 0 {
		if b, err := os.ReadFile(file); err == nil {
			want, _ = strconv.Atoi(strings.TrimSpace(string(b)))
		}
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(want)))
	if err != nil && s.config.Port == 0 {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		return fmt.Errorf("postgres: port %d is taken: choose another one: %w", want, err)
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	return writeFile(file, []byte(strconv.Itoa(s.port)+"\n"), 0o644)
}

// run starts the server and waits until it takes connections.
func (s *Server) run(ctx context.Context) error {
	log, err := os.OpenFile(s.Log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	defer log.Close()
	began, err := log.Seek(0, io.SeekEnd)
	if err == nil && began > 8<<20 {
		began, err = 0, log.Truncate(0)
	}
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}

	// Modest in memory, generous in checkpoints: what it does all day is to take
	// rows and to read them back in bulk. Compiled plans cost more than they save
	// on questions of this size.
	settings := map[string]string{
		"unix_socket_directories":        s.socketDir,
		"unix_socket_permissions":        "0700",
		"port":                           strconv.Itoa(s.port),
		"listen_addresses":               "127.0.0.1",
		"password_encryption":            "scram-sha-256",
		"shared_buffers":                 "256MB",
		"work_mem":                       "32MB",
		"maintenance_work_mem":           "128MB",
		"max_wal_size":                   "2GB",
		"wal_compression":                "on",
		"checkpoint_timeout":             "15min",
		"max_locks_per_transaction":      "256", // a question may touch hundreds of partitions
		"jit":                            "off",
		"timezone":                       "UTC",
		"log_timezone":                   "UTC",
		"logging_collector":              "off",
		"log_destination":                "stderr",
		"max_connections":                "60",
		"restart_after_crash":            "on",
		"wal_level":                      "minimal",
		"max_wal_senders":                "0",
		"default_toast_compression":      "pglz",
		"track_io_timing":                "off",
		"log_checkpoints":                "off",
		"enable_partitionwise_aggregate": "off",
	}
	if s.config.Port == NoPort {
		settings["listen_addresses"] = ""
	}
	for k, v := range s.config.Settings {
		settings[k] = v
	}
	args := []string{"-D", s.data()}
	for _, k := range sortedKeys(settings) {
		args = append(args, "-c", k+"="+settings[k])
	}
	s.cmd = exec.Command(filepath.Join(s.bin.Dir, "postgres"), args...)
	s.cmd.Dir = s.config.Dir
	s.cmd.Env = environment()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = sysProcAttr(s.account)
	s.done = make(chan struct{})
	started := make(chan error, 1)
	go s.wait(started)
	if err := <-started; err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	for {
		select {
		case <-s.done:
			return fmt.Errorf("postgres: the server did not start: %s", s.logTail(began))
		case <-ctx.Done():
			_ = s.cmd.Process.Signal(syscall.SIGQUIT)
			<-s.done
			return fmt.Errorf("postgres: the server was not ready in time: %w: %s", ctx.Err(), s.logTail(began))
		case <-time.After(20 * time.Millisecond):
		}
		if s.ready() {
			return nil
		}
	}
}

// wait runs the server until it ends. The thread that starts it stays locked for
// as long, because the kernel's promise to end the server is about the thread.
func (s *Server) wait(started chan<- error) {
	lockThread()
	err := s.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	_ = s.cmd.Wait() // how it ended is in its log
	close(s.done)
}

// ready reports whether the server says so in the eighth line of its own file.
func (s *Server) ready() bool {
	b, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return false
	}
	lines := strings.Split(string(b), "\n")
	return len(lines) > 7 && strings.TrimSpace(lines[0]) == strconv.Itoa(s.PID()) && strings.TrimSpace(lines[7]) == "ready"
}

// logTail returns what the server wrote last, from offset on, in one line.
func (s *Server) logTail(offset int64) string {
	b, err := os.ReadFile(s.Log())
	if err != nil || int64(len(b)) <= offset {
		return "it wrote nothing into " + s.Log()
	}
	return lastLines(string(b[offset:]), 4) + " (" + s.Log() + ")"
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, " | ")
}

// makeDatabase makes the database unless it is there.
func (s *Server) makeDatabase(ctx context.Context) error {
	u, err := pgx.ParseConfig(s.SocketDSN(Admin))
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	u.Database = "postgres"
	conn, err := pgx.ConnectConfig(ctx, u)
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var there bool
	err = conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", s.config.Database).Scan(&there)
	if err == nil && !there {
		_, err = conn.Exec(ctx, "create database "+pgx.Identifier{s.config.Database}.Sanitize())
	}
	if err != nil {
		return fmt.Errorf("postgres: database %s: %w", s.config.Database, err)
	}
	// The server's own databases let every role in, to make temporary tables and
	// large objects there that it may not make in ours.
	if _, err := conn.Exec(ctx, "revoke all on database postgres, template1 from public"); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	return nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
