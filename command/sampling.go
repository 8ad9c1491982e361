package command

import (
	"fmt"
	"net/netip"
	"strings"

	"flowtally/flow"
	"flowtally/netflow"
)

// samplings are sampling rates, of all exporters or of those of a network; overrides are
// always of a network.
var samplings = kind[string]{
	name: "sampling", wants: "N, 1:N or PREFIX=N, such as 1000 or 10.0.0.0/8=1000", split: atCommas,
	read: func(text string) (string, error) {
		if _, err := samplingOf([]string{text}, nil); err != nil {
			return "", errWanted
		}
		return text, nil
	},
}

var overrides = kind[string]{
	name: "sampling", wants: "PREFIX=N, such as 10.0.0.0/8=1000", split: atCommas,
	read: func(text string) (string, error) {
		if _, err := samplingOf(nil, []string{text}); err != nil {
			return "", errWanted
		}
		return text, nil
	},
}

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
		of := true
		if !ok {
			n = text
		} else {
			r.of, of = network(who)
		}
		every, valid := rate(n)
		if !of || !valid || override && !ok {
			return usageError{fmt.Errorf("%s %q: want PREFIX=N such as 10.0.0.0/8=1000", flagName, text)}
		}
		r.s.Rate = every
		for _, had := range rules {
			if had.of == r.of && had.s.Override == override {
				return usageError{fmt.Errorf("%s %q: 1:%d is given for the same exporters: want one of them", flagName, text, had.s.Rate)}
			}
		}
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
