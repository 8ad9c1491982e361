package capture

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
)

// seenAt are the interfaces and the direction of a packet.
type seenAt struct {
	in, out   uint32
	direction uint8
}

func sightings(t *testing.T, s Source) (all []seenAt, err error) {
	t.Helper()
	var packets [3]Packet
	for {
		n, err := Batch(s).ReadBatch(packets[:])
		for _, p := range packets[:n] {
			all = append(all, seenAt{p.InIf, p.OutIf, p.Direction})
		}
		if err != nil {
			return all, err
		}
	}
}

// TestInterfacesOfFile: the interfaces of a pcapng file have numbers from 1 on, and
// names; what its packets say of their direction makes them those they came in by or
// went out by. An interface that has its name again in a later section is the same,
// and frames of all interfaces (SLL2) name theirs themselves.
func TestInterfacesOfFile(t *testing.T) {
	for _, o := range []order{little, big} {
		name := func(s string) []byte { return option(o, 2, []byte(s)...) }
		flags := func(v uint32) []byte { return option(o, 2, o.AppendUint32(nil, v)...) }
		epb := func(id uint32, options ...[]byte) []byte { return enhanced(o, id, 0, 3, 3, "abc", options...) }
		file := join(
			section(o, 1, 0),
			description(o, 1, 0, name("eth0"), option(o, 3, []byte("to the core\x01")...)),
			description(o, 1, 0, name("eth1")),
			description(o, 1, 0),
			description(o, 276, 0, name("any")),
			epb(0), epb(0, flags(1)), epb(1, flags(2)), epb(1, option(o, 1, []byte("comment")...), flags(0x12)),
			epb(1, flags(0)), epb(2, flags(3)), epb(3, flags(2)),
			section(o, 1, 0),
			description(o, 1, 0, name("eth1")),
			description(o, 1, 0, name("eth2")),
			epb(0), epb(1, flags(2)),
		)
		want := []seenAt{
			{1, 0, Unknown}, {1, 0, Ingress}, {0, 2, Egress}, {0, 2, Egress},
			{2, 0, Unknown}, {3, 0, Unknown}, {0, 0, Egress},
			{2, 0, Unknown}, {0, 4, Egress},
		}
		s, err := NewReader(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		got, err := sightings(t, s)
		if err != io.EOF || !slices.Equal(got, want) {
			t.Errorf("%v: %v, %v, want %v", o, got, err, want)
		}
		names := []Interface{{1, "eth0", "to the core"}, {2, "eth1", ""}, {4, "eth2", ""}}
		if d, ok := As[Describer](s); !ok || !slices.Equal(d.Interfaces(), names) {
			t.Errorf("%v: %v, want %v", o, d.Interfaces(), names)
		}

		// Cut inside the options of a packet, the packet is whole.
		head := join(section(o, 1, 0), description(o, 1, 0))
		last := epb(0, flags(1), option(o, 1, []byte("comment")...))
		for cut := range last {
			s, err := NewReader(bytes.NewReader(join(head, last[:cut])))
			if err != nil {
				t.Fatal(err)
			}
			got, err := sightings(t, s)
			whole := cut >= packetFixed+3
			if len(got) == 1 != whole || cut > 0 && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%v: cut at %d: %v, %v", o, cut, got, err)
			}
		}
	}
}

// TestInterfaceOfModifiedRecords: records of Kuznetzov's format name the interface
// and the packet type.
func TestInterfaceOfModifiedRecords(t *testing.T) {
	modified := func(index uint32, typ byte) []byte {
		b := little.AppendUint32(record(little, 1, 0, 3, 3, ""), index)
		return append(b, 0, 8, typ, 0, 'a', 'b', 'c')
	}
	header := []byte{0x34, 0xcd, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0}
	s, err := NewReader(bytes.NewReader(join(header, modified(7, 0), modified(8, 4), modified(7, 3))))
	if err != nil {
		t.Fatal(err)
	}
	want := []seenAt{{7, 0, Ingress}, {0, 8, Egress}, {7, 0, Ingress}}
	if got, err := sightings(t, s); err != io.EOF || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}
