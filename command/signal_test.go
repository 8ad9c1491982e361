package command

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"flowtally/exporter"
)

// mainVariable makes the test's own program run Main with its arguments.
const mainVariable = "FLOWTALLY_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(mainVariable) != "" {
		os.Exit(Main(""))
	}
	os.Exit(m.Run())
}

// onePacket is a capture of one UDP packet.
var onePacket = append(append([]byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 101, 0, 0, 0},
	0, 0x80, 0x55, 0x65, 0, 0, 0, 0, 28, 0, 0, 0, 28, 0, 0, 0),
	0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 2, 0, 8, 0, 0)

// A closed terminal is a stop like any other: what is in the cache is sent, also when
// whoever read the log is gone with the terminal, or went before. A program that was told
// not to mind (nohup) does not.
func TestClosedTerminal(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// What is caught here is neither caught nor ignored by a child, so that the test holds
	// under nohup, too.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	defer signal.Stop(caught)
	for _, tt := range []struct {
		name   string
		signal syscall.Signal
		nohup  bool
	}{{"hangup", syscall.SIGHUP, false}, {"terminate", syscall.SIGTERM, false}, {"nohup", syscall.SIGHUP, true}, {"log", 0, false}} {
		t.Run(tt.name, func(t *testing.T) {
			args := []string{self, "exporter", "--read", "-", "--to", conn.LocalAddr().String(), "--json"}
			cmd := exec.Command(args[0], args[1:]...)
			if tt.nohup {
				cmd = exec.Command("sh", "-c", `trap "" HUP; exec "$@"`, "sh")
				cmd.Args = append(cmd.Args, args...)
			}
			cmd.Env = append(os.Environ(), mainVariable+"=1")
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			cmd.Stdout = &out
			// The log goes to somebody who will be gone, too.
			log, logEnd, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd.Stderr = logEnd
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			logEnd.Close()
			if _, err := in.Write(onePacket); err != nil {
				t.Fatal(err)
			}
			said := make([]byte, 4096)
			n, _ := io.ReadAtLeast(log, said, len("level=INFO msg=exporting"))
			if !strings.Contains(string(said[:n]), "exporting to=["+conn.LocalAddr().String()+"]") {
				t.Errorf("it said %s", said[:n])
			}
			if !tt.nohup {
				log.Close()
			} else {
				go io.Copy(io.Discard, log)
			}
			time.Sleep(200 * time.Millisecond) // the packet is read
			if err := cmd.Process.Signal(tt.signal); err != nil {
				t.Fatal(err)
			}
			if tt.signal == 0 {
				in.Close()
			}
			if tt.nohup {
				time.Sleep(200 * time.Millisecond)
				if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
					t.Errorf("it minded: %v", err)
				}
				in.Close() // the end of the capture
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("it ended with %v", err)
			}
			var s exporter.Summary
			if err := json.Unmarshal(out.Bytes(), &s); err != nil || s.Flows != 1 || s.Records != 1 || s.NotSent != 0 {
				t.Errorf("%v, %s", err, out.String())
			}
		})
	}
}

// Whoever reads answers and has enough ends the program, as any other.
func TestAnswersToNobody(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
	defer writer.Close()
	cmd := exec.Command(self, "exporter", "--help")
	cmd.Env = append(os.Environ(), mainVariable+"=1")
	cmd.Stdout = writer
	err = cmd.Run()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGPIPE {
		t.Errorf("it ended with %v, want the signal of a broken pipe", err)
	}
}
