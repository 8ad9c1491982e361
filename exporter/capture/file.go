package capture

import (
	"errors"
	"io"
)

// OpenFile opens a capture file, pcap or pcapng, plain or gzip; "-" is standard
// input.
func OpenFile(name string) (Source, error) { return nil, errors.ErrUnsupported }

// NewReader reads a capture, pcap or pcapng, plain or gzip, from r.
func NewReader(r io.Reader) (Source, error) { return nil, errors.ErrUnsupported }
