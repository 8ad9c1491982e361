package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"flowtally/store/console"
	"flowtally/web"
)

// webTokenCommand makes, lists and revokes tokens beside the page. It takes what the page
// takes: the file of users, whose hashes a token is bound to, and the database.
func webTokenCommand() *cobra.Command {
	var (
		dsn, auth, user, name, role string
		days                        int
	)
	cmd := &cobra.Command{
		Use:   "token --auth FILE --user USER --name NAME [--role viewer|editor] [--days 90]",
		Short: "Make a token with which a script asks in a user's name, and print it",
		Long: `Makes a token with which a script asks the HTTP API in a user's name, and prints
it: this once, it is kept nowhere. The script sends it in the header
Authorization, as Bearer flowtally_…, never in an address.

A token ends after its days, with its user, and with the user's password. It may
never do more than its user. It takes the role flow_web of the database.`,
		Example: `  flowtally web token --auth users --user alice --name nightly --days 30 > nightly.token
  curl -H "Authorization: Bearer $(cat nightly.token)" https://flows.example.org/api/v1/top
  flowtally web token list --auth users
  flowtally web token revoke 7`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch "" {
			case user:
				return usageError{errors.New("whose is the token? give --user, a user of the file of --auth")}
			case name:
				return usageError{errors.New("what will use the token? give it a --name, as nightly")}
			}
			users, err := tokenUsers(auth)
			if err != nil {
				return err
			}
			t, secret, err := users.NewToken(user, name, role, days, time.Now())
			if err != nil {
				return usageError{err}
			}
			return withConsole(cmd.Context(), dsn, func(ctx context.Context, c *console.Console) error {
				switch made, err := c.NewToken(ctx, t); {
				case errors.Is(err, console.ErrTaken):
					return fmt.Errorf("%s has a token %q already: choose another --name, or revoke that one (flowtally web token list shows its id)", user, name)
				case err != nil:
					return err
				default:
					fmt.Fprintf(cmd.ErrOrStderr(), "token %d of %s, %s, until %s; it is shown this once:\n", made.ID, made.User, made.Role, made.Expires.Format(time.DateOnly))
				}
				_, err := fmt.Fprintln(cmd.OutOrStdout(), secret)
				return err
			})
		},
	}
	f := cmd.Flags()
	one(f, &auth, "auth", "", "", path("the file of users, as flowtally web has it"), "the file of users, as flowtally web has it")
	one(f, &user, "user", "", "", anyText("user", "the name of a user"), "whose token it is")
	one(f, &name, "name", "", "", anyText("name", "a name of one line, such as nightly"), "what will use it, different from the user's other tokens")
	one(f, &role, "role", "", web.RoleViewer, among("viewer or editor", web.RoleViewer, web.RoleEditor), "the most it may do: viewer or editor")
	one(f, &days, "days", "", web.DefaultTokenDays, counts[int]("a number of days", 1, web.MaxTokenDays), fmt.Sprintf("after how many days it ends, at most %d", web.MaxTokenDays))
	databaseFlag(cmd, &dsn)
	cmd.AddCommand(webTokenListCommand(), webTokenRevokeCommand())
	return cmd
}

func tokenUsers(auth string) (*web.Users, error) {
	if auth == "" {
		return nil, usageError{errors.New("tokens are of people who log in with a password: give --auth with the file of users")}
	}
	return web.LoadUsers(auth)
}

func webTokenListCommand() *cobra.Command {
	var dsn, auth, user string
	cmd := &cobra.Command{
		Use:   "list --auth FILE [--user USER]",
		Short: "List tokens, without their secrets",
		Long: `Lists tokens, without their secrets. One that has ended did so with its user or
the user's password; revoking it removes it from the list.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			users, err := tokenUsers(auth)
			if err != nil {
				return err
			}
			return withConsole(cmd.Context(), dsn, func(ctx context.Context, c *console.Console) error {
				list, err := c.Tokens(ctx, user)
				if err != nil {
					return err
				}
				return printTokens(cmd.OutOrStdout(), list, users, time.Now())
			})
		},
	}
	f := cmd.Flags()
	one(f, &auth, "auth", "", "", path("the file of users, as flowtally web has it"), "the file of users, as flowtally web has it")
	one(f, &user, "user", "", "", anyText("user", "the name of a user"), "only this user's tokens")
	databaseFlag(cmd, &dsn)
	return cmd
}

func printTokens(w io.Writer, list []console.Token, users *web.Users, now time.Time) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "id\tuser\tname\trole\tstate\texpires\tlast used")
	for i := range list {
		t := &list[i]
		used := "never"
		if !t.Used.IsZero() {
			used = t.Used.Format("2006-01-02T15:04Z")
		}
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.User, t.Name, t.Role, users.TokenState(t, now), t.Expires.Format(time.DateOnly), used)
	}
	return tw.Flush()
}

func webTokenRevokeCommand() *cobra.Command {
	var dsn string
	cmd := &cobra.Command{
		Use:     "revoke ID…",
		Short:   "End tokens at once",
		Example: `  flowtally web token revoke 7`,
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, words []string) error {
			ids := make([]int64, len(words))
			for i, word := range words {
				var err error
				if ids[i], err = strconv.ParseInt(word, 10, 64); err != nil || ids[i] < 1 {
					return usageError{fmt.Errorf("%q is no token's id: flowtally web token list shows them", word)}
				}
			}
			if len(ids) == 0 {
				return usageError{errors.New("which tokens? give their ids: flowtally web token list shows them")}
			}
			return withConsole(cmd.Context(), dsn, func(ctx context.Context, c *console.Console) error {
				for _, id := range ids {
					err := c.DeleteToken(ctx, "", id)
					if errors.Is(err, console.ErrNotFound) {
						return fmt.Errorf("there is no token %d: flowtally web token list shows those there are", id)
					}
					if err != nil {
						return err
					}
					fmt.Fprintf(cmd.ErrOrStderr(), "token %d is revoked\n", id)
				}
				return nil
			})
		},
	}
	databaseFlag(cmd, &dsn)
	return cmd
}
