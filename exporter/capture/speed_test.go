package capture

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"time"
)

func TestParseSpeed(t *testing.T) {
	for s, want := range map[string]float64{"max": 0, "1x": 1, "10x": 10, "0.5x": 0.5, "1e3x": 1000} {
		if got, err := ParseSpeed(s); got != want || err != nil {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "x", "10", "-1x", "0x", "infx", "nanx", "fast", "1e300x", "1 x"} {
		if got, err := ParseSpeed(s); err == nil {
			t.Errorf("%q is %v", s, got)
		}
	}
}

// spaced is a capture of packets at the given milliseconds after its first.
func spaced(t *testing.T, ms ...uint32) Source {
	t.Helper()
	file := header(little, micro, 2, 4, 65535, 1)
	for _, at := range ms {
		file = append(file, packetRecord(little, second+at/1000, at%1000*1000, "one")...)
	}
	s, err := NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Of a packet of the file that is due at t, none comes before t on the clock, and
// none is left out; a clock that is late gets all that is due at once.
func TestPaced(t *testing.T) {
	clock := time.Unix(5, 0)
	p := Paced(spaced(t, 0, 10, 20, 15, 400, 5000, 3600_000), 10).(*paced)
	p.now = func() time.Time { return clock }
	dst := make([]Packet, 10)
	for i, step := range []struct {
		at   time.Duration // on the clock
		want int
	}{{0, 1}, {0, 0}, {time.Millisecond, 1}, {2 * time.Millisecond, 2}, {39 * time.Millisecond, 0}, {time.Second, 2}, {359 * time.Second, 0}, {time.Hour, 1}} {
		clock = time.Unix(5, 0).Add(step.at)
		n, err := p.ReadBatch(dst)
		if n != step.want || (err == ErrTimeout) != (n == 0) || err != nil && err != ErrTimeout {
			t.Errorf("step %d, at %v: %d packets, %v, want %d", i, step.at, n, err, step.want)
		}
	}
	if n, err := p.ReadBatch(dst); n != 0 || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
	if p.LinkType() != 1 {
		t.Errorf("link type %d", p.LinkType())
	}
}

// Nothing holds a capture back at the greatest speed.
func TestPacedMax(t *testing.T) {
	s := spaced(t, 0, 1e9)
	if Paced(s, 0) != s {
		t.Error("a Source in front of the Source")
	}
}

// Close ends a wait.
func TestPacedClose(t *testing.T) {
	path := t.TempDir() + "/file"
	if err := os.WriteFile(path, join(header(little, micro, 2, 4, 65535, 1), packetRecord(little, second, 0, "one"), packetRecord(little, 2*second, 0, "two")), 0o600); err != nil {
		t.Fatal(err)
	}
	src, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := Paced(src, 1)
	if data, _, err := s.ZeroCopyReadPacketData(); string(data) != "one" || err != nil {
		t.Fatalf("%q, %v", data, err)
	}
	done := make(chan error)
	go func() {
		for {
			if _, _, err := s.ZeroCopyReadPacketData(); err != ErrTimeout {
				done <- err
				return
			}
		}
	}()
	s.Close()
	if err := <-done; !errors.Is(err, os.ErrClosed) && err != io.EOF {
		t.Errorf("after Close: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// The first packet is moved to the time given, and every other as far.
func TestShifted(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 678, time.UTC)
	s := Shifted(spaced(t, 100, 250, 50), now)
	for _, want := range []time.Duration{0, 150 * time.Millisecond, -50 * time.Millisecond} {
		if _, ci, err := s.ZeroCopyReadPacketData(); err != nil || ci.Timestamp.Sub(now) != want {
			t.Errorf("%v from the first, %v, want %v", ci.Timestamp.Sub(now), err, want)
		}
	}
	if _, _, err := s.ZeroCopyReadPacketData(); err != io.EOF {
		t.Error(err)
	}
}
