package filter

import (
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// parseNumber reads a decimal or hexadecimal number with a decimal suffix.
func parseNumber(s string) (uint64, bool) {
	if len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' {
		n, err := strconv.ParseUint(s[2:], 16, 64)
		return n, err == nil
	}
	of := uint64(1)
	if len(s) > 1 {
		for _, u := range suffixes {
			if s[len(s)-1]|0x20 == u.letter[0] {
				of, s = u.of, s[:len(s)-1]
				break
			}
		}
	}
	return multiple(s, of)
}

// parseDuration reads a number of milliseconds, also in greater units. m is a million
// as everywhere, so that minutes are min.
func parseDuration(s string) (uint64, bool) {
	for _, u := range durations {
		if len(s) > len(u.unit) && strings.EqualFold(s[len(s)-len(u.unit):], u.unit) {
			if n, ok := multiple(s[:len(s)-len(u.unit)], u.of); ok {
				return n, true
			}
		}
	}
	return parseNumber(s)
}

var durations = []struct {
	unit string
	of   uint64
}{{"ms", 1}, {"min", 60_000}, {"s", 1000}, {"h", 3_600_000}, {"d", 86_400_000}}

// multiple returns a decimal number times of, which has to be whole: 1.5 × 1000.
func multiple(s string, of uint64) (uint64, bool) {
	whole, fraction, point := strings.Cut(s, ".")
	if whole == "" || whole[0] == '+' || point && fraction == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(whole, 10, 64)
	if err != nil || n > math.MaxUint64/of {
		return 0, false
	}
	n *= of
	for _, c := range fraction {
		if c < '0' || c > '9' || of%10 != 0 && c != '0' {
			return 0, false
		}
		of /= 10
		part := uint64(c-'0') * of
		if n > math.MaxUint64-part {
			return 0, false
		}
		n += part
	}
	return n, true
}

// parseNet reads an address or a network; of a network, the bytes that are left
// out at the end are 0.
func parseNet(s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		if a.Zone() != "" {
			return netip.Prefix{}, false
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	addr, length, ok := strings.Cut(s, "/")
	if !ok {
		return netip.Prefix{}, false
	}
	if !strings.Contains(addr, ":") {
		if n := strings.Count(addr, "."); n < 3 {
			addr += strings.Repeat(".0", 3-n)
		}
		if bits, ok := maskBits(length); ok {
			length = strconv.Itoa(bits)
		}
	}
	n, err := netip.ParsePrefix(addr + "/" + length)
	if err != nil {
		return netip.Prefix{}, false
	}
	if n.Addr().Is4In6() {
		if n.Bits() < 96 {
			return netip.Prefix{}, false
		}
		n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
	}
	return n.Masked(), true
}

// maskBits reads a network mask such as 255.255.240.0.
func maskBits(s string) (int, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return 0, false
	}
	b := a.As4()
	m := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	n := 0
	for ; m&(1<<31) != 0; m <<= 1 {
		n++
	}
	return n, m == 0
}

// isHost reports whether s can be the name of a host (RFC 1123 §2.1), with
// underscores and letters of any script.
func isHost(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 || strings.ContainsAny(s, ":/%+ ") {
		return false
	}
	digits := true
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.ContainsFunc(label, func(r rune) bool { return !isWordRune(r) }) {
			return false
		}
		digits = strings.Trim(label, "0123456789") == ""
	}
	return !digits // the last label of a name is never a number
}

// parseMAC returns a MAC address as encoding it makes it: lower case, colons.
func parseMAC(s string) (string, bool) {
	const hexDigits = "0123456789abcdef"
	digits := make([]byte, 0, 12)
	groups := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return r == ':' || r == '-' || r == '.' })
	for _, g := range groups {
		if len(groups) == 6 && len(g) == 1 {
			g = "0" + g
		}
		digits = append(digits, g...)
	}
	if len(digits) != 12 || len(groups) != 6 && len(groups) != 3 && len(groups) != 1 {
		return "", false
	}
	out := make([]byte, 0, 17)
	for i, c := range digits {
		if strings.IndexByte(hexDigits, c) < 0 {
			return "", false
		}
		if i > 0 && i%2 == 0 {
			out = append(out, ':')
		}
		out = append(out, c)
	}
	return string(out), true
}
