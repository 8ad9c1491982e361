package capture

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/google/gopacket"
)

const (
	// MaxPacket is the longest packet, in captured octets, that is read from a
	// file; a longer one is an error. It is libpcap's limit.
	MaxPacket = 262144

	// fileBuffer is how much of a file is read at once: little enough to stay in
	// a core's own cache until it is looked at.
	fileBuffer = 256 << 10
)

// ErrFormat says that a capture is not one that can be read: neither pcap nor
// pcapng, of an unknown version, or contradicting itself.
var ErrFormat = errors.New("not a capture that can be read")

// formatError is an ErrFormat with a sentence of its own.
type formatError string

func (e formatError) Error() string        { return string(e) }
func (e formatError) Is(target error) bool { return target == ErrFormat }

func formatErrorf(format string, args ...any) error {
	return formatError(fmt.Sprintf(format, args...))
}

// OpenFile opens a capture file, pcap or pcapng, plain or packed by gzip,
// zstd, xz or bzip2; "-" is standard input. See NewReader for what its errors say.
//
// Where standard input is a pipe, nothing is read before the first packet is asked
// for, and what is wrong with its beginning is an error of that read: whoever
// writes may have nothing to say for hours, and Close wakes a read, but nothing
// wakes an OpenFile.
func OpenFile(name string) (Source, error) {
	f, label := os.Stdin, "standard input"
	if name == "-" {
		if f = pollable(f); f != os.Stdin {
			return &file{label: label + ": ", done: &counter{r: f}, closer: f}, nil
		}
	} else {
		var err error
		if f, err = os.Open(name); err != nil {
			return nil, fmt.Errorf("capture: %w", err)
		}
		label = name
	}
	s, err := newFile(f, label+": ")
	if err != nil {
		f.Close()
		return nil, err
	}
	s.closer = f
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		s.total = info.Size()
	}
	return s, nil
}

// NewReader reads a capture, pcap or pcapng, plain or packed, from r, which Close
// does not close.
//
// At the end of the capture a read returns io.EOF. A capture that was cut, as one
// is whose writer died, is read up to the cut and then gives an error that is
// io.ErrUnexpectedEOF and says where: what was read is sound, and it is for the
// caller to say that it is not all. Any other error means that the file
// contradicts itself at the place the error names; nothing behind it can be
// trusted, and every further read returns the same error.
//
// Whatever r holds, less than two MiB of memory are used; where it is packed by zstd or
// xz, also what their dictionary has, 128 MiB at most.
func NewReader(r io.Reader) (Source, error) { return newFile(r, "") }

// file is a capture file: one of the two formats behind a common door. It is a
// Batcher, a Positioner and a Describer.
type file struct {
	format        // nil before the first read of a pipe
	label  string // in front of every error
	closer io.Closer
	closed atomic.Bool
	err    error // the last one, which stays
	link   uint32
	one    [1]Packet
	done   *counter
	total  int64

	mu    sync.Mutex
	names *ngNames // of a pcapng file
}

// format reads the packets of one file format.
type format interface {
	// batch fills dst with the next packets, without reading from the file for
	// any but the first, and returns how many it filled in. An error comes
	// alone; io.EOF is the end of the file.
	batch(dst []Packet) (int, error)
}

func newFile(r io.Reader, label string) (*file, error) {
	f := &file{label: label, done: &counter{r: r}}
	if err := f.begin(); err != nil {
		return nil, fmt.Errorf("capture: %s%w", label, err)
	}
	return f, nil
}

// begin finds out the format.
func (f *file) begin() (err error) {
	if f.format, err = newFormat(f.done, fileBuffer); err != nil {
		return err
	}
	switch p := f.format.(type) {
	case *pcap:
		f.link = p.link // is known before the first packet
	case *pcapng:
		f.mu.Lock()
		f.names = &p.names
		f.mu.Unlock()
	}
	return nil
}

// counter counts what is read through it.
type counter struct {
	r io.Reader
	n atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// newFormat finds out what r holds, and reads buffer octets of it at a time.
func newFormat(r io.Reader, buffer int) (format, error) {
	w := &window{r: r, buf: make([]byte, buffer)}
	err := w.fill(4)
	begin := w.rest()
	if err != nil && err != io.EOF {
		return nil, err
	}
	if p := packed(begin); p != nil {
		inside, err := p.unpack(io.MultiReader(bytes.NewReader(bytes.Clone(begin)), r), buffer)
		if err != nil {
			return nil, err
		}
		w = &window{r: inside, buf: make([]byte, buffer)}
		if err := w.fill(4); err == io.ErrUnexpectedEOF {
			return nil, fmt.Errorf("the %s data is cut before anything of it can be read: %w", p.name, err)
		} else if err != nil && err != io.EOF {
			return nil, err
		}
		begin = w.rest()
	}
	switch {
	case len(begin) == 0:
		return nil, formatError("is empty, not a pcap or pcapng file")
	case len(begin) < 4:
	case bytes.HasPrefix(begin, []byte{0x0a, 0x0d, 0x0d, 0x0a}):
		return newPcapNG(w)
	default:
		if kind, ok := pcapKinds[[4]byte(begin)]; ok {
			return newPcap(w, kind)
		}
	}
	return nil, unknownFormat(w)
}

// window is what of a file is in memory: the octets from at to end of buf.
type window struct {
	r       io.Reader
	buf     []byte
	at, end int
	before  int64 // octets of the file that came before buf
	err     error // what ended the reading
}

// rest is what is there. It stays valid until the next fill or discard.
func (w *window) rest() []byte { return w.buf[w.at:w.end] }

// offset is where in the file the window begins.
func (w *window) offset() int64 { return w.before + int64(w.at) }

// fill reads until n octets are there, and no more often than that takes: a
// capture may come through a pipe from a program that still captures.
func (w *window) fill(n int) error {
	if w.end-w.at >= n {
		return nil
	}
	w.before += int64(w.at)
	if n > len(w.buf) {
		buf := make([]byte, max(n, 2*len(w.buf)))
		w.end = copy(buf, w.buf[w.at:w.end])
		w.buf = buf
	} else {
		w.end = copy(w.buf, w.buf[w.at:w.end])
	}
	w.at = 0
	for empty := 0; w.end < n; {
		if w.err != nil {
			return w.err
		}
		var k int
		k, w.err = w.r.Read(w.buf[w.end:])
		w.end += k
		if empty++; k > 0 {
			empty = 0
		} else if empty == 100 && w.err == nil {
			w.err = io.ErrNoProgress
		}
	}
	return nil
}

// discard steps over n octets.
func (w *window) discard(n int64) error {
	for {
		k := min(n, int64(w.end-w.at))
		w.at += int(k)
		if n -= k; n == 0 {
			return nil
		}
		if err := w.fill(1); err != nil {
			return err
		}
	}
}

// unknownFormat names what br begins with, and what it is where that helps.
func unknownFormat(w *window) error {
	w.fill(8)
	begin := w.rest()[:min(8, len(w.rest()))]
	for _, k := range []struct{ magic, hint string }{
		{"\x04\x22\x4d\x18", "lz4 data: decompress it first"},
		{"\x1f\x8b", "gzip data, packed twice: decompress it first"},
		{"\x28\xb5\x2f\xfd", "zstd data, packed twice: decompress it first"},
		{"\xfd7zXZ\x00", "xz data, packed twice: decompress it first"},
		{"BZh", "bzip2 data, packed twice: decompress it first"},
		{"\x1f\x9d", "data of compress: decompress it first"},
		{"PK\x03\x04", "a zip archive: unpack it first"},
		{"snoop\x00", "a snoop capture: convert it with 'editcap -F pcap'"},
	} {
		if bytes.HasPrefix(begin, []byte(k.magic)) {
			return formatErrorf("not a pcap or pcapng file (it is %s)", k.hint)
		}
	}
	return formatErrorf("not a pcap or pcapng file (it begins with %s)", hex.EncodeToString(begin))
}

func (f *file) ZeroCopyReadPacketData() ([]byte, gopacket.CaptureInfo, error) {
	if _, err := f.ReadBatch(f.one[:]); err != nil {
		return nil, gopacket.CaptureInfo{}, err
	}
	return f.one[0].Data, f.one[0].info(), nil
}

// ReadBatch gives the packets that are in memory, and reads when there is none.
func (f *file) ReadBatch(dst []Packet) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	if len(dst) == 0 {
		return 0, nil
	}
	var n int
	err := os.ErrClosed
	if !f.closed.Load() {
		err = nil
		if f.format == nil {
			err = f.begin()
		}
		if err == nil {
			n, err = f.batch(dst)
		}
	}
	if err == nil {
		f.link = dst[n-1].Link
		return n, nil
	}
	if f.closed.Load() {
		err = os.ErrClosed
	}
	if err != io.EOF {
		err = fmt.Errorf("capture: %s%w", f.label, err)
	}
	f.err = err
	return 0, err
}

func (f *file) LinkType() uint32 { return f.link }

// Interfaces are those of a pcapng file that have a name, as far as it was read;
// all are numbered from 1 on in the order in which the file describes them.
func (f *file) Interfaces() []Interface {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.names == nil {
		return nil
	}
	f.names.mu.Lock()
	defer f.names.mu.Unlock()
	named := make([]Interface, 0, len(f.names.all))
	for _, i := range f.names.all {
		if i.Name != "" || i.Description != "" {
			named = append(named, i)
		}
	}
	return named
}

// Position is how many octets were read of how many; of a pipe nobody knows how
// many there are.
func (f *file) Position() (done, total int64) { return f.done.n.Load(), f.total }

// Stats is zero: what a capture file lost it does not say.
func (f *file) Stats() Stats { return Stats{} }

func (f *file) Close() error {
	if f.closed.Swap(true) || f.closer == nil {
		return nil
	}
	return f.closer.Close()
}

// noEOF returns err, or io.ErrUnexpectedEOF where the end came too early.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
