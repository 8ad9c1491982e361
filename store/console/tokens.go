package console

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/query"
	"flowtally/store"
)

// MaxTokens is the most tokens that a person may have, those that expired among them.
const MaxTokens = 50

// Token is with what a script asks in the name of a person. The secret itself is kept
// nowhere.
type Token struct {
	ID            int64
	User          string // in whose name it asks
	Name          string // what the person calls it
	Role          string // the most it may do: viewer or editor
	Made, Expires time.Time
	Used          time.Time         // to the minute; zero: never
	Secret        [sha256.Size]byte // the hash of what is presented
	Code          [sha256.Size]byte // of the row, under what only the server of the page has
}

const tokenColumns = "id, user_name, name, role, made_at, expires_at, used_at, secret, code"

func scanToken(row pgx.CollectableRow) (t Token, err error) {
	var (
		used         *time.Time
		secret, code []byte
	)
	if err = row.Scan(&t.ID, &t.User, &t.Name, &t.Role, &t.Made, &t.Expires, &used, &secret, &code); err != nil {
		return t, err
	}
	t.Made, t.Expires = t.Made.UTC(), t.Expires.UTC()
	if used != nil {
		t.Used = used.UTC()
	}
	copy(t.Secret[:], secret)
	copy(t.Code[:], code)
	return t, nil
}

// Tokens lists the tokens of a person, of all when user is empty, by user and name.
func (c *Console) Tokens(ctx context.Context, user string) ([]Token, error) {
	var list []Token
	err := c.db.Ask(ctx, store.DefaultTimeout, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "select "+tokenColumns+" from console.tokens where $1 in ('', user_name) order by user_name, name", user)
		if err == nil {
			list, err = pgx.CollectRows(rows, scanToken)
		}
		if err != nil {
			return fmt.Errorf("tokens: %w", err)
		}
		return nil
	})
	if store.Code(err) == "42501" { // insufficient_privilege
		return nil, c.db.Unprivileged(err)
	}
	return list, err
}

// TokenOf returns the token with the hash of a secret. The error may wrap ErrNotFound.
func (c *Console) TokenOf(ctx context.Context, secret [sha256.Size]byte) (*Token, error) {
	var t Token
	err := c.db.Ask(ctx, store.DefaultTimeout, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "select "+tokenColumns+" from console.tokens where secret = $1", secret[:])
		if err == nil {
			t, err = pgx.CollectExactlyOneRow(rows, scanToken)
		}
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("token: %w", ErrNotFound)
		}
		if err != nil {
			return fmt.Errorf("token: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &t, nil
}

// TokenSecrets returns the hashes of the secrets of all tokens.
func (c *Console) TokenSecrets(ctx context.Context) (map[[sha256.Size]byte]bool, error) {
	all := make(map[[sha256.Size]byte]bool)
	err := c.db.Ask(ctx, store.DefaultTimeout, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "select secret from console.tokens")
		if err != nil {
			return fmt.Errorf("tokens: %w", err)
		}
		var b []byte
		if _, err = pgx.ForEachRow(rows, []any{&b}, func() error {
			if len(b) == sha256.Size {
				all[[sha256.Size]byte(b)] = true
			}
			return nil
		}); err != nil {
			return fmt.Errorf("tokens: %w", err)
		}
		return nil
	})
	return all, err
}

// NewToken stores a token and returns it with its number. The error may be a *query.Error,
// or wrap ErrTaken when the person has one of that name.
func (c *Console) NewToken(ctx context.Context, t Token) (*Token, error) {
	t.Name = strings.TrimSpace(t.Name)
	if t.Name == "" {
		return nil, &query.Error{Parameter: "name", Reason: "a token needs a name, which says what uses it"}
	}
	if err := checkName(t.Name); err != nil {
		return nil, err
	}
	err := c.change(ctx, func(tx pgx.Tx) error {
		// Two at once may not both be the last.
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock(hashtext('console.tokens'), hashtext($1))", t.User); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRow(ctx, "select count(*) from console.tokens where user_name = $1", t.User).Scan(&n); err != nil {
			return err
		}
		if n >= MaxTokens {
			return &query.Error{Reason: fmt.Sprintf("%s has %d tokens, which is all there can be: revoke one first", t.User, n)}
		}
		return tx.QueryRow(ctx, `insert into console.tokens (user_name, name, role, made_at, expires_at, secret, code)
			values ($1, $2, $3, $4, $5, $6, $7) returning id`,
			t.User, t.Name, t.Role, t.Made, t.Expires, t.Secret[:], t.Code[:]).Scan(&t.ID)
	})
	if err != nil {
		return nil, err
	}
	return &t, nil
}

// UseToken stores that a token was used.
func (c *Console) UseToken(ctx context.Context, id int64, at time.Time) error {
	return c.change(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "update console.tokens set used_at = $2 where id = $1 and (used_at is null or used_at < $2)", id, at.Truncate(time.Minute))
		return err
	})
}

// DeleteToken removes a token of a person, of anybody when user is empty. The error may
// wrap ErrNotFound.
func (c *Console) DeleteToken(ctx context.Context, user string, id int64) error {
	return c.change(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "delete from console.tokens where id = $1 and $2 in ('', user_name)", id, user)
		if err == nil && tag.RowsAffected() == 0 {
			err = fmt.Errorf("token %d: %w", id, ErrNotFound)
		}
		return err
	})
}
