package traffic

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"flowtally/exporter/capture"
)

// What two devices see is what a mirror in the middle sees, each packet once, and every packet
// comes in by one interface and goes out by another that the device has told of.
func TestPartsAreTheWhole(t *testing.T) {
	at := time.Date(2026, 11, 18, 9, 30, 0, 0, time.UTC)
	read := func(s *Source) *capture.Packet {
		var dst [1]capture.Packet
		if _, err := s.ReadBatch(dst[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			t.Fatal(err)
		}
		dst[0].Data = bytes.Clone(dst[0].Data)
		return &dst[0]
	}
	open := func(p Part) *Source { return New(Config{Start: at, End: at.Add(3 * time.Minute), Seed: 5, Part: p}) }
	all, parts := open(All), []*Source{open(Inside), open(Outside)}
	heads := []*capture.Packet{read(parts[0]), read(parts[1])}
	var n [2]int
	for p := read(all); p != nil; p = read(all) {
		i := 0
		if heads[0] == nil || !bytes.Equal(heads[0].Data, p.Data) || heads[0].Time != p.Time {
			i = 1
		}
		h := heads[i]
		if h == nil || !bytes.Equal(h.Data, p.Data) || h.Time != p.Time || h.Length != p.Length {
			t.Fatalf("packet %d of the whole is in no part", n[0]+n[1])
		}
		named := func(index uint32) bool {
			for _, x := range parts[i].Interfaces() {
				if x.Index == index && x.Name != "" && x.Description != "" {
					return true
				}
			}
			return false
		}
		if !named(h.InIf) || !named(h.OutIf) {
			t.Fatalf("from %d to %d, which it never told of", h.InIf, h.OutIf)
		}
		if i == 1 && h.InIf == h.OutIf {
			t.Fatalf("what leaves the house comes in and goes out by %d", h.InIf)
		}
		n[i]++
		heads[i] = read(parts[i])
	}
	if heads[0] != nil || heads[1] != nil || n[0] == 0 || n[1] == 0 {
		t.Errorf("%d and %d packets; left are %v", n[0], n[1], heads)
	}
}
