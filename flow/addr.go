package flow

import "net/netip"

// Addr is an IP address in sixteen bytes, IPv4 in the mapped form
// ::ffff:a.b.c.d. It holds no pointer, unlike netip.Addr, whose zone is one: so
// Key is cheap to hash, and the garbage collector need not look into it. The zero value is both "absent" and "::"; a Record tells them apart
// by IPVersion.
type Addr [16]byte

// AddrFrom returns a as Addr; the zone is dropped. The zero netip.Addr gives
// the zero Addr.
func AddrFrom(a netip.Addr) Addr {
	if !a.IsValid() {
		return Addr{}
	}
	return a.As16()
}

// Addr4 returns the IPv4 address of the four bytes of b in network order.
func Addr4(b [4]byte) Addr {
	return Addr{10: 0xff, 11: 0xff, 12: b[0], 13: b[1], 14: b[2], 15: b[3]}
}

// Is4 reports whether a is an IPv4 address.
func (a Addr) Is4() bool {
	for _, b := range a[:10] {
		if b != 0 {
			return false
		}
	}
	return a[10] == 0xff && a[11] == 0xff
}

// IsZero reports whether a is the zero value.
func (a Addr) IsZero() bool { return a == Addr{} }

// As4 returns the last four bytes: the address, when Is4.
func (a Addr) As4() [4]byte { return [4]byte(a[12:]) }

// Netip returns a as a netip.Addr, IPv4 unmapped; the zero Addr is "::".
func (a Addr) Netip() netip.Addr { return netip.AddrFrom16(a).Unmap() }

// String returns the usual text form, "" for the zero value.
func (a Addr) String() string {
	if a.IsZero() {
		return ""
	}
	return a.Netip().String()
}
