package web

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

const (
	pathMe     = "/api/v1/me"
	pathLogin  = "/api/v1/login"
	pathLogout = "/api/v1/logout"
)

// The roles of people.
const (
	// RoleViewer may ask everything, and change nothing.
	RoleViewer = "viewer"
	// RoleEditor may change what people say of exporters and interfaces, and
	// saved views.
	RoleEditor = "editor"
)

// Defaults of Config.
const (
	// DefaultSessionIdle is after what time without a request a session ends.
	DefaultSessionIdle = 8 * time.Hour
	// DefaultSessionLife is after what time it ends in any case.
	DefaultSessionLife = 7 * 24 * time.Hour
)

const (
	// maxSessions is how many sessions there are at most, and maxSessionsOfUser
	// how many of one user; the one that was idle longest gives way.
	maxSessions, maxSessionsOfUser = 2_000, 20
	// maxVerifying is how many passwords are compared at once: each takes 64 MiB.
	maxVerifying = 2
)

// identity is who asks.
type identity struct {
	user string // "" when nobody logs in here
	role string
	via  string // none, password or proxy
	// token is the name of the token with which a script asks for the user; "" for a
	// person.
	token string
}

type identityKey struct{}

// who returns who asks; the zero identity is nobody.
func who(ctx context.Context) identity {
	i, _ := ctx.Value(identityKey{}).(identity)
	return i
}

// session is one login.
type session struct {
	user        string
	hash        string // of the password then: another ends the session
	made, asked time.Time
}

// logins knows who is who: by session, by the word of a proxy, or everybody is
// one when nobody has to log in.
type logins struct {
	users      *Users
	proxies    []netip.Prefix
	userHeader string
	roleHeader string
	idle, life time.Duration

	mu        sync.Mutex
	sessions  map[[sha256.Size]byte]*session // by the hash of their secret
	verifying chan struct{}
	byAddr    throttle
	byUser    throttle
	byDevice  throttle

	badTokens throttle // by address
	secrets   tokenSecrets
}

func newLogins(c *Config) *logins {
	l := &logins{
		users: c.Users, proxies: c.TrustProxy, userHeader: c.ProxyUserHeader, roleHeader: c.ProxyRoleHeader,
		idle: c.SessionIdle, life: c.SessionLife,
		sessions: make(map[[sha256.Size]byte]*session), verifying: make(chan struct{}, maxVerifying),
		// Somebody who mistypes has ten tries; somebody who guesses has ten a
		// minute from an address, and two a minute for a user from anywhere.
		byAddr: throttle{burst: 10, interval: 6 * time.Second},
		byUser: throttle{burst: 20, interval: 30 * time.Second},
		// Who has logged in with this browser before is kept out by no stranger.
		byDevice: throttle{burst: 10, interval: 30 * time.Second},
		// A script with a token that has ended keeps its neighbours from logging in no more
		// than these keep the script from asking.
		badTokens: throttle{burst: 10, interval: 6 * time.Second},
	}
	if l.userHeader == "" {
		l.userHeader = DefaultProxyUserHeader
	}
	if l.idle <= 0 {
		l.idle = DefaultSessionIdle
	}
	if l.life <= 0 {
		l.life = DefaultSessionLife
	}
	return l
}

// required reports whether somebody has to log in here.
func (l *logins) required() bool { return l.users != nil || len(l.proxies) > 0 }

// peer is the address a request comes from, the zero address when that is none.
func peer(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// proxied reports whether a request comes from the named proxy.
func (l *logins) proxied(r *http.Request) bool {
	a := peer(r)
	return slices.ContainsFunc(l.proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// client is the address of who sent a request: the named proxy says whom it
// speaks for, last in X-Forwarded-For; what stands before that anybody can write.
func (l *logins) client(r *http.Request) netip.Addr {
	if l.proxied(r) {
		said := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		if a, err := netip.ParseAddr(strings.TrimSpace(said[len(said)-1])); err == nil {
			return a.Unmap().WithZone("")
		}
	}
	return peer(r)
}

// identify returns who sent a request.
func (l *logins) identify(r *http.Request, secure bool, now time.Time) (identity, bool) {
	if !l.required() {
		return identity{role: RoleEditor, via: "none"}, true
	}
	if l.proxied(r) {
		// Several values are what a client sent beside what the proxy did.
		if names := r.Header.Values(l.userHeader); len(names) == 1 && userName.MatchString(names[0]) {
			i := identity{user: names[0], role: RoleEditor, via: "proxy"}
			if l.roleHeader != "" {
				i.role = RoleViewer
				if roles := r.Header.Values(l.roleHeader); len(roles) == 1 && roles[0] == RoleEditor {
					i.role = RoleEditor
				}
			}
			return i, true
		}
	}
	if l.users == nil {
		return identity{via: "proxy"}, false
	}
	if c, err := r.Cookie(cookieName(secure)); err == nil {
		if u, ok := l.resume(c.Value, now); ok {
			return identity{user: u.name, role: u.role, via: "password"}, true
		}
	}
	return identity{via: "password"}, false
}

// resume returns whose a session is.
func (l *logins) resume(secret string, now time.Time) (*user, bool) {
	id := sha256.Sum256([]byte(secret))
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.sessions[id]
	if s == nil {
		return nil, false
	}
	u, ok := l.users.get(s.user)
	if !ok || u.hash != s.hash || now.Sub(s.asked) > l.idle || now.Sub(s.made) > l.life {
		delete(l.sessions, id)
		return nil, false
	}
	s.asked = now
	return u, true
}

// begin makes a session and returns its secret, which is kept nowhere.
func (l *logins) begin(u *user, now time.Time) string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	secret := base64.RawURLEncoding.EncodeToString(b[:])
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, s := range l.sessions {
		if now.Sub(s.asked) > l.idle || now.Sub(s.made) > l.life {
			delete(l.sessions, id)
		}
	}
	l.makeRoom(maxSessionsOfUser, func(s *session) bool { return s.user == u.name })
	l.makeRoom(maxSessions, func(*session) bool { return true })
	l.sessions[sha256.Sum256([]byte(secret))] = &session{u.name, u.hash, now, now}
	return secret
}

// makeRoom lets the session that was idle longest go while there are so many.
func (l *logins) makeRoom(most int, of func(*session) bool) {
	for {
		var oldest [sha256.Size]byte
		n := 0
		for id, s := range l.sessions {
			if of(s) {
				if n == 0 || s.asked.Before(l.sessions[oldest].asked) {
					oldest = id
				}
				n++
			}
		}
		if n < most {
			return
		}
		delete(l.sessions, oldest)
	}
}

func (l *logins) end(secret string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.sessions, sha256.Sum256([]byte(secret)))
}

// endAll ends every session of a user.
func (l *logins) endAll(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.sessions, func(_ [sha256.Size]byte, s *session) bool { return s.user == name })
}

// place is what tries are counted by: an address, of IPv6 its network, for who
// has one has 2^64 of them.
func place(a netip.Addr) string {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

// cookieName is the cookie's name; the prefix, which browsers know, keeps other
// hosts of the domain and plain HTTP from setting it.
func cookieName(secure bool) string {
	if secure {
		return "__Host-flowtally"
	}
	return "flowtally"
}

// secure reports whether a request came over TLS: to us, or, when we are told,
// to what is in front of us.
func (s *server) secure(r *http.Request) bool {
	return r.TLS != nil || s.config.SecureCookies || s.logins.proxied(r) && r.Header.Get("X-Forwarded-Proto") == "https"
}

// requireLogin lets those through who are known, and everybody to what shows
// that they are not: the page, the API's description, login itself.
func (s *server) requireLogin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.logins.users != nil {
			if err := s.logins.users.refresh(s.now()); err != nil {
				s.log.Warn("the file of users cannot be read; those read last still hold", "err", err)
			}
		}
		var (
			i  identity
			ok bool
		)
		if s.bears(r) {
			var err error
			if i, err = s.byToken(r); err != nil {
				refuseWith(w, r, err)
				return
			}
			// What a browser keeps is not looked at beside a token.
			r = r.Clone(r.Context())
			r.Header.Del("Cookie")
			ok = true
		} else {
			i, ok = s.logins.identify(r, s.secure(r), s.now())
		}
		ctx := context.WithValue(r.Context(), identityKey{}, i)
		ctx = context.WithValue(ctx, requestKey{}, r)
		switch {
		case ok, r.URL.Path == pathOpenAPI, r.URL.Path == pathMe, r.URL.Path == pathLogin, r.URL.Path == pathLogout:
			next.ServeHTTP(w, r.WithContext(ctx))
		default:
			w.Header().Set("WWW-Authenticate", "Session realm=\"flowtally\"")
			sentence := "Log in first."
			if s.logins.users != nil {
				w.Header().Add("WWW-Authenticate", "Bearer realm=\"flowtally\"")
			}
			if s.logins.users == nil {
				sentence = "Come through the proxy that logs you in: this request did not."
			}
			s.refuse(w, r, "login", http.StatusUnauthorized, sentence)
		}
	})
}

// requestKey is the context's key for the request, whose address and cookies
// login needs.
type requestKey struct{}

// mayEdit refuses those who may only look.
func (s *server) mayEdit(ctx context.Context) error {
	if who(ctx).role == RoleEditor {
		return nil
	}
	s.metrics.refused.WithLabelValues("role").Inc()
	sentence := "You may look at everything here and change nothing: that takes the role of an editor."
	if who(ctx).token != "" {
		sentence = "This token may look at everything here and change nothing: that takes a token with the role editor, of a user who is an editor."
	}
	return &huma.ErrorModel{Title: statusTitle(http.StatusForbidden), Status: http.StatusForbidden, Detail: sentence}
}

type me struct {
	User  *string `json:"user" doc:"Who is asking; null when nobody is logged in."`
	Role  string  `json:"role" enum:"viewer,editor" doc:"What he may do."`
	Login string  `json:"login" enum:"none,password,proxy" doc:"How people log in here."`
	Token *string `json:"token" doc:"The name of the token that is asking for the user; null for a person."`
}

type meOutput struct{ Body me }

func meOf(i identity) me {
	m := me{Role: i.role, Login: i.via}
	if i.user != "" {
		m.User = &i.user
	}
	if i.token != "" {
		m.Token = &i.token
	}
	if m.Role == "" {
		m.Role = RoleViewer
	}
	return m
}

func (s *server) me(ctx context.Context, _ *struct{}) (*meOutput, error) {
	return &meOutput{meOf(who(ctx))}, nil
}

type loginInput struct {
	Body struct {
		User     string `json:"user" maxLength:"64"`
		Password string `json:"password" maxLength:"1024"`
	}
}

type loginOutput struct {
	SetCookie []http.Cookie `header:"Set-Cookie"`
	Body      me
}

// cookie is the session's; an empty secret takes it away.
func (s *server) cookie(r *http.Request, secret string) http.Cookie {
	secure := s.secure(r)
	if secret == "" {
		return cookie(cookieName(secure), "", -time.Second, secure)
	}
	return cookie(cookieName(secure), secret, s.logins.life, secure)
}

// cookie is one that scripts cannot read and other sites' requests do not carry.
func cookie(name, value string, life time.Duration, secure bool) http.Cookie {
	return http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: int(life / time.Second),
		HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode,
	}
}

// prove returns the user whose password it is, nil when it is not, and the number of the
// browser when he has logged in with it before. Tries are limited: the error says so.
func (s *server) prove(ctx context.Context, r *http.Request, name, password string) (_ *user, browser string, _ error) {
	l, now := s.logins, s.now()
	u, known := l.users.get(name)
	type count struct {
		by  *throttle
		key string
	}
	counts := []count{{&l.byAddr, place(l.client(r))}, {&l.byUser, name}}
	if known {
		browser = device(r, u, s.secure(r))
	}
	if browser != "" {
		counts = []count{{&l.byDevice, browser}}
	}
	for _, t := range counts {
		if wait := t.by.take(t.key, now); wait > 0 {
			s.metrics.logins.WithLabelValues("throttled").Inc()
			return nil, "", tooMany("Too many tries to log in.", wait)
		}
	}
	select {
	case l.verifying <- struct{}{}:
	case <-ctx.Done():
		return nil, "", s.storeProblem(ctx, "login", ctx.Err())
	}
	right := u.verify(password) && known
	<-l.verifying
	if !right {
		s.metrics.logins.WithLabelValues("wrong").Inc()
		s.log.Warn("login refused", "user", withoutTokens(name), "remote", r.RemoteAddr)
		return nil, "", nil
	}
	for _, t := range counts {
		t.by.give(t.key)
	}
	s.metrics.logins.WithLabelValues("right").Inc()
	return u, browser, nil
}

func (s *server) login(ctx context.Context, in *loginInput) (*loginOutput, error) {
	l := s.logins
	if err := byPerson(ctx); err != nil {
		return nil, err
	}
	r, _ := ctx.Value(requestKey{}).(*http.Request)
	if l.users == nil || r == nil {
		return nil, &huma.ErrorModel{Title: statusTitle(http.StatusNotFound), Status: http.StatusNotFound, Detail: "Nobody logs in with a password here."}
	}
	u, number, err := s.prove(ctx, r, in.Body.User, in.Body.Password)
	if err != nil {
		return nil, err
	}
	if u == nil {
		return nil, &huma.ErrorModel{Title: statusTitle(http.StatusUnauthorized), Status: http.StatusUnauthorized,
			Detail: "This user and this password do not go together."}
	}
	s.log.Info("login", "user", u.name, "role", u.role, "remote", r.RemoteAddr)
	// What the browser had is nobody's any more: a session is never taken over.
	if old, err := r.Cookie(cookieName(s.secure(r))); err == nil {
		l.end(old.Value)
	}
	remembered := newDevice(u)
	if number != "" {
		remembered = number + "." + deviceCode(u, number)
	}
	return &loginOutput{
		[]http.Cookie{s.cookie(r, l.begin(u, s.now())), cookie(deviceName(s.secure(r)), remembered, deviceLife, s.secure(r))},
		meOf(identity{user: u.name, role: u.role, via: "password"}),
	}, nil
}

type logoutOutput struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
}

type logoutInput struct {
	Everywhere bool `query:"everywhere" doc:"End all sessions of the user, those in other browsers too."`
}

func (s *server) logout(ctx context.Context, in *logoutInput) (*logoutOutput, error) {
	if err := byPerson(ctx); err != nil {
		return nil, err
	}
	r, _ := ctx.Value(requestKey{}).(*http.Request)
	if r == nil {
		r = &http.Request{}
	}
	if i := who(ctx); in.Everywhere && i.via == "password" && i.user != "" {
		s.logins.endAll(i.user)
		s.log.Info("logout everywhere", "user", i.user, "remote", r.RemoteAddr)
	}
	if c, err := r.Cookie(cookieName(s.secure(r))); err == nil {
		s.logins.end(c.Value)
	}
	return &logoutOutput{s.cookie(r, "")}, nil
}

// warnOfPlainPasswords says when passwords would go over the net unhidden.
func (s *server) warnOfPlainPasswords(a netip.AddrPort) {
	if s.logins.users != nil && s.config.TLSCert == "" && !s.config.SecureCookies && !a.Addr().Unmap().IsLoopback() {
		s.log.Warn("web: passwords and flows go over the net in the clear: give --tls-cert and --tls-key, or put a proxy with TLS in front and add --secure-cookies")
	}
}

func (s *server) routeLogin(api huma.API) {
	byAnybody := []map[string][]string{{}}
	huma.Register(api, huma.Operation{
		OperationID: "me", Security: byAnybody, Method: http.MethodGet, Path: pathMe,
		Summary: "Who am I?", Description: "Who is asking, what he may do, and how people log in here. Answers also who is not logged in.", Errors: failures,
	}, s.me)
	huma.Register(api, huma.Operation{
		OperationID: "login", Security: byAnybody, Method: http.MethodPost, Path: pathLogin,
		Summary:     "Log in",
		Description: "Begins a session, kept in a cookie that scripts cannot read. Tries are limited, by address and by user; those from a browser in which the user has logged in before are counted apart.",
		Errors:      append([]int{http.StatusNotFound}, failures...),
	}, s.login)
	huma.Register(api, huma.Operation{
		OperationID: "logout", Security: byAnybody, Method: http.MethodPost, Path: pathLogout, DefaultStatus: http.StatusNoContent,
		Summary: "Log out", Description: "Ends the session, or all of the user.", Errors: failures,
	}, s.logout)
}
