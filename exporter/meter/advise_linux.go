package meter

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is the size of a large page nearly everywhere.
const hugePage = 2 << 20

// advise asks for large pages behind s: a lookup of one in a million flows finds
// the address of its page in the processor then, instead of in memory. Systems
// that have none to give go on without.
func advise[T any](s []T) {
	size := uintptr(len(s)) * unsafe.Sizeof(s[0])
	if size < 2*hugePage {
		return
	}
	skip := -uintptr(unsafe.Pointer(&s[0])) % hugePage
	octets := unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), size)
	_ = unix.Madvise(octets[skip:skip+(size-skip)/hugePage*hugePage], unix.MADV_HUGEPAGE)
}
