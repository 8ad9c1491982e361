package web

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"flowtally/store/console"
)

const (
	pathTokens = "/api/v1/tokens"
	pathToken  = "/api/v1/tokens/{id}"
)

// TokenRow is a token without its secret. It is exported for the library's sake.
type TokenRow struct {
	ID        int64      `json:"id"`
	Name      string     `json:"name"`
	Role      string     `json:"role" enum:"viewer,editor" doc:"The most it may do; never more than its user may at the time."`
	MadeAt    time.Time  `json:"made_at"`
	ExpiresAt time.Time  `json:"expires_at" doc:"When it ends."`
	UsedAt    *time.Time `json:"used_at" doc:"When it was last used, to the minute; null: never."`
	State     string     `json:"state" enum:"valid,expired,ended" doc:"ended: with the password that it was made with."`
}

// NewTokenWords is what is said of a token that is to be made.
type NewTokenWords struct {
	Name     string `json:"name" doc:"What uses it: one line, different from your others'." maxLength:"100"`
	Role     string `json:"role,omitempty" enum:"viewer,editor" default:"viewer" doc:"The most it may do."`
	Days     int    `json:"days" minimum:"1" maximum:"366" doc:"After how many days it ends."`
	Password string `json:"password" maxLength:"1024" doc:"Your password again: a token outlives the session that it is made in."`
}

// MadeToken is a new token, with its secret.
type MadeToken struct {
	TokenRow
	Token string `json:"token" doc:"What scripts send, as Authorization: Bearer. It is shown this once and kept nowhere."`
}

func (s *server) tokenRow(t *console.Token) TokenRow {
	_, state := s.logins.users.tokenState(t, s.now())
	return TokenRow{t.ID, t.Name, t.Role, t.Made, t.Expires, moment(t.Used), state}
}

type tokensOutput struct {
	Body struct {
		Tokens []TokenRow `json:"tokens" nullable:"false"`
	}
}

type newTokenInput struct{ Body NewTokenWords }

type newTokenOutput struct{ Body MadeToken }

type tokenID struct {
	ID int64 `path:"id" minimum:"1"`
}

// tokenOwner returns who may make and see tokens: a person, by the password.
func (s *server) tokenOwner(ctx context.Context) (string, error) {
	i := who(ctx)
	if err := byPerson(ctx); err != nil {
		return "", err
	}
	if s.logins.users == nil || i.via != "password" || i.user == "" {
		return "", &huma.ErrorModel{Title: statusTitle(http.StatusConflict), Status: http.StatusConflict,
			Detail: "Tokens are of people who log in with a password here: that takes flowtally web --auth."}
	}
	return i.user, nil
}

func (s *server) tokens(ctx context.Context, _ *struct{}) (*tokensOutput, error) {
	user, err := s.tokenOwner(ctx)
	if err != nil {
		return nil, err
	}
	list, err := ask(ctx, s, "tokens", func(ctx context.Context) ([]console.Token, error) { return s.config.DB.Tokens(ctx, user) })
	if err != nil {
		return nil, err
	}
	out := &tokensOutput{}
	out.Body.Tokens = make([]TokenRow, len(list))
	for i := range list {
		out.Body.Tokens[i] = s.tokenRow(&list[i])
	}
	return out, nil
}

func (s *server) newToken(ctx context.Context, in *newTokenInput) (*newTokenOutput, error) {
	name, err := s.tokenOwner(ctx)
	if err != nil {
		return nil, err
	}
	r, _ := ctx.Value(requestKey{}).(*http.Request)
	u, _, err := s.prove(ctx, r, name, in.Body.Password)
	if err != nil {
		return nil, err
	}
	if u == nil {
		return nil, &huma.ErrorModel{Title: statusTitle(http.StatusForbidden), Status: http.StatusForbidden,
			Detail: "This is not your password: making a token takes it, because the token outlives the session."}
	}
	if in.Body.Role == RoleEditor && u.role != RoleEditor {
		return nil, &huma.ErrorModel{Title: statusTitle(http.StatusForbidden), Status: http.StatusForbidden,
			Detail: "You are a viewer here: so is your token."}
	}
	t, secret := newToken(u, in.Body.Name, in.Body.Role, in.Body.Days, s.now())
	made, err := ask(ctx, s, "tokens", func(ctx context.Context) (*console.Token, error) { return s.config.DB.NewToken(ctx, t) })
	if err != nil {
		return nil, inBody(err)
	}
	s.log.Info("token made", "user", made.User, "token", withoutTokens(made.Name), "role", made.Role, "expires", made.Expires, "remote", r.RemoteAddr)
	return &newTokenOutput{MadeToken{s.tokenRow(made), secret}}, nil
}

// newToken returns a token of a user, to be stored, and its secret.
func newToken(u *user, name, role string, days int, now time.Time) (t console.Token, secret string) {
	now = now.UTC().Truncate(time.Second)
	t = console.Token{User: u.name, Name: name, Role: role, Made: now, Expires: now.AddDate(0, 0, days)}
	secret, t.Secret = newTokenSecret()
	t.Code = tokenCode(u, &t)
	return t, secret
}

// NewToken returns a token of a user, to be stored, and its secret, which is kept nowhere.
func (u *Users) NewToken(user, name, role string, days int, now time.Time) (t console.Token, secret string, err error) {
	owner, ok := u.get(user)
	switch {
	case !ok:
		return t, "", fmt.Errorf("web: token: there is no user %q in the file", user)
	case role != RoleViewer && role != RoleEditor:
		return t, "", fmt.Errorf("web: role %q: it is viewer or editor", role)
	case role == RoleEditor && owner.role != RoleEditor:
		return t, "", fmt.Errorf("web: token: %s is a viewer, and so is the token", user)
	case days < 1 || days > MaxTokenDays:
		return t, "", fmt.Errorf("web: token: %d days: it ends after 1 to %d", days, MaxTokenDays)
	}
	t, secret = newToken(owner, name, role, days, now)
	return t, secret, nil
}

// TokenState is what has become of a token: valid, expired, or ended with its user or the
// user's password.
func (u *Users) TokenState(t *console.Token, now time.Time) string {
	_, state := u.tokenState(t, now)
	return state
}

func (s *server) deleteToken(ctx context.Context, in *tokenID) (*struct{}, error) {
	user, err := s.tokenOwner(ctx)
	if err != nil {
		return nil, err
	}
	_, err = ask(ctx, s, "tokens", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.config.DB.DeleteToken(ctx, user, in.ID)
	})
	if err == nil {
		s.log.Info("token revoked", "user", user, "id", in.ID)
	}
	return nil, err
}

func (s *server) routeTokens(api huma.API) {
	byPassword := []map[string][]string{{schemeSession: {}}}
	huma.Register(api, huma.Operation{
		OperationID: "tokens", Method: http.MethodGet, Path: pathTokens, Security: byPassword,
		Summary: "Tokens for scripts", Description: "One's own tokens, by name, without their secrets. Not for tokens.", Errors: changes,
	}, s.tokens)
	huma.Register(api, huma.Operation{
		OperationID: "token-new", Method: http.MethodPost, Path: pathTokens, DefaultStatus: http.StatusCreated, Security: byPassword,
		Summary: "Make a token",
		Description: fmt.Sprintf("Makes a token with which a script asks in one's name, and returns its secret, this once. It ends after the days given, with the user, "+
			"and with the password; it may never do more than its user. A user has %d at most. For everybody who logs in with a password, not for tokens.", console.MaxTokens),
		Errors: changes,
	}, s.newToken)
	huma.Register(api, huma.Operation{
		OperationID: "token-revoke", Method: http.MethodDelete, Path: pathToken, DefaultStatus: http.StatusNoContent, Security: byPassword,
		Summary: "Revoke a token", Description: "Ends one of one's own tokens at once. For everybody who logs in with a password, not for tokens.", Errors: changes,
	}, s.deleteToken)
}
