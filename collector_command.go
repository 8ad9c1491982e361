package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"flowtally/collector"
	"flowtally/flow"
	"flowtally/netflow"
	"flowtally/store"
	"flowtally/store/ingest"
	"flowtally/store/keeper"
)

func collectorCommand() *cobra.Command {
	var (
		c                     collector.Config
		keep                  keeper.Config
		dsn, metrics, spool   string
		cert, key, ca         string
		allow                 []string
		sampling, override    []string
		spoolSize, retainSize octets
		raw, min, hour, day   age
		houseKeeping          bool
	)
	cmd := &cobra.Command{
		Use:   "collector --listen :9995 --database URL",
		Short: "Receive NetFlow v5, v9 and IPFIX and store it in PostgreSQL",
		Long: `Receive NetFlow v1, v5, v7, v9 and IPFIX over UDP, and IPFIX over TCP and TLS, and
store it in PostgreSQL. What PostgreSQL cannot take at once waits in the spool.`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if c.Allow, err = prefixes(allow); err != nil {
				return err
			}
			if c.Sampling, err = samplingOf(sampling, override); err != nil {
				return err
			}
			if !cmd.Flags().Changed("listen") && len(c.ListenTCP)+len(c.ListenTLS) > 0 {
				c.Listen = nil // TCP alone was asked for
			}
			switch {
			case len(c.ListenTLS) > 0 && (cert == "" || key == ""):
				return usageError{fmt.Errorf("--listen-tls takes --tls-cert and --tls-key")}
			case len(c.ListenTLS) > 0:
				if c.TLS, err = collector.TLSConfig(cert, key, ca); err != nil {
					return err
				}
			}
			switch c.Identity {
			case collector.IdentityAuto, collector.IdentitySource, collector.IdentityAnnounced:
			default:
				return usageError{fmt.Errorf("--identity %q: want auto, source or announced", c.Identity)}
			}
			if dsn, err = databaseURL(dsn); err != nil {
				return err
			}
			keep.RetainRaw, keep.Retain1m, keep.Retain1h, keep.Retain1d = time.Duration(raw), time.Duration(min), time.Duration(hour), time.Duration(day)
			keep.RetainSize = int64(retainSize)
			if keep.RetainPath == "auto" {
				keep.RetainPath = ""
			}
			if !houseKeeping {
				return collect(cmd.Context(), c, dsn, metrics, spool, int64(spoolSize), nil)
			}
			return collect(cmd.Context(), c, dsn, metrics, spool, int64(spoolSize), &keep)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&c.Listen, "listen", []string{":9995"}, "UDP address to receive on; repeat it for several")
	f.StringArrayVar(&c.ListenTCP, "listen-tcp", nil, "TCP address to receive IPFIX on; repeat it for several")
	f.StringArrayVar(&c.ListenTLS, "listen-tls", nil, "TCP address to receive IPFIX over TLS on; repeat it for several")
	f.StringVar(&cert, "tls-cert", "", "PEM file with the collector's certificate")
	f.StringVar(&key, "tls-key", "", "PEM file with its key")
	f.StringVar(&ca, "tls-ca", "", "PEM file with authorities; whoever connects needs a certificate of one of them")
	f.StringArrayVar(&allow, "allow", nil, "address or prefix that may send, anybody when none is given; repeat it for several")
	f.IntVar(&c.RateLimit, "rate-limit", 0, "records a second that one exporter may send, 0 for any number")
	f.IntVar(&c.MaxExporters, "max-exporters", 4096, "exporters to follow; for more, silent ones give way")
	f.IntVar(&c.MaxConnections, "max-connections", 128, "TCP and TLS connections to accept")
	f.DurationVar(&c.IdleTimeout, "idle-timeout", 30*time.Minute, "close a TCP or TLS connection that is silent for so long")
	f.StringArrayVar(&sampling, "sampling", nil, "N, or PREFIX=N: sampling is 1:N where the exporter announces nothing; repeat it for several")
	f.StringArrayVar(&override, "sampling-override", nil, "PREFIX=N: sampling is 1:N whatever the exporter announces; repeat it for several")
	f.StringVar((*string)(&c.Identity), "identity", "auto", "whose name exporters have: source for the address of their packets, announced for the one they announce, auto for that behind this machine's gateway only")
	f.IntVar(&c.Sockets, "sockets", 0, "sockets that share each address, 0 for one a processor (at most 4)")
	f.IntVar(&c.ReceiveBuffer, "receive-buffer", 32<<20, "kernel receive buffer to ask for, in octets")
	f.IntVar(&c.BatchRecords, "batch", 32768, "records that make a batch")
	f.DurationVar(&c.BatchAge, "batch-age", time.Second, "longest a record waits for its batch to fill")
	f.IntVar(&c.Writers, "writers", 2, "batches written at once, one connection each")
	f.IntVar(&c.Queue, "queue", 32, "batches that may wait for a writer; beyond that they are dropped and counted")
	f.StringVar(&spool, "spool", "auto", "directory for what the database cannot take at once, and for templates; auto finds one, none goes without")
	spoolSize = octets(ingest.DefaultSpoolBytes)
	f.Var(&spoolSize, "spool-size", "most that the spool may take, such as 4G; then the oldest gives way and is counted")
	raw, min, hour, day = age(keeper.DefaultRetainRaw), age(keeper.DefaultRetain1m), age(keeper.DefaultRetain1h), age(keeper.ForEver)
	f.Var(&raw, "retain-raw", "how long to keep flows, such as 15d; forever keeps them")
	f.Var(&min, "retain-1m", "how long to keep minutes")
	f.Var(&hour, "retain-1h", "how long to keep hours")
	f.Var(&day, "retain-1d", "how long to keep days")
	f.Var(&retainSize, "retain-size", "most that the database may take, such as 50G, 0 for no limit; then the oldest flows go")
	f.StringVar(&keep.RetainPath, "retain-path", "auto", "directory on the database's disk: the oldest flows go, too, when the database has more than 80 % of what others leave of it; auto takes PostgreSQL's own where it can be seen from here, none looks at no disk")
	f.BoolVar(&houseKeeping, "keeper", true, "sum roll-ups, seal and remove what is old; of several collectors one at a time does it")
	databaseFlag(cmd, &dsn)
	metricsFlag(cmd, &metrics)
	return cmd
}

// collect runs a collector with its store, until ctx ends. keep is nil for none
// of the house-keeping.
func collect(ctx context.Context, c collector.Config, dsn, metrics, spool string, spoolSize int64, keep *keeper.Config) error {
	log := slog.Default()
	switch spool {
	case "auto":
		if spool = ingest.DefaultSpool(); spool == "" {
			log.Warn("there is no directory for a spool: what the database cannot take waits in memory; give one with --spool")
		}
	case "none":
		spool = ""
	}
	reg, err := serveMetrics(ctx, metrics)
	if err != nil {
		return err
	}
	open := store.Open
	if spool != "" {
		open = store.OpenAway
	}
	db, err := open(ctx, dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	w := ingest.NewWriter(db, ingest.WriterConfig{Logger: log, Registerer: reg, Spool: spool, SpoolBytes: spoolSize})
	defer w.Close()
	c.Sink, c.StateDir, c.Logger, c.Registerer = w, spool, log, reg

	// The spool is emptied, and the house kept, until the last batch is written.
	behind, stop := context.WithCancel(context.WithoutCancel(ctx))
	var working sync.WaitGroup
	defer working.Wait()
	defer stop()
	// Without its spool a collector does not begin: somebody relies on it.
	serving, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	working.Go(func() {
		if err := w.Run(behind); err != nil {
			fail(err)
		}
	})
	if keep != nil {
		keep.Logger, keep.Registerer = log, reg
		k := keeper.New(db, *keep)
		working.Go(func() {
			if err := k.Run(behind); err != nil {
				log.Error("roll-ups and retention stand still", "error", err)
			}
		})
	}
	err = collector.Run(serving, c)
	if cause := context.Cause(serving); err == nil && ctx.Err() == nil && cause != nil {
		return cause
	}
	return err
}

// prefixes reads addresses and prefixes.
func prefixes(list []string) (out []netip.Prefix, err error) {
	for _, s := range list {
		p, err := prefix(s)
		if err != nil {
			return nil, usageError{fmt.Errorf("--allow %q: want an address or a prefix such as 10.0.0.0/8", s)}
		}
		out = append(out, p)
	}
	return out, nil
}

func prefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}

// samplingOf makes the configured sampling of N, PREFIX=N and overrides: the
// longest prefix holds, and an override before the others.
func samplingOf(defaults, overrides []string) (func(flow.Exporter) netflow.Sampling, error) {
	type rule struct {
		of netip.Prefix
		s  netflow.Sampling
	}
	var rules []rule
	add := func(flagName, text string, override bool) error {
		who, n, ok := strings.Cut(text, "=")
		r := rule{s: netflow.Sampling{Override: override}}
		var err error
		if !ok {
			n = text
		} else {
			r.of, err = prefix(who)
		}
		rate, nerr := strconv.ParseUint(n, 10, 31)
		if err != nil || nerr != nil || rate == 0 || override && !ok {
			return usageError{fmt.Errorf("%s %q: want PREFIX=N such as 10.0.0.0/8=1000", flagName, text)}
		}
		r.s.Rate = uint32(rate)
		rules = append(rules, r)
		return nil
	}
	for _, s := range overrides {
		if err := add("--sampling-override", s, true); err != nil {
			return nil, err
		}
	}
	for _, s := range defaults {
		if err := add("--sampling", s, false); err != nil {
			return nil, err
		}
	}
	if len(rules) == 0 {
		return nil, nil
	}
	return func(e flow.Exporter) (found netflow.Sampling) {
		best := -2
		a := e.Addr.Netip()
		for _, r := range rules {
			bits := -1 // for everybody
			if r.of.IsValid() {
				if !r.of.Contains(a) {
					continue
				}
				bits = r.of.Bits()
			}
			if r.s.Override == found.Override && bits > best || r.s.Override && !found.Override {
				found, best = r.s, bits
			}
			if found.Override && !r.s.Override {
				break // the overrides come first
			}
		}
		return found
	}, nil
}

// octets is a flag for sizes, such as 4G.
type octets int64

func (o *octets) Type() string { return "size" }

func (o *octets) String() string {
	n, units := int64(*o), "KMGT"
	if n == 0 || n%1024 != 0 {
		return strconv.FormatInt(n, 10)
	}
	i := -1
	for n%1024 == 0 && i < len(units)-1 {
		n /= 1024
		i++
	}
	return strconv.FormatInt(n, 10) + units[i:i+1]
}

// Set reads a number with K, M, G or T, which are powers of 1024.
func (o *octets) Set(s string) error {
	digits, shift := strings.ToUpper(strings.TrimSuffix(strings.TrimSuffix(s, "B"), "i")), 0
	if n := len(digits); n > 0 {
		if i := strings.IndexByte("KMGT", digits[n-1]); i >= 0 {
			digits, shift = digits[:n-1], 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > 1<<62>>shift {
		return fmt.Errorf("want a size such as 500M, 4G or 1T")
	}
	*o = octets(n << shift)
	return nil
}

// age is a flag for long times, such as 15d; negative is for ever.
type age time.Duration

func (a *age) Type() string { return "age" }

func (a *age) String() string {
	d := time.Duration(*a)
	switch {
	case d < 0:
		return "forever"
	case d > 0 && d%(24*time.Hour) == 0:
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	}
	return d.String()
}

// Set reads days (15d), weeks (2w), years (1y), what time.ParseDuration does, or
// forever.
func (a *age) Set(s string) error {
	if s == "forever" {
		*a = age(keeper.ForEver)
		return nil
	}
	if n := len(s); n > 1 {
		if days, ok := map[byte]int64{'d': 1, 'w': 7, 'y': 366}[s[n-1]]; ok {
			if v, err := strconv.ParseInt(s[:n-1], 10, 32); err == nil && v > 0 && v*days < 100_000 {
				*a = age(time.Duration(v*days) * 24 * time.Hour)
				return nil
			}
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Minute {
		return fmt.Errorf("want an age such as 12h, 15d, 1y or forever")
	}
	*a = age(d)
	return nil
}
