package story

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// setup is deploy/setup.sh on a machine that lacks npm, where nothing is really
// installed: whatever it would run as root is noted, and then npm is there.
type setup struct {
	uid      int
	sudo     string // "", "free" or "password"
	mode     string // FLOWTALLY_SETUP
	typed    string // on a terminal; "-" for no terminal
	upgrades string // what apt would upgrade for it
}

// run returns what it says, what it ran as root, and its exit status.
func (s setup) run(t *testing.T) (said, did string, status int) {
	t.Helper()
	dir := t.TempDir()
	bin, done := filepath.Join(dir, "bin"), filepath.Join(dir, "did")
	for _, d := range []string{bin, filepath.Join(dir, "deploy"), filepath.Join(dir, "tmp")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script, err := os.ReadFile(filepath.Join(root, "deploy/setup.sh"))
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, "deploy/setup.sh"), string(script))
	for _, tool := range []string{"dirname", "mktemp", "rm", "sed", "awk", "cat", "tail", "ls", "uname", "find", "realpath", "mkdir", "cut", "chmod"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Skipf("needs %s", tool)
		}
		if err := os.Symlink(path, filepath.Join(bin, tool)); err != nil {
			t.Fatal(err)
		}
	}
	// The new npm is an old friend to Vite, so that nothing has to be fetched.
	arrive := fmt.Sprintf("printf '#!/bin/sh\\necho 11.0.0\\n' >%[1]s/npm; printf '#!/bin/sh\\nexit 0\\n' >%[1]s/node; chmod 755 %[1]s/npm %[1]s/node", bin)
	asRoot := func(words string) string {
		return fmt.Sprintf("#!/bin/sh\necho \"%s$*\" >>%s\ncase \"$*\" in *as-root*) %s ;; esac\n", words, done, arrive)
	}
	write(filepath.Join(bin, "id"), fmt.Sprintf("#!/bin/sh\necho %d\n", s.uid))
	write(filepath.Join(bin, "go"), "#!/bin/sh\necho go1.26.0\n")
	write(filepath.Join(bin, "make"), "#!/bin/sh\nexit 0\n")
	write(filepath.Join(bin, "bash"), asRoot("bash "))
	simulated := ""
	if s.upgrades != "" {
		simulated = "echo 'Inst " + s.upgrades + " [1.0] (1.1 Debian:13 [amd64])'; "
	}
	write(filepath.Join(bin, "apt-get"), fmt.Sprintf("#!/bin/sh\ncase \"$*\" in *-s\\ install*) %secho 'Inst npm (9.2 Debian:12 [all])' ;; *) echo \"apt-get $*\" >>%s ;; esac\n", simulated, done))
	write(filepath.Join(bin, "apt-cache"), "#!/bin/sh\necho '  Candidate: 15+248'\n")
	switch s.sudo {
	case "free":
		write(filepath.Join(bin, "sudo"), asRoot("sudo "))
	case "password":
		write(filepath.Join(bin, "sudo"), "#!/bin/sh\n[ \"$1\" != -n ] || exit 1\n"+strings.TrimPrefix(asRoot("sudo "), "#!/bin/sh\n"))
	}
	server := filepath.Join(dir, "server")
	for _, name := range []string{"postgres", "initdb"} {
		if err := os.MkdirAll(server, 0o755); err != nil {
			t.Fatal(err)
		}
		write(filepath.Join(server, name), "#!/bin/sh\necho 'postgres (PostgreSQL) 15.1'\n")
	}

	// /usr/local/go is looked at, too; it has no npm.
	cmd := exec.Command("/bin/bash", filepath.Join(dir, "deploy/setup.sh"), "run")
	cmd.Env = []string{"PATH=" + bin, "HOME=" + dir, "TMPDIR=" + filepath.Join(dir, "tmp"), "FLOWTALLY_PG_BIN=" + server, "SSL_CERT_FILE=x"}
	if s.mode != "" {
		cmd.Env = append(cmd.Env, "FLOWTALLY_SETUP="+s.mode)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if s.typed != "-" {
		keyboard, terminal := pty(t)
		if _, err := keyboard.WriteString(s.typed + "\n"); err != nil {
			t.Fatal(err)
		}
		cmd.Stdin = terminal
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "tmp")); len(left) > 0 {
		t.Errorf("it leaves %v behind", left)
	}
	b, _ := os.ReadFile(done)
	return out.String(), string(b), cmd.ProcessState.ExitCode()
}

// pty returns both ends of a terminal.
func pty(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { keyboard.Close() })
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return keyboard, terminal
}

// TestSetupAsksNothing: who may install is not asked, and told in one line; only a sudo
// that wants a password asks, and without a terminal to ask on there is a line to type.
func TestSetupAsksNothing(t *testing.T) {
	line := "apt-get install --no-install-recommends npm"
	for _, tt := range []struct {
		name     string
		setup    setup
		installs bool
		says     string
	}{
		{"root", setup{uid: 0, typed: "-"}, true, "setup: installing npm with apt\n"},
		{"root at a terminal", setup{uid: 0}, true, "setup: installing npm with apt\n"},
		{"sudo without password", setup{uid: 1000, sudo: "free", typed: "-"}, true, "setup: installing npm with sudo apt\n"},
		{"sudo with password at a terminal", setup{uid: 1000, sudo: "password"}, true, "setup: installing npm with sudo apt\n"},
		{"sudo with password", setup{uid: 1000, sudo: "password", typed: "-"}, false,
			"setup: npm missing, and sudo wants a password and has no terminal to ask on: run sudo " + line + " and try again\n"},
		{"no sudo", setup{uid: 1000, typed: "-"}, false, "setup: npm missing, and this machine has no sudo: run sudo " + line + " and try again\n"},
		{"ask, yes", setup{uid: 0, mode: "ask", typed: "y"}, true, "setup: install npm with apt-get? [Y/n] "},
		{"ask, no", setup{uid: 0, mode: "ask", typed: "n"}, false,
			"setup: install npm with apt-get? [Y/n] setup: npm missing, and that was not wanted: run " + line + " and try again\n"},
		{"ask, no terminal", setup{uid: 0, mode: "ask", typed: "-"}, false,
			"setup: npm missing, and FLOWTALLY_SETUP=ask has no terminal to ask on: run " + line + " and try again\n"},
		{"never", setup{uid: 0, mode: "never"}, false, "setup: npm missing, and FLOWTALLY_SETUP=never: run " + line + " and try again\n"},
		{"a wrong value", setup{uid: 0, mode: "yes"}, false, "setup: FLOWTALLY_SETUP=yes: want ask or never, or nothing at all\n"},
		{"an upgrade", setup{uid: 0, typed: "-", upgrades: "libc6"}, false,
			"setup: installing npm with apt\nsetup: apt could install npm only by upgrading or removing libc6: run " + line + " and try again, if that may be\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			said, did, status := tt.setup.run(t)
			if said != tt.says {
				t.Errorf("it says %q, want %q", said, tt.says)
			}
			if installed := strings.Contains(did, "as-root npm"); installed != tt.installs || (status == 0) != tt.installs {
				t.Errorf("status %d; as root it ran %q", status, did)
			}
			if !tt.installs && tt.setup.upgrades == "" && did != "" {
				t.Errorf("it ran %q all the same", did)
			}
			if tt.installs && tt.setup.uid != 0 && !strings.Contains(did, "sudo bash deploy/setup.sh as-root") {
				t.Errorf("it did not use sudo: %q", did)
			}
		})
	}
}

// TestSetupLooksBeforeItBuilds: what would keep the lab from starting is said before
// minutes go into a build.
func TestSetupLooksBeforeItBuilds(t *testing.T) {
	check := func(env ...string) string {
		t.Helper()
		cmd := exec.Command("deploy/setup.sh", "check")
		cmd.Dir = root
		cmd.Env = append(os.Environ(), append([]string{"FLOWTALLY_LAB_WEB=127.0.0.1:0", "FLOWTALLY_LAB_LISTEN=127.0.0.1:0"}, env...)...)
		out, err := cmd.CombinedOutput()
		if (err != nil) != (len(out) > 0) {
			t.Errorf("%v: %v, %s", env, err, out)
		}
		return string(out)
	}
	dir, err := os.MkdirTemp("/tmp", "flowtally-setup-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if said := check("FLOWTALLY_LAB_DATA=" + filepath.Join(dir, "a", "b")); said != "" {
		t.Errorf("a good directory: %s", said)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if said := check("FLOWTALLY_LAB_DATA=" + filepath.Join(file, "x")); !strings.Contains(said, file+" is no directory") {
		t.Errorf("a file for a directory: %q", said)
	}
	if os.Geteuid() == 0 {
		closed := filepath.Join(dir, "closed")
		if err := os.Mkdir(closed, 0o700); err != nil {
			t.Fatal(err)
		}
		if said := check("FLOWTALLY_LAB_DATA=" + filepath.Join(closed, "x")); !strings.Contains(said, "another user, who cannot enter it") {
			t.Errorf("a directory that PostgreSQL cannot enter: %q", said)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if said := check("FLOWTALLY_LAB_DATA="+dir, "FLOWTALLY_LAB_WEB="+l.Addr().String()); !strings.Contains(said, "TCP "+l.Addr().String()+" is taken") {
		t.Errorf("a port in use: %q", said)
	}
	u, err := net.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	port := u.LocalAddr().String()
	port = port[strings.LastIndex(port, ":"):]
	if said := check("FLOWTALLY_LAB_DATA="+dir, "FLOWTALLY_LAB_LISTEN="+port); !strings.Contains(said, "UDP "+port+" is taken") {
		t.Errorf("a UDP port in use: %q", said)
	}
}
