package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"time"

	"flowtally/exporter"
	"flowtally/exporter/capture"
	"flowtally/exporter/meter"
	"flowtally/exporter/packet"
	"flowtally/exporter/pcapfilter"
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

	clients      []string
	knownClients bool
	promiscuous  bool
	bufferMiB    int
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
	set.StringVar(&f.read, "read", "", "read packets from a pcap or pcapng file, - for standard input")
	set.StringVar(&f.iface, "interface", "", "meter the packets of a network interface (Linux; needs CAP_NET_RAW)")
	set.StringVar(&f.vxlan, "listen-vxlan", "", "end VXLAN mirror tunnels at this address, such as :4789")
	set.StringVar(&f.gre, "listen-gre", "", "end GRE and ERSPAN mirror tunnels at this address, 0.0.0.0 or :: for any (needs CAP_NET_RAW)")
	set.StringVar(&f.geneve, "listen-geneve", "", "end GENEVE mirror tunnels at this address, such as :6081")
	set.StringVar(&f.tzsp, "listen-tzsp", "", "end TZSP mirrors at this address, such as :37008")
	set.BoolVar(&f.demo, "demo", false, "meter generated traffic: the last 24 hours, then live")
	set.StringVar(&f.state, "state", "", "file that remembers until when --demo was told to these collectors, so that it is not told twice; none for no file (default: demo in flowtally's data directory)")
	set.StringArrayVar(&f.clients, "client", nil, "ADDRESS[/ID]=NAME names who sends by a mirror tunnel; repeat it")
	set.BoolVar(&f.knownClients, "known-clients", false, "leave out what mirror tunnels bring from others than each --client")
	set.BoolVar(&f.promiscuous, "promiscuous", true, "see packets that are not for this machine")
	set.IntVar(&f.bufferMiB, "capture-buffer", 0, "capture ring, or receive buffer of a tunnel, in MiB, 0 for the default")
	set.BoolVar(&f.noRing, "capture-no-ring", false, "copy packets of --interface out of a socket, as is done where the kernel refuses a capture ring")
	set.IntVar(&f.fanout, "fanout", 1, "workers that share the packets of --interface, each with a ring of its own")
	set.StringVar(&f.speed, "speed", "max", "how fast --read goes: max, or times the capture's own speed, such as 1x or 10x")
	set.BoolVar(&f.shift, "shift-to-now", false, "move the times of --read so that the first packet is of now")
	set.StringVar(&f.filter, "filter", "", "meter only packets that match, in tcpdump's words: 'tcp port 80 and not net 10.0.0.0/8'")
	set.StringVarP(&f.filterFile, "filter-program", "F", "", "file with a compiled filter, as 'tcpdump -ddd' prints it")
	set.StringVar(&f.tunnels, "tunnels", "outer", "which packet counts of one inside another: outer, inner or both")
	set.StringVar(&f.duplicates, "duplicates", "keep", "copies of the same packet: keep (and count) or drop")
	set.Uint32Var(&f.sample, "sample", 1, "meter one in so many packets")
	set.StringVar(&f.sampleMode, "sample-mode", "deterministic", "which one of so many: deterministic (the first) or random")
	set.Uint32Var(&f.ifIndex, "in-if", 0, "ingress interface index to report where the source knows none")
	set.IntVar(&f.workers, "workers", 0, "meters that share the flows of --read and of mirror tunnels, 0 for one or, with four processors, two")
	set.IntVar(&f.maxFlows, "max-flows", 0, "flows kept at once, the oldest is evicted and counted beyond; 0 is the default of about a million")
	set.DurationVar(&f.active, "active-timeout", time.Duration(meter.DefaultActiveTimeout)*time.Millisecond, "a flow that goes on is reported at least this often")
	set.DurationVar(&f.idle, "idle-timeout", time.Duration(meter.DefaultIdleTimeout)*time.Millisecond, "a flow without packets for so long has ended")
	set.DurationVar(&f.linger, "linger", time.Duration(meter.DefaultLinger)*time.Millisecond, "how long after FIN or RST a flow takes further packets")
	set.StringArrayVar(&f.timeouts, "timeout", nil, "NAME=DURATION with softflowd's names tcp, tcp.rst, tcp.fin, udp, icmp, general, maxlife; 'softflowd' alone takes its values; repeat it")
	set.StringArrayVar(&f.key, "key", nil, "what else tells flows apart: tos for the DSCP of their packets (ECN never does)")
	set.StringArrayVar(&f.to, "to", []string{"127.0.0.1:9995"}, "HOST:PORT[,version=5|9|10][,filter=FILTER] of a collector, in front tcp:// or tls:// for IPFIX over these, and which flows it gets in flowtally's filter language; repeat it to send to several")
	set.StringVar(&f.tlsCA, "tls-ca", "", "PEM file with the authorities to trust for tls:// collectors, instead of the system's")
	set.StringVar(&f.tlsCert, "tls-cert", "", "PEM file with a certificate to show to tls:// collectors")
	set.StringVar(&f.tlsKey, "tls-key", "", "PEM file with its key")
	set.BoolVar(&f.balance, "balance", false, "share the conversations out to the collectors instead of sending all to each")
	set.IntVar(&f.version, "version", 10, "export format: 5 (IPv4 only), 9 or 10 (IPFIX)")
	set.StringVar(&f.template, "template", "flowtally", "templates to send: flowtally, or pflow for exactly those of OpenBSD's pflow(4)")
	set.StringArrayVar(&f.fields, "fields", nil, "what else to say of flows in v9 and IPFIX: mac, vlan, mpls, ttl, length, tunnel, duplicates or all, and flags for tcpControlBits of two bytes; repeat it")
	set.BoolVar(&f.options, "options", true, "tell collectors the names of interfaces, and what was seen, ignored, lost and not sent, in options records of v9 and IPFIX")
	set.Uint32Var(&f.domain, "domain", 0, "observation domain (v5: engine type and id); 42 with --template pflow")
	set.StringVar(&f.name, "name", "auto", "what to tell collectors that this exporter is called, in options; auto for the name of the host, none for nothing")
	set.IntVar(&f.pace, "pace", 100_000, "records sent a second at most, 0 for no limit")
	set.IntVar(&f.mtu, "mtu", 1400, "largest IP packet to send")
	set.BoolVar(&f.asJSON, "json", false, "print one JSON summary on the last line of standard output")
	set.StringVar(&f.control, "control", "", "answer at this UNIX socket while running")
	set.StringVar(&f.status, "status", "", "ask the exporter that answers at this UNIX socket: statistics (the default), dump-flows, expire-all, send-templates, timeouts, shutdown, help")
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
	sources, err := f.open()
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
	if f.asJSON {
		b, jerr := json.Marshal(sum)
		if jerr != nil {
			return jerr
		}
		fmt.Fprintln(stdout, string(b))
	}
	// What the version cannot say is no failure; what nobody took is, when
	// there will be no further attempt.
	if lost := sum.NotSent - sum.NotSentBy.NotExpressible; err == nil && f.read != "" && lost > 0 {
		return fmt.Errorf("exporter: %d of %d records were not sent to %s: is a collector listening there?", lost, sum.Records, strings.Join(f.to, " and "))
	}
	return err
}

// check returns what is wrong with the flags that can be told from them alone.
func (f *exporterFlags) check() error {
	sources := 0
	for _, set := range []bool{f.read != "", f.iface != "", f.vxlan != "", f.gre != "", f.geneve != "", f.tzsp != "", f.demo} {
		if set {
			sources++
		}
	}
	if sources != 1 {
		return errors.New("give one of --read FILE, --interface IF, --listen-vxlan, --listen-gre, --listen-geneve, --listen-tzsp and --demo")
	}
	if f.version != 5 && f.version != 9 && f.version != 10 {
		return fmt.Errorf("--version %d: want 5, 9 or 10 (IPFIX)", f.version)
	}
	if f.duplicates != "keep" && f.duplicates != "drop" {
		return fmt.Errorf("--duplicates %q: want keep or drop", f.duplicates)
	}
	if f.sampleMode != "deterministic" && f.sampleMode != "random" {
		return fmt.Errorf("--sample-mode %q: want deterministic or random", f.sampleMode)
	}
	if f.mtu < 576 || f.mtu > 65535 {
		return fmt.Errorf("--mtu %d: want 576 to 65535", f.mtu)
	}
	for name, n := range map[string]int{"pace": f.pace, "max-flows": f.maxFlows, "workers": f.workers, "capture-buffer": f.bufferMiB} {
		if n < 0 {
			return fmt.Errorf("--%s %d: cannot be negative", name, n)
		}
	}
	if f.maxFlows > meter.MaxFlows {
		return fmt.Errorf("--max-flows %d: want at most %d", f.maxFlows, meter.MaxFlows)
	}
	for name, d := range map[string]time.Duration{"active-timeout": f.active, "idle-timeout": f.idle, "linger": f.linger} {
		if d < time.Millisecond {
			return fmt.Errorf("--%s %v: want at least 1ms", name, d)
		}
	}
	if f.fanout < 1 || f.fanout > 1 && f.iface == "" {
		return fmt.Errorf("--fanout %d: want 1 or more, with --interface", f.fanout)
	}
	if f.filter != "" && f.filterFile != "" {
		return errors.New("give one of --filter and -F")
	}
	if f.filter != "" {
		// What is wrong with its words is said before anything is opened.
		if _, err := pcapfilter.Compile(f.filter, 1, 0); err != nil {
			return fmt.Errorf("--%w", err)
		}
	}
	if f.state != "" && !f.demo {
		return errors.New("--state is for --demo")
	}
	if f.read == "" && (f.shift || f.speed != "max") {
		return errors.New("--speed and --shift-to-now are for --read")
	}
	return nil
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
	for _, k := range f.key {
		if k != "tos" {
			return c, fmt.Errorf("--key %q: want tos", k)
		}
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
	names := map[string]*flow.Time{
		"tcp": &c.Timeouts.TCP, "tcp.rst": &c.Timeouts.TCPRst, "tcp.fin": &c.Timeouts.TCPFin,
		"udp": &c.Timeouts.UDP, "icmp": &c.Timeouts.ICMP, "general": &c.IdleTimeout, "maxlife": &c.ActiveTimeout,
	}
	for _, t := range timeouts {
		name, value, _ := strings.Cut(t, "=")
		to := names[name]
		if to == nil {
			return c, fmt.Errorf("--timeout %q: want softflowd, or one of tcp, tcp.rst, tcp.fin, udp, icmp, general and maxlife with =DURATION", t)
		}
		d, err := time.ParseDuration(value)
		if err != nil || d < time.Millisecond {
			return c, fmt.Errorf("--timeout %q: want a duration such as 300s, at least 1ms", t)
		}
		*to = ms(d)
	}
	return c, nil
}
