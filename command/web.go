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
		proxies []string
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
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, text := range proxies {
				p, err := parseNetwork(text)
				if err != nil {
					return usageError{fmt.Errorf("--trust-proxy: %w", err)}
				}
				c.TrustProxy = append(c.TrustProxy, p)
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
	f.StringVar(&c.Listen, "listen", web.DefaultListen, "TCP address of the page")
	f.StringArrayVar(&c.AllowHosts, "allow-host", nil, "further host name under which the page may be asked for; repeatable")
	f.BoolVar(&c.Insecure, "insecure", false, "allow listening beyond loopback without a login")
	f.StringVar(&auth, "auth", "", "file of those who may log in, a line name:role:hash for each (flowtally web user prints one)")
	f.StringArrayVar(&proxies, "trust-proxy", nil, "address or network of a proxy that logs people in and says who they are; repeatable")
	f.StringVar(&c.ProxyUserHeader, "proxy-user-header", web.DefaultProxyUserHeader, "header in which the trusted proxy says who is asking")
	f.StringVar(&c.ProxyRoleHeader, "proxy-role-header", "", "header in which it says viewer or editor; without it all are editors")
	f.BoolVar(&c.SecureCookies, "secure-cookies", false, "cookies for TLS only, because a proxy in front has TLS")
	f.DurationVar(&c.SessionIdle, "session-idle", web.DefaultSessionIdle, "end a session that was idle for so long")
	f.DurationVar(&c.SessionLife, "session-life", web.DefaultSessionLife, "end a session after so long in any case")
	f.StringVar(&c.TLSCert, "tls-cert", "", "file of the certificate, in PEM: serve by TLS")
	f.StringVar(&c.TLSKey, "tls-key", "", "file of its key")
	f.BoolVar(&c.NoDNS, "no-dns", false, "do not look up the names of addresses")
	f.StringVar(&c.DNS, "dns", "", "name server to look them up with, host or host:port, in place of the system's")
	f.StringVar(&c.CollectorListen, "collector", ":9995", "address of the collector, shown to who has no exporter yet")
	databaseFlag(cmd, &dsn)
	metricsFlag(cmd, &metrics)
	cmd.AddCommand(webUserCommand(), webTokenCommand())
	return cmd
}

func webUserCommand() *cobra.Command {
	var role string
	cmd := &cobra.Command{
		Use:     "user NAME [--role viewer|editor] < PASSWORD",
		Short:   "Print the line of a user for the file of --auth; the password is read from standard input",
		Example: `  flowtally web user alice --role editor >> users`,
		Args:    cobra.ExactArgs(1),
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
	cmd.Flags().StringVar(&role, "role", web.RoleViewer, "viewer, who may look at everything, or editor, who may change names and views too")
	return cmd
}
