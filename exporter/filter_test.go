package exporter

import (
	"errors"
	"testing"

	"flowtally/exporter/capture"
	"flowtally/exporter/pcapfilter"

	"golang.org/x/net/bpf"
)

// TestFiltered: a filter means the same for every link type that comes, what it
// leaves out is counted and not seen, and a link type that it cannot be compiled
// for ends the reading.
func TestFiltered(t *testing.T) {
	wanted := ethernet("10.0.0.1", "10.0.0.2", 1000, 53, 10)
	other := ethernet("10.0.0.1", "10.0.0.2", 1000, 80, 10)
	packets := []capture.Packet{
		{Data: other}, {Data: wanted}, {Data: arp}, {Data: wanted[14:]}, {Data: other[14:]}, {Data: wanted[14:]}, {Data: wanted},
	}
	open := func() *list {
		src := newList(append([]capture.Packet(nil), packets...)...)
		for i := 3; i < 6; i++ {
			src.packets[i].Link = 101
		}
		return src
	}
	compile := func(link uint32) ([]bpf.RawInstruction, error) {
		return pcapfilter.Compile("udp port 53", link, 0)
	}
	for few := 1; few <= len(packets); few++ {
		src := open()
		src.few = few
		recs, s := meterAll(t, capture.FilteredByLink(src, compile), Config{})
		if len(recs) != 1 || recs[0].Packets != 4 || s.Seen != 4 || s.Filtered != 3 || s.Ignored != 0 {
			t.Errorf("%d at a time: %+v of %+v", few, s, recs)
		}
	}
	cannot := errors.New("cannot")
	src := capture.FilteredByLink(open(), func(link uint32) ([]bpf.RawInstruction, error) {
		if link == 101 {
			return nil, cannot
		}
		return compile(link)
	})
	var err error
	for n := 0; err == nil && n < 10; n++ {
		_, err = capture.Batch(src).ReadBatch(make([]capture.Packet, 2))
	}
	if !errors.Is(err, cannot) {
		t.Errorf("error %v", err)
	}
}
