package command

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"flowtally/collector"
	"flowtally/exporter/capture"
)

// listening are addresses to listen on: HOST:PORT, of which either may be missing. A port
// alone is that port of host, which is empty for all addresses of this machine; an address
// alone is its usual port.
func listening(network, host, port string) kind[string] {
	example := net.JoinHostPort(host, port)
	return kind[string]{
		name: "address", wants: "ADDRESS:PORT such as " + example + ", or one of the two", once: true,
		read: func(text string) (string, error) {
			h, p, err := splitAddress(text)
			switch {
			case err != nil:
				return "", err
			case h == "" && !strings.Contains(text, ":"):
				h = host
			case h == "*":
				h = ""
			}
			if p == "" {
				p = port
			}
			if p, ok := portNumber(network, p); ok {
				return net.JoinHostPort(h, p), nil
			}
			return "", fmt.Errorf("want a port from 0 to 65535 behind the last colon, such as %s", example)
		},
	}
}

// listeners are addresses that a collector listens on, as listening has them, each with a
// name in front for the exporters that come in there: NAME=ADDRESS.
func listeners(network, port string) kind[string] {
	k := listening(network, "", port).several()
	address := k.read
	k.wants = "ADDRESS:PORT such as :" + port + ", one of the two, or NAME=ADDRESS such as edge-1=:9996"
	k.read = func(text string) (string, error) {
		name, _, err := collector.SplitListen(text)
		if err != nil {
			return "", errWanted
		}
		_, at, named := strings.Cut(text, "=")
		if !named {
			return address(text)
		}
		if at, err = address(at); err != nil {
			return "", err
		}
		return name + "=" + at, nil
	}
	return k
}

// splitAddress divides HOST:PORT, HOST or PORT; what is missing is empty.
func splitAddress(text string) (host, port string, err error) {
	text = strings.TrimSpace(text)
	if text == "" || strings.ContainsAny(text, "/ \t@,=") {
		return "", "", errWanted
	}
	if _, err := strconv.ParseUint(text, 10, 64); err == nil {
		return "", text, nil
	}
	if inside, ok := strings.CutPrefix(text, "["); ok {
		inside, rest, closed := strings.Cut(inside, "]")
		port, colon := strings.CutPrefix(rest, ":")
		if a, err := netip.ParseAddr(inside); !closed || err != nil || !a.Is6() || rest != "" && !colon {
			return "", "", fmt.Errorf("want an IPv6 address in the brackets and a port behind them, such as [2001:db8::1]:9995")
		}
		return inside, port, nil
	}
	if strings.Count(text, ":") > 1 {
		// Whether the last of 2001:db8::1:9995 is a port nobody can tell.
		if text == "::" {
			return text, "", nil
		}
		if _, err := netip.ParseAddr(text); err == nil {
			return "", "", fmt.Errorf("want an IPv6 address in brackets, as [%s]", text)
		}
		return "", "", errWanted
	}
	host, port, _ = strings.Cut(text, ":")
	if !isHost(host) && host != "" && host != "*" || strings.HasSuffix(text, ":") {
		return "", "", errWanted
	}
	return host, port, nil
}

// isHost reports whether text can be an address or a name of a host.
func isHost(text string) bool {
	if _, err := netip.ParseAddr(text); err == nil {
		return true
	}
	if strings.Trim(text, "0123456789.") == "" || len(text) > 253 {
		return false // an address, but for a digit
	}
	return !strings.ContainsFunc(text, func(r rune) bool {
		return r != '.' && r != '-' && r != '_' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
	})
}

// portNumber returns the number of a port, which may have a name.
func portNumber(network, port string) (string, bool) {
	if strings.Trim(port, "0123456789") != "" {
		n, err := net.LookupPort(network, port)
		return strconv.Itoa(n), err == nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return strconv.FormatUint(n, 10), err == nil
}

// The ports of collectors: 9995 is what they use over UDP, the others are IANA's for IPFIX.
var collectorPorts = map[string]string{"": "9995", "tcp": "4739", "tls": "4740"}

// destinations are collectors to send to.
var destinations = kind[string]{
	name:  "HOST:PORT",
	wants: "HOST:PORT[,version=5|9|10][,filter=FILTER], such as 192.0.2.10:9995",
	split: splitDestinations,
	read: func(text string) (string, error) {
		address, rest, parts := strings.Cut(strings.TrimSpace(text), ",")
		scheme, host, stream := strings.Cut(address, "://")
		if !stream {
			scheme, host = "", address
		}
		scheme = strings.ToLower(scheme)
		usual, known := collectorPorts[scheme]
		if !known || stream && scheme == "" {
			return "", fmt.Errorf("want HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT")
		}
		h, p, err := splitAddress(host)
		if err != nil {
			return "", err
		}
		if h == "" && p != "" && !strings.Contains(host, ":") {
			h = "127.0.0.1" // the port alone
		}
		if p == "" {
			p = usual
		}
		network := "udp"
		if scheme != "" {
			network, scheme = "tcp", scheme+"://"
		}
		p, ok := portNumber(network, p)
		if h == "" || h == "*" {
			return "", errWanted
		}
		if !ok || p == "0" {
			return "", fmt.Errorf("want a port from 1 to 65535 behind the host, such as 192.0.2.10:9995")
		}
		text = scheme + net.JoinHostPort(h, p)
		if !parts {
			return text, nil
		}
		text += "," + rest
		_, err = collectorOf(text)
		return text, err
	},
}

// splitDestinations divides several destinations that stand in one text, as softflowd has
// them; there may be commas in a filter, which is the last part of a destination.
func splitDestinations(text string) []string {
	var out []string
	filtered := false
	for part := range strings.SplitSeq(text, ",") {
		name, _, has := strings.Cut(part, "=")
		if len(out) > 0 && (has || filtered || strings.TrimSpace(part) == "") {
			out[len(out)-1] += "," + part
		} else {
			out = append(out, part)
		}
		filtered = filtered || has && strings.TrimSpace(name) == "filter"
	}
	return out
}

// tunnelEnds are addresses for GRE, which has no ports.
var tunnelEnds = kind[string]{
	name: "address", wants: "an address of this machine, or 0.0.0.0 or :: for any; GRE has no ports", once: true,
	read: func(text string) (string, error) {
		a, err := netip.ParseAddr(strings.Trim(strings.TrimSpace(text), "[]"))
		if err != nil {
			return "", errWanted
		}
		return a.String(), nil
	},
}

// tunnelClients are who sends by a mirror tunnel.
var tunnelClients = kind[capture.TunnelClient]{
	name: "client", wants: "ADDRESS[/ID]=NAME, such as 10.0.0.5/42=web; ADDRESS may be * where there is an ID, a number of 32 bits",
	read: func(text string) (capture.TunnelClient, error) {
		c, err := capture.ParseTunnelClient(text)
		if err != nil {
			return c, errWanted
		}
		return c, nil
	},
	write: func(c capture.TunnelClient) string {
		who := "*"
		if c.Addr.IsValid() {
			who = c.Addr.String()
		}
		if c.HasID {
			who += "/" + strconv.FormatUint(uint64(c.ID), 10)
		}
		return who + "=" + c.Name
	},
}

// hostNames are names under which a page may be asked for.
var hostNames = kind[string]{
	name: "host", wants: "a host name alone, such as flows.example.org: no http:// and no port", split: atCommas,
	read: func(text string) (string, error) {
		if host, _, err := splitAddress(text); err == nil && isHost(host) {
			return host, nil
		}
		if _, err := netip.ParseAddr(text); err != nil {
			return "", errWanted
		}
		return text, nil
	},
}

// nameServers are where names are looked up.
var nameServers = kind[string]{
	name: "host", wants: "the address of a name server, such as 192.0.2.53 or 192.0.2.53:53", once: true,
	read: func(text string) (string, error) {
		if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
			return net.JoinHostPort(a.String(), "53"), nil
		}
		h, p, err := splitAddress(text)
		if err != nil {
			return "", err
		}
		if p == "" {
			p = "53"
		}
		p, ok := portNumber("udp", p)
		if h == "" || h == "*" || !ok || p == "0" {
			return "", errWanted
		}
		return net.JoinHostPort(h, p), nil
	},
}

// interfaceNames are interfaces of this machine.
var interfaceNames = kind[string]{
	name: "interface", once: true, wants: "the name of a network interface alone, such as eth1: its own index is reported",
	read: func(text string) (string, error) {
		text = strings.TrimSpace(text)
		if index, _, ok := strings.Cut(text, ":"); text == "" || strings.ContainsAny(text, "/ \t\n") || len(text) > 63 || ok && strings.Trim(index, "0123456789") == "" {
			return "", errWanted
		}
		return text, nil
	},
	words: func(string) []string {
		var names []string
		all, _ := net.Interfaces()
		for _, i := range all {
			names = append(names, i.Name)
		}
		return names
	},
}

// networks are addresses and networks; an address is one of a single address.
var networks = kind[netip.Prefix]{
	name: "network", wants: "an address or a network, such as 10.0.0.2 or 10.0.0.0/24", split: atCommas,
	read: func(text string) (netip.Prefix, error) {
		p, ok := network(text)
		if !ok {
			return p, errWanted
		}
		return p, nil
	},
}

// network reads an address or a network.
func network(text string) (netip.Prefix, bool) {
	text = strings.TrimSpace(text)
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(text)
	return p.Masked(), err == nil
}
