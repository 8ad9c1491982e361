package capture

import "flowtally/exporter/tunnel"

// ListenVXLAN ends VXLAN tunnels (RFC 7348) at a UDP port, such as ":4789": what
// comes in them, from any number of clients and with any VNI, are the Source's
// packets. Each client, which is an address and a VNI, is an ingress interface
// (Describer) of a number that stays the same when it is opened again.
//
// The tunnels' own packets, which an interface of this host carries too, are not
// among the Source's.
func ListenVXLAN(addr string, c TunnelConfig) (Source, error) {
	return newEnded("vxlan on "+addr, c, tunnel.VXLAN, listenUDP(addr))
}

// ListenGENEVE ends Geneve tunnels (RFC 8926) as ListenVXLAN does VXLAN's; their
// port is 6081.
func ListenGENEVE(addr string, c TunnelConfig) (Source, error) {
	return newEnded("geneve on "+addr, c, tunnel.Geneve, listenUDP(addr))
}

// ListenTZSP ends TZSP, in which access points and MikroTik routers send what
// they see, as ListenVXLAN does VXLAN; its port is 37008. A client is an address.
func ListenTZSP(addr string, c TunnelConfig) (Source, error) {
	return newEnded("tzsp on "+addr, c, tunnel.TZSP, listenUDP(addr))
}

// ListenGRE ends GRE tunnels (RFC 2784, RFC 2890), and ERSPAN's of types I to III
// in them, at an address of this host; an empty one or :: means all, of IPv4 and
// IPv6, and 0.0.0.0 those of IPv4. It needs CAP_NET_RAW.
//
// No tunnel device is needed, and any number of clients may send without being
// set up: each, which is an address and a key or an ERSPAN session, is an ingress
// interface (Describer) of a number that stays the same when it is opened again.
//
// Frames (gretap, NVGRE, ERSPAN) come as Ethernet, packets of plain GRE as raw
// IP. Where a device of the kernel ends the same tunnels, both get the packets.
func ListenGRE(addr string, c TunnelConfig) (Source, error) {
	name := "gre"
	if addr != "" {
		name += " on " + addr
	}
	return newEnded(name, c, tunnel.GRE, listenGRE(addr))
}
