package row

import (
	"bytes"
	"net/netip"
	"strconv"

	"flowtally/flow"
)

// nat is what a translator made of a flow: the columns of it, zero where there is none.
type nat struct {
	src, dst         flow.Addr
	srcPort, dstPort uint16
	// src4 and dst4 say that there is an address of IPv4, which then is the one that counts.
	src4, dst4 bool
}

// natBegin is what the names of the members begin with.
var (
	natBegin = []byte(`"postNA`)
	natSrc4  = []byte(`"postNATSourceIPv4Address"`)
	natDst4  = []byte(`"postNATDestinationIPv4Address"`)
)

// splitNAT takes the members that have columns out of what a record says besides, which is
// a JSON object. What is no address or port, or says it again, stays.
func splitNAT(extra []byte) (n nat, rest []byte) {
	if !bytes.Contains(extra, natBegin) {
		return n, extra
	}
	n.src4, n.dst4 = bytes.Contains(extra, natSrc4), bytes.Contains(extra, natDst4)
	rest = append(make([]byte, 0, len(extra)), '{')
	for at := 1; at < len(extra); {
		end := memberEnd(extra, at)
		if member := bytes.TrimSpace(extra[at:end]); len(member) > 0 && !n.take(member) {
			if len(rest) > 1 {
				rest = append(rest, ',')
			}
			rest = append(rest, member...)
		}
		at = end + 1
	}
	if len(rest) == 1 {
		return n, nil
	}
	return n, append(rest, '}')
}

// memberEnd returns where the member of an object that begins at i ends: at the comma
// behind it, or at the object's end.
func memberEnd(b []byte, i int) int {
	depth := 0
	for ; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return i
			}
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
	return i
}

// take takes a member that has a column, and reports whether it did.
func (n *nat) take(member []byte) bool {
	name, value, ok := bytes.Cut(member, []byte{':'})
	if !ok {
		return false
	}
	name, value = bytes.TrimSpace(name), bytes.TrimSpace(value)
	switch string(name) {
	case `"postNATSourceIPv4Address"`:
		return takeAddr(&n.src, value)
	case `"postNATSourceIPv6Address"`:
		return !n.src4 && takeAddr(&n.src, value)
	case `"postNATDestinationIPv4Address"`:
		return takeAddr(&n.dst, value)
	case `"postNATDestinationIPv6Address"`:
		return !n.dst4 && takeAddr(&n.dst, value)
	case `"postNAPTSourceTransportPort"`:
		return takePort(&n.srcPort, value)
	case `"postNAPTDestinationTransportPort"`:
		return takePort(&n.dstPort, value)
	}
	return false
}

func takeAddr(to *flow.Addr, value []byte) bool {
	if len(value) < 2 || value[0] != '"' || !to.IsZero() {
		return false
	}
	a, err := netip.ParseAddr(string(value[1 : len(value)-1]))
	if err != nil || a.Zone() != "" {
		return false
	}
	*to = flow.AddrFrom(a)
	return !to.IsZero()
}

func takePort(to *uint16, value []byte) bool {
	v, err := strconv.ParseUint(string(value), 10, 16)
	if err != nil || v == 0 || *to != 0 {
		return false
	}
	*to = uint16(v)
	return true
}

// appendNAT appends the columns of a translation.
func appendNAT(b []byte, n *nat) []byte {
	b = appendInetSaid(b, &n.src)
	b = appendInetSaid(b, &n.dst)
	b = AppendInt4NotZero(b, uint32(n.srcPort))
	return AppendInt4NotZero(b, uint32(n.dstPort))
}
