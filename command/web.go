package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"flowtally/store"
	"flowtally/web"
)

func webCommand() *cobra.Command {
	var (
		c       web.Config
		dsn     string
		metrics metricsConfig
		auth    string
	)
	cmd := &cobra.Command{
		Use:   "web --listen 127.0.0.1:8080 --database URL",
		Short: "Serve the web console and the HTTP API",
		Long: `Serves the web console and the HTTP API. On loopback nobody has to log in; beyond
it people do: with a password (--auth), or by the word of a proxy in front that
logs them in (--trust-proxy).`,
		Example: `  flowtally web user alice --role editor >> users
  flowtally web --listen :8443 --auth users --tls-cert web.pem --tls-key web.key
  flowtally web token --auth users --user alice --name nightly > nightly.token
  flowtally web --listen 10.0.0.5:8080 --trust-proxy 10.0.0.2 --secure-cookies --allow-host flows.example.org`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (c.TLSCert == "") != (c.TLSKey == "") {
				return usageError{errors.New("web: --tls-cert and --tls-key go together: a certificate and its key")}
			}
			if err := refuseIdle(cmd, append(metricsIdle(&metrics),
				idle{"proxy-user-header", len(c.TrustProxy) > 0, "with --trust-proxy"},
				idle{"proxy-role-header", len(c.TrustProxy) > 0, "with --trust-proxy"},
				idle{"secure-cookies", auth != "" || len(c.TrustProxy) > 0, "with --auth or --trust-proxy: without a login there are no cookies"},
				idle{"session-idle", auth != "", "with --auth"},
				idle{"session-life", auth != "", "with --auth"},
				idle{"insecure", auth == "" && len(c.TrustProxy) == 0, "without --auth and --trust-proxy, which are a login"},
				idle{"dns", !c.NoDNS, "without --no-dns"},
			)...); err != nil {
				return err
			}
			if auth != "" {
				var err error
				if c.Users, err = web.LoadUsers(auth); err != nil {
					return err
				}
			}
			return withStore(cmd.Context(), dsn, &metrics, func(ctx context.Context, db *store.DB, reg *prometheus.Registry) error {
				c.DB, c.Logger, c.Registerer = web.NewDatabase(db), slog.Default(), reg
				return web.Run(ctx, c)
			})
		},
	}
	f := cmd.Flags()
	one(f, &c.Listen, "listen", "", web.DefaultListen, listening("tcp", "127.0.0.1", "8080"), "TCP address of the page; a port alone is that of 127.0.0.1")
	many(f, &c.AllowHosts, "allow-host", "", nil, hostNames, "further host name under which the page may be asked for; repeatable")
	toggle(f, &c.Insecure, "insecure", "", false, "allow listening beyond loopback without a login")
	one(f, &auth, "auth", "", "", path("a file with lines name:role:hash (flowtally web user prints one)"), "file of those who may log in, a line name:role:hash for each (flowtally web user prints one)")
	many(f, &c.TrustProxy, "trust-proxy", "", nil, networks, "address or network of a proxy that logs people in and says who they are; repeatable")
	one(f, &c.ProxyUserHeader, "proxy-user-header", "", web.DefaultProxyUserHeader, headers, "header in which the trusted proxy says who is asking")
	one(f, &c.ProxyRoleHeader, "proxy-role-header", "", "", headers, "header in which it says viewer or editor; without it all are editors")
	toggle(f, &c.SecureCookies, "secure-cookies", "", false, "cookies for TLS only, because a proxy in front has TLS")
	one(f, &c.SessionIdle, "session-idle", "", web.DefaultSessionIdle, times, "end a session that was idle for so long")
	one(f, &c.SessionLife, "session-life", "", web.DefaultSessionLife, times, "end a session after so long in any case")
	one(f, &c.TLSCert, "tls-cert", "", "", path("a PEM file with a certificate"), "file of the certificate, in PEM: serve by TLS")
	one(f, &c.TLSKey, "tls-key", "", "", path("a PEM file with the key of the certificate"), "file of its key")
	toggle(f, &c.NoDNS, "no-dns", "", false, "do not look up the names of addresses")
	one(f, &c.DNS, "dns", "", "", nameServers, "name server to look them up with, host or host:port, in place of the system's")
	one(f, &c.CollectorListen, "collector", "", ":9995", listening("udp", "", "9995"), "address of the collector, shown to who has no exporter yet")
	databaseFlag(cmd, &dsn)
	metricsFlag(cmd, &metrics)
	cmd.AddCommand(webUserCommand(), webTokenCommand())
	return cmd
}

// headers are names of headers of HTTP.
var headers = kind[string]{
	name: "header", wants: "the name of a header, such as X-Forwarded-User",
	read: func(text string) (string, error) {
		if text == "" || strings.ContainsFunc(text, func(r rune) bool {
			return r != '-' && r != '_' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
		}) {
			return "", errWanted
		}
		return text, nil
	},
}

func webUserCommand() *cobra.Command {
	var role string
	cmd := &cobra.Command{
		Use:     "user NAME [--role viewer|editor] < PASSWORD",
		Short:   "Print the line of a user for the file of --auth; the password is read from standard input",
		Example: `  flowtally web user alice --role editor >> users`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("web user takes one argument, the name of the user, and %d are given", len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			// A line, so that it can be typed; without it, what there is.
			password, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), web.MaxPassword+2)).ReadString('\n')
			if err != nil && !errors.Is(err, io.EOF) {
				return fmt.Errorf("read the password: %w", err)
			}
			line, err := web.UserLine(args[0], role, strings.TrimRight(password, "\r\n"))
			if err != nil {
				return usageError{err}
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), line)
			return err
		},
	}
	one(cmd.Flags(), &role, "role", "", web.RoleViewer, among("viewer or editor", web.RoleViewer, web.RoleEditor), "viewer, who may look at everything, or editor, who may change names and views too")
	return cmd
}
