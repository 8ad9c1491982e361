package capture

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"flowtally/lab/truth"
)

// shared returns the captures that are not part of the repository, or skips the
// test.
func shared(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(truth.Data(t, "pcap"), "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// count reads a capture to its end through small buffers, so that opening one
// costs little.
func count(b []byte) (packets int, err error) {
	f := &file{}
	if f.format, err = newFormat(bytes.NewReader(b), 4<<10); err != nil {
		return 0, err
	}
	for {
		if _, _, err := f.ZeroCopyReadPacketData(); err != nil {
			return packets, err
		}
		packets++
	}
}

// Every small capture, the malformed ones among them, cut at every length: the
// packets before the cut come, and then an end or an error that is one of the
// two that are promised.
func TestSharedCutAnywhere(t *testing.T) {
	const small = 4 << 10
	step := 1
	if testing.Short() {
		step = 13
	}
	for _, path := range shared(t) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > small {
			continue
		}
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		whole, wholeErr := count(file)
		if wholeErr != io.EOF && !errors.Is(wholeErr, ErrFormat) {
			t.Errorf("%s: %v", path, wholeErr)
		}
		last := 0
		for n := 0; n < len(file); n += step {
			got, err := count(file[:n])
			if got < last || got > whole {
				t.Errorf("%s cut at %d: %d packets, %d before, %d in all", path, n, got, last, whole)
			}
			last = got
			if err != io.EOF && !errors.Is(err, ErrFormat) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s cut at %d: %v", path, n, err)
			}
		}
	}
}
