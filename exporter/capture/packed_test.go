package capture

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// packedSample is the capture that bzipped has.
func packedSample() []byte {
	file := header(little, micro, 2, 4, 65535, 1)
	for i := range 50 {
		file = append(file, packetRecord(little, second, uint32(i), strings.Repeat(string(rune('a'+i%26)), i))...)
	}
	return file
}

// bzipped is packedSample, packed by bzip2 1.0.8: Go's library only reads.
const bzipped = "" +
	"425a6839314159265359303b5b4500020b79beffffffffffffe0083ffffff0001020001000081004000000b00196c6181a84a0069a343468d3d000343fd2a4d3ff5510320003" +
	"11a0954f7aaa1000007bd5400000000003d20680122aa000069a0ffd553d20062340006400000c915f82b562b960b05b162dcb82e4ba2bdd9785e97c5f98060984619886298c" +
	"6399c6790d0282a1a2691a66a1aa6b1ae6c1b2552b15cda36cb06e1ba6f1be30c038db91a7372b7334f6e768da8351348d3350d5358d7360d9368db370c86e9bc4b697873838" +
	"0c6f738bc001c02c58e2e9d5e8c0c6fdebb25cb76acd8af5aad4a74a8d08e3492492492492494989e3aa1019fb228876be0f1dd080c8f83ced53b94ef53c2183c54f253cd4f4" +
	"52a52ca9eaa7b29eea7c29f2a5a52d29529529529654ca525495254952549525495254952549525495254952549522088220fa280a29a129a2292208a422229288209904c826" +
	"413209904c826413209904c826413209904c826413209904c826509d09db102feb772f3c9802b9f9f1fe2ee48a70a1206076b68a"

func bzip(t testing.TB) []byte {
	t.Helper()
	b, err := hex.DecodeString(bzipped)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func zstandard(t testing.TB, b []byte, options ...zstd.EOption) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, options...)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func xzed(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := xz.WriterConfig{DictCap: 64 << 10}.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// packedSamples are packedSample in every packing.
func packedSamples(t testing.TB) map[string][]byte {
	plain := packedSample()
	first, rest := plain[:200], plain[200:]
	return map[string][]byte{
		"gzip": zipped(plain), "zstd": zstandard(t, plain), "xz": xzed(t, plain), "bzip2": bzip(t),
		// As those that pack with several processors do: several streams, one behind the other.
		"gzip_members": join(zipped(first), zipped(rest)),
		"zstd_frames":  join([]byte("\x50\x2a\x4d\x18\x03\x00\x00\x00abc"), zstandard(t, first), zstandard(t, rest)),
		"xz_streams":   join(xzed(t, first), []byte{0, 0, 0, 0}, xzed(t, rest)),
	}
}

// A packed capture is the capture, whatever its name and however it comes.
func TestPacked(t *testing.T) {
	want, err := read(packedSample())
	if err != nil || len(want) != 50 {
		t.Fatalf("%d packets, %v", len(want), err)
	}
	for name, file := range packedSamples(t) {
		if !Begins(file[:6]) {
			t.Errorf("%s: it does not begin like a capture", name)
		}
		if got, err := read(file); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %d packets, %v", name, len(got), err)
		}
		if got, err := packets(NewReader(iotest.OneByteReader(bytes.NewReader(file)))); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s, byte by byte: %d packets, %v", name, len(got), err)
		}
		path := filepath.Join(t.TempDir(), "trace.pcap") // its name says nothing of it
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := OpenFile(path)
		if got, err := packets(s, err); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s, from a file: %d packets, %v", name, len(got), err)
		}
		if done, total := s.(Positioner).Position(); total != int64(len(file)) || done != total {
			t.Errorf("%s: it read %d of %d", name, done, total)
		}
		s.Close()
	}
}

// Cut anywhere, a packed capture gives whole packets of before the cut, and then says
// that it was cut. What it gives grows with what there is of it.
func TestPackedCutAnywhere(t *testing.T) {
	want, err := read(packedSample())
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range packedSamples(t) {
		before := 0
		for n := 12; n < len(file); n++ {
			got, err := read(file[:n])
			// A stream that is whole is a capture, although others were to come.
			if err == nil && strings.HasSuffix(name, "s") {
				err = io.ErrUnexpectedEOF
			}
			if !errors.Is(err, io.ErrUnexpectedEOF) && len(got) < len(want) {
				t.Fatalf("%s cut at %d of %d: %v after %d packets", name, n, len(file), err, len(got))
			}
			if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) || len(got) < before {
				t.Fatalf("%s cut at %d of %d: %d packets, and %d of less", name, n, len(file), len(got), before)
			}
			before = len(got)
		}
	}
}

// Whatever a packed file has in it, reading it ends, and says why.
func TestPackedDamaged(t *testing.T) {
	for name, file := range packedSamples(t) {
		told := 0
		for at := range file {
			damaged := bytes.Clone(file)
			damaged[at] ^= 0x10
			if _, err := read(damaged); err != nil {
				told++
				if strings.Count(err.Error(), "capture: ") != 1 {
					t.Errorf("%s damaged at %d: %v", name, at, err)
				}
			}
		}
		if told == 0 {
			t.Errorf("%s: no damage is noticed", name)
		}
	}
}

// What is packed stays a stream: of a capture that is a thousand times as large when it is
// unpacked no more than its dictionary is kept, and a dictionary that is too large is refused.
func TestPackedIsBounded(t *testing.T) {
	large := header(little, micro, 2, 4, 65535, 1)
	one := packetRecord(little, second, 0, strings.Repeat("\x00", 60_000))
	large = append(large, bytes.Repeat(one, 1000)...)
	file := zstandard(t, large, zstd.WithWindowSize(1<<20))
	large = nil
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s, err := NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; ; n++ {
		if _, _, err := s.ZeroCopyReadPacketData(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&now)
	if n != 1000 || now.HeapAlloc > before.HeapAlloc+(20<<20) {
		t.Errorf("%d packets of %d bytes took %d bytes of memory", n, len(file), now.HeapAlloc-before.HeapAlloc)
	}
	runtime.KeepAlive(s)

	wide := []byte("\x28\xb5\x2f\xfd\x00\x90\x21\x00\x00abcd") // a window of 256 MiB, and a block
	xzWide := xzed(t, packedSample())
	// The size of the dictionary is the last byte of the block's header before its padding.
	block := xzWide[12 : 12+4*(int(xzWide[12])+1)]
	at := bytes.Index(block, []byte{0x21, 1})
	block[at+2] = 40 // 4 GiB
	binary.LittleEndian.PutUint32(block[len(block)-4:], crc32.ChecksumIEEE(block[:len(block)-4]))
	for name, file := range map[string][]byte{"zstd": wide, "xz": xzWide} {
		if _, err := read(file); err == nil || !strings.Contains(err.Error(), "the last 128 MiB") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The law: whatever a packed file holds, reading it ends, panics nowhere, and takes no more
// memory than its dictionary may.
func FuzzPacked(f *testing.F) {
	for _, file := range packedSamples(f) {
		f.Add(file)
	}
	f.Add([]byte("\x28\xb5\x2f\xfd\x00\x90\x21\x00\x00abcd"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if packed(file) == nil || len(file) > 1<<16 {
			return
		}
		s, err := NewReader(bytes.NewReader(file))
		if err != nil {
			return
		}
		for n := 0; n < 100_000; n++ { // a small file may be a large capture
			if _, _, err := s.ZeroCopyReadPacketData(); err != nil {
				return
			}
		}
	})
}
