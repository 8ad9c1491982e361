package command

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"flowtally/flow"
	"flowtally/netflow"
)

// samplingOf makes the configured sampling of N, PREFIX=N and overrides: the
// longest prefix holds, and an override before the others.
func samplingOf(defaults, overrides []string) (func(flow.Exporter) netflow.Sampling, error) {
	type rule struct {
		of netip.Prefix
		s  netflow.Sampling
	}
	var rules []rule
	add := func(flagName, text string, override bool) error {
		who, n, ok := strings.Cut(text, "=")
		r := rule{s: netflow.Sampling{Override: override}}
		var err error
		if !ok {
			n = text
		} else {
			r.of, err = parseNetwork(who)
		}
		rate, nerr := strconv.ParseUint(n, 10, 31)
		if err != nil || nerr != nil || rate == 0 || override && !ok {
			return usageError{fmt.Errorf("%s %q: want PREFIX=N such as 10.0.0.0/8=1000", flagName, text)}
		}
		r.s.Rate = uint32(rate)
		rules = append(rules, r)
		return nil
	}
	for _, s := range overrides {
		if err := add("--sampling-override", s, true); err != nil {
			return nil, err
		}
	}
	for _, s := range defaults {
		if err := add("--sampling", s, false); err != nil {
			return nil, err
		}
	}
	if len(rules) == 0 {
		return nil, nil
	}
	return func(e flow.Exporter) (found netflow.Sampling) {
		best := -2
		a := e.Addr.Netip()
		for _, r := range rules {
			bits := -1 // for everybody
			if r.of.IsValid() {
				if !r.of.Contains(a) {
					continue
				}
				bits = r.of.Bits()
			}
			if r.s.Override == found.Override && bits > best || r.s.Override && !found.Override {
				found, best = r.s, bits
			}
			if found.Override && !r.s.Override {
				break // the overrides come first
			}
		}
		return found
	}, nil
}
