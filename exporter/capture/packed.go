package capture

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// maxDictionary is how much of what is behind it a packed capture may refer to, and so
// how much memory it takes to read: twice what 'xz -9' and as much as 'zstd --long' use.
const maxDictionary = 128 << 20

// packing is a way to make files smaller. Each is read as a stream, of which no more than
// its dictionary is kept, however large it becomes.
type packing struct {
	name  string
	magic []string
	open  func(*bufio.Reader) (io.Reader, error)
}

// packings are told by what a file begins with, not by its name.
var packings = []packing{
	{"gzip", []string{"\x1f\x8b"}, func(r *bufio.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
	{"zstd", zstdMagic(), func(r *bufio.Reader) (io.Reader, error) {
		// Of one goroutine, which needs no end.
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxDictionary))
	}},
	{"xz", []string{"\xfd7zX"}, func(r *bufio.Reader) (io.Reader, error) {
		if err := checkDictionary(r); err != nil {
			return nil, err
		}
		return xz.ReaderConfig{DictCap: lzma.MinDictCap}.NewReader(r) // at least; as much as the data asks for
	}},
	{"bzip2", []string{"BZh1", "BZh2", "BZh3", "BZh4", "BZh5", "BZh6", "BZh7", "BZh8", "BZh9"},
		func(r *bufio.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }},
}

// zstdMagic is what a frame of data begins with, and what those may that are skipped.
func zstdMagic() []string {
	all := []string{"\x28\xb5\x2f\xfd"}
	for b := byte(0x50); b <= 0x5f; b++ {
		all = append(all, string([]byte{b, 0x2a, 0x4d, 0x18}))
	}
	return all
}

// packed returns how a file is packed that begins so, nil when it is not.
func packed(begin []byte) *packing {
	for i := range packings {
		for _, m := range packings[i].magic {
			if bytes.HasPrefix(begin, []byte(m)) {
				return &packings[i]
			}
		}
	}
	return nil
}

// Begins reports whether a file that begins so may be a capture: NewReader takes it, or says
// better than anybody else what is wrong with it.
func Begins(begin []byte) bool {
	if packed(begin) != nil || bytes.HasPrefix(begin, []byte{0x0a, 0x0d, 0x0d, 0x0a}) {
		return true
	}
	if len(begin) < 4 {
		return false
	}
	_, ok := pcapKinds[[4]byte(begin)]
	return ok
}

// unpack returns what is packed in r.
func (p *packing) unpack(r io.Reader, buffer int) (io.Reader, error) {
	inside, err := p.open(bufio.NewReaderSize(r, buffer))
	if err != nil {
		return nil, p.fail(err)
	}
	return unpacking{p, inside}, nil
}

// unpacking reads what is packed.
type unpacking struct {
	*packing
	io.Reader
}

func (u unpacking) Read(b []byte) (int, error) {
	n, err := u.Reader.Read(b)
	if err != nil && err != io.EOF {
		err = u.fail(err)
	}
	return n, err
}

// fail says what is wrong with what is packed: that it ends too early, as io.ErrUnexpectedEOF,
// or that it is damaged.
func (p *packing) fail(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return io.ErrUnexpectedEOF
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return errDictionary("zstd")
	case errors.Is(err, ErrFormat), !p.damaged(err):
		return err
	}
	return formatErrorf("the %s data is damaged (%s)", p.name, bytes.TrimPrefix([]byte(err.Error()), []byte(p.name+": ")))
}

// damaged reports whether an error is about the data, and not about reading it.
func (p *packing) damaged(err error) bool {
	var cause interface{ Timeout() bool } // of the operating system
	return !errors.As(err, &cause)
}

func errDictionary(name string) error {
	return formatErrorf("the %s data refers to more than the last %d MiB, which is all that is kept: unpack it first", name, maxDictionary>>20)
}

// checkDictionary looks into the header of the first block of xz data for the size of its
// dictionary: the library takes whatever is asked for, up to 4 GiB.
func checkDictionary(r *bufio.Reader) error {
	const stream = 12 // bytes of the header of the stream
	begin, err := r.Peek(stream + 1)
	if err != nil {
		return noEOF(err)
	}
	if begin[stream] == 0 {
		return nil // no block: nothing is packed
	}
	header, err := r.Peek(stream + 4*(int(begin[stream])+1))
	if err != nil {
		return noEOF(err)
	}
	header = header[stream+1:]
	flags := header[0]
	header = header[1:]
	skip := func() { // a number of seven bits a byte
		for len(header) > 0 && header[0]&0x80 != 0 {
			header = header[1:]
		}
		if len(header) > 0 {
			header = header[1:]
		}
	}
	for bit := byte(0x40); bit != 0; bit <<= 1 {
		if flags&bit != 0 { // the sizes of the block
			skip()
		}
	}
	if len(header) < 3 || header[0] != 0x21 || header[1] != 1 {
		return nil // another filter than LZMA2, which the library refuses
	}
	size, err := lzma.DecodeDictCap(header[2])
	if err != nil {
		return fmt.Errorf("the size of its dictionary makes no sense")
	}
	if size > maxDictionary {
		return errDictionary("xz")
	}
	return nil
}
