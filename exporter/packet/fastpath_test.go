package packet

import "testing"

// sameAsLayers fails unless the short way and the layers say the same of a
// frame, where the short way says anything.
func sameAsLayers(t *testing.T, d *Decoder, link uint32, frame []byte) (short bool) {
	t.Helper()
	before := Packet{Length: 1}
	quick, slow := before, before
	if _, ok := common(&quick, link, frame); !ok {
		if quick != before {
			t.Errorf("link type %d, frame %x: the packet was touched: %+v", link, frame, quick)
		}
		return false
	}
	if err := d.layers(&slow, link, frame); err != nil || quick != slow {
		t.Errorf("link type %d, frame %x:\nshort  %+v\nlayers %+v, %v", link, frame, quick, slow, err)
	}
	return true
}

// Both ways to read a frame say the same, whatever capture it is from, whole and
// cut.
func TestCommonSameAsLayers(t *testing.T) {
	d := newDecoder(Config{}, true)
	all, short := 0, 0
	frames(t, func(name string, link uint32, frame []byte) {
		all++
		if sameAsLayers(t, d, link, frame) {
			short++
		}
		for length := 0; length < min(len(frame), 80); length += 13 {
			sameAsLayers(t, d, link, frame[:length:length])
		}
		if t.Failed() {
			t.FailNow()
		}
	})
	t.Logf("%d of %d frames are common", short, all)
	if short*10 < all*8 {
		t.Errorf("only %d of %d frames are read the short way", short, all)
	}
}

func FuzzCommon(f *testing.F) {
	for _, b := range benchFrames {
		f.Add(b.link, b.frame)
	}
	for _, link := range []uint32{113, 228, 229, 101} {
		f.Add(link, unhex(ip4+tcp))
		f.Add(link, unhex(ip6+"0010 00 40"+addr6+"11 00 0502 0000 0100"+udp))
	}
	f.Add(uint32(1), unhex(macs+"88a8 0007 8100 0064 86dd\n"+ip6+"0010 2c 40"+addr6+"06 00 05a8 cafebabe"+udp))
	d := newDecoder(Config{}, true)
	f.Fuzz(func(t *testing.T, link uint32, frame []byte) {
		sameAsLayers(t, d, link%300, frame)
	})
}
