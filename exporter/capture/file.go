package capture

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/google/gopacket"
)

const (
	// MaxPacket is the longest packet, in captured octets, that is read from a
	// file; a longer one is an error. It is libpcap's limit.
	MaxPacket = 262144

	// fileBuffer is how much of a file is read at once. It holds the largest
	// block of a pcapng file whose inside is looked at.
	fileBuffer = 256 << 10

	// firstBuffer is what pcapgo allocates for packets until a longer one comes.
	firstBuffer = 2048
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

// OpenFile opens a capture file, pcap or pcapng, plain or gzip; "-" is standard
// input. See NewReader for what its errors say.
func OpenFile(name string) (Source, error) {
	f, label := os.Stdin, "standard input"
	if name == "-" {
		f = pollable(f)
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
	return s, nil
}

// NewReader reads a capture, pcap or pcapng, plain or gzip, from r, which Close
// does not close.
//
// At the end of the capture a read returns io.EOF. A capture that was cut, as one
// is whose writer died, is read up to the cut and then gives an error that is
// io.ErrUnexpectedEOF and says where: what was read is sound, and it is for the
// caller to say that it is not all. Any other error means that the file
// contradicts itself at the place the error names; nothing behind it can be
// trusted, and every further read returns the same error.
//
// Whatever r holds, less than two MiB of memory are used.
func NewReader(r io.Reader) (Source, error) { return newFile(r, "") }

// file is a capture file: one of the two formats behind a common door.
type file struct {
	format
	label  string // in front of every error
	closer io.Closer
	closed atomic.Bool
	err    error // the last one, which stays
}

// format reads the packets of one file format.
type format interface {
	// next returns the next packet, and io.EOF at the end of the file.
	next() ([]byte, gopacket.CaptureInfo, error)
	LinkType() uint32
}

func newFile(r io.Reader, label string) (*file, error) {
	f := &file{label: label}
	var err error
	if f.format, err = newFormat(r, fileBuffer); err != nil {
		return nil, fmt.Errorf("capture: %s%w", label, err)
	}
	return f, nil
}

// newFormat finds out what r holds, and reads buffer octets of it at a time.
func newFormat(r io.Reader, buffer int) (format, error) {
	br := bufio.NewReaderSize(r, buffer)
	magic, err := br.Peek(4)
	if len(magic) >= 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", noEOF(err))
		}
		br = bufio.NewReaderSize(z, buffer)
		magic, err = br.Peek(4)
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("gzip: %w", err)
		}
	} else if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case len(magic) == 0:
		return nil, formatError("is empty, not a pcap or pcapng file")
	case len(magic) < 4:
	case bytes.Equal(magic, []byte{0x0a, 0x0d, 0x0d, 0x0a}):
		return newPcapNG(br)
	default:
		if order, ok := pcapOrder([4]byte(magic)); ok {
			return newPcap(br, order)
		}
	}
	return nil, unknownFormat(br)
}

// unknownFormat names what br begins with, and what it is where that helps.
func unknownFormat(br *bufio.Reader) error {
	begin, _ := br.Peek(8)
	for _, k := range []struct{ magic, hint string }{
		{"\x34\xcd\xb2\xa1", "Kuznetzov's modified pcap: convert it with 'editcap -F pcap'"},
		{"\xa1\xb2\xcd\x34", "Kuznetzov's modified pcap: convert it with 'editcap -F pcap'"},
		{"\x28\xb5\x2f\xfd", "zstd data: decompress it first"},
		{"\xfd7zXZ\x00", "xz data: decompress it first"},
		{"BZh", "bzip2 data: decompress it first"},
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
	if f.err != nil {
		return nil, gopacket.CaptureInfo{}, f.err
	}
	data, ci, err := f.next()
	if err == nil {
		return data, ci, nil
	}
	if f.closed.Load() {
		err = os.ErrClosed
	}
	if err != io.EOF {
		err = fmt.Errorf("capture: %s%w", f.label, err)
	}
	f.err = err
	return nil, gopacket.CaptureInfo{}, err
}

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
