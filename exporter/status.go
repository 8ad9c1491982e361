package exporter

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"flowtally/exporter/meter"
	"flowtally/flow"
)

// Status is a UNIX socket at which a running exporter answers people. A client
// sends one line, a command, and reads to the end: first a line "ok" or
// "error: …", then what there is to say.
type Status struct {
	// Path is where the socket is; only its owner may use it (mode 0600).
	Path string
	// Control is of the Run that is asked.
	Control *Control
	// Meter is shown by timeouts.
	Meter meter.Config
	// Shutdown ends the Run, nil where that is not for clients.
	Shutdown func()
}

// statusTimeout is how long a client may take to say what it wants, or to take
// the next part of the answer.
const statusTimeout = 10 * time.Second

// statusClients is how many clients are answered at once.
const statusClients = 16

type statusCommand struct {
	name, help string
	do         func(*Status, context.Context, io.Writer) error
}

// statusCommands are what a client may ask for, besides help.
var statusCommands = []statusCommand{
	{"statistics", "what was metered, sent and lost, by reason and protocol", (*Status).statistics},
	{"dump-flows", "the flows that live, a line each", (*Status).dump},
	{"expire-all", "end all flows and send them", (*Status).expire},
	{"send-templates", "send templates and options now", (*Status).templates},
	{"timeouts", "after how long flows end", (*Status).timeouts},
	{"shutdown", "end all flows, send them and stop", (*Status).shutdown},
}

// Listen makes the socket and answers until ctx ends, in goroutines of its own.
// One that a process left behind is replaced, one that is answered is an error.
func (s *Status) Listen(ctx context.Context) error {
	if c, err := net.Dial("unix", s.Path); err == nil {
		c.Close()
		return fmt.Errorf("exporter: status socket %s: another process answers there", s.Path)
	}
	if info, err := os.Lstat(s.Path); err == nil && info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("exporter: status socket %s: there is something else of that name", s.Path)
	}
	// In a directory that is only ours nobody comes before the mode is set.
	dir, err := os.MkdirTemp(filepath.Dir(s.Path), ".s")
	if err != nil {
		return fmt.Errorf("exporter: status socket: %w", err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return fmt.Errorf("exporter: status socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(name, 0o600); err == nil {
		err = os.Rename(name, s.Path)
	}
	if err != nil {
		l.Close()
		return fmt.Errorf("exporter: status socket: %w", err)
	}
	context.AfterFunc(ctx, func() {
		os.Remove(s.Path)
		l.Close()
	})
	go func() {
		room := make(chan struct{}, statusClients)
		for {
			c, err := l.Accept()
			if err != nil {
				if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
					return
				}
				time.Sleep(time.Second) // out of descriptors
				continue
			}
			room <- struct{}{}
			go func() {
				defer func() { <-room }()
				defer c.Close()
				s.answer(ctx, deadlined{c})
			}()
		}
	}()
	return nil
}

// deadlined gives each read and write a time of its own.
type deadlined struct{ net.Conn }

func (d deadlined) Read(b []byte) (int, error) {
	_ = d.SetReadDeadline(time.Now().Add(statusTimeout))
	return d.Conn.Read(b)
}

func (d deadlined) Write(b []byte) (int, error) {
	_ = d.SetWriteDeadline(time.Now().Add(statusTimeout))
	return d.Conn.Write(b)
}

// answer reads a command and writes the answer.
func (s *Status) answer(ctx context.Context, c io.ReadWriter) {
	line, err := bufio.NewReader(io.LimitReader(c, 256)).ReadString('\n')
	if err != nil {
		return
	}
	name := strings.TrimSpace(line)
	for _, x := range append(statusCommands, statusCommand{"help", "", (*Status).help}) {
		if x.name != name {
			continue
		}
		w := bufio.NewWriter(c)
		said := &first{w: w}
		err := x.do(s, ctx, said)
		if said.begin(err); err != nil && said.ok {
			fmt.Fprintf(w, "error: %v\n", err) // in the middle
		}
		w.Flush()
		return
	}
	fmt.Fprintf(c, "error: there is no command %q; help lists them\n", name)
}

// first writes "ok" in front of what is written to it.
type first struct {
	w       io.Writer
	begun   bool
	ok      bool
	written error
}

func (f *first) begin(err error) {
	if f.begun {
		return
	}
	f.begun = true
	if err != nil {
		fmt.Fprintf(f.w, "error: %v\n", err)
		return
	}
	f.ok = true
	_, f.written = io.WriteString(f.w, "ok\n")
}

func (f *first) Write(b []byte) (int, error) {
	if f.begin(nil); f.written != nil {
		return 0, f.written
	}
	return f.w.Write(b)
}

// reasons returns how many flows live, and how many ended for each reason.
func (c *Control) reasons() (live int, ended [flow.EndLackOfResources + 1]uint64, err error) {
	c.mu.Lock()
	l := c.ledger
	c.mu.Unlock()
	if l == nil {
		return 0, ended, ErrNotRunning
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, m := l.sums()
	return m.Live, m.Ended, nil
}

func (s *Status) statistics(ctx context.Context, w io.Writer) error {
	protocols, err := s.Control.Protocols(ctx)
	if err != nil {
		return err
	}
	sum, err := s.Control.Summary()
	if err != nil {
		return err
	}
	live, ended, err := s.Control.reasons()
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(what string, n uint64) { fmt.Fprintf(t, "%s\t%d\n", what, n) }
	row("flows active", uint64(live))
	row("frames seen", sum.Seen)
	row("packets metered", sum.Packets)
	row("bytes metered", sum.Bytes)
	row("packets not sampled", sum.SampledOut)
	row("duplicates", sum.Duplicates)
	row("duplicates dropped", sum.DuplicatesDropped)
	row("fragments without ports", sum.FragmentsUnknown)
	row("lengths not stated", sum.LengthsUnstated)
	row("ignored, not IP", sum.IgnoredBy.NotIP)
	row("ignored, truncated", sum.IgnoredBy.Truncated)
	row("ignored, malformed", sum.IgnoredBy.Malformed)
	row("ignored, link type", sum.IgnoredBy.LinkType)
	row("ignored, own export", sum.IgnoredBy.OwnExport)
	row("filtered", sum.Filtered)
	row("dropped by the kernel", sum.KernelDrops)
	row("flows ended", sum.Flows)
	for _, r := range []flow.EndReason{flow.EndIdleTimeout, flow.EndActiveTimeout, flow.EndOfFlow, flow.EndForced, flow.EndLackOfResources} {
		row("  "+r.String(), ended[r])
	}
	row("records made", sum.Records)
	row("messages made", sum.Messages)
	row("records not sent", sum.NotSent)
	for _, d := range sum.Destinations {
		fmt.Fprintf(t, "to %s\t%d records, %d messages, %d not sent\n", d.To, d.Records, d.Messages, d.NotSent)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "protocol\tflows\tpackets\tbytes\tbytes/packet\tpackets/flow\t")
	for i, p := range protocols {
		if p.Flows > 0 {
			fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t\n", flow.Protocol(i), p.Flows, p.Packets, p.Bytes, p.Bytes/max(1, p.Packets), p.Packets/p.Flows)
		}
	}
	return t.Flush()
}

func (s *Status) dump(ctx context.Context, w io.Writer) error {
	return s.Control.Dump(ctx, func(r *flow.Record) error {
		_, err := fmt.Fprintf(w, "%s %s %s [%v]:%d > [%v]:%d if %d packets %d bytes %d flags %v\n",
			r.Start.Time().Format(time.RFC3339Nano), r.End.Time().Format(time.RFC3339Nano), r.Protocol,
			r.SrcAddr, r.SrcPort, r.DstAddr, r.DstPort, r.InIf, r.Packets, r.Bytes, r.TCPFlags)
		return err
	})
}

func (s *Status) expire(ctx context.Context, _ io.Writer) error { return s.Control.Flush(ctx) }

func (s *Status) templates(context.Context, io.Writer) error { return s.Control.SendTemplates() }

func (s *Status) timeouts(_ context.Context, w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(what string, v, otherwise flow.Time) flow.Time {
		if v <= 0 {
			v = otherwise
		}
		fmt.Fprintf(t, "%s\t%v\n", what, time.Duration(v)*time.Millisecond)
		return v
	}
	row("active", s.Meter.ActiveTimeout, meter.DefaultActiveTimeout)
	idle := row("idle", s.Meter.IdleTimeout, meter.DefaultIdleTimeout)
	linger := row("linger after FIN or RST", s.Meter.Linger, meter.DefaultLinger)
	row("idle, tcp", s.Meter.Timeouts.TCP, idle)
	row("idle, udp", s.Meter.Timeouts.UDP, idle)
	row("idle, icmp", s.Meter.Timeouts.ICMP, idle)
	row("linger after FIN", s.Meter.Timeouts.TCPFin, linger)
	row("linger after RST", s.Meter.Timeouts.TCPRst, linger)
	return t.Flush()
}

func (s *Status) shutdown(context.Context, io.Writer) error {
	if s.Shutdown == nil {
		return errors.New("not for clients here")
	}
	s.Shutdown()
	return nil
}

func (s *Status) help(_ context.Context, w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, x := range statusCommands {
		fmt.Fprintf(t, "%s\t%s\n", x.name, x.help)
	}
	return t.Flush()
}

// AskStatus sends a command to the exporter that answers at path and copies the
// answer to w. Its error is the exporter's, or why there is none.
func AskStatus(ctx context.Context, path, command string, w io.Writer) error {
	if strings.ContainsAny(command, "\r\n") {
		return errors.New("exporter: a command is one line")
	}
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("exporter: no exporter answers at %s; is one running with --control %[1]s?", path)
	}
	if err != nil {
		return fmt.Errorf("exporter: %w", err)
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if _, err := io.WriteString(c, command+"\n"); err != nil {
		return fmt.Errorf("exporter: %s: %w", path, err)
	}
	r := bufio.NewReader(c)
	head, err := r.ReadString('\n')
	if err != nil {
		return fmt.Errorf("exporter: %s: no answer: %w", path, err)
	}
	if said, failed := strings.CutPrefix(strings.TrimSpace(head), "error: "); failed {
		return errors.New("exporter: " + strings.TrimPrefix(said, "exporter: "))
	}
	if _, err := io.Copy(w, r); err != nil {
		return fmt.Errorf("exporter: %s: %w", path, err)
	}
	return nil
}
