package command

import (
	"log/slog"
	"strings"

	"flowtally/store"

	"github.com/spf13/cobra"
)

func migrateCommand() *cobra.Command {
	var dsn string
	var citus bool
	passwords := map[string]*string{}
	cmd := &cobra.Command{
		Use:   "migrate --database URL",
		Short: "Make or update the schema and its three roles",
		Long: `Make or update the schema. The database's owner, able to create roles, must run it.
A role that is given a password may log in; give it by the environment
(FLOWTALLY_MIGRATE_READER_PASSWORD), where other users cannot see it.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dsn, err := databaseURL(dsn)
			if err != nil {
				return err
			}
			c := store.MigrateConfig{Passwords: map[string]string{}, Logger: slog.Default()}
			for role, p := range passwords {
				if *p != "" {
					c.Passwords[role] = *p
				}
			}
			if err := store.Migrate(cmd.Context(), dsn, c); err != nil || !citus {
				return err
			}
			return store.Distribute(cmd.Context(), dsn, c.Logger)
		},
	}
	for _, r := range []struct{ flag, role, who string }{
		{"writer-password", "flow_writer", "the collector"},
		{"web-password", "flow_web", "the web console"},
		{"reader-password", "flow_reader", "people and Grafana"},
	} {
		passwords[r.role] = new(string)
		one(cmd.Flags(), passwords[r.role], r.flag, "", "", secrets, "let the role "+r.role+" ("+r.who+") log in with this password")
	}
	toggle(cmd.Flags(), &citus, "citus", "", false, "spread flows and roll-ups over the Citus cluster that the database coordinates")
	databaseFlag(cmd, &dsn)
	return cmd
}

// secrets are passwords.
var secrets = kind[string]{
	name: "password", wants: "a password of one line", secret: true, needed: true,
	read: func(text string) (string, error) {
		if text == "" || strings.ContainsAny(text, "\r\n\x00") {
			return "", errWanted
		}
		return text, nil
	},
}
