package capture

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"flowtally/exporter/tunnel"

	"github.com/google/gopacket"
)

const (
	defaultClients       = 1024
	maxClients           = 1 << 15
	clientIndex          = 1 << 10   // the least ifIndex of a client
	othersIndex          = 1<<16 - 1 // that of all clients beyond the most
	defaultTunnelBuffer  = 32 << 20
	maxTunnelBuffer      = 1 << 30
	defaultTunnelTimeout = 100 * time.Millisecond
	tunnelRoom           = 16      // in front of a datagram, for an Ethernet header of ours
	tunnelDatagram       = 1 << 16 // octets of a datagram at most
	etherHeader          = 14
)

// TunnelConfig says how mirror tunnels are ended. The zero value is ready to use.
type TunnelConfig struct {
	// Clients names clients; others are named by what they are, such as
	// "vxlan 192.0.2.7 vni 42".
	Clients []TunnelClient
	// KnownOnly leaves out what comes from clients that are not in Clients.
	KnownOnly bool
	// MaxClients is how many clients are told apart, 1024 when 0; those that come
	// later are one interface together, with the name "others".
	MaxClients int
	// BufferBytes is the receive buffer that is asked for, 32 MiB when 0. The
	// kernel gives less to those without CAP_NET_ADMIN: net.core.rmem_max.
	BufferBytes int
	// Timeout is after how long without a packet a read gives ErrTimeout; 0 is
	// 100 ms.
	Timeout time.Duration
}

// TunnelClient gives a client of a tunnel a name.
type TunnelClient struct {
	// Addr is the address that it sends from; the zero Addr is any.
	Addr netip.Addr
	// ID is the VNI, GRE key or ERSPAN session, where HasID says so; otherwise
	// it is any.
	ID    uint32
	HasID bool
	// Name is the interface's. Where address or ID are any, what tells the
	// client apart is appended.
	Name string
}

// ParseTunnelClient reads ADDRESS[/ID]=NAME, in which ADDRESS may be * for any.
func ParseTunnelClient(s string) (c TunnelClient, err error) {
	who, name, ok := strings.Cut(s, "=")
	if c.Name = strings.TrimSpace(name); !ok || c.Name == "" {
		return c, fmt.Errorf("capture: client %q: want ADDRESS[/ID]=NAME", s)
	}
	addr, id, hasID := strings.Cut(strings.TrimSpace(who), "/")
	if hasID {
		n, err := strconv.ParseUint(id, 0, 32)
		if err != nil {
			return c, fmt.Errorf("capture: client %q: %q is no number of 32 bits", s, id)
		}
		c.ID, c.HasID = uint32(n), true
	}
	switch {
	case addr != "*":
		if c.Addr, err = netip.ParseAddr(addr); err != nil {
			return c, fmt.Errorf("capture: client %q: %q is no IP address", s, addr)
		}
		c.Addr = c.Addr.Unmap().WithZone("")
	case !hasID:
		return c, fmt.Errorf("capture: client %q: any address needs an ID", s)
	}
	return c, nil
}

// TunnelStats are the counters of a Source that ends tunnels.
type TunnelStats struct {
	// Packets is how many datagrams were received, those counted below included.
	Packets uint64
	// Clients is how many are told apart.
	Clients uint64
	// Others is how many packets came from clients beyond the most; they are
	// given, as of the interface "others".
	Others uint64
	// Unknown is how many packets were left out because KnownOnly is set.
	Unknown uint64
	// Malformed is how many datagrams were left out because they are not of the
	// tunnel, or end inside its header; Foreign those that carry what is no
	// frame and no IP packet: control messages, other protocols.
	Malformed, Foreign uint64
	// Cut is how many datagrams were longer than the buffer that receives them.
	Cut uint64
	// BufferBytes is the receive buffer that the kernel granted.
	BufferBytes int
}

// TunnelEnd is a Source that ends mirror tunnels. TunnelStats may be called from
// any goroutine.
type TunnelEnd interface{ TunnelStats() TunnelStats }

// unwrapper reads the header of a tunnel at the front of a datagram; the error is
// tunnel.ErrHeader or tunnel.ErrForeign.
type unwrapper func(datagram []byte) (tunnel.Header, error)

// ended are mirror tunnels that end here: one or two sockets, whose datagrams are
// unwrapped.
type ended struct {
	name   string
	unwrap unwrapper
	receiver
	closed atomic.Bool

	config TunnelConfig
	known  map[clientKey]uint32 // by the reader alone
	taken  map[uint32]bool

	mu         sync.Mutex
	interfaces []Interface
	others     bool // have come
	stats      TunnelStats

	// The reader's own: what was received and not yet given, the link type and
	// the client of the last.
	next, n   int
	link      uint32
	last      clientKey
	lastIndex uint32
	one       [1]Packet
}

type clientKey struct {
	addr  netip.Addr
	id    uint32
	hasID bool
	kind  tunnel.Kind
}

// receiver is the sockets' side, which differs from system to system.
type receiver interface {
	// receive waits at most so long for datagrams and says how many came.
	receive(timeout time.Duration) (n int, err error)
	// datagram is one of them: its octets with tunnelRoom in front of them, who
	// sent it and when. Those of raw IPv4 begin with the IP header.
	datagram(i int) received
	// drops is what the kernel dropped since the beginning, buffer what it
	// granted.
	drops() uint64
	buffer() int
	// close wakes a receive that waits.
	close() error
}

type received struct {
	octets []byte // with the room
	from   netip.Addr
	time   int64 // in nanoseconds since 1970
	cut    bool
}

func newEnded(name string, c TunnelConfig, unwrap unwrapper, open func(c *TunnelConfig) (receiver, error)) (_ Source, err error) {
	if c.MaxClients == 0 {
		c.MaxClients = defaultClients
	}
	if c.BufferBytes == 0 {
		c.BufferBytes = defaultTunnelBuffer
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTunnelTimeout
	}
	switch {
	case c.MaxClients < 0 || c.MaxClients > maxClients:
		err = fmt.Errorf("%d clients are not possible, at most %d are", c.MaxClients, maxClients)
	case c.BufferBytes < 0 || c.BufferBytes > maxTunnelBuffer:
		err = fmt.Errorf("a buffer of %d octets is not possible, at most %d are", c.BufferBytes, maxTunnelBuffer)
	case c.Timeout < time.Millisecond:
		err = fmt.Errorf("a timeout of %v is not possible, at least 1ms is", c.Timeout)
	}
	e := &ended{
		name: name, unwrap: unwrap, config: c,
		known: make(map[clientKey]uint32), taken: make(map[uint32]bool),
	}
	if err == nil {
		e.receiver, err = open(&c)
	}
	if err != nil {
		return nil, fmt.Errorf("capture: %s: %w", name, err)
	}
	e.link = tunnel.LinkEthernet
	e.stats.BufferBytes = e.buffer()
	return e, nil
}

func (e *ended) ZeroCopyReadPacketData() ([]byte, gopacket.CaptureInfo, error) {
	if _, err := e.ReadBatch(e.one[:]); err != nil {
		return nil, gopacket.CaptureInfo{}, err
	}
	return e.one[0].Data, e.one[0].info(), nil
}

// ReadBatch gives what one system call received.
func (e *ended) ReadBatch(dst []Packet) (n int, err error) {
	if len(dst) == 0 {
		return 0, nil
	}
	for {
		if e.next < e.n {
			e.mu.Lock()
			for e.next < e.n && n < len(dst) {
				d := e.datagram(e.next)
				e.next++
				if e.packet(&dst[n], &d) {
					n++
				}
			}
			e.mu.Unlock()
		}
		if n > 0 {
			e.link = dst[n-1].Link
			return n, nil
		}
		if e.closed.Load() {
			return 0, e.errClosed()
		}
		e.next = 0
		if e.n, err = e.receive(e.config.Timeout); err != nil {
			e.n = 0
			switch {
			case e.closed.Load():
				return 0, e.errClosed()
			case err == ErrTimeout:
				return 0, err
			}
			return 0, fmt.Errorf("capture: %s: %w", e.name, err)
		}
	}
}

// packet makes p of what a datagram carries and reports whether it is to be
// given; e.mu is held.
func (e *ended) packet(p *Packet, d *received) bool {
	in, err := e.unwrap(d.octets[tunnelRoom:])
	e.stats.Packets++
	if d.cut {
		e.stats.Cut++
	}
	switch err {
	case nil:
	case tunnel.ErrForeign:
		e.stats.Foreign++
		return false
	default:
		e.stats.Malformed++
		return false
	}
	index, ok := e.client(d.from, &in)
	if !ok {
		e.stats.Unknown++
		return false
	}
	at, link := tunnelRoom+in.Length, in.Link
	switch link {
	case tunnel.LinkIPv4, tunnel.LinkIPv6:
		link = tunnel.LinkRaw
	case tunnel.LinkNone: // an Ethernet header goes where the tunnel's was
		link = tunnel.LinkEthernet
		at -= etherHeader
		clear(d.octets[at : at+12])
		binary.BigEndian.PutUint16(d.octets[at+12:], in.EtherType)
	}
	data := d.octets[at:len(d.octets):len(d.octets)]
	*p = Packet{Data: data, Time: d.time, Length: uint32(len(data)), Link: link, InIf: index}
	return true
}

// client returns the ifIndex of who sent a packet; e.mu is held.
func (e *ended) client(from netip.Addr, in *tunnel.Header) (index uint32, ok bool) {
	key := clientKey{from, in.ID, in.HasID, in.Kind}
	if key == e.last {
		return e.lastIndex, true
	}
	if index, ok := e.known[key]; ok {
		e.last, e.lastIndex = key, index
		return index, true
	}
	given, ok := e.named(&key)
	if !ok && e.config.KnownOnly {
		return 0, false
	}
	if len(e.known) >= e.config.MaxClients {
		if !e.others {
			e.others = true
			e.interfaces = append(e.interfaces, Interface{Index: othersIndex, Name: "others", Description: "clients beyond the most that are told apart"})
		}
		e.stats.Others++
		return othersIndex, true
	}
	index = key.index()
	for e.taken[index] {
		if index++; index == othersIndex {
			index = clientIndex
		}
	}
	e.taken[index] = true
	e.known[key] = index
	e.stats.Clients++

	text, id := in.Kind.String()+" "+from.String(), ""
	if in.HasID {
		id = " " + in.Kind.IDName() + " " + strconv.FormatUint(uint64(in.ID), 10)
	}
	i := Interface{Index: index, Name: text + id}
	if ok {
		i.Name, i.Description = given.Name, text+id
		if !given.Addr.IsValid() {
			i.Name += " " + from.String()
		}
		if !given.HasID {
			i.Name += id
		}
	}
	e.interfaces = append(e.interfaces, i)
	return index, true
}

// named returns the entry of the configuration that says most of a client.
func (e *ended) named(key *clientKey) (best TunnelClient, ok bool) {
	score := 0
	for _, c := range e.config.Clients {
		n := 1
		if c.Addr.IsValid() {
			if c.Addr != key.addr {
				continue
			}
			n += 2
		}
		if c.HasID {
			if !key.hasID || c.ID != key.id {
				continue
			}
			n++
		}
		if n > score {
			best, score = c, n
		}
	}
	return best, score > 0
}

// index is a client's ifIndex when no other has it: a hash, so that it stays the
// same when the exporter is started again, of fifteen bits, so that it fits
// NetFlow v5.
func (k *clientKey) index() uint32 {
	h := fnv.New64a()
	addr := k.addr.As16()
	h.Write(addr[:])
	h.Write(binary.BigEndian.AppendUint32([]byte(k.kind.String()), k.id))
	s := h.Sum64()
	return clientIndex + uint32(s^s>>32)%(othersIndex-clientIndex)
}

func (e *ended) LinkType() uint32 { return e.link }

// Interfaces are the clients that have come.
func (e *ended) Interfaces() []Interface {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]Interface(nil), e.interfaces...)
}

// Stats counts datagrams; Filtered are those that gave no packet, which
// TunnelStats tells apart.
func (e *ended) Stats() Stats {
	s := Stats{Drops: e.drops()}
	e.mu.Lock()
	defer e.mu.Unlock()
	s.Packets = e.stats.Packets + s.Drops
	s.Filtered = e.stats.Unknown + e.stats.Malformed + e.stats.Foreign
	return s
}

func (e *ended) TunnelStats() TunnelStats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stats
}

// Mode says that packets are copied out of a socket's queue.
func (e *ended) Mode() Mode {
	return Mode{BufferBytes: e.buffer(), Reason: "mirror tunnels end in a socket"}
}

func (e *ended) Close() error {
	if e.closed.Swap(true) {
		return nil
	}
	if err := e.receiver.close(); err != nil {
		return fmt.Errorf("capture: %s: %w", e.name, err)
	}
	return nil
}

func (e *ended) errClosed() error { return fmt.Errorf("capture: %s: %w", e.name, os.ErrClosed) }
