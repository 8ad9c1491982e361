package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ipFrame is an Ethernet frame with an IP packet that has a number in it, behind
// an envelope: Ethernet type and what follows up to the IP header. A fragment's
// offset is not 0.
func ipFrame(envelope []byte, src, dst netip.Addr, ports uint32, fragment uint16, number uint32) []byte {
	b := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}
	b = append(b, envelope...)
	payload := binary.BigEndian.AppendUint32(nil, ports)
	payload = binary.BigEndian.AppendUint32(payload, number)
	if src.Is4() {
		b = append(b, 0x45, 0, 0, byte(20+len(payload)), 0, 7, byte(fragment>>8), byte(fragment), 64, 17, 0, 0)
	} else {
		b = append(b, 0x60, 0, 0, 0, 0, byte(len(payload)), 17, 64)
	}
	b = append(b, src.AsSlice()...)
	b = append(b, dst.AsSlice()...)
	return append(b, payload...)
}

// Fan-out: every packet comes to one member, both directions and all fragments of
// a pair of addresses to the same, and the pairs are spread, whatever is in front
// of the IP header.
func TestFanout(t *testing.T) {
	envelopes := []struct {
		name  string
		octet string // of IPv4, of IPv6
		six   string
	}{
		{"ip", "\x08\x00", "\x86\xdd"},
		{"vlan", "\x81\x00\x00\x07\x08\x00", "\x81\x00\x00\x07\x86\xdd"},
		{"qinq", "\x88\xa8\x00\x07\x81\x00\x00\x08\x08\x00", "\x88\xa8\x00\x07\x81\x00\x00\x08\x86\xdd"},
		{"pppoe", "\x88\x64\x11\x00\x00\x01\x00\x1e\x00\x21", "\x88\x64\x11\x00\x00\x01\x00\x32\x00\x57"},
		{"mpls", "\x88\x47\x00\x01\x01\x40", "\x88\x47\x00\x01\x01\x40"},
		{"vlan_mpls_two_labels", "\x81\x00\x00\x07\x88\x47\x00\x02\x00\x40\x00\x01\x01\x40", "\x81\x00\x00\x07\x88\x47\x00\x02\x00\x40\x00\x01\x01\x40"},
	}
	bothWays(t, func(t *testing.T, c InterfaceConfig) {
		const members, pairs = 3, 60
		for _, outgoing := range []bool{false, true} {
			name := "b" // what a sends comes in by b
			if outgoing {
				name = "a"
			}
			sources, err := OpenFanout(name, c, members)
			if err != nil {
				t.Fatal(err)
			}
			send := sender(t, "a")
			member := map[string]int{} // of a pair of addresses
			used := map[int]int{}
			for _, e := range envelopes {
				var frames [][]byte
				for i := range pairs {
					src4, dst4 := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), netip.AddrFrom4([4]byte{10, 0, byte(i % 3), byte(i + 1)})
					six := [16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)}
					src6, dst6 := netip.AddrFrom16(six), netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 7: byte(i % 5), 15: 1})
					for k, v := range []struct {
						ports    uint32
						fragment uint16
					}{{1000<<16 | 53, 0}, {1001<<16 | 53, 0}, {1<<16 | 80, 0x2000}, {0xabcdef01, 0x2005}, {0x12345678, 0x000a}} {
						number := uint32(i*10 + k)
						frames = append(frames,
							ipFrame([]byte(e.octet), src4, dst4, v.ports, v.fragment, number), ipFrame([]byte(e.octet), dst4, src4, v.ports, v.fragment, number),
							ipFrame([]byte(e.six), src6, dst6, v.ports, 0, number), ipFrame([]byte(e.six), dst6, src6, v.ports, 0, number))
					}
				}
				for _, f := range frames {
					send(f)
				}
				// All were sent: they are there or will be within the time that a
				// block is held back.
				seen := 0
				for deadline := time.Now().Add(10 * time.Second); seen < len(frames) && time.Now().Before(deadline); {
					for m, s := range sources {
						for {
							b, _, err := s.ZeroCopyReadPacketData()
							if errors.Is(err, ErrTimeout) {
								break
							}
							if err != nil {
								t.Fatal(err)
							}
							if !ours(b) {
								continue
							}
							seen++
							ip := b[12+len(e.octet):]
							if ip[0]>>4 == 6 {
								ip = b[12+len(e.six):]
							}
							pair := addresses(ip)
							if was, ok := member[pair]; ok && was != m {
								t.Errorf("%s: %s came to member %d and to %d", e.name, pair, was, m)
							} else if !ok {
								member[pair] = m
								used[m]++
							}
						}
					}
				}
				if seen != len(frames) {
					t.Errorf("%s: %d of %d frames were seen", e.name, seen, len(frames))
				}
			}
			for m, s := range sources {
				if used[m] < 2*pairs/members/3 {
					t.Errorf("member %d has %d of %d pairs", m, used[m], 2*pairs)
				}
				s.Close()
			}
		}
	})
}

// addresses are those of an IP packet in an order that does not depend on its
// direction.
func addresses(ip []byte) string {
	src, dst := ip[12:16], ip[16:20]
	if ip[0]>>4 == 6 {
		src, dst = ip[8:24], ip[24:40]
	}
	if bytes.Compare(src, dst) > 0 {
		src, dst = dst, src
	}
	return fmt.Sprintf("%x-%x", src, dst)
}

// A group leaves out outgoing packets as a single capture does.
func TestFanoutIgnoreOutgoing(t *testing.T) {
	bothWays(t, func(t *testing.T, c InterfaceConfig) {
		c.IgnoreOutgoing, c.Timeout = true, 5*time.Millisecond
		sources, err := OpenFanout("lo", c, 2)
		if err != nil {
			t.Fatal(err)
		}
		send := sender(t, "lo")
		send(frame(60, 0)) // not IP: for the first
		n := readAll(t, sources[0], 2, func([]byte) {})
		n += readAll(t, sources[1], 2, func([]byte) {})
		if n != 1 {
			t.Errorf("frame came %d times, want 1", n)
		}
		for _, s := range sources {
			s.Close()
		}
	})
}

// A group cannot have any size.
func TestFanoutSize(t *testing.T) {
	for _, n := range []int{-1, 0, 257} {
		if _, err := OpenFanout("lo", InterfaceConfig{}, n); err == nil || !strings.Contains(err.Error(), "want 1 to 256") {
			t.Errorf("%d: %v", n, err)
		}
	}
}

// superPacket is a frame with so many octets of TCP or UDP payload behind an
// optional VLAN tag, and before it the virtio_net_hdr that asks the kernel to
// take it for packets of size octets of payload each.
func superPacket(six, udp bool, tag uint32, payload, size int) []byte {
	l2 := 14
	if tag != 0 {
		l2 = 18
	}
	protocol, l4, gso, csum := byte(6), 32, byte(virtioTCPv4), 16
	if udp {
		protocol, l4, gso, csum = 17, 8, virtioUDPL4, 6
	}
	l3 := 20
	if six {
		l3 = 40
		if !udp {
			gso = virtioTCPv6
		}
	}
	b := []byte{virtioNeedsCsum, gso}
	b = binary.NativeEndian.AppendUint16(b, uint16(l2+l3+l4))
	b = binary.NativeEndian.AppendUint16(b, uint16(size))
	b = binary.NativeEndian.AppendUint16(b, uint16(l2+l3))
	b = binary.NativeEndian.AppendUint16(b, uint16(csum))
	b = append(b, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2)
	if tag != 0 {
		b = binary.BigEndian.AppendUint32(b, tag)
	}
	if six {
		b = append(b, 0x86, 0xdd, 0x60, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(l4+payload))
		b = append(b, protocol, 64)
		b = append(b, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
		b = append(b, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2)
	} else {
		b = append(b, 8, 0, 0x45, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(l3+l4+payload))
		b = append(b, 0, 1, 0x40, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2)
	}
	if udp {
		b = append(b, 0x30, 0x39, 0, 53)
		b = binary.BigEndian.AppendUint16(b, uint16(l4+payload))
		b = append(b, 0, 0)
	} else {
		b = append(b, 0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x80, 0x10, 1, 0, 0, 0, 0, 0)
		b = append(b, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0) // timestamps
	}
	return append(b, make([]byte, payload)...)
}

// A super-packet counts as the packets that the kernel makes of it when it has to
// cut it up: as many, of as many octets in all, also when it is not captured
// whole.
func TestSuperPackets(t *testing.T) {
	bothWays(t, func(t *testing.T, c InterfaceConfig) {
		// One end with large packets, one whose other end makes small ones.
		run(t, "ip link add dev c type veth peer name d")
		if _, err := exec.LookPath("ethtool"); err != nil {
			t.Skip("needs ethtool to have the kernel cut up super-packets")
		}
		run(t, "ethtool -K c tso off gso off tx-udp-segmentation off")
		run(t, "ip link set dev c up")
		run(t, "ip link set dev d up")
		joined(t, "c", "d")
		whole, cut := open(t, "b", c), open(t, "d", c)
		c.SnapLen = 96
		short := open(t, "b", c)
		for _, s := range []Source{whole, cut, short} {
			if m, _ := As[Moder](s); !m.Mode().Segments {
				t.Skipf("this kernel does not tell super-packets: %v", m.Mode())
			}
		}
		large, small := superSender(t, "a"), superSender(t, "c")
		for _, tt := range []struct {
			name     string
			six, udp bool
			tag      uint32
			payload  int
			want     uint32
		}{
			{"tcp", false, false, 0, 14000, 10},
			{"tcp_last_is_short", false, false, 0, 14001, 11},
			{"tcp_ipv6", true, false, 0, 30000, 22},
			{"tcp_vlan", false, false, 0x8100_0007, 5000, 4},
			{"udp", false, true, 0, 7000, 5},
			{"udp_ipv6", true, true, 0, 3000, 3},
		} {
			f := superPacket(tt.six, tt.udp, tt.tag, tt.payload, 1400)
			if err := large(f); err != nil {
				t.Logf("%s: not sent: %v", tt.name, err)
				continue
			}
			if err := small(f); err != nil {
				t.Fatal(err)
			}
			// Frames are counted here with their link header, which is repeated, too.
			tally := func(s Source) (frames int, packets, octets uint32) {
				b := Batch(s)
				dst := make([]Packet, 8)
				for quiet := 0; quiet < 50 && packets < tt.want; {
					n, err := b.ReadBatch(dst)
					if errors.Is(err, ErrTimeout) {
						quiet++
						continue
					}
					if err != nil {
						t.Fatal(err)
					}
					for _, p := range dst[:n] {
						if !ours(p.Data) {
							continue
						}
						frames++
						packets += max(1, p.Segments)
						octets += p.Length
						if p.Segments > 1 {
							octets += (p.Segments - 1) * p.Headers
						}
					}
				}
				return frames, packets, octets
			}
			frames, packets, octets := tally(whole)
			_, shortPackets, shortOctets := tally(short)
			cutFrames, cutPackets, cutOctets := tally(cut)
			t.Logf("%s: %d frames, %d packets, %d octets; cut up %d, %d", tt.name, frames, packets, octets, cutPackets, cutOctets)
			if frames != 1 || packets != tt.want || cutFrames != int(tt.want) ||
				packets != cutPackets || octets != cutOctets || packets != shortPackets || octets != shortOctets {
				t.Errorf("%s: %d frames, %d packets, %d octets; cut off %d, %d; cut up by the kernel %d frames, %d packets, %d octets",
					tt.name, frames, packets, octets, shortPackets, shortOctets, cutFrames, cutPackets, cutOctets)
			}
		}
	})
}

// A card that put packets together says how large they were, and not where their
// headers end.
func TestSegmentsOfCard(t *testing.T) {
	for _, tt := range []struct {
		name    string
		six     bool
		tag     uint32
		headers uint32
	}{{"ipv4", false, 0, 66}, {"ipv6", true, 0, 86}, {"vlan", false, 0x8100_0007, 70}} {
		frame := superPacket(tt.six, false, tt.tag, 5000, 1000)[virtioSize:]
		v := virtioHeader{gsoType: virtioTCPv4, gsoSize: 1000}
		p := Packet{Length: uint32(len(frame)), Link: linkEthernet}
		if v.segments(&p, frame); p.Segments != 5 || p.Headers != tt.headers {
			t.Errorf("%s: %d segments, headers of %d octets, want 5 and %d", tt.name, p.Segments, p.Headers, tt.headers)
		}
		// Whatever little is captured of it, nothing breaks.
		for n := range 100 {
			p := Packet{Length: uint32(len(frame)), Link: linkEthernet}
			v.segments(&p, frame[:n])
		}
	}
}

// A group is one when the interface has been down, too.
func TestFanoutDown(t *testing.T) {
	bothWays(t, func(t *testing.T, c InterfaceConfig) {
		sources, err := OpenFanout("b", c, 2)
		if err != nil {
			t.Fatal(err)
		}
		run(t, "ip link set dev b down")
		for _, s := range sources {
			defer s.Close()
			_, _, err := s.ZeroCopyReadPacketData()
			for range 50 {
				if errors.Is(err, syscall.ENETDOWN) {
					break
				}
				_, _, err = s.ZeroCopyReadPacketData()
			}
			if !errors.Is(err, syscall.ENETDOWN) {
				t.Fatalf("interface down: %v", err)
			}
		}
		run(t, "ip link set dev b up")
		joined(t, "a", "b")
		send := sender(t, "a")
		const pairs = 40
		for i := range byte(pairs) {
			src, dst := netip.AddrFrom4([4]byte{10, 0, 0, i}), netip.AddrFrom4([4]byte{10, 0, 1, 1})
			send(ipFrame([]byte("\x08\x00"), src, dst, 1, 0, 0))
			send(ipFrame([]byte("\x08\x00"), dst, src, 2, 0, 0))
		}
		var seen [2]map[string]int
		total := 0
		for m, s := range sources {
			seen[m] = map[string]int{}
			for quiet := 0; quiet < 20; {
				b, _, err := s.ZeroCopyReadPacketData()
				if errors.Is(err, ErrTimeout) {
					quiet++
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if ours(b) {
					seen[m][addresses(b[14:])]++
					total++
				}
			}
		}
		if total != 2*pairs || len(seen[0])+len(seen[1]) != pairs || len(seen[0]) == 0 || len(seen[1]) == 0 {
			t.Errorf("%d packets of %d, %d and %d pairs of %d", total, 2*pairs, len(seen[0]), len(seen[1]), pairs)
		}
	})
}

// superSender returns a function that sends a frame with a virtio_net_hdr before
// it on an interface.
func superSender(t *testing.T, name string) func(frame []byte) error {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
		t.Skipf("PACKET_VNET_HDR: %v", err)
	}
	ifi, err := findInterface(name)
	if err != nil {
		t.Fatal(err)
	}
	return func(frame []byte) error {
		return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: ifi.Index})
	}
}

// A socket whose ring is refused becomes a queue, which says why.
func TestFallback(t *testing.T) {
	pair(t)
	was := ringFrame
	ringFrame = 2047 // not aligned
	t.Cleanup(func() { ringFrame = was })
	for range 2 {
		s, err := OpenInterface("b", InterfaceConfig{Timeout: 20 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		m, _ := As[Moder](s)
		if mode := m.Mode(); mode.Ring || !strings.HasPrefix(mode.Reason, "ring refused: ring of ") {
			t.Errorf("mode %v", mode)
		}
		sender(t, "a")(frame(100, 1))
		if n := readAll(t, s, 1, func([]byte) {}); n != 1 {
			t.Error("nothing came")
		}
		s.Close()
	}
}

// Reading costs no allocation, quiet or not.
func TestLiveAllocs(t *testing.T) {
	bothWays(t, func(t *testing.T, c InterfaceConfig) {
		c.Timeout = time.Millisecond
		s := open(t, "b", c)
		send := sender(t, "a")
		f := frame(60, 1)
		b := Batch(s)
		dst := make([]Packet, 64)
		if n := testing.AllocsPerRun(200, func() {
			send(f)
			if _, err := b.ReadBatch(dst); err != nil && !errors.Is(err, ErrTimeout) {
				t.Fatal(err)
			}
		}); n > 1 { // the address that is sent to
			t.Errorf("%v allocations", n)
		}
	})
}

// BenchmarkRing is what it takes to read the packets of a veth pair out of one
// ring, or of two at once by a goroutine each: a round fills the rings, which is
// not measured, and then reads them empty, looking at each packet's addresses.
func BenchmarkRing(b *testing.B) {
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			pair(b)
			c := InterfaceConfig{BufferBytes: 64 << 20}
			sources, err := OpenFanout("b", c, workers)
			if err != nil {
				b.Fatal(err)
			}
			send := sender(b, "a")
			frames := make([][]byte, 1000)
			for i := range frames {
				src, dst := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), netip.AddrFrom4([4]byte{10, 1, 0, 1})
				frames[i] = append(ipFrame([]byte("\x08\x00"), src, dst, 1<<16|53, 0, 0), make([]byte, 40)...)
			}
			// Less than what one ring holds, should all of them be its own.
			const round = 200_000
			var spent time.Duration
			var packets uint64
			b.ReportAllocs()
			for range b.N {
				b.StopTimer()
				for i := range round {
					send(frames[i%len(frames)])
				}
				time.Sleep(2 * defaultTimeout) // the last blocks are handed over
				var done sync.WaitGroup
				var last, read, sum [2]uint64
				b.StartTimer()
				begin := time.Now()
				for i, s := range sources {
					done.Go(func() {
						batch, dst := Batch(s), make([]Packet, 64)
						for {
							n, err := batch.ReadBatch(dst)
							if err != nil {
								return
							}
							for _, p := range dst[:n] {
								sum[i] += binary.BigEndian.Uint64(p.Data[26:])
							}
							read[i] += uint64(n)
							last[i] = uint64(time.Since(begin))
						}
					})
				}
				done.Wait()
				spent += time.Duration(max(last[0], last[1]))
				packets += read[0] + read[1]
			}
			for _, s := range sources {
				if d := s.Stats().Drops; d != 0 {
					b.Errorf("%d drops", d)
				}
				s.Close()
			}
			b.ReportMetric(float64(spent.Nanoseconds())/float64(packets), "ns/packet")
			b.ReportMetric(float64(packets)/spent.Seconds()/1e6, "Mpackets/s")
		})
	}
}
