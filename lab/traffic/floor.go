package traffic

import (
	"fmt"
	"net/netip"
)

// Host is one machine of the floor, or one that it talks to.
type Host struct {
	// Name is what its owners call it.
	Name string
	// Addr is its IPv4 address, Addr6 its IPv6 address, invalid without one.
	Addr, Addr6 netip.Addr
}

// Hosts returns everybody on the floor, multicast groups included.
func Hosts() []Host {
	all := make([]Host, 0, len(hosts))
	for i := range hosts {
		h := Host{Name: hosts[i].name, Addr: netip.AddrFrom4(hosts[i].v4)}
		if hosts[i].v6 != [16]byte{} {
			h.Addr6 = netip.AddrFrom16(hosts[i].v6)
		}
		all = append(all, h)
	}
	return all
}

// host is a Host as octets.
type host struct {
	name string
	mac  [6]byte
	v4   [4]byte
	v6   [16]byte
}

// group is a run of hosts with one role.
type group struct{ first, count int32 }

// The roles. Addresses are private (RFC 1918), of documentation (RFC 5737, RFC 3849)
// or administratively scoped multicast (RFC 2365): nobody's.
var (
	hosts []host

	desks     = people("desk-%02d.floor", 24, "10.20.1.11", "2001:db8:20:1::11")
	gateways  = people("ordergw-%d.floor", 4, "10.20.2.11", "")
	feeds     = people("feed-%d.floor", 4, "10.20.3.11", "")
	names     = people("dns-%d.floor", 2, "10.20.4.11", "2001:db8:20:4::11")
	clocks    = people("ntp-%d.floor", 2, "10.20.4.21", "2001:db8:20:4::21")
	directory = people("directory-%d.floor", 2, "10.20.4.31", "2001:db8:20:4::31")
	mail      = people("mail-%d.floor", 1, "10.20.4.41", "2001:db8:20:4::41")
	databases = people("refdata-%d.floor", 4, "10.20.5.11", "2001:db8:20:5::11")
	risk      = people("risk-%d.floor", 3, "10.20.5.31", "")
	files     = people("files-%d.floor", 2, "10.20.6.11", "")
	recorders = people("recorder-%d.floor", 2, "10.20.6.21", "")
	backups   = people("backup-%d.floor", 1, "10.20.6.31", "")
	monitor   = people("monitor-%d.floor", 1, "10.20.7.11", "2001:db8:20:7::11")
	logs      = people("logs-%d.floor", 1, "10.20.7.21", "")
	reports   = people("reports-%d.floor", 1, "10.20.7.66", "")
	exchanges = people("exchange-%d.example", 3, "198.51.100.11", "")
	sites     = people("site-%d.example", 8, "203.0.113.11", "2001:db8:beef::11")
	multicast = people("market-data-%d.group", 8, "239.20.3.1", "")

	// floor is every machine of the house, servers all that are not desks.
	floor   = group{desks.first, reports.first + 1 - desks.first}
	servers = group{gateways.first, logs.first + 1 - gateways.first}
)

// people makes count hosts with addresses from v4 (and v6) upwards.
func people(name string, count int, v4, v6 string) group {
	g := group{int32(len(hosts)), int32(count)}
	a4 := netip.MustParseAddr(v4)
	var a6 netip.Addr
	if v6 != "" {
		a6 = netip.MustParseAddr(v6)
	}
	for i := range count {
		h := host{name: fmt.Sprintf(name, i+1), v4: a4.As4()}
		if h.v4[0] >= 224 { // RFC 1112 §6.4
			h.mac = [6]byte{0x01, 0x00, 0x5e, h.v4[1] & 0x7f, h.v4[2], h.v4[3]}
		} else { // a locally administered address
			h.mac = [6]byte{0x02, 0x20, h.v4[0], h.v4[1], h.v4[2], h.v4[3]}
		}
		if a6.IsValid() {
			h.v6 = a6.As16()
			a6 = a6.Next()
		}
		hosts = append(hosts, h)
		a4 = a4.Next()
	}
	return g
}

// span is a range of numbers, both ends included.
type span struct{ lo, hi int32 }

// act is a kind of conversation that the floor has over and over.
type act struct {
	name             string
	protocol         uint8
	port             uint16 // the server's
	fixedPort        bool   // the client uses the same one
	clients, servers group
	rhythm           rhythm
	rate             float64 // conversations a second at level 1
	packets          span    // in both directions together; the short ones are more
	oneIn            int     // only one in so many is answered; 0 is each
	upload           bool    // TCP: the client is the one that has much to say
	turn             int32   // every turn-th packet is the listener's, the rest the talker's
	every            int32   // TCP: every so many turns the listener asks, else it acknowledges
	ask, answer      span    // octets of payload; TCP: of an answer's last segment, the others are full
	gap              int64   // ns between packets, the mean
	v6               float64 // the part that uses IPv6 where both can
}

const (
	icmp4 = 1
	tcp   = 6
	udp   = 17
	icmp6 = 58

	ms = 1e6 // ns
)

// The acts; actReports is the one that only a burst begins.
const (
	actReports = 0
	actCount   = 17
)

var acts = [actCount]act{
	actReports: {name: "report lookups", protocol: udp, port: 4070, clients: reports, servers: group{databases.first, databases.count + risk.count},
		packets: span{2, 2}, oneIn: 12, turn: 2, ask: span{8, 16}, answer: span{8, 16}, gap: 2 * ms},

	{name: "name lookups", protocol: udp, port: 53, clients: group{desks.first, floor.count - reports.count}, servers: names,
		rhythm: office, rate: 4.3, packets: span{2, 2}, turn: 2, ask: span{32, 50}, answer: span{60, 250}, gap: 1 * ms, v6: 0.3},
	{name: "web", protocol: tcp, port: 443, clients: desks, servers: sites,
		rhythm: office, rate: 1.9, packets: span{14, 132}, turn: 3, every: 9, ask: span{180, 900}, answer: span{40, 1400}, gap: 20 * ms, v6: 0.4},
	{name: "orders", protocol: tcp, port: 5200, clients: desks, servers: gateways,
		rhythm: market, rate: 1.0, packets: span{16, 52}, turn: 2, every: 1, ask: span{80, 260}, answer: span{80, 320}, gap: 900 * ms},
	{name: "orders to the exchange", protocol: tcp, port: 9200, clients: gateways, servers: exchanges,
		rhythm: market, rate: 0.4, packets: span{20, 80}, turn: 2, every: 1, ask: span{90, 280}, answer: span{60, 240}, gap: 700 * ms},
	{name: "reference data", protocol: tcp, port: 5432, clients: group{desks.first, desks.count + gateways.count}, servers: databases,
		rhythm: market, rate: 0.9, packets: span{12, 36}, turn: 3, every: 1, ask: span{60, 500}, answer: span{100, 1400}, gap: 20 * ms, v6: 0.1},
	{name: "risk checks", protocol: tcp, port: 7001, clients: gateways, servers: risk,
		rhythm: market, rate: 0.7, packets: span{8, 18}, turn: 2, every: 1, ask: span{120, 300}, answer: span{60, 200}, gap: 4 * ms},
	{name: "logins", protocol: tcp, port: 389, clients: desks, servers: directory,
		rhythm: office, rate: 0.3, packets: span{10, 18}, turn: 2, every: 1, ask: span{80, 300}, answer: span{100, 900}, gap: 8 * ms, v6: 0.5},
	{name: "mail", protocol: tcp, port: 993, clients: desks, servers: mail,
		rhythm: office, rate: 0.25, packets: span{14, 120}, turn: 3, every: 3, ask: span{40, 200}, answer: span{200, 1400}, gap: 60 * ms, v6: 0.5},
	{name: "files", protocol: tcp, port: 445, clients: desks, servers: files,
		rhythm: office, rate: 0.12, packets: span{40, 800}, turn: 3, every: 15, ask: span{90, 200}, answer: span{80, 1400}, gap: 4 * ms},
	{name: "shells", protocol: tcp, port: 22, clients: desks, servers: servers,
		rhythm: office, rate: 0.01, packets: span{60, 400}, turn: 2, every: 1, ask: span{36, 80}, answer: span{36, 200}, gap: 1500 * ms, v6: 0.2},

	{name: "log lines", protocol: udp, port: 514, clients: servers, servers: logs,
		rhythm: steady, rate: 0.35, packets: span{1, 3}, turn: 1, ask: span{90, 300}, gap: 300 * ms},
	{name: "pings", protocol: icmp4, clients: monitor, servers: floor,
		rhythm: steady, rate: 0.3, packets: span{6, 6}, turn: 2, ask: span{56, 56}, answer: span{56, 56}, gap: 500 * ms, v6: 0.3},
	{name: "polls", protocol: udp, port: 161, clients: monitor, servers: servers,
		rhythm: steady, rate: 0.2, packets: span{4, 20}, turn: 2, ask: span{50, 120}, answer: span{80, 600}, gap: 5 * ms},
	{name: "time", protocol: udp, port: 123, fixedPort: true, clients: group{desks.first, names.first - desks.first}, servers: clocks,
		rhythm: steady, rate: 0.2, packets: span{2, 2}, turn: 2, ask: span{48, 48}, answer: span{48, 48}, gap: 1 * ms, v6: 0.2},

	{name: "backups", protocol: tcp, port: 873, clients: group{names.first, backups.first - names.first}, servers: backups,
		rhythm: night, rate: 0.075, packets: span{1200, 6000}, upload: true, turn: 5, every: 40, ask: span{60, 400}, answer: span{100, 1400}, gap: 12 * ms},
	{name: "end of day", protocol: tcp, port: 5432, clients: risk, servers: databases,
		rhythm: night, rate: 0.3, packets: span{40, 400}, turn: 3, every: 6, ask: span{80, 400}, answer: span{100, 1400}, gap: 8 * ms},
}

// stream is a conversation that never ends.
type stream struct {
	name         string
	protocol     uint8
	port         uint16
	from, to     int32
	rhythm       rhythm
	base, swing  float64 // packets a second: base + swing * level
	size         span    // octets of payload
	acknowledged int32   // every so many packets one comes back; 0 is none
}

var streams = newStreams()

// newStreams returns the market data, one feed a group, what the recorders write of it
// over a connection they keep, and the snapshots that the file servers send away every
// hour. A burst falls under the snapshots: their bytes are so many that no number of
// tiny flows can move the graph.
func newStreams() []stream {
	var all []stream
	for i := range multicast.count {
		all = append(all, stream{name: "market data", protocol: udp, port: uint16(30001 + i),
			from: feeds.first + i%feeds.count, to: multicast.first + i, rhythm: market,
			base: 0.4, swing: 5, size: span{72, 572}})
	}
	for i := range recorders.count {
		all = append(all, stream{name: "recorders", protocol: tcp, port: 2049,
			from: recorders.first + i, to: files.first + i%files.count, rhythm: market,
			base: 2, swing: 26, size: span{segmentMax, segmentMax}, acknowledged: 4})
	}
	for i := range files.count {
		all = append(all, stream{name: "snapshots", protocol: tcp, port: 7789,
			from: files.first + i, to: backups.first, rhythm: hourly,
			base: 0.5, swing: 180, size: span{segmentMax, segmentMax}, acknowledged: 10})
	}
	return all
}
