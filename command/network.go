package command

import (
	"fmt"
	"net/netip"
)

// parseNetwork reads a network, or an address, which is one of a single address.
func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("%q is not an address or network: write it as 10.0.0.2 or 10.0.0.0/24", text)
	}
	return p.Masked(), nil
}

// parseAllow reads the addresses and networks of --allow.
func parseAllow(list []string) (out []netip.Prefix, err error) {
	for _, text := range list {
		p, err := parseNetwork(text)
		if err != nil {
			return nil, usageError{fmt.Errorf("--allow %q: want an address or a prefix such as 10.0.0.0/8", text)}
		}
		out = append(out, p)
	}
	return out, nil
}
