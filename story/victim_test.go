package story

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"flowtally/collector"
	"flowtally/service"
)

// The test binary is also the collector that the test kills: with this variable
// it receives for the database that it names, with the spool in the directory of
// the other.
const (
	envKilled      = "FLOWTALLY_KILL_TEST_DATABASE"
	envKilledSpool = "FLOWTALLY_KILL_TEST_SPOOL"
	envKilledAge   = "FLOWTALLY_KILL_TEST_BATCH_AGE" // how long a batch may take to fill
)

func TestMain(m *testing.M) {
	if dsn := os.Getenv(envKilled); dsn != "" {
		os.Exit(collectUntilKilled(dsn, os.Getenv(envKilledSpool)))
	}
	os.Exit(m.Run())
}

// collectUntilKilled is a collector as the command makes one. It prints its
// address and ends in order with its standard input.
func collectUntilKilled(dsn, spool string) int {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	age, err := time.ParseDuration(os.Getenv(envKilledAge))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	err = service.Run(ctx, service.Config{
		DSN: dsn, Spool: spool, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Collector: collector.Config{
			Listen: []string{"127.0.0.1:0"}, Sockets: 1, BatchAge: age,
			Ready: func(a []netip.AddrPort) { fmt.Println(a[0]) },
		},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// victim is a collector that runs as a process of its own.
type victim struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	addr  netip.AddrPort
}

func startVictim(t *testing.T, dsn, spool string, age time.Duration, log io.Writer) *victim {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), envKilled+"="+dsn, envKilledSpool+"="+spool, envKilledAge+"="+age.String())
	cmd.Stderr = log
	stdin, err := cmd.StdinPipe() // it ends with this process, however that ends
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	v := &victim{cmd: cmd, stdin: stdin}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err == nil {
		v.addr, err = netip.ParseAddrPort(strings.TrimSpace(line))
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatalf("the collector did not start: %v", err)
	}
	return v
}

// kill ends it without a word; stop lets it write what it has.
func (v *victim) kill() {
	_ = v.cmd.Process.Signal(syscall.SIGKILL)
	_ = v.cmd.Wait()
	_ = v.stdin.Close()
}

func (v *victim) stop(t *testing.T) {
	t.Helper()
	_ = v.stdin.Close()
	late := time.AfterFunc(time.Minute, func() { _ = v.cmd.Process.Kill() })
	defer late.Stop()
	if err := v.cmd.Wait(); err != nil {
		t.Errorf("the collector did not end in order: %v", err)
	}
}

// lockedWriter keeps the last of what several write.
type lockedWriter struct {
	mu   sync.Mutex
	text []byte
}

func (w *lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, b...)
	if n := len(w.text) - 64<<10; n > 0 {
		w.text = append(w.text[:0], w.text[n:]...)
	}
	return len(b), nil
}

func (w *lockedWriter) tail() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.text)
}
