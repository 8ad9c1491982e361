package exporter

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"flowtally/netflow"
)

// TestStatus: a client sees statistics and flows of a running exporter, ends
// flows, asks for templates and stops it; only the owner may.
func TestStatus(t *testing.T) {
	dir, err := os.MkdirTemp("", "s") // paths of sockets are short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "status")
	c := listen(t)
	source := newScript()
	source.live = true
	for i := range 30 {
		source.frames = append(source.frames, frame{at: time.Now(), data: ethernet("10.0.0.1", "10.0.0.2", uint16(1000+i), 53, 10)})
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var control Control
	status := &Status{Path: path, Control: &control, Meter: small, Shutdown: cancel}
	ask := func(command string) (string, error) {
		var b bytes.Buffer
		err := AskStatus(context.Background(), path, command, &b)
		return b.String(), err
	}
	if _, err := ask("statistics"); err == nil || !strings.Contains(err.Error(), "no exporter answers") {
		t.Errorf("before: %v", err)
	}
	if err := status.Listen(ctx); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := (&Status{Path: path}).Listen(ctx); err == nil {
		t.Error("two listen at one path")
	}
	if _, err := ask("expire-all"); err == nil || !strings.Contains(err.Error(), "not running") {
		t.Errorf("before Run: %v", err)
	}
	done := make(chan Summary)
	go func() {
		s, _ := Run(ctx, Config{Source: source, To: []string{c.addr()}, Version: netflow.IPFIX, Live: true, Meter: small, Control: &control})
		done <- s
	}()
	lines := func(command string) int {
		text, _ := ask(command)
		return strings.Count(text, "\n")
	}
	for i := 0; lines("dump-flows") != 30; i++ {
		if i > 1000 {
			t.Fatal("the flows do not live")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if text, err := ask("dump-flows"); err != nil || !strings.Contains(text, "udp [10.0.0.1]:1029 > [10.0.0.2]:53 if 0 packets 1 bytes 38") {
		t.Errorf("%v\n%s", err, text)
	}
	for _, command := range []string{"send-templates", "expire-all"} {
		if text, err := ask(command); err != nil || text != "" {
			t.Errorf("%s: %q, %v", command, text, err)
		}
	}
	text, err := ask("statistics")
	if err != nil || !strings.Contains(text, "packets metered") || !strings.Contains(strings.Join(strings.Fields(text), " "), "udp 30 30 1140 38 1") {
		t.Errorf("%v\n%s", err, text)
	}
	if text, err := ask("timeouts"); err != nil || !strings.Contains(text, "5m0s") {
		t.Errorf("%v\n%s", err, text)
	}
	if text, err := ask("help"); err != nil || strings.Count(text, "\n") != len(statusCommands) {
		t.Errorf("%v\n%s", err, text)
	}
	if _, err := ask("delete-all"); err == nil || !strings.Contains(err.Error(), "no command") {
		t.Errorf("unknown: %v", err)
	}
	if _, err := ask("shutdown"); err != nil {
		t.Error(err)
	}
	s := <-done
	balance(t, s)
	if recs := c.wait(t, s.Messages); len(recs) != 30 {
		t.Errorf("%d records came", len(recs))
	}
}

// TestStatusTakesOverWhatWasLeftBehind: a socket that nobody answers at is
// replaced, another file is not.
func TestStatusTakesOverWhatWasLeftBehind(t *testing.T) {
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "status")
	for range 2 {
		ctx, cancel := context.WithCancel(context.Background())
		if err := (&Status{Path: path, Control: &Control{}}).Listen(ctx); err != nil {
			t.Fatal(err)
		}
		// As kill -9 leaves it: the name stays.
		if err := os.Link(path, path+".left"); err != nil {
			t.Fatal(err)
		}
		cancel()
		for i := 0; ; i++ {
			if _, err := os.Lstat(path); err != nil {
				break
			}
			if i > 1000 {
				t.Fatal("the name stays")
			}
			time.Sleep(time.Millisecond)
		}
		if err := os.Rename(path+".left", path); err != nil {
			t.Fatal(err)
		}
	}
	other := filepath.Join(dir, "file")
	if err := os.WriteFile(other, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (&Status{Path: other}).Listen(context.Background()); err == nil {
		t.Error("a file was replaced by a socket")
	}
}
