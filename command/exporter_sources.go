package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/term"

	"flowtally/exporter"
	"flowtally/exporter/capture"
	"flowtally/exporter/pcapfilter"
	"flowtally/lab/traffic"
)

// open opens where packets come from: one source, or several of one fan-out.
func (f *exporterFlags) open(ctx context.Context) (sources []capture.Source, err error) {
	var program []bpf.RawInstruction
	if f.filterFile != "" {
		text, err := os.ReadFile(f.filterFile)
		if err != nil {
			return nil, fmt.Errorf("exporter: --filter-program: %w", err)
		}
		if program, err = pcapfilter.ParseProgram(string(text)); err != nil {
			return nil, fmt.Errorf("exporter: --filter-program %s: %w", f.filterFile, err)
		}
	}
	if f.iface != "" {
		if err := capture.AwaitInterface(ctx, f.iface, slog.Default()); err != nil {
			return nil, err
		}
		return f.openInterface(program)
	}

	clients := capture.TunnelConfig{KnownOnly: f.knownClients, BufferBytes: f.buffer, Clients: f.clients}
	var source capture.Source
	switch {
	case f.read == "-" && term.IsTerminal(int(os.Stdin.Fd())):
		return nil, usageError{errors.New("exporter: --read - reads a capture from standard input, which is a terminal: pipe one into it, as with tcpdump -U -w - | flowtally exporter --read -")}
	case f.read != "":
		source, err = capture.OpenFile(f.read)
	case f.vxlan != "":
		source, err = capture.ListenVXLAN(f.vxlan, clients)
	case f.gre != "":
		source, err = capture.ListenGRE(f.gre, clients)
	case f.geneve != "":
		source, err = capture.ListenGENEVE(f.geneve, clients)
	case f.tzsp != "":
		source, err = capture.ListenTZSP(f.tzsp, clients)
	default:
		source, err = f.openDemo()
	}
	if err != nil {
		return nil, err
	}
	if f.filter != "" {
		source = capture.FilteredByLink(source, func(link uint32) ([]bpf.RawInstruction, error) {
			return pcapfilter.Compile(f.filter, link, 0)
		})
	} else if program != nil {
		if source, err = capture.Filtered(source, program); err != nil {
			return nil, fmt.Errorf("exporter: %s: %w", f.filterFile, err)
		}
	}
	if factor, _ := capture.ParseSpeed(f.speed); factor > 0 {
		source = capture.Paced(source, factor)
	}
	if f.shift {
		source = capture.Shifted(source, time.Now())
	}
	return []capture.Source{source}, nil
}

// openDemo returns the demo's traffic, from where it stood when these collectors were
// last told of it.
func (f *exporterFlags) openDemo() (capture.Source, error) {
	to := slices.Sorted(slices.Values(f.to))
	state := traffic.State{Path: f.state, To: fmt.Sprintf("%s domain %d", strings.Join(to, " "), f.domain)}
	switch f.state {
	case "none":
		state.Path = ""
	case "":
		if state.Path = demoState(); state.Path == "" {
			slog.Warn("the demo begins 24 hours ago whenever it is started: there is no directory to remember in; --state says one")
		}
	}
	start, known, err := state.Begin(time.Now())
	if err == nil {
		// Whether it can be written is known before anybody is told anything.
		err = state.Save(start)
	}
	if err != nil {
		return nil, fmt.Errorf("exporter: --state: %w", err)
	}
	if known {
		slog.Info("the demo goes on where these collectors were last told of it; without the file it begins 24 hours ago",
			"since", start.Format(time.RFC3339), "state", state.Path)
	}
	f.told = traffic.Tell(traffic.New(traffic.Config{Start: start}), state, start)
	return f.told, nil
}

// demoState returns where the demo's state is unless somebody says so: demo under
// $STATE_DIRECTORY, else in /var/lib/flowtally, else in flowtally among the user's
// data, where it can be written; empty when it can nowhere.
func demoState() string {
	dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":")
	candidates := []string{dir, "/var/lib/flowtally"}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		candidates = append(candidates, filepath.Join(dir, "flowtally"))
	} else if home, err := os.UserHomeDir(); err == nil {
		candidates = append(candidates, filepath.Join(home, ".local", "share", "flowtally"))
	}
	for _, dir := range candidates {
		if dir == "" || os.MkdirAll(dir, 0o700) != nil {
			continue
		}
		if f, err := os.CreateTemp(dir, "demo.*"); err == nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
			return filepath.Join(dir, "demo")
		}
	}
	return ""
}

// endDemo notes what the demo told: nothing, when no collector took it.
func (f *exporterFlags) endDemo(sum *exporter.Summary) {
	if f.told == nil {
		return
	}
	took := slices.ContainsFunc(sum.Destinations, func(d exporter.Destination) bool { return d.Records > 0 })
	if err := f.told.End(took); err != nil {
		slog.Warn("the demo may be told again: what was told is not remembered", "err", err)
	}
}

// openInterface opens a live interface, with the filter in the kernel where it
// can be there.
func (f *exporterFlags) openInterface(program []bpf.RawInstruction) ([]capture.Source, error) {
	c := capture.InterfaceConfig{
		Promiscuous: f.promiscuous, BufferBytes: f.buffer, IgnoreOutgoing: f.iface == "lo",
		Filter: program, NoRing: f.noRing, Logger: slog.Default(),
	}
	// The kernel takes VLAN tags off before its filter sees the packet.
	inProcess := pcapfilter.MentionsTags(f.filter)
	if f.filter != "" && !inProcess {
		// What the packets begin with is known when the interface is open.
		probe, err := capture.OpenInterface(f.iface, c)
		if err != nil {
			return nil, err
		}
		link := probe.LinkType()
		probe.Close()
		if c.Filter, err = pcapfilter.Compile(f.filter, link, 0); err != nil {
			return nil, fmt.Errorf("exporter: %w", err)
		}
	}
	var sources []capture.Source
	var err error
	if f.fanout > 1 {
		sources, err = capture.OpenFanout(f.iface, c, f.fanout)
	} else {
		sources = make([]capture.Source, 1)
		sources[0], err = capture.OpenInterface(f.iface, c)
	}
	if err != nil {
		return nil, err
	}
	if inProcess {
		for i, s := range sources {
			sources[i] = capture.FilteredByLink(s, func(link uint32) ([]bpf.RawInstruction, error) {
				return pcapfilter.Compile(f.filter, link, 0)
			})
		}
	}
	return sources, nil
}

// sayMode logs how packets are taken off an interface or a socket, and warns where
// super-packets cannot be told from packets of the wire.
func sayMode(source capture.Source, sources int) {
	moder, ok := capture.As[capture.Moder](source)
	if !ok {
		return
	}
	mode := moder.Mode()
	slog.Info("capturing", "sources", sources, "mode", mode.String())
	if _, tunnels := capture.As[capture.TunnelEnd](source); !tunnels && !mode.Segments {
		slog.Warn("packets that the card or the kernel put together (GRO, LRO, TSO) count as one each: turn that off with 'ethtool -K IF gro off lro off'",
			"reason", mode.Reason)
	}
}
