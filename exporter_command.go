package main

import (
	"encoding/json"
	"errors"
	"flowtally/exporter"
	"flowtally/exporter/capture"
	"flowtally/exporter/meter"
	"flowtally/flow"
	"flowtally/lab/traffic"
	"flowtally/netflow"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func exporterCommand(stdout io.Writer) *cobra.Command {
	var (
		read, iface, metrics      string
		to                        []string
		demo, asJSON, promiscuous bool
		ver, mtu                  int
		domain, ifIndex           uint32
		maxFlows, pace, bufferMiB int
		active, idle, linger      time.Duration
		duplicates                string
	)
	cmd := &cobra.Command{
		Use:   "exporter (--read FILE|- | --interface IF | --demo) --to HOST:PORT",
		Short: "Meter packets into flows and send them as NetFlow v5, v9 or IPFIX",
		Example: `  flowtally exporter --read trace.pcap --to 127.0.0.1:9995
  tcpdump -w - | flowtally exporter --read - --to 127.0.0.1:9995 --version 9
  flowtally exporter --interface eth1 --to 192.0.2.10:9995 --metrics 127.0.0.1:9101`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			sources := 0
			for _, set := range []bool{read != "", iface != "", demo} {
				if set {
					sources++
				}
			}
			if sources != 1 {
				return usageError{errors.New("exporter: give one of --read FILE, --interface IF and --demo")}
			}
			if ver != 5 && ver != 9 && ver != 10 {
				return usageError{fmt.Errorf("exporter: --version %d: want 5, 9 or 10 (IPFIX)", ver)}
			}
			if duplicates != "keep" && duplicates != "drop" {
				return usageError{fmt.Errorf("exporter: --duplicates %q: want keep or drop", duplicates)}
			}
			if mtu < 576 || mtu > 65535 {
				return usageError{fmt.Errorf("exporter: --mtu %d: want 576 to 65535", mtu)}
			}
			for name, n := range map[string]int{"pace": pace, "max-flows": maxFlows} {
				if n < 0 {
					return usageError{fmt.Errorf("exporter: --%s %d: cannot be negative", name, n)}
				}
			}
			for name, d := range map[string]time.Duration{"active-timeout": active, "idle-timeout": idle, "linger": linger} {
				if d < time.Millisecond {
					return usageError{fmt.Errorf("exporter: --%s %v: want at least 1ms", name, d)}
				}
			}
			ctx := cmd.Context()
			reg, err := serveMetrics(ctx, metrics)
			if err != nil {
				return err
			}
			var source capture.Source
			switch {
			case read != "":
				source, err = capture.OpenFile(read)
			case iface != "":
				source, err = capture.OpenInterface(iface, capture.InterfaceConfig{Promiscuous: promiscuous, BufferBytes: bufferMiB << 20, IgnoreOutgoing: iface == "lo"})
			default:
				source = traffic.New(traffic.Config{})
			}
			if err != nil {
				return err
			}
			defer source.Close()
			sum, err := exporter.Run(ctx, exporter.Config{
				Source: source, To: to, Version: netflow.Version(ver), Domain: domain, InIf: ifIndex,
				Meter:          meter.Config{ActiveTimeout: flow.Time(active.Milliseconds()), IdleTimeout: flow.Time(idle.Milliseconds()), Linger: flow.Time(linger.Milliseconds()), MaxFlows: maxFlows},
				Pace:           pace,
				MaxMessage:     mtu - 28,
				Live:           iface != "",
				DropDuplicates: duplicates == "drop",
				Registerer:     reg,
				Logger:         slog.Default(),
			})
			if asJSON {
				b, jerr := json.Marshal(sum)
				if jerr != nil {
					return jerr
				}
				fmt.Fprintln(stdout, string(b))
			}
			// What the version cannot say is no failure; what nobody took is, when
			// there will be no further attempt.
			if lost := sum.NotSent - sum.NotSentBy.NotExpressible; err == nil && read != "" && lost > 0 {
				return fmt.Errorf("exporter: %d of %d records were not sent to %s: is a collector listening there?", lost, sum.Records, strings.Join(to, " and "))
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&read, "read", "", "read packets from a pcap or pcapng file, - for standard input")
	f.StringVar(&iface, "interface", "", "meter the packets of a network interface (Linux; needs CAP_NET_RAW)")
	f.BoolVar(&demo, "demo", false, "meter generated traffic: the last 24 hours, then live")
	f.StringArrayVar(&to, "to", []string{"127.0.0.1:9995"}, "collector to send to; repeat it to send to several")
	f.IntVar(&ver, "version", 10, "export format: 5 (IPv4 only), 9 or 10 (IPFIX)")
	f.Uint32Var(&domain, "domain", 0, "observation domain (v5: engine type and id)")
	f.Uint32Var(&ifIndex, "in-if", 0, "ingress interface index to report")
	f.DurationVar(&active, "active-timeout", 300*time.Second, "a flow that goes on is reported at least this often")
	f.DurationVar(&idle, "idle-timeout", 60*time.Second, "a flow without packets for so long has ended")
	f.DurationVar(&linger, "linger", 5*time.Second, "how long after FIN or RST a flow takes further packets")
	f.IntVar(&maxFlows, "max-flows", 0, "flows kept at once, the oldest is evicted and counted beyond; 0 is the default of about a million")
	f.StringVar(&duplicates, "duplicates", "keep", "copies of the same packet: keep (and count) or drop")
	f.IntVar(&pace, "pace", 100_000, "records sent a second at most, 0 for no limit")
	f.IntVar(&mtu, "mtu", 1400, "largest IP packet to send")
	f.BoolVar(&promiscuous, "promiscuous", true, "see packets that are not for this machine")
	f.IntVar(&bufferMiB, "capture-buffer", 0, "capture ring in MiB, 0 for the default")
	f.BoolVar(&asJSON, "json", false, "print one JSON summary on the last line of standard output")
	metricsFlag(cmd, &metrics)
	return cmd
}
