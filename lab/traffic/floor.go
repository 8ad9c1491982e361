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
	packets          span    // in both directions together
	oneIn            int     // only one in so many is answered; 0 is each
	turn             int32   // every turn-th packet is the client's, the rest the server's
	up, down         span    // octets of payload
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
		packets: span{2, 2}, oneIn: 8, turn: 2, up: span{24, 48}, down: span{30, 60}, gap: 2 * ms},

	{name: "name lookups", protocol: udp, port: 53, clients: group{desks.first, floor.count - reports.count}, servers: names,
		rhythm: office, rate: 3.6, packets: span{2, 2}, turn: 2, up: span{29, 50}, down: span{60, 300}, gap: 1 * ms, v6: 0.3},
	{name: "web", protocol: tcp, port: 443, clients: desks, servers: sites,
		rhythm: office, rate: 1.7, packets: span{10, 40}, turn: 3, up: span{0, 400}, down: span{900, 1440}, gap: 60 * ms, v6: 0.4},
	{name: "orders", protocol: tcp, port: 5200, clients: desks, servers: gateways,
		rhythm: market, rate: 0.9, packets: span{16, 60}, turn: 2, up: span{80, 260}, down: span{80, 320}, gap: 900 * ms},
	{name: "orders to the exchange", protocol: tcp, port: 9200, clients: gateways, servers: exchanges,
		rhythm: market, rate: 0.35, packets: span{20, 80}, turn: 2, up: span{90, 280}, down: span{60, 240}, gap: 700 * ms},
	{name: "reference data", protocol: tcp, port: 5432, clients: group{desks.first, desks.count + gateways.count}, servers: databases,
		rhythm: market, rate: 0.8, packets: span{8, 26}, turn: 2, up: span{60, 500}, down: span{200, 1440}, gap: 30 * ms, v6: 0.1},
	{name: "risk checks", protocol: tcp, port: 7001, clients: gateways, servers: risk,
		rhythm: market, rate: 0.6, packets: span{8, 14}, turn: 2, up: span{120, 300}, down: span{60, 200}, gap: 4 * ms},
	{name: "logins", protocol: tcp, port: 389, clients: desks, servers: directory,
		rhythm: office, rate: 0.3, packets: span{8, 14}, turn: 2, up: span{80, 300}, down: span{100, 900}, gap: 8 * ms, v6: 0.5},
	{name: "mail", protocol: tcp, port: 993, clients: desks, servers: mail,
		rhythm: office, rate: 0.25, packets: span{12, 44}, turn: 3, up: span{40, 200}, down: span{200, 1440}, gap: 120 * ms, v6: 0.5},
	{name: "files", protocol: tcp, port: 445, clients: desks, servers: files,
		rhythm: office, rate: 0.12, packets: span{20, 90}, turn: 4, up: span{60, 200}, down: span{8000, 62000}, gap: 25 * ms},
	{name: "shells", protocol: tcp, port: 22, clients: desks, servers: servers,
		rhythm: office, rate: 0.01, packets: span{60, 400}, turn: 2, up: span{36, 80}, down: span{36, 200}, gap: 1500 * ms, v6: 0.2},

	{name: "log lines", protocol: udp, port: 514, clients: servers, servers: logs,
		rhythm: steady, rate: 0.35, packets: span{1, 3}, turn: 1, up: span{90, 300}, gap: 300 * ms},
	{name: "pings", protocol: icmp4, clients: monitor, servers: floor,
		rhythm: steady, rate: 0.3, packets: span{6, 6}, turn: 2, up: span{56, 56}, down: span{56, 56}, gap: 500 * ms, v6: 0.3},
	{name: "polls", protocol: udp, port: 161, clients: monitor, servers: servers,
		rhythm: steady, rate: 0.2, packets: span{4, 20}, turn: 2, up: span{50, 120}, down: span{80, 600}, gap: 5 * ms},
	{name: "time", protocol: udp, port: 123, fixedPort: true, clients: group{desks.first, names.first - desks.first}, servers: clocks,
		rhythm: steady, rate: 0.2, packets: span{2, 2}, turn: 2, up: span{48, 48}, down: span{48, 48}, gap: 1 * ms, v6: 0.2},

	{name: "backups", protocol: tcp, port: 873, clients: group{names.first, backups.first - names.first}, servers: backups,
		rhythm: night, rate: 0.04, packets: span{800, 2400}, turn: 1, up: span{48000, 64000}, gap: 40 * ms},
	{name: "end of day", protocol: tcp, port: 5432, clients: risk, servers: databases,
		rhythm: night, rate: 0.3, packets: span{20, 80}, turn: 3, up: span{80, 400}, down: span{900, 1440}, gap: 20 * ms},
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

// newStreams returns the market data, one feed a group, and the streams that keep the
// floor's links warm: the recorders' copies. Their bytes are so many that no number
// of tiny flows can move the graph.
func newStreams() []stream {
	var all []stream
	for i := range multicast.count {
		all = append(all, stream{name: "market data", protocol: udp, port: uint16(30001 + i),
			from: feeds.first + i%feeds.count, to: multicast.first + i, rhythm: market,
			base: 0.2, swing: 2.5, size: span{120, 1400}})
	}
	for i := range recorders.count {
		all = append(all, stream{name: "recorders", protocol: tcp, port: 2049,
			from: recorders.first + i, to: files.first + i%files.count, rhythm: market,
			base: 24, swing: 34, size: span{44000, 64000}, acknowledged: 8})
	}
	return all
}
