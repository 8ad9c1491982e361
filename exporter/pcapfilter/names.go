package pcapfilter

import (
	"strings"
	"sync"

	"github.com/google/gopacket/layers"
)

// protocols are the words for IP protocol numbers.
var protocols = map[string]uint32{
	"icmp": 1, "igmp": 2, "tcp": 6, "igrp": 9, "udp": 17, "dccp": 33, "ipv6": 41, "rsvp": 46, "gre": 47,
	"esp": 50, "ah": 51, "icmp6": 58, "ipv6-icmp": 58, "eigrp": 88, "ospf": 89, "ipip": 94, "pim": 103,
	"ipcomp": 108, "vrrp": 112, "carp": 112, "l2tp": 115, "sctp": 132, "udplite": 136,
}

// etherTypes are the words for EtherTypes.
var etherTypes = map[string]uint32{
	"ip": etherIPv4, "arp": etherARP, "rarp": etherRARP, "ip6": etherIPv6, "mpls": etherMPLS,
}

// fields are the words for offsets and values in octets of a header.
var fields = map[string]uint32{
	"tcpflags": 13,
	"tcp-fin":  0x01, "tcp-syn": 0x02, "tcp-rst": 0x04, "tcp-push": 0x08,
	"tcp-ack": 0x10, "tcp-urg": 0x20, "tcp-ece": 0x40, "tcp-cwr": 0x80,
	"icmptype": 0, "icmpcode": 1, "icmp6type": 0, "icmp6code": 1,
	"icmp-echoreply": 0, "icmp-unreach": 3, "icmp-sourcequench": 4, "icmp-redirect": 5, "icmp-echo": 8,
	"icmp-routeradvert": 9, "icmp-routersolicit": 10, "icmp-timxceed": 11, "icmp-paramprob": 12,
	"icmp-tstamp": 13, "icmp-tstampreply": 14, "icmp-ireq": 15, "icmp-ireqreply": 16,
	"icmp-maskreq": 17, "icmp-maskreply": 18,
	"icmp6-destinationunreach": 1, "icmp6-packettoobig": 2, "icmp6-timeexceeded": 3, "icmp6-parameterproblem": 4,
	"icmp6-echo": 128, "icmp6-echoreply": 129, "icmp6-multicastlistenerquery": 130,
	"icmp6-multicastlistenerreportv1": 131, "icmp6-multicastlistenerdone": 132, "icmp6-routersolicit": 133,
	"icmp6-routeradvert": 134, "icmp6-neighborsolicit": 135, "icmp6-neighboradvert": 136, "icmp6-redirect": 137,
}

// service is a port's name: the port it has with TCP and with UDP, -1 for none.
type service struct{ tcp, udp int }

// services turns gopacket's names of ports around. Of a name that several ports
// have, the lowest counts.
var services = sync.OnceValue(func() map[string]service {
	m := map[string]service{}
	add := func(name string, port int, set func(*service) *int) {
		name = strings.ToLower(name)
		s, ok := m[name]
		if !ok {
			s = service{-1, -1}
		}
		if p := set(&s); *p < 0 || port < *p {
			*p = port
		}
		m[name] = s
	}
	for port, name := range layers.TCPPortNames {
		add(name, int(port), func(s *service) *int { return &s.tcp })
	}
	for port, name := range layers.UDPPortNames {
		add(name, int(port), func(s *service) *int { return &s.udp })
	}
	return m
})
