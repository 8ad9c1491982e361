package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"

	"flowtally/exporter"
	"flowtally/exporter/capture"
	"flowtally/exporter/meter"
	"flowtally/exporter/packet"
	"flowtally/flow"
	"flowtally/lab/traffic"

	"github.com/spf13/cobra"
)

// exporterFlags are the flags of flowtally exporter.
type exporterFlags struct {
	read, iface, vxlan, gre, geneve, tzsp string
	demo                                  bool
	state                                 string
	told                                  *traffic.Told // the demo's, nil without

	clients      []capture.TunnelClient
	knownClients bool
	promiscuous  bool
	buffer       int // bytes
	noRing       bool
	fanout       int
	speed        string
	shift        bool

	filter, filterFile string
	tunnels            string
	duplicates         string
	sample             uint32
	sampleMode         string
	ifIndex            uint32

	workers, maxFlows    int
	active, idle, linger time.Duration
	timeouts             []string
	key                  []string

	to        []string
	balance   bool
	version   int
	template  string
	fields    []string
	options   bool
	domain    uint32
	name      string
	domainSet bool
	pace, mtu int

	tlsCA, tlsCert, tlsKey string

	control, status string

	asJSON  bool
	metrics metricsConfig
}

func exporterCommand(stdout io.Writer) *cobra.Command {
	var f exporterFlags
	cmd := &cobra.Command{
		Use:   "exporter (--read FILE|- | --interface IF | --listen-vxlan ADDR | --listen-gre ADDR | --demo) --to HOST:PORT",
		Short: "Meter packets into flows and send them as NetFlow v5, v9 or IPFIX",
		Example: `  flowtally exporter --read trace.pcap --to 127.0.0.1:9995
  tcpdump -w - | flowtally exporter --read - --to 127.0.0.1:9995 --version 9
  flowtally exporter --interface eth1 --fanout 4 --to 192.0.2.10:9995 --metrics 127.0.0.1:9101
  flowtally exporter --listen-vxlan :4789 --client 10.0.0.5/42=web --to 192.0.2.10:9995
  flowtally exporter --interface eth1 --to 192.0.2.10:9995 --to '192.0.2.11:9995,version=9,filter=dst port 53'
  flowtally exporter --interface eth1 --control /run/flowtally.sock
  flowtally exporter --status /run/flowtally.sock dump-flows`,
		Args: func(cmd *cobra.Command, args []string) error {
			if f.status != "" && len(args) <= 1 {
				return nil
			}
			return noArguments(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.idleFlags(cmd); err != nil {
				return err
			}
			if f.status != "" {
				command := "statistics"
				if len(args) > 0 {
					command = args[0]
				}
				return exporter.AskStatus(cmd.Context(), f.status, command, stdout)
			}
			f.domainSet = cmd.Flags().Changed("domain")
			return f.run(cmd, stdout)
		},
	}
	set := cmd.Flags()
	one(set, &f.read, "read", "r", "", path("a capture file, or - for standard input"), "read packets from a capture, pcap or pcapng, plain or packed by gzip, zstd, xz or bzip2; - for standard input")
	one(set, &f.iface, "interface", "i", "", interfaceNames, "meter the packets of a network interface (Linux; needs CAP_NET_RAW); one that is down is waited for")
	one(set, &f.vxlan, "listen-vxlan", "", "", listening("udp", "", "4789"), "end VXLAN mirror tunnels at this address, such as :4789")
	one(set, &f.gre, "listen-gre", "", "", tunnelEnds, "end GRE and ERSPAN mirror tunnels at this address, 0.0.0.0 or :: for any (needs CAP_NET_RAW)")
	one(set, &f.geneve, "listen-geneve", "", "", listening("udp", "", "6081"), "end GENEVE mirror tunnels at this address, such as :6081")
	one(set, &f.tzsp, "listen-tzsp", "", "", listening("udp", "", "37008"), "end TZSP mirrors at this address, such as :37008")
	toggle(set, &f.demo, "demo", "", false, "meter generated traffic: the last 24 hours, then live")
	one(set, &f.state, "state", "", "", path("a file, or none"), "file that remembers until when --demo was told to these collectors, so that it is not told twice; none for no file (default: demo in flowtally's data directory)")
	many(set, &f.clients, "client", "", nil, tunnelClients, "ADDRESS[/ID]=NAME names who sends by a mirror tunnel; repeat it")
	toggle(set, &f.knownClients, "known-clients", "", false, "leave out what mirror tunnels bring from others than each --client")
	toggle(set, &f.promiscuous, "promiscuous", "", true, "see packets that are not for this machine")
	one(set, &f.buffer, "capture-buffer", "", 0, sizes[int]("MiB, or a size such as 64M, 2G at most, and 0 for the default", 1<<20, 0, 2<<30), "capture ring, or receive buffer of a tunnel, in MiB, or a size such as 64M; 0 for the default")
	toggle(set, &f.noRing, "capture-no-ring", "", false, "copy packets of --interface out of a socket, as is done where the kernel refuses a capture ring")
	one(set, &f.fanout, "fanout", "", 1, counts[int]("a number of workers", 1, 256), "workers that share the packets of --interface, each with a ring of its own")
	one(set, &f.speed, "speed", "", "max", speeds, "how fast --read goes: max, or times the capture's own speed, such as 1x or 10x")
	toggle(set, &f.shift, "shift-to-now", "", false, "move the times of --read so that the first packet is of now")
	one(set, &f.filter, "filter", "", "", packetFilters, "meter only packets that match, in tcpdump's words: 'tcp port 80 and not net 10.0.0.0/8'")
	one(set, &f.filterFile, "filter-program", "F", "", path("a file with what 'tcpdump -ddd' printed"), "file with a compiled filter, as 'tcpdump -ddd' prints it")
	one(set, &f.tunnels, "tunnels", "", "outer", among("outer, inner or both", "outer", "inner", "both"), "which packet counts of one inside another: outer, inner or both")
	one(set, &f.duplicates, "duplicates", "", "keep", among("keep or drop", "keep", "drop"), "copies of the same packet: keep (and count) or drop")
	one(set, &f.sample, "sample", "", 1, oneIn, "meter one in so many packets: N or 1:N")
	one(set, &f.sampleMode, "sample-mode", "", "deterministic", among("deterministic or random", "deterministic", "random"), "which one of so many: deterministic (the first) or random")
	one(set, &f.ifIndex, "in-if", "", 0, counts[uint32]("the number of an interface (ifIndex)", 0, math.MaxUint32), "ingress interface index to report where the source knows none")
	one(set, &f.workers, "workers", "", 0, counts[int]("a number of workers", 0, 256), "meters that share the flows of --read and of mirror tunnels, 0 for one or, with four processors, two")
	one(set, &f.maxFlows, "max-flows", "", 0, counts[int]("a number of flows such as 500k, at most "+fmt.Sprint(meter.MaxFlows), 0, meter.MaxFlows), "flows kept at once, the oldest is evicted and counted beyond; 0 is the default of about a million")
	one(set, &f.active, "active-timeout", "", time.Duration(meter.DefaultActiveTimeout)*time.Millisecond, meterTimes, "a flow that goes on is reported at least this often")
	one(set, &f.idle, "idle-timeout", "", time.Duration(meter.DefaultIdleTimeout)*time.Millisecond, meterTimes, "a flow without packets for so long has ended")
	one(set, &f.linger, "linger", "", time.Duration(meter.DefaultLinger)*time.Millisecond, meterTimes, "how long after FIN or RST a flow takes further packets")
	many(set, &f.timeouts, "timeout", "", nil, namedTimeouts, "NAME=DURATION with softflowd's names tcp, tcp.rst, tcp.fin, udp, icmp, general, maxlife; 'softflowd' alone takes its values; repeat it")
	many(set, &f.key, "key", "", nil, among("tos", "tos"), "what else tells flows apart: tos for the DSCP of their packets (ECN never does)")
	many(set, &f.to, "to", "n", []string{"127.0.0.1:9995"}, destinations, "HOST:PORT[,version=5|9|10][,filter=FILTER] of a collector, in front tcp:// or tls:// for IPFIX over these, and which flows it gets in flowtally's filter language; without a port 9995, for TCP 4739, for TLS 4740; repeat it to send to several")
	one(set, &f.tlsCA, "tls-ca", "", "", path("a PEM file with certificates of authorities"), "PEM file with the authorities to trust for tls:// collectors, instead of the system's")
	one(set, &f.tlsCert, "tls-cert", "", "", path("a PEM file with a certificate"), "PEM file with a certificate to show to tls:// collectors")
	one(set, &f.tlsKey, "tls-key", "", "", path("a PEM file with the key of the certificate"), "PEM file with its key")
	toggle(set, &f.balance, "balance", "", false, "share the conversations out to the collectors instead of sending all to each")
	one(set, &f.version, "version", "v", 10, versions, "export format: 5 (IPv4 only), 9 or 10, which is ipfix")
	one(set, &f.template, "template", "", "flowtally", among("flowtally or pflow", "flowtally", "pflow"), "templates to send: flowtally, or pflow for exactly those of OpenBSD's pflow(4)")
	many(set, &f.fields, "fields", "", nil, fieldGroups, "what else to say of flows in v9 and IPFIX: mac, vlan, mpls, ttl, length, tunnel, duplicates or all, and flags for tcpControlBits of two bytes; several divided by commas, or repeat it")
	toggle(set, &f.options, "options", "", true, "tell collectors the names of interfaces, and what was seen, ignored, lost and not sent, in options records of v9 and IPFIX")
	one(set, &f.domain, "domain", "", 0, counts[uint32]("the number of an observation domain, 0 to 4294967295", 0, math.MaxUint32), "observation domain (v5: engine type and id); 42 with --template pflow")
	one(set, &f.name, "name", "", "auto", ownNames, "what to tell collectors that this exporter is called, in options; auto for the name of the host, none for nothing")
	one(set, &f.pace, "pace", "", 100_000, counts[int]("records a second, such as 100000 or 100k, and 0 for no limit", 0, unlimited), "records sent a second at most, such as 100k, 0 for no limit")
	one(set, &f.mtu, "mtu", "", 1400, counts[int]("bytes", 576, 65535), "largest IP packet to send")
	toggle(set, &f.asJSON, "json", "", false, "print one JSON summary on the last line of standard output")
	one(set, &f.control, "control", "", "", path("the path of a UNIX socket to make"), "answer at this UNIX socket while running")
	one(set, &f.status, "status", "", "", path("the path of the UNIX socket that an exporter was given by --control"), "ask the exporter that answers at this UNIX socket: statistics (the default), dump-flows, expire-all, send-templates, timeouts, shutdown, help")
	metricsFlag(cmd, &f.metrics)
	return cmd
}

// run is the command.
func (f *exporterFlags) run(cmd *cobra.Command, stdout io.Writer) error {
	c, err := f.config()
	if err != nil {
		return usageError{fmt.Errorf("exporter: %w", err)}
	}
	ctx := cmd.Context()
	if c.Registerer, err = serveMetrics(ctx, &f.metrics); err != nil {
		return err
	}
	sources, err := f.open(ctx)
	if err != nil && errors.Is(err, ctx.Err()) {
		return f.summary(stdout, exporter.Summary{}) // stopped before there was a packet
	}
	if err != nil {
		return err
	}
	for _, s := range sources {
		defer s.Close()
	}
	c.Source, c.Fanout = sources[0], sources[1:]
	sayMode(c.Source, len(sources))
	if f.control != "" {
		var cancel func()
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		c.Control = new(exporter.Control)
		status := &exporter.Status{Path: f.control, Control: c.Control, Meter: c.Meter, Shutdown: cancel}
		if err := status.Listen(ctx); err != nil {
			return err
		}
	}
	done := f.progress(cmd.ErrOrStderr(), c.Source)
	sum, err := exporter.Run(ctx, c)
	done()
	f.endDemo(&sum)
	if jerr := f.summary(stdout, sum); jerr != nil {
		return jerr
	}
	// What the version cannot say is no failure; what nobody took is, when
	// there will be no further attempt.
	if lost := sum.NotSent - sum.NotSentBy.NotExpressible; err == nil && f.read != "" && lost > 0 {
		return fmt.Errorf("exporter: %d of %d records were not sent to %s: is a collector listening there?", lost, sum.Records, strings.Join(f.to, " and "))
	}
	return err
}

// summary prints what was done, where --json asks for it.
func (f *exporterFlags) summary(stdout io.Writer, sum exporter.Summary) error {
	if !f.asJSON {
		return nil
	}
	return json.NewEncoder(stdout).Encode(sum)
}

// check returns what is wrong with the flags that can be told from them together.
func (f *exporterFlags) check() error {
	sources := 0
	for _, set := range []bool{f.read != "", f.iface != "", f.tunnel(), f.demo} {
		if set {
			sources++
		}
	}
	tunnels := 0
	for _, at := range []string{f.vxlan, f.gre, f.geneve, f.tzsp} {
		if at != "" {
			tunnels++
		}
	}
	if sources != 1 || tunnels > 1 {
		return errors.New("give one of --read FILE, --interface IF, --listen-vxlan, --listen-gre, --listen-geneve, --listen-tzsp and --demo")
	}
	if f.filter != "" && f.filterFile != "" {
		return errors.New("give one of --filter and -F")
	}
	if (f.tlsCert == "") != (f.tlsKey == "") {
		return errors.New("--tls-cert and --tls-key go together: a certificate and its key")
	}
	for i, c := range f.clients {
		if slices.ContainsFunc(f.clients[:i], func(d capture.TunnelClient) bool { return c.Addr == d.Addr && c.ID == d.ID && c.HasID == d.HasID }) {
			return fmt.Errorf("--client %s: that client has another name already", tunnelClients.text(c))
		}
	}
	if f.version == 5 && f.domain > 1<<16-1 {
		return fmt.Errorf("--domain %d: NetFlow v5 has room for 0 to 65535, engine type and id", f.domain)
	}
	return nil
}

// tunnel reports whether the packets come by a mirror tunnel.
func (f *exporterFlags) tunnel() bool {
	return f.vxlan != "" || f.gre != "" || f.geneve != "" || f.tzsp != ""
}

// idleFlags refuses flags that would do nothing beside the others.
func (f *exporterFlags) idleFlags(cmd *cobra.Command) error {
	if f.status != "" {
		return alone(cmd, "status")
	}
	const tunnels = "--listen-vxlan, --listen-gre, --listen-geneve or --listen-tzsp"
	encrypted := slices.ContainsFunc(f.to, func(to string) bool { return strings.HasPrefix(to, "tls://") })
	named := func(names ...string) bool {
		return slices.ContainsFunc(f.timeouts, func(t string) bool {
			name, _, _ := strings.Cut(t, "=")
			return name == "softflowd" || slices.Contains(names, name)
		})
	}
	return refuseIdle(cmd, append(metricsIdle(&f.metrics),
		idle{"state", f.demo, "with --demo"},
		idle{"client", f.tunnel(), "with " + tunnels},
		idle{"known-clients", len(f.clients) > 0, "with --client, which says who is known"},
		idle{"promiscuous", f.iface != "", "with --interface"},
		idle{"capture-buffer", f.iface != "" || f.tunnel(), "with --interface, " + tunnels},
		idle{"capture-no-ring", f.iface != "", "with --interface"},
		idle{"fanout", f.iface != "", "with --interface"},
		idle{"speed", f.read != "", "with --read"},
		idle{"shift-to-now", f.read != "", "with --read"},
		idle{"workers", f.iface == "" || f.fanout == 1, "without --fanout, which has a worker for each ring"},
		idle{"in-if", f.read != "" || f.demo, "with --read: an interface, and who sends by a tunnel, has a number of its own"},
		idle{"sample-mode", f.sample > 1, "with --sample"},
		idle{"idle-timeout", !named("general"), "without --timeout general and --timeout softflowd, which say the same"},
		idle{"active-timeout", !named("maxlife"), "without --timeout maxlife and --timeout softflowd, which say the same"},
		idle{"linger", !named("tcp.fin") || !named("tcp.rst"), "without --timeout tcp.fin and tcp.rst and --timeout softflowd, which say the same"},
		idle{"balance", len(f.to) > 1, "with several --to"},
		idle{"name", f.options, "without --options=false: it is told in options records"},
		idle{"tls-ca", encrypted, "with --to tls://HOST:PORT"},
		idle{"tls-cert", encrypted, "with --to tls://HOST:PORT"},
		idle{"tls-key", encrypted, "with --to tls://HOST:PORT"},
	)...)
}

// config returns what the flags say, but for the sources, or what is wrong with
// them.
func (f *exporterFlags) config() (c exporter.Config, err error) {
	if err := f.check(); err != nil {
		return c, err
	}
	factor, err := capture.ParseSpeed(f.speed)
	if err != nil {
		return c, fmt.Errorf("--speed: %w", err)
	}
	if c.Tunnels, err = packet.ParseTunnels(f.tunnels); err != nil {
		return c, fmt.Errorf("--tunnels: %w", err)
	}
	if c.Meter, err = f.meter(); err != nil {
		return c, err
	}
	workers := f.workers
	if workers == 0 {
		if workers = 1; runtime.GOMAXPROCS(0) >= 4 {
			workers = 2
		}
	}
	if err := f.exporting(&c); err != nil {
		return c, err
	}
	c.InIf = f.ifIndex
	c.Workers = workers
	c.Sample, c.SampleRandom = f.sample, f.sampleMode == "random"
	c.Pace, c.MaxMessage = f.pace, f.mtu-28
	// A capture that is played as it was, and now, is as good as an interface.
	c.Live = f.read == "" && !f.demo || f.shift && factor == 1
	c.DropDuplicates = f.duplicates == "drop"
	c.Logger = slog.Default()
	return c, nil
}

// softflowd has the timeouts of softflowd 1.0.
var softflowd = []string{
	"tcp=3600s", "tcp.rst=120s", "tcp.fin=300s", "udp=300s", "icmp=300s", "general=3600s", "maxlife=604800s",
}

// meter returns the timeouts and the size of the flow cache.
func (f *exporterFlags) meter() (c meter.Config, err error) {
	ms := func(d time.Duration) flow.Time { return flow.Time(d.Milliseconds()) }
	c = meter.Config{ActiveTimeout: ms(f.active), IdleTimeout: ms(f.idle), Linger: ms(f.linger), MaxFlows: f.maxFlows}
	if len(f.key) > 0 {
		c.KeyTOS = meter.DSCP
	}
	var timeouts []string
	for _, t := range f.timeouts {
		if t == "softflowd" {
			timeouts = append(timeouts, softflowd...)
		} else {
			timeouts = append(timeouts, t)
		}
	}
	names := map[string]*flow.Time{ // the names that namedTimeouts takes
		"tcp": &c.Timeouts.TCP, "tcp.rst": &c.Timeouts.TCPRst, "tcp.fin": &c.Timeouts.TCPFin,
		"udp": &c.Timeouts.UDP, "icmp": &c.Timeouts.ICMP, "general": &c.IdleTimeout, "maxlife": &c.ActiveTimeout,
	}
	for _, t := range timeouts {
		name, value, _ := strings.Cut(t, "=")
		d, ok := readDuration(value)
		to := names[name]
		if to == nil || !ok {
			return c, fmt.Errorf("--timeout %q: want %s", t, namedTimeouts.wants)
		}
		*to = ms(d)
	}
	return c, nil
}
