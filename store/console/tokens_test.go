package console_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"flowtally/query"
	"flowtally/store"
	"flowtally/store/console"
)

func aToken(user, name string) console.Token {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	return console.Token{
		User: user, Name: name, Role: "viewer", Made: now, Expires: now.AddDate(0, 0, 30),
		Secret: sha256.Sum256([]byte(user + "\x00" + name)), Code: sha256.Sum256([]byte("code" + name)),
	}
}

// A token is found again by the hash of its secret, whoever looks, and is its person's alone.
func TestTokens(t *testing.T) {
	ctx := context.Background()
	db, admin := asWeb(t)
	c, other := console.New(db), console.New(admin) // two processes
	for _, user := range []string{"ann", "bob"} {
		if _, err := c.NewToken(ctx, aToken(user, "nightly")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.NewToken(ctx, aToken("ann", " nightly ")); !errors.Is(err, console.ErrTaken) {
		t.Errorf("the same name again: %v", err)
	}
	want := aToken("ann", "nightly")
	got, err := other.TokenOf(ctx, want.Secret)
	if err != nil {
		t.Fatal(err)
	}
	if want.ID = got.ID; *got != want || got.ID == 0 {
		t.Errorf("%+v, want %+v", *got, want)
	}
	if all, err := c.TokenSecrets(ctx); err != nil || len(all) != 2 || !all[want.Secret] {
		t.Errorf("%v, %v", all, err)
	}
	if list, err := c.Tokens(ctx, "ann"); err != nil || !slices.Equal(list, []console.Token{want}) {
		t.Errorf("ann has %v, %v", list, err)
	}
	if list, err := c.Tokens(ctx, ""); err != nil || len(list) != 2 {
		t.Errorf("all have %v, %v", list, err)
	}

	at := want.Made.Add(90 * time.Second)
	for _, at := range []time.Time{at, want.Made} { // what is earlier changes nothing
		if err := c.UseToken(ctx, want.ID, at); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := c.TokenOf(ctx, want.Secret); err != nil || !got.Used.Equal(want.Made.Add(time.Minute)) {
		t.Errorf("used at %v, %v", got.Used, err)
	}

	if err := c.DeleteToken(ctx, "bob", want.ID); !errors.Is(err, console.ErrNotFound) {
		t.Errorf("another's token: %v", err)
	}
	if err := other.DeleteToken(ctx, "ann", want.ID); err != nil {
		t.Error(err)
	}
	if _, err := c.TokenOf(ctx, want.Secret); !errors.Is(err, console.ErrNotFound) {
		t.Errorf("a token that was revoked elsewhere: %v", err)
	}

	for i := range console.MaxTokens {
		if _, err := c.NewToken(ctx, aToken("ann", fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.NewToken(ctx, aToken("ann", "one more")); !isQuestion(err) {
		t.Errorf("one more: %v", err)
	}
	for _, name := range []string{"", " ", "two\nlines", strings.Repeat("x", 101), "\x00"} {
		if _, err := c.NewToken(ctx, aToken("bob", name)); !isQuestion(err) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func isQuestion(err error) bool {
	_, ok := errors.AsType[*query.Error](err)
	return ok
}

// What is kept of tokens is nothing for people's SQL, and the page changes no more of it
// than when a token was used.
func TestTokensAndRoles(t *testing.T) {
	ctx := context.Background()
	db, _ := asWeb(t)
	c := console.New(db)
	if _, err := c.NewToken(ctx, aToken("ann", "nightly")); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"select * from console.tokens", "select code from console.tokens", "table console.tokens"} {
		_, err := c.RunSQL(ctx, console.SQLQuestion{SQL: sql, Limit: 10, Timeout: time.Second})
		if e, ok := errors.AsType[*console.SQLError](err); !ok || e.Code != "42501" {
			t.Errorf("%s as people ask: %v", sql, err)
		}
	}
	tables, err := c.Schema(ctx)
	if err != nil || slices.ContainsFunc(tables, func(t console.SchemaTable) bool { return strings.Contains(t.Table, "tokens") }) {
		t.Errorf("tokens are offered to people: %v", err)
	}
	for _, sql := range []string{
		"update console.tokens set role = 'editor'", "update console.tokens set expires_at = now() + interval '9 years'", "update console.tokens set user_name = 'bob'",
	} {
		if _, err := db.Pool().Exec(ctx, sql); store.Code(err) != "42501" {
			t.Errorf("%s: %v", sql, err)
		}
	}
}
