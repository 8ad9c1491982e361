package keeper

import (
	"slices"
	"testing"

	"flowtally/store/rollup"
	"flowtally/store/row"
)

// A COPY is read the same wherever its messages are split, and bytes that are no COPY
// are refused without harm.
func FuzzFlowReader(f *testing.F) {
	r := []byte{0, flowFields}
	for _, n := range []int{6, 4, 8, 8, 8, 8, 8, 4, -1, 2, 8, 8, 4, 4, -1, 8, -1, -1} {
		if n < 0 {
			r = row.AppendNull(r)
			continue
		}
		r = append(r, 0, 0, 0, byte(n))
		field := make([]byte, n)
		if n == 8 {
			copy(field, []byte{2, 32, 0, 4, 10, 0, 0, 1})
		}
		r = append(r, field...)
	}
	whole := slices.Concat([]byte(row.CopyHeader), r, r, []byte(row.CopyTrailer))
	f.Add(whole, 7)
	f.Add(whole[:40], 1)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		read := func(size int) (flows []rollup.Flow, err error) {
			r := &flowReader{each: func(f *rollup.Flow) { flows = append(flows, *f) }}
			for part := range slices.Chunk(b, size) {
				if _, err = r.Write(part); err != nil {
					break
				}
			}
			return flows, err
		}
		if len(b) == 0 {
			return
		}
		all, err := read(len(b))
		some, err2 := read(1 + int(uint(size)%97))
		if (err == nil) != (err2 == nil) || !slices.Equal(all, some) {
			t.Fatalf("%d flows and %v at once, %d and %v in parts", len(all), err, len(some), err2)
		}
	})
}
