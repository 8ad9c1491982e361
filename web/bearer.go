package web

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"flowtally/store/console"
)

// A token is with what a script asks in the name of a person who has a password
// here. It goes in the header Authorization, as RFC 6750 has it, and nowhere else.
//
// It is 256 random bits behind a word by which scanners for leaked secrets find it.
// Nobody guesses it, so that a plain SHA-256 is kept of it: what makes the hash of a
// password slow is for secrets that people think up, and would cost each question of
// a script 64 MiB here. It is looked up by its hash, and how long that takes says
// nothing of a secret that nobody knows: what is near to a hash is near to no token.
//
// The row in the database has a code besides, made with the hash of the person's
// password. So a token ends with its person and with the password, wherever the row
// came from; and who can write into the database, or restores an old one, makes no
// token, prolongs none, and gives none another role.

// TokenPrefix is what every token begins with.
const TokenPrefix = "flowtally_"

const (
	// DefaultTokenDays is for how many days a token is made, and MaxTokenDays for how
	// many at most: there is none without an end.
	DefaultTokenDays, MaxTokenDays = 90, 366
)

var (
	tokenForm = regexp.MustCompile(`^` + TokenPrefix + `[0-9a-f]{64}$`)
	// tokenLike finds what is, or was meant to be, a token in other text.
	tokenLike = regexp.MustCompile(TokenPrefix + `[0-9A-Fa-f]{8,}`)
)

// tokenSecrets keep the hashes of all tokens for a moment, see known.
type tokenSecrets struct {
	mu     sync.Mutex
	all    map[[sha256.Size]byte]bool
	looked time.Time
}

// newTokenSecret returns a token, which is kept nowhere, and its hash.
func newTokenSecret() (token string, hash [sha256.Size]byte) {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	token = TokenPrefix + hex.EncodeToString(b[:])
	return token, sha256.Sum256([]byte(token))
}

// tokenCode binds a token to its person's password, and to what it may do and until when.
func tokenCode(u *user, t *console.Token) (code [sha256.Size]byte) {
	m := hmac.New(sha256.New, []byte(u.hash))
	fmt.Fprintf(m, "flowtally token\x00%s\x00%s\x00%d\x00%d\x00%x", u.name, t.Role, t.Made.Unix(), t.Expires.Unix(), t.Secret)
	m.Sum(code[:0])
	return code
}

// tokenState is what has become of a token: valid, expired, or ended, with its person or
// the password.
func (u *Users) tokenState(t *console.Token, now time.Time) (_ *user, state string) {
	owner, known := u.get(t.User)
	code := tokenCode(owner, t)
	switch {
	case !hmac.Equal(code[:], t.Code[:]) || !known:
		return nil, tokenEnded
	case !now.Before(t.Expires):
		return owner, tokenExpired
	}
	return owner, tokenValid
}

const (
	tokenValid   = "valid"
	tokenExpired = "expired"
	tokenEnded   = "ended"
)

// bears reports whether who sent a request says by the header Authorization who he is. Where
// nobody logs in with a password there are no tokens, and the header is for somebody in front;
// so it is where a proxy says who it is, unless it is a token.
func (s *server) bears(r *http.Request) bool {
	said := r.Header.Values("Authorization")
	if s.logins.users == nil || len(said) == 0 {
		return false
	}
	byProxy := s.logins.proxied(r) && r.Header.Get(s.logins.userHeader) != ""
	return !byProxy || tokenLike.MatchString(strings.Join(said, ","))
}

// byToken returns who sent a request that bears a token. The error is the answer to a
// request that is refused.
func (s *server) byToken(r *http.Request) (identity, error) {
	l, now := s.logins, s.now()
	place := place(l.client(r))
	fail := func(why, sentence string, about ...any) (identity, error) {
		if wait := l.badTokens.take(place, now); wait > 0 {
			return identity{}, s.tooManyTokens(wait)
		}
		s.metrics.refused.WithLabelValues("token").Inc()
		s.log.Warn("token refused", append([]any{"why", why, "remote", r.RemoteAddr}, about...)...)
		return identity{}, huma.ErrorWithHeaders(
			&huma.ErrorModel{Title: statusTitle(http.StatusUnauthorized), Status: http.StatusUnauthorized, Detail: sentence},
			http.Header{"WWW-Authenticate": {`Bearer realm="flowtally", error="invalid_token"`}})
	}
	said := r.Header.Values("Authorization")
	scheme, secret, _ := strings.Cut(said[0], " ")
	secret = strings.TrimSpace(secret)
	if len(said) > 1 || !strings.EqualFold(scheme, "Bearer") || !tokenForm.MatchString(secret) {
		return fail("form", "The header Authorization has no token of this server: write it once, as Bearer "+TokenPrefix+"…, or leave it out and log in.")
	}
	hash := sha256.Sum256([]byte(secret))
	// Who has used up the tries of his address may be a neighbour of somebody whose token
	// is good. That one is let through, and strangers cost the database nothing.
	if wait := l.badTokens.wait(place, now); wait > 0 {
		known, err := s.knowsToken(r.Context(), hash, now)
		if err != nil {
			return identity{}, err
		}
		if !known {
			return identity{}, s.tooManyTokens(wait)
		}
	}
	t, err := s.config.DB.TokenOf(r.Context(), hash)
	if errors.Is(err, console.ErrNotFound) {
		return fail("unknown", "There is no such token: it was revoked, or never made here.")
	}
	if err != nil {
		return identity{}, s.storeProblem(r.Context(), "token", err)
	}
	u, state := l.users.tokenState(t, now)
	switch state {
	case tokenEnded:
		return fail(state, "This token has ended, with its user or the user's password: make another.", "user", t.User, "token", t.Name)
	case tokenExpired:
		return fail(state, "This token ended on "+t.Expires.Format(time.DateOnly)+": make another.", "user", t.User, "token", t.Name)
	}
	if now.Sub(t.Used) >= time.Minute {
		if err := s.config.DB.UseToken(r.Context(), t.ID, now); err != nil && r.Context().Err() == nil {
			s.log.Warn("when a token was last used could not be stored", "user", t.User, "token", t.Name, "err", err)
		}
	}
	i := identity{user: u.name, role: RoleViewer, via: "password", token: t.Name}
	if t.Role == RoleEditor && u.role == RoleEditor {
		i.role = RoleEditor
	}
	return i, nil
}

func (s *server) tooManyTokens(wait time.Duration) error {
	s.metrics.refused.WithLabelValues("token_tries").Inc()
	return tooMany("Too many tokens that are none came from here.", wait)
}

// tooMany is the answer to who is to try again later.
func tooMany(sentence string, wait time.Duration) error {
	seconds := int64(wait/time.Second) + 1
	return huma.ErrorWithHeaders(&huma.ErrorModel{Title: statusTitle(http.StatusTooManyRequests), Status: http.StatusTooManyRequests,
		Detail: fmt.Sprintf("%s Try again in %d seconds.", sentence, seconds)},
		http.Header{"Retry-After": {strconv.FormatInt(seconds, 10)}})
}

// tokensFresh is for how long the hashes of all tokens are believed without looking.
const tokensFresh = 2 * time.Second

// knowsToken reports whether there is a token, to spare the database a look for each
// stranger. It is only for who is limited: all others are looked up.
func (s *server) knowsToken(ctx context.Context, hash [sha256.Size]byte, now time.Time) (bool, error) {
	t := &s.logins.secrets
	t.mu.Lock()
	defer t.mu.Unlock()
	if d := now.Sub(t.looked); t.all == nil || d < 0 || d >= tokensFresh {
		all, err := ask(ctx, s, "tokens", s.config.DB.TokenSecrets)
		if err != nil {
			return false, err
		}
		t.all, t.looked = all, now
	}
	return t.all[hash], nil
}

// withoutTokens replaces tokens in text that is kept, a log.
func withoutTokens(text string) string {
	return tokenLike.ReplaceAllString(text, TokenPrefix+"…")
}

// inAddress reports whether an address has a token in it, however it is escaped.
func inAddress(u *url.URL) bool {
	query, err := url.QueryUnescape(u.RawQuery)
	if err != nil {
		query = u.RawQuery
	}
	return tokenLike.MatchString(u.Path + "?" + query)
}

// secretParameters are the names under which programs put tokens into addresses.
var secretParameters = []string{"access_token", "token", "auth_token", "api_key", "apikey", "bearer", "authorization"}

// refuseTokensInAddress refuses a token in the address: addresses stand in the logs of
// proxies, in histories and in the headers of other requests.
func (s *server) refuseTokensInAddress(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const sentence = "A token is never taken from an address: send it in the header Authorization, as Bearer " + TokenPrefix + "…"
		if inAddress(r.URL) {
			s.refuse(w, r, "token_in_address", http.StatusBadRequest,
				sentence+". Revoke the one you sent: addresses are kept in logs and histories, and others may read it there.")
			return
		}
		if isAPI(r.URL.Path) && r.URL.RawQuery != "" {
			for _, name := range secretParameters {
				if r.URL.Query().Has(name) {
					s.refuse(w, r, "token_in_address", http.StatusBadRequest, sentence+".")
					return
				}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// byPerson refuses what a token may not do: what is about logging in, and what would
// outlive it.
func byPerson(ctx context.Context) error {
	if who(ctx).token == "" {
		return nil
	}
	return &huma.ErrorModel{Title: statusTitle(http.StatusForbidden), Status: http.StatusForbidden,
		Detail: "A token cannot do this: it makes and shows no tokens, logs nobody in or out, and changes nobody's preferences. Log in with your password."}
}

// refuseWith answers with an error that is a problem, and its headers.
func refuseWith(w http.ResponseWriter, r *http.Request, err error) {
	if h, ok := errors.AsType[huma.HeadersError](err); ok {
		for name, values := range h.GetHeaders() {
			for _, v := range values {
				w.Header().Add(name, v)
			}
		}
	}
	p, ok := errors.AsType[*huma.ErrorModel](err)
	if !ok {
		p = &huma.ErrorModel{Status: http.StatusInternalServerError, Detail: "Something went wrong here that should not. The log of flowtally web has the cause."}
	}
	writeProblem(w, r, p.Status, p.Detail)
}
