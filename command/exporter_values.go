package command

import (
	"errors"
	"strings"
	"time"

	"flowtally/exporter/capture"
	"flowtally/exporter/pcapfilter"
	"flowtally/flow"
	"flowtally/netflow"
)

// versions are the dialects to export, by number or by name.
var versions = kind[int]{
	name: "version", wants: "5, 9 or 10 (IPFIX)",
	read: func(text string) (int, error) {
		name := strings.ToLower(strings.TrimSpace(text))
		if name == "ipfix" {
			return 10, nil
		}
		name = strings.TrimPrefix(strings.ReplaceAll(strings.ReplaceAll(name, " ", ""), "-", ""), "netflow")
		switch strings.TrimPrefix(name, "v") {
		case "5":
			return 5, nil
		case "9":
			return 9, nil
		case "10":
			return 10, nil
		}
		return 0, errWanted
	},
	words: func(string) []string { return []string{"ipfix", "9", "5", "10"} },
}

// ownNames are what an exporter says that it is called.
var ownNames = kind[string]{
	name: "name", wants: "a name of one line that is no address and no number, auto or none", needed: true,
	read: func(text string) (string, error) {
		if text == "" || flow.Name(text) != text {
			return "", errWanted
		}
		return text, nil
	},
	words: func(string) []string { return []string{"auto", "none"} },
}

// meterTimes are the times of the flow cache.
var meterTimes = durations("a time of at least 1ms such as 300, which is seconds, 90s or 5m", time.Millisecond)

// namedTimeouts are softflowd's timeouts.
var namedTimeouts = kind[string]{
	name: "timeout", split: atCommas,
	wants: "softflowd, or one of tcp, tcp.rst, tcp.fin, udp, icmp, general and maxlife with =TIME such as 300, which is seconds, or 300s, at least 1ms",
	read: func(text string) (string, error) {
		name, value, has := strings.Cut(strings.ToLower(strings.TrimSpace(text)), "=")
		if name == "softflowd" && !has {
			return name, nil
		}
		switch name {
		case "tcp", "tcp.rst", "tcp.fin", "udp", "icmp", "general", "maxlife":
			if d, ok := readDuration(value); ok && d >= time.Millisecond {
				return name + "=" + value, nil
			}
		}
		return "", errWanted
	},
	words: func(string) []string {
		return []string{"softflowd", "tcp=", "tcp.rst=", "tcp.fin=", "udp=", "icmp=", "general=", "maxlife="}
	},
}

// speeds are how fast a capture is read.
var speeds = kind[string]{
	name: "speed", wants: "max, or how many times the capture's own speed, such as 1x or 10x",
	read: func(text string) (string, error) {
		text = strings.ToLower(strings.TrimSpace(text))
		if text != "max" && !strings.HasSuffix(text, "x") {
			text += "x"
		}
		if _, err := capture.ParseSpeed(text); err != nil {
			return "", errWanted
		}
		return text, nil
	},
	words: func(string) []string { return []string{"max", "1x", "10x"} },
}

// packetFilters are filters in tcpdump's words. What is wrong with them is said before
// anything is opened.
var packetFilters = kind[string]{
	name: "expression", wants: "a filter in tcpdump's words, such as 'tcp port 80 and not net 10.0.0.0/8'",
	read: func(text string) (string, error) {
		if strings.TrimSpace(text) == "" {
			return "", errWanted
		}
		if _, err := pcapfilter.Compile(text, 1, 0); err != nil {
			return "", errors.New(strings.TrimPrefix(err.Error(), "filter: "))
		}
		return text, nil
	},
}

// fieldGroups are what more there can be in a record.
var fieldGroups = kind[string]{
	name: "fields", wants: "mac, vlan, mpls, ttl, length, tunnel, duplicates or all, and flags", split: atCommas,
	read: func(text string) (string, error) {
		text = strings.ToLower(strings.TrimSpace(text))
		if _, err := netflow.ParseFields(text); err != nil {
			return "", errWanted
		}
		return text, nil
	},
	words: func(string) []string {
		return []string{"mac", "vlan", "mpls", "ttl", "length", "tunnel", "duplicates", "all", "flags"}
	},
}
