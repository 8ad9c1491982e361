package command

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"flowtally/exporter"
	"flowtally/filter"
	"flowtally/flow"
	"flowtally/netflow"
)

// collectorOf returns what an element of --to means, once its address is understood.
func collectorOf(text string) (c exporter.Collector, err error) {
	c.To, text, _ = strings.Cut(text, ",")
	for text != "" {
		name, value, has := strings.Cut(text, "=")
		switch name = strings.TrimSpace(name); {
		case !has:
			return c, errWanted
		case name == "version":
			value, text, _ = strings.Cut(value, ",")
			n, err := versions.of(value)
			if err != nil {
				return c, fmt.Errorf("version %q: %w", value, err)
			}
			c.Version = netflow.Version(n)
		case name == "filter": // the rest, commas and all
			if c.Filter, err = filter.Parse(value); err != nil {
				return c, fmt.Errorf("its filter is wrong at %s", strings.TrimPrefix(err.Error(), "filter: "))
			}
			text = ""
		default:
			return c, fmt.Errorf("there is no %q of a collector; want HOST:PORT[,version=5|9|10][,filter=FILTER]", name)
		}
	}
	return c, nil
}

// filterText is the filter of a collector as it was understood.
func filterText(c exporter.Collector) string {
	if c.Filter == nil {
		return ""
	}
	return c.Filter.String()
}

// tls returns whom to trust, and what to show, over TLS; nil is the default.
func (f *exporterFlags) tls() (*tls.Config, error) {
	if f.tlsCA == "" && f.tlsCert == "" && f.tlsKey == "" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.tlsCA != "" {
		text, err := os.ReadFile(f.tlsCA)
		if err != nil {
			return nil, fmt.Errorf("--tls-ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--tls-ca %s: no certificate in it", f.tlsCA)
		}
	}
	if f.tlsCert != "" || f.tlsKey != "" {
		pair, err := tls.LoadX509KeyPair(f.tlsCert, f.tlsKey)
		if err != nil {
			return nil, fmt.Errorf("--tls-cert and --tls-key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// exporting sets in c what is of the wire.
func (f *exporterFlags) exporting(c *exporter.Config) (err error) {
	for _, to := range f.to {
		x, err := collectorOf(to)
		if err != nil {
			return fmt.Errorf("--to %q: %w", to, err)
		}
		if f.balance && x.Filter != nil {
			return fmt.Errorf("--to %q: a filter, and --balance: want one of them", to)
		}
		if slices.ContainsFunc(c.Collectors, func(y exporter.Collector) bool { return y.To == x.To && filterText(y) == filterText(x) }) {
			return fmt.Errorf("--to %s is given twice: it would get every flow twice", x.To)
		}
		c.Collectors = append(c.Collectors, x)
	}
	if c.TLS, err = f.tls(); err != nil {
		return err
	}
	c.Version, c.Domain, c.Balance, c.Options = netflow.Version(f.version), f.domain, f.balance, f.options
	switch c.Name = f.name; f.name {
	case "auto":
		c.Name = hostName()
	case "none":
		c.Name = ""
	}
	if c.Fields, err = netflow.ParseFields(f.fields...); err != nil {
		return fmt.Errorf("--fields: %w", err)
	}
	if c.Fields != 0 && c.Version == netflow.V5 {
		return errors.New("--fields: NetFlow v5 has no room for more; want --version 9 or 10")
	}
	if f.template == "pflow" {
		if c.Version == netflow.V9 {
			return errors.New("--template pflow: pflow(4) has no v9; want --version 5 or 10")
		}
		if c.Fields != 0 {
			return errors.New("--template pflow has no room for --fields")
		}
		c.Template = netflow.Pflow
		if !f.domainSet {
			c.Domain = 42
			if c.Version == netflow.V5 {
				c.Domain = 42<<8 | 42
			}
		}
	}
	return nil
}

// container is the name that a container has of its number.
var container = regexp.MustCompile(`^[0-9a-f]{12}$`)

// hostName returns the name of the host, "" where it has none that tells it from others.
func hostName() string {
	name, err := os.Hostname()
	if err != nil || container.MatchString(name) || strings.HasPrefix(name, "localhost") {
		return ""
	}
	return flow.Name(name)
}
