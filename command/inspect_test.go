package command

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// announcement is an IPFIX message with one template and one record.
func announcement() []byte {
	b := []byte{0, 10, 0, 0, 0x65, 0x53, 0xf1, 0, 0, 0, 0, 1, 0, 0, 0, 7}
	b = append(b, 0, 2, 0, 16, 1, 0, 0, 2, 0, 8, 0, 4, 0, 1, 0, 4)
	b = append(b, 1, 0, 0, 12, 10, 0, 0, 1, 0, 0, 0, 42)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

func TestInspectReadsMessagesBackToBack(t *testing.T) {
	name := filepath.Join(t.TempDir(), "export.ipfix")
	if err := os.WriteFile(name, append(announcement(), announcement()...), 0o600); err != nil {
		t.Fatal(err)
	}
	for output, want := range map[string]string{"table": "octetDeltaCount                      42", "json": `{"name":"octetDeltaCount","id":1,"value":42}`} {
		var stdout, stderr bytes.Buffer
		if status := Run(t.Context(), "", []string{"inspect", "--read", name, "--output", output}, &stdout, &stderr); status != 0 {
			t.Fatalf("status %d: %s", status, &stderr)
		}
		if n := strings.Count(stdout.String(), want); n != 2 {
			t.Errorf("%d records in\n%s", n, &stdout)
		}
	}
}

// TestInspectObeysNobody: text in a record is shown, escape sequences and all,
// and not sent to the terminal.
func TestInspectObeysNobody(t *testing.T) {
	b := []byte{0, 10, 0, 0, 0x65, 0x53, 0xf1, 0, 0, 0, 0, 1, 0, 0, 0, 7}
	b = append(b, 0, 2, 0, 12, 1, 0, 0, 1, 0, 82, 0, 8)
	b = append(b, 1, 0, 0, 12)
	b = append(b, "\x1b[2Jeth0"[:8]...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	name := filepath.Join(t.TempDir(), "export.ipfix")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if status := Run(t.Context(), "", []string{"inspect", "--read", name}, &stdout, &stderr); status != 0 {
		t.Fatalf("status %d: %s", status, &stderr)
	}
	if s := stdout.String(); strings.Contains(s, "\x1b") || !strings.Contains(s, `"\x1b[2Jeth0"`) {
		t.Errorf("%q", s)
	}
}

// TestInspectSaysWhenThereIsNothing: a file without a message is no success.
func TestInspectSaysWhenThereIsNothing(t *testing.T) {
	empty := "\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x01\x00\x00\x00"
	for content, want := range map[string]string{"": "neither a capture", "{}\n": "neither a capture", empty: "begins like NetFlow"} {
		name := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		if status := Run(t.Context(), "", []string{"inspect", "--read", name}, &stdout, &stderr); status == 0 || !strings.Contains(stderr.String(), want) || stdout.Len() > 0 {
			t.Errorf("%q: status %d, %s%s", content, status, &stdout, &stderr)
		}
	}
}

// shared is a buffer that one goroutine writes and another reads.
type shared struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestInspectListens(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var stdout, stderr shared
	done := make(chan int, 1)
	go func() {
		done <- Run(ctx, "", []string{"inspect", "--listen", "127.0.0.1:0"}, io.Writer(&stdout), io.Writer(&stderr))
	}()
	until := func(what string, so func() bool) {
		t.Helper()
		for range 3000 {
			if so() {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("waited in vain: %s\n%s%s", what, stdout.String(), stderr.String())
	}
	until("it listens", func() bool { return strings.HasSuffix(stderr.String(), "\n") })
	addr := strings.TrimSpace(strings.TrimPrefix(stderr.String(), "listening on "))
	c, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(announcement()); err != nil {
		t.Fatal(err)
	}
	until("the record is shown", func() bool { return strings.Contains(stdout.String(), "sourceIPv4Address                    10.0.0.1") })
	stop()
	if status := <-done; status != 0 {
		t.Errorf("status %d: %s", status, stderr.String())
	}
}

// A capture of messages is read as it is kept: packed.
func TestInspectReadsPackedCaptures(t *testing.T) {
	payload := announcement()
	ip := append([]byte{0x45, 0, 0, byte(28 + len(payload)), 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x27, 0x0b, 0x27, 0x0b, 0, byte(8 + len(payload)), 0, 0}, payload...)
	file := append(bytes.Clone(onePacket[:24]), 0, 0x80, 0x55, 0x65, 0, 0, 0, 0, byte(len(ip)), 0, 0, 0, byte(len(ip)), 0, 0, 0)
	var packed bytes.Buffer
	w, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(append(file, ip...)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "export") // whose name says nothing
	if err := os.WriteFile(name, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := flowtally(t, "inspect", "-r", name)
	if status != 0 || !strings.Contains(stdout, "octetDeltaCount                      42") {
		t.Errorf("status %d, %s%s", status, stdout, stderr)
	}
}
