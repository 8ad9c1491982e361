package command

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/spf13/cobra"

	"flowtally/exporter/capture"
	"flowtally/flow"
	"flowtally/netflow"
)

func inspectCommand() *cobra.Command {
	var listen, read, output string
	cmd := &cobra.Command{
		Use:   "inspect (--listen :9996 | --read FILE)",
		Short: "Print export messages, templates and records by name",
		Long: `Print what exporters send: messages, templates and records, field by field by IANA
name. FILE is a capture (pcap, pcapng) with export traffic in it, or messages back
to back; --listen receives them over UDP until it is interrupted.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (listen == "") == (read == "") {
				return usageError{errors.New("inspect takes either --listen or --read")}
			}
			out := bufio.NewWriter(cmd.OutOrStdout())
			defer out.Flush()
			v := viewer{netflow.NewInspector(), out, printMessage}
			if output == "json" {
				v.print = printMessageJSON
			}
			if read != "" {
				return v.file(read)
			}
			return v.listen(cmd.Context(), listen, cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	one(f, &listen, "listen", "", "", listening("udp", "", "9996"), "UDP address to receive on, as :9996")
	one(f, &read, "read", "r", "", path("a capture file, or messages back to back"), "file to read, a capture or messages back to back")
	one(f, &output, "output", "", "table", among("table or json", "table", "json"), "table, or json: one object a message and line")
	return cmd
}

// viewer finds messages and has them printed.
type viewer struct {
	inspector *netflow.Inspector
	out       *bufio.Writer
	print     func(io.Writer, *netflow.Inspected) error
}

// show prints one message.
func (v viewer) show(from netip.AddrPort, at flow.Time, datagram []byte) error {
	x := v.inspector.Inspect(from, at, datagram)
	return v.print(v.out, &x)
}

// file shows the messages of a file.
func (v viewer) file(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	defer f.Close()
	br := bufio.NewReader(f)
	magic, _ := br.Peek(6)
	if capture.Begins(magic) {
		source, err := capture.NewReader(br)
		if err != nil {
			return fmt.Errorf("inspect: %s: %w", name, err)
		}
		defer source.Close()
		return v.capture(name, source)
	}
	if len(magic) < 2 || !isExport(magic) {
		return fmt.Errorf("inspect: %s: neither a capture nor messages of NetFlow or IPFIX", name)
	}
	const most = 1 << 30
	b, err := io.ReadAll(io.LimitReader(br, most))
	if err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	from := netip.MustParseAddrPort("0.0.0.0:0")
	for len(b) > 0 {
		var msg []byte
		msg, b = netflow.NextMessage(b)
		if err := v.show(from, flow.TimeOf(time.Now()), msg); err != nil {
			return err
		}
	}
	return nil
}

// isExport reports whether b, of two octets at least, begins like a message.
func isExport(b []byte) bool {
	switch netflow.Version(binary.BigEndian.Uint16(b)) {
	case netflow.V1, netflow.V5, netflow.V7, netflow.V9, netflow.IPFIX:
		return true
	}
	return false
}

// capture shows the messages in the UDP packets of a capture.
func (v viewer) capture(name string, source capture.Source) error {
	some := false
	for {
		data, info, err := source.ZeroCopyReadPacketData()
		if errors.Is(err, io.EOF) {
			if !some {
				return fmt.Errorf("inspect: %s: no UDP packet in this capture begins like NetFlow or IPFIX", name)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("inspect: %s: %w", name, err)
		}
		p := gopacket.NewPacket(data, layers.LinkType(source.LinkType()), gopacket.NoCopy)
		udp, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
		if !ok || p.NetworkLayer() == nil || len(udp.Payload) < 2 {
			continue
		}
		if !isExport(udp.Payload) {
			continue
		}
		some = true
		a, _ := netip.AddrFromSlice(p.NetworkLayer().NetworkFlow().Src().Raw())
		if err := v.show(netip.AddrPortFrom(a, uint16(udp.SrcPort)), flow.TimeOf(info.Timestamp), udp.Payload); err != nil {
			return err
		}
	}
}

// listen shows what arrives until ctx is done.
func (v viewer) listen(ctx context.Context, addr string, stderr io.Writer) error {
	var lc net.ListenConfig
	c, err := lc.ListenPacket(ctx, "udp", addr)
	if err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	fmt.Fprintln(stderr, "listening on "+c.LocalAddr().String())
	buf := make([]byte, 65536)
	for {
		n, from, err := c.ReadFrom(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("inspect: %w", err)
		}
		a := from.(*net.UDPAddr).AddrPort()
		if err := v.show(netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), flow.TimeOf(time.Now()), buf[:n]); err != nil {
			return err
		}
		if err := v.out.Flush(); err != nil {
			return fmt.Errorf("inspect: %s", strings.TrimSpace(err.Error()))
		}
	}
}
