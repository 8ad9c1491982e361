package packet

import "testing"

// Whatever the frame and its link type: no panic, one of the four errors or a
// packet whose parts lie inside the frame, and the same again from a decoder
// that has seen other frames.
func FuzzDecode(f *testing.F) {
	for _, b := range benchFrames {
		f.Add(b.link, b.frame)
	}
	for link := range linkTypes {
		f.Add(link, unhex(ip4+tcp))
	}
	for _, frame := range []string{
		macs + "8847  0001 01 ff 00000000" + macs + "8100 0001 8864 11 00 0001 ffff ff03 0021\n" + ip4 + tcp,
		macs + "0030  aaaa03 000000 0800\n" + ip4 + tcp,
		macs + "86dd\n" + ip6 + "0018 00 40" + addr6 + "2c 00 0502 0000 0100 11 00 05a8 cafebabe" + udp,
		macs + "86dd\n" + ip6 + "0018 2b 40" + addr6 + "33 01 0001 00000000" + "11 ff 0000" + udp,
	} {
		f.Add(uint32(1), unhex(frame))
	}
	used := newDecoder(Config{}, true)
	f.Fuzz(func(t *testing.T, link uint32, frame []byte) {
		link %= 300
		var p, again Packet
		err := newDecoder(Config{}, true).Decode(&p, link, frame)
		switch err {
		case nil:
			if p.IPVersion != 4 && p.IPVersion != 6 {
				t.Errorf("IP version %d", p.IPVersion)
			}
			if int(p.Offset)+20 > len(frame) || int(p.Offset)+int(p.Present) > len(frame) {
				t.Errorf("packet of %d octets at %d in a frame of %d", p.Present, p.Offset, len(frame))
			}
			if frame[p.Offset]>>4 != p.IPVersion {
				t.Errorf("version %d at %d", frame[p.Offset]>>4, p.Offset)
			}
			if p.FragOffset != 0 && (p.SrcPort != 0 || p.DstPort != 0) {
				t.Errorf("a later fragment with ports: %+v", p)
			}
		case ErrNotIP, ErrTruncated, ErrMalformed, ErrLinkType:
		default:
			t.Errorf("unexpected error %v", err)
		}
		if againErr := used.Decode(&again, link, frame); againErr != err || again != p {
			t.Errorf("a used decoder gives %+v, %v; a new one %+v, %v", again, againErr, p, err)
		}
	})
}
