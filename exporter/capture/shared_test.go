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
	f := &file{done: &counter{}}
	if f.format, err = newFormat(bytes.NewReader(b), 4<<10); err != nil {
		return 0, err
	}
	var dst [64]Packet
	for {
		n, err := f.ReadBatch(dst[:])
		if err != nil {
			return packets, err
		}
		packets += n
	}
}

// edges is where the records of a capture begin, its end, how many packets it
// has, and what reading it ends with. Of compressed ones it finds no edges.
func edges(b []byte) (at []int, packets int, err error) {
	f := &file{done: &counter{}}
	if f.format, err = newFormat(bytes.NewReader(b), 4<<10); err != nil {
		return nil, 0, err
	}
	dst := make([]Packet, 1)
	for {
		offset := int64(0)
		switch format := f.format.(type) {
		case *pcap:
			offset = format.w.offset()
		case *pcapng:
			offset = format.w.offset() + format.skip
		}
		if offset <= int64(len(b)) {
			at = append(at, int(offset))
		}
		n, err := f.ReadBatch(dst)
		if err != nil {
			return at, packets, err
		}
		packets += n
	}
}

// Every capture of up to 16 KiB cut at every length and every larger one cut at
// the edges of its records and an octet beside them, the malformed ones among
// them: the packets before the cut come, and then an end or an error that is one
// of the two that are promised. Ordinary runs take a sample of the cuts.
func TestSharedCutAnywhere(t *testing.T) {
	const small = 16 << 10
	budget := 120 // cuts of a file
	torture := os.Getenv("FLOWTALLY_TORTURE") != ""
	if testing.Short() {
		budget = 30
	}
	cuts := 0
	for _, path := range shared(t) {
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at, whole, wholeErr := edges(file)
		if wholeErr != io.EOF && !errors.Is(wholeErr, ErrFormat) && !errors.Is(wholeErr, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", path, wholeErr)
		}
		var lengths []int
		if len(file) <= small {
			for n := range file {
				lengths = append(lengths, n)
			}
		} else {
			for _, n := range at {
				for _, n := range []int{n - 1, n, n + 1} {
					if n >= 0 && n < len(file) {
						lengths = append(lengths, n)
					}
				}
			}
		}
		// A long file takes long to read, so it is cut less often.
		step := 1 + len(lengths)/30_000 // of one capture, not all edges: it has 82,582 packets
		if !torture {
			most := max(10, min(budget, budget*small/max(1, len(file))))
			step = max(1, (len(lengths)+most-1)/most)
		}
		last := 0
		for i := 0; i < len(lengths); i += step {
			// Not always the same phase of a record.
			n := lengths[min(len(lengths)-1, i+i/step%step)]
			cuts++
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
	t.Logf("%d cuts", cuts)
}

// No capture, whole or cut, makes the reader allocate more than its buffers: what
// it says of itself is not believed.
func TestSharedThrift(t *testing.T) {
	for _, path := range shared(t) {
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(file) > 1<<20 {
			continue
		}
		thrift(t, file)
		thrift(t, file[:len(file)*2/3])
	}
}
