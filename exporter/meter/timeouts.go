package meter

import "flowtally/flow"

// Timeouts are those of particular protocols and TCP states, as softflowd has
// them (its names: tcp, tcp.rst, tcp.fin, udp, icmp). A field that is zero or
// negative means the general one: Config.IdleTimeout, or Config.Linger for
// TCPFin and TCPRst. They are cut to flow.MaxDuration.
type Timeouts struct {
	// TCP, UDP and ICMP (also ICMPv6) are after how long without a packet a flow
	// of theirs has ended.
	TCP, UDP, ICMP flow.Time
	// TCPFin and TCPRst are how long after its first FIN or RST a flow takes
	// further packets.
	TCPFin, TCPRst flow.Time
}

func (t *Timeouts) withDefaults(c *Config) {
	for _, f := range []struct{ of, def *flow.Time }{
		{&t.TCP, &c.IdleTimeout}, {&t.UDP, &c.IdleTimeout}, {&t.ICMP, &c.IdleTimeout},
		{&t.TCPFin, &c.Linger}, {&t.TCPRst, &c.Linger},
	} {
		if *f.of <= 0 {
			*f.of = *f.def
		}
		*f.of = min(*f.of, flow.MaxDuration)
	}
}

// state says which timeout a flow has: its protocol's in the upper bits, and in
// the lower two whether it is open or a FIN or RST was seen, and when: at
// entry.seen.
type state uint8

const (
	afterFin state = 1
	afterRst state = 2
	endBits  state = 3
)

const (
	ofOthers state = iota << 2
	ofTCP
	ofUDP
	ofICMP
	states
)

// openState returns the state of a new flow.
func openState(p flow.Protocol) state {
	switch p {
	case flow.TCP:
		return ofTCP
	case flow.UDP:
		return ofUDP
	case flow.ICMP, flow.ICMPv6:
		return ofICMP
	}
	return ofOthers
}

func (s state) open() state   { return s &^ endBits }
func (s state) closing() bool { return s&endBits != 0 }

// close is the state after a packet with flags, one of which ends the flow.
func (s state) close(flags flow.TCPFlags) state {
	if flags&flow.RST != 0 {
		return s | afterRst
	}
	return s | afterFin
}

// reason is why a flow ends that was quiet for as long as its state allows.
func (s state) reason() flow.EndReason {
	if s.closing() {
		return flow.EndOfFlow
	}
	return flow.EndIdleTimeout
}

// quiet returns after how long without a packet a flow has ended, by state.
func (c *Config) quiet() (q [states]flow.Time) {
	for s := range q {
		switch state(s).open() {
		case ofTCP:
			q[s] = c.Timeouts.TCP
		case ofUDP:
			q[s] = c.Timeouts.UDP
		case ofICMP:
			q[s] = c.Timeouts.ICMP
		default:
			q[s] = c.IdleTimeout
		}
		switch state(s) & endBits {
		case afterFin:
			q[s] = c.Timeouts.TCPFin
		case afterRst:
			q[s] = c.Timeouts.TCPRst
		}
	}
	return q
}
