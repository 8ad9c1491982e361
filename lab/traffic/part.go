package traffic

import "flowtally/exporter/capture"

// Part is what of the floor's packets one exporter sees.
type Part int

// The parts. A mirror port in the middle sees All; where two devices export, the core switch
// sees Inside, what stays in the house, and the edge router Outside, what leaves it: no
// packet is in both.
const (
	All Part = iota
	Inside
	Outside
)

// The interfaces of a device, by the ifIndex that packets carry.
const (
	ifDesks = 1 + iota
	ifServers
	ifStorage
	ifFeeds
	ifUplink
)

const (
	ifHouse = 1 + iota
	ifInternet
	ifExchanges
)

// The names of the interfaces, and what their administrator calls them. A mirror in the
// middle has those of the core switch, as if it were that.
var (
	coreInterfaces = []capture.Interface{
		{Index: ifDesks, Name: "ge-0/0/1", Description: "desks"},
		{Index: ifServers, Name: "ge-0/0/2", Description: "servers"},
		{Index: ifStorage, Name: "ge-0/0/3", Description: "files, recorders and backup"},
		{Index: ifFeeds, Name: "ge-0/0/4", Description: "market data feeds"},
		{Index: ifUplink, Name: "xe-0/1/0", Description: "uplink to the edge"},
	}
	edgeInterfaces = []capture.Interface{
		{Index: ifHouse, Name: "ethernet1/1", Description: "the house"},
		{Index: ifInternet, Name: "ethernet1/2", Description: "internet"},
		{Index: ifExchanges, Name: "ethernet1/3", Description: "exchanges"},
	}
)

// Interfaces implements capture.Describer.
func (s *Source) Interfaces() []capture.Interface {
	if s.config.Part == Outside {
		return edgeInterfaces
	}
	return coreInterfaces
}

func (g group) has(host int32) bool { return host >= g.first && host < g.first+g.count }

// leaves reports whether a conversation is with somebody outside of the house.
func leaves(t *talk) bool { return exchanges.has(t.server) || sites.has(t.server) }

// has reports whether the packets of a conversation are of the part.
func (p Part) has(t *talk) bool { return p == All || (p == Outside) == leaves(t) }

// interfaces returns that at which the client of a conversation is, and that of its server.
func (p Part) interfaces(t *talk) (client, server uint32) {
	of := coreInterfaceOf
	if p == Outside {
		of = edgeInterfaceOf
	}
	return of(t.client), of(t.server)
}

func coreInterfaceOf(host int32) uint32 {
	switch {
	case desks.has(host), multicast.has(host):
		return ifDesks
	case feeds.has(host):
		return ifFeeds
	case files.has(host), recorders.has(host), backups.has(host):
		return ifStorage
	case exchanges.has(host), sites.has(host):
		return ifUplink
	}
	return ifServers
}

func edgeInterfaceOf(host int32) uint32 {
	switch {
	case exchanges.has(host):
		return ifExchanges
	case sites.has(host):
		return ifInternet
	}
	return ifHouse
}
