package web

import (
	"crypto/pbkdf2"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// cheapHash begins a hash that takes but a moment to compare.
const cheapHash = "$pbkdf2-sha512$i=10000$MDEyMzQ1Njc4OWFiY2RlZg$"

// usersFile writes a file of users with the password "right horse": a viewer
// and an editor.
func usersFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	h := hashOf(t, "right horse")
	writeUsers(t, path, "# people\nvera:viewer:"+h+"\n\nedgar:editor:"+h+"\n")
	return path
}

func hashOf(t *testing.T, password string) string {
	t.Helper()
	salt, _ := b64.DecodeString("MDEyMzQ1Njc4OWFiY2RlZg")
	key, err := pbkdf2.Key(sha512.New, password, salt, 10_000, 32)
	if err != nil {
		t.Fatal(err)
	}
	return cheapHash + b64.EncodeToString(key)
}

func writeUsers(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// clock is a server's time that a test can move.
type clock struct{ now time.Time }

func newLoginHandler(t *testing.T, c *clock, change ...func(*Config)) http.Handler {
	t.Helper()
	config := Config{DB: faked(&fake{}), NoDNS: true}
	for _, f := range change {
		f(&config)
	}
	s, err := newServer(config, build)
	if err != nil {
		t.Fatal(err)
	}
	s.now = func() time.Time { return c.now }
	h, err := s.handler()
	if err != nil {
		t.Fatal(err)
	}
	return held(t, h)
}

func withUsers(t *testing.T, path string) func(*Config) {
	u, err := LoadUsers(path)
	if err != nil {
		t.Fatal(err)
	}
	return func(c *Config) { c.Users = u }
}

// logIn returns the answer to a try.
func logIn(h http.Handler, user, password string, headers ...string) *httptest.ResponseRecorder {
	body, _ := json.Marshal(map[string]string{"user": user, "password": password})
	return request(h, http.MethodPost, pathLogin, string(body), append([]string{"Content-Type", "application/json"}, headers...)...)
}

// cookieOf returns the session's cookie as a browser sends it back.
func cookieOf(t *testing.T, w *httptest.ResponseRecorder) (header string, c *http.Cookie) {
	t.Helper()
	cookies := w.Result().Cookies()
	if w.Code != http.StatusOK || len(cookies) != 2 || cookies[1].Name != cookies[0].Name+"-device" {
		t.Fatalf("login: %d %s, cookies %v", w.Code, w.Body, cookies)
	}
	return cookies[0].Name + "=" + cookies[0].Value, cookies[0]
}

func TestLogin(t *testing.T) {
	c := &clock{testNow}
	h := newLoginHandler(t, c, withUsers(t, usersFile(t)))
	for _, path := range []string{pathTop, pathExporters, pathSchema, pathHunts, pathFilterComplete, "/api/v1/nothing"} {
		if w := get(h, path); w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%s without a session: %d", path, w.Code)
		}
	}
	for _, path := range []string{"/", pathOpenAPI, pathHealth, pathMe} {
		if w := get(h, path); w.Code != http.StatusOK {
			t.Errorf("%s without a session: %d", path, w.Code)
		}
	}
	if got := get(h, pathMe).Body.String(); strings.TrimSpace(got) != `{"user":null,"role":"viewer","login":"password","token":null}` {
		t.Errorf("nobody is %s", got)
	}
	for _, pair := range [][2]string{{"edgar", "wrong horse"}, {"nobody", "right horse"}, {"", ""}, {"edgar", ""}} {
		if w := logIn(h, pair[0], pair[1]); w.Code != http.StatusUnauthorized || len(w.Result().Cookies()) > 0 {
			t.Errorf("%v: %d %v", pair, w.Code, w.Result().Cookies())
		}
	}
	edgar, cookie := cookieOf(t, logIn(h, "edgar", "right horse"))
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" || cookie.Domain != "" || len(cookie.Value) < 40 {
		t.Errorf("the cookie is %+v", cookie)
	}
	if w := get(h, pathTop, "Cookie", edgar); w.Code != http.StatusOK {
		t.Errorf("with a session: %d %s", w.Code, w.Body)
	}
	if got := get(h, pathMe, "Cookie", edgar).Body.String(); strings.TrimSpace(got) != `{"user":"edgar","role":"editor","login":"password","token":null}` {
		t.Errorf("edgar is %s", got)
	}

	// Only editors change what others see.
	vera, _ := cookieOf(t, logIn(h, "vera", "right horse"))
	view := `{"name":"a","url":"/"}`
	for _, try := range []struct{ method, path, body string }{
		{http.MethodPost, pathViews, view}, {http.MethodPut, pathViews + "/1", view}, {http.MethodDelete, pathViews + "/1", ""},
		{http.MethodPut, pathExporters + "/1", `{"name":"a"}`}, {http.MethodPut, pathInterfaces + "/1/2", `{"name":"a"}`},
	} {
		headers := []string{"Cookie", vera}
		if try.body != "" {
			headers = append(headers, "Content-Type", "application/json")
		}
		if w := request(h, try.method, try.path, try.body, headers...); w.Code != http.StatusForbidden {
			t.Errorf("a viewer's %s %s: %d %s", try.method, try.path, w.Code, w.Body)
		}
	}
	if w := request(h, http.MethodPost, pathViews, view, "Content-Type", "application/json", "Cookie", edgar); w.Code != http.StatusCreated {
		t.Errorf("an editor's view: %d %s", w.Code, w.Body)
	}

	// Log out: the secret is worth nothing any more.
	if w := request(h, http.MethodPost, pathLogout, "", "Cookie", edgar); w.Code != http.StatusNoContent || w.Result().Cookies()[0].MaxAge >= 0 {
		t.Errorf("logout: %d %v", w.Code, w.Result().Cookies())
	}
	if w := get(h, pathTop, "Cookie", edgar); w.Code != http.StatusUnauthorized {
		t.Errorf("after logout: %d", w.Code)
	}
}

func TestSessionsEnd(t *testing.T) {
	path := usersFile(t)
	c := &clock{testNow}
	h := newLoginHandler(t, c, withUsers(t, path), func(c *Config) { c.SessionIdle, c.SessionLife = time.Hour, 3*time.Hour })
	in := func() string { s, _ := cookieOf(t, logIn(h, "vera", "right horse")); return s }
	want := func(when, session string, status int) {
		t.Helper()
		if w := get(h, pathExporters, "Cookie", session); w.Code != status {
			t.Errorf("%s: %d, want %d", when, w.Code, status)
		}
	}
	s := in()
	c.now = c.now.Add(61 * time.Minute)
	want("idle too long", s, http.StatusUnauthorized)
	s = in()
	for range 4 {
		c.now = c.now.Add(44 * time.Minute)
		want("in use", s, http.StatusOK)
	}
	c.now = c.now.Add(5 * time.Minute)
	want("too old", s, http.StatusUnauthorized)

	s = in()
	want("new", s, http.StatusOK)
	writeUsers(t, path, "vera:editor:"+hashOf(t, "another password")+"\nedgar:editor:"+hashOf(t, "x")+"\n")
	c.now = c.now.Add(10 * time.Second)
	want("password changed", s, http.StatusUnauthorized)
	writeUsers(t, path, "this is no file of users")
	c.now = c.now.Add(10 * time.Second)
	if w := logIn(h, "vera", "another password"); w.Code != http.StatusOK {
		t.Errorf("while the file is half written: %d", w.Code)
	}

	// There is an end to sessions: the oldest give way.
	first, _ := cookieOf(t, logIn(h, "vera", "another password"))
	for range maxSessionsOfUser {
		c.now = c.now.Add(time.Second)
		cookieOf(t, logIn(h, "vera", "another password"))
	}
	want("pushed out", first, http.StatusUnauthorized)
}

// A new login is a new session: one that somebody planted is not taken over.
func TestSessionIsNotFixed(t *testing.T) {
	c := &clock{testNow}
	h := newLoginHandler(t, c, withUsers(t, usersFile(t)))
	w := logIn(h, "vera", "right horse", "Cookie", "flowtally=planted")
	session, _ := cookieOf(t, w)
	if session == "flowtally=planted" {
		t.Error("the planted secret is in use")
	}
	if w := get(h, pathTop, "Cookie", "flowtally=planted"); w.Code != http.StatusUnauthorized {
		t.Errorf("the planted secret: %d", w.Code)
	}
	again, _ := cookieOf(t, logIn(h, "edgar", "right horse", "Cookie", session))
	if w := get(h, pathTop, "Cookie", session); w.Code != http.StatusUnauthorized || again == session {
		t.Errorf("the session before: %d", w.Code)
	}
}

func TestTriesAreLimited(t *testing.T) {
	c := &clock{testNow}
	h := newLoginHandler(t, c, withUsers(t, usersFile(t)))
	var w *httptest.ResponseRecorder
	for range 11 {
		w = logIn(h, "vera", "wrong horse")
	}
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Fatalf("the eleventh try: %d %v", w.Code, w.Header())
	}
	if w := logIn(h, "edgar", "right horse"); w.Code != http.StatusTooManyRequests {
		t.Errorf("another user from that address: %d", w.Code)
	}
	c.now = c.now.Add(7 * time.Second)
	if w := logIn(h, "edgar", "right horse"); w.Code != http.StatusOK {
		t.Errorf("a little later: %d", w.Code)
	}
	// Good logins do not use tries up.
	c.now = c.now.Add(time.Hour)
	for range 30 {
		if w := logIn(h, "edgar", "right horse"); w.Code != http.StatusOK {
			t.Fatalf("a good login: %d", w.Code)
		}
	}
	// From many addresses at one user.
	th := throttle{burst: 20, interval: 30 * time.Second}
	for range 20 {
		if th.take("vera", c.now) != 0 {
			t.Fatal("limited too early")
		}
	}
	if th.take("vera", c.now) == 0 || th.take("edgar", c.now) != 0 {
		t.Error("tries are not counted by key")
	}
	for i := range maxThrottled + 100 {
		th.take(fmt.Sprint(i), c.now)
	}
	if len(th.keys) > maxThrottled {
		t.Errorf("%d keys are kept", len(th.keys))
	}
}

// Whoever guesses at a user's password keeps him out of no browser in which he
// has logged in before, not from the same address either.
func TestStrangersLockNobodyOut(t *testing.T) {
	c := &clock{testNow}
	path := usersFile(t)
	h := newLoginHandler(t, c, withUsers(t, path))
	known := logIn(h, "vera", "right horse").Result().Cookies()[1]
	if known.Name != "flowtally-device" || !known.HttpOnly || known.SameSite != http.SameSiteStrictMode {
		t.Errorf("the cookie is %+v", known)
	}
	device := known.Name + "=" + known.Value
	for range 40 {
		logIn(h, "vera", "wrong horse")
	}
	if w := logIn(h, "vera", "right horse"); w.Code != http.StatusTooManyRequests {
		t.Fatalf("from an unknown browser: %d", w.Code)
	}
	if w := logIn(h, "vera", "right horse", "Cookie", device); w.Code != http.StatusOK {
		t.Errorf("from a known browser: %d", w.Code)
	}
	// It holds when the server was started anew, and opens nothing by itself.
	again := newLoginHandler(t, c, withUsers(t, path))
	for range 40 {
		logIn(again, "vera", "wrong horse")
	}
	if w := logIn(again, "vera", "right horse", "Cookie", device); w.Code != http.StatusOK {
		t.Errorf("after a new start: %d", w.Code)
	}
	if w := get(again, pathTop, "Cookie", device); w.Code != http.StatusUnauthorized {
		t.Errorf("a browser that is known, and nobody logged in: %d", w.Code)
	}
	// It is that user's alone, has few tries, and cannot be made.
	for name, try := range map[string][]string{
		"another user": {"edgar", device}, "another code": {"vera", device + "x"}, "no code": {"vera", "flowtally-device=" + strings.SplitN(known.Value, ".", 2)[0]},
	} {
		if w := logIn(h, try[0], "right horse", "Cookie", try[1]); w.Code != http.StatusTooManyRequests {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	var w *httptest.ResponseRecorder
	for range 11 {
		w = logIn(h, "vera", "wrong horse", "Cookie", device)
	}
	if w.Code != http.StatusTooManyRequests {
		t.Errorf("the eleventh try of a known browser: %d", w.Code)
	}
	// A new password makes it unknown.
	h = newLoginHandler(t, c, withUsers(t, path))
	writeUsers(t, path, "vera:viewer:"+hashOf(t, "another password")+"\n")
	c.now = c.now.Add(time.Hour)
	for range 40 {
		logIn(h, "vera", "wrong horse")
	}
	if w := logIn(h, "vera", "another password", "Cookie", device); w.Code != http.StatusTooManyRequests {
		t.Errorf("known by the password before: %d", w.Code)
	}
}

func TestTriesBehindAProxyAreThoseOfItsClients(t *testing.T) {
	// httptest's requests come from 192.0.2.1.
	for _, row := range []struct {
		proxy string
		want  int
	}{{"192.0.2.1/32", http.StatusOK}, {"198.51.100.1/32", http.StatusTooManyRequests}} {
		c := &clock{testNow}
		h := newLoginHandler(t, c, withUsers(t, usersFile(t)), func(c *Config) { c.TrustProxy = []netip.Prefix{netip.MustParsePrefix(row.proxy)} })
		for range 11 {
			logIn(h, "vera", "wrong horse", "X-Forwarded-For", "10.0.0.9, 203.0.113.1")
		}
		if w := logIn(h, "edgar", "right horse", "X-Forwarded-For", "203.0.113.1, 10.0.0.9"); w.Code != row.want {
			t.Errorf("proxy %s: %d, want %d", row.proxy, w.Code, row.want)
		}
	}
}

func TestLogoutEverywhere(t *testing.T) {
	c := &clock{testNow}
	h := newLoginHandler(t, c, withUsers(t, usersFile(t)))
	in := func(user string) string { s, _ := cookieOf(t, logIn(h, user, "right horse")); return s }
	here, there, edgar := in("vera"), in("vera"), in("edgar")
	if w := request(h, http.MethodPost, pathLogout+"?everywhere=true", ""); w.Code != http.StatusNoContent {
		t.Errorf("nobody's logout: %d", w.Code)
	}
	if w := request(h, http.MethodPost, pathLogout+"?everywhere=true", "", "Cookie", here); w.Code != http.StatusNoContent {
		t.Errorf("logout: %d %s", w.Code, w.Body)
	}
	for session, want := range map[string]int{here: http.StatusUnauthorized, there: http.StatusUnauthorized, edgar: http.StatusOK} {
		if w := get(h, pathTop, "Cookie", session); w.Code != want {
			t.Errorf("a session afterwards: %d, want %d", w.Code, want)
		}
	}
}

func TestPlacesOfTries(t *testing.T) {
	for addr, want := range map[string]string{"192.0.2.1": "192.0.2.1", "2001:db8:1:2:3::4": "2001:db8:1:2::/64"} {
		if got := place(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s counts as %s, want %s", addr, got, want)
		}
	}
}

// Another site can neither log somebody in nor out, nor use his session.
func TestOtherSitesAndLogin(t *testing.T) {
	c := &clock{testNow}
	h := newLoginHandler(t, c, withUsers(t, usersFile(t)))
	session, _ := cookieOf(t, logIn(h, "edgar", "right horse"))
	for name, headers := range map[string][]string{
		"cross_site": {"Sec-Fetch-Site", "cross-site"}, "other_port": {"Sec-Fetch-Site", "same-site"},
		"other_origin": {"Origin", "http://evil.example"}, "opaque_origin": {"Origin", "null"},
	} {
		if w := logIn(h, "edgar", "right horse", headers...); w.Code != http.StatusForbidden {
			t.Errorf("%s: login %d", name, w.Code)
		}
		headers = append(headers, "Cookie", session)
		if w := get(h, pathTop, headers...); w.Code != http.StatusForbidden {
			t.Errorf("%s: question %d", name, w.Code)
		}
		if w := request(h, http.MethodPost, pathLogout, "", headers...); w.Code != http.StatusForbidden {
			t.Errorf("%s: logout %d", name, w.Code)
		}
		if w := request(h, http.MethodPost, pathSQL, `{"sql":"select 1"}`, append(headers, "Content-Type", "application/json")...); w.Code != http.StatusForbidden {
			t.Errorf("%s: SQL %d", name, w.Code)
		}
	}
	if w := request(h, http.MethodPost, pathLogin, "user=edgar&password=right+horse", "Content-Type", "application/x-www-form-urlencoded"); w.Code != http.StatusUnsupportedMediaType {
		t.Errorf("a form: %d", w.Code)
	}
	if w := get(h, pathTop, "Cookie", session, "Host", "evil.example:8080"); w.Code != http.StatusMisdirectedRequest {
		t.Errorf("a rebound name: %d", w.Code)
	}
	if w := logIn(h, "edgar", "right horse", "Host", "evil.example:8080"); w.Code != http.StatusMisdirectedRequest {
		t.Errorf("login under a rebound name: %d", w.Code)
	}
}

func TestCookiesForTLS(t *testing.T) {
	c := &clock{testNow}
	h := newLoginHandler(t, c, withUsers(t, usersFile(t)), func(c *Config) { c.SecureCookies = true })
	_, cookie := cookieOf(t, logIn(h, "edgar", "right horse"))
	if !cookie.Secure || !strings.HasPrefix(cookie.Name, "__Host-") {
		t.Errorf("the cookie is %+v", cookie)
	}
}

func TestProxyThatLogsIn(t *testing.T) {
	c := &clock{testNow}
	// httptest's requests come from 192.0.2.1.
	inside := func(c *Config) { c.TrustProxy = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28")} }
	outside := func(c *Config) { c.TrustProxy = []netip.Prefix{netip.MustParsePrefix("198.51.100.1/32")} }
	roles := func(c *Config) { c.ProxyRoleHeader = "X-Remote-Role" }
	for _, row := range []struct {
		name    string
		change  []func(*Config)
		headers []string
		want    string // of /me; empty: refused
	}{
		{"user", []func(*Config){inside}, []string{"X-Remote-User", "vera"}, `"user":"vera","role":"editor","login":"proxy"`},
		{"nobody", []func(*Config){inside}, nil, ""},
		{"user_from_elsewhere", []func(*Config){outside}, []string{"X-Remote-User", "vera"}, ""},
		{"user_that_forwards_say", []func(*Config){outside}, []string{"X-Remote-User", "vera", "X-Forwarded-For", "198.51.100.1"}, ""},
		{"user_that_is_none", []func(*Config){inside}, []string{"X-Remote-User", "a\tb"}, ""},
		{"viewer", []func(*Config){inside, roles}, []string{"X-Remote-User", "vera", "X-Remote-Role", "viewer"}, `"user":"vera","role":"viewer","login":"proxy"`},
		{"editor", []func(*Config){inside, roles}, []string{"X-Remote-User", "vera", "X-Remote-Role", "editor"}, `"user":"vera","role":"editor","login":"proxy"`},
		{"without_role", []func(*Config){inside, roles}, []string{"X-Remote-User", "vera"}, `"user":"vera","role":"viewer","login":"proxy"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := newLoginHandler(t, c, row.change...)
			w, top := get(h, pathMe, row.headers...), get(h, pathTop, row.headers...)
			if row.want == "" {
				if top.Code != http.StatusUnauthorized {
					t.Errorf("answered with %d", top.Code)
				}
				return
			}
			if top.Code != http.StatusOK || !strings.Contains(w.Body.String(), row.want) {
				t.Errorf("%d, %s, want %s", top.Code, w.Body, row.want)
			}
		})
	}
	// Two values: one is the client's.
	h := newLoginHandler(t, c, inside)
	r := httptest.NewRequest(http.MethodGet, pathTop, nil)
	r.Host = "localhost"
	r.Header["X-Remote-User"] = []string{"vera", "edgar"}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusUnauthorized {
		t.Errorf("two users at once: %d", w.Code)
	}
	// Nobody logs in with a password where there are none.
	if w := logIn(h, "vera", "right horse", "X-Remote-User", "vera"); w.Code != http.StatusNotFound {
		t.Errorf("a password: %d", w.Code)
	}
}

func TestWithoutLoginEverybodyEdits(t *testing.T) {
	h := newTestHandler(t, &fake{})
	if got := get(h, pathMe).Body.String(); strings.TrimSpace(got) != `{"user":null,"role":"editor","login":"none","token":null}` {
		t.Errorf("I am %s", got)
	}
}

func TestUserLines(t *testing.T) {
	line, err := UserLine("alice", RoleEditor, "right horse")
	if err != nil {
		t.Fatal(err)
	}
	users, first, err := parseUsers([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	if u := users["alice"]; u == nil || u != first || u.role != RoleEditor || !u.verify("right horse") || u.verify("wrong horse") {
		t.Errorf("%s reads as %+v", line, users["alice"])
	}
	again, _ := UserLine("alice", RoleEditor, "right horse")
	if again == line {
		t.Error("the salt is always the same")
	}
	for _, bad := range [][3]string{{"a:b", RoleViewer, "right horse"}, {"", RoleViewer, "right horse"}, {"a", "root", "right horse"}, {"a", RoleViewer, "short"}} {
		if line, err := UserLine(bad[0], bad[1], bad[2]); err == nil {
			t.Errorf("%v became %s", bad, line)
		}
	}
	h := hashOf(t, "right horse")
	for name, text := range map[string]string{
		"empty": "# nobody\n", "no_role": "vera:" + h, "unknown_role": "vera:root:" + h, "twice": "vera:viewer:" + h + "\nvera:editor:" + h,
		"name": "ve ra:viewer:" + h, "plain_password": "vera:viewer:secret", "endless": "vera:viewer:$pbkdf2-sha512$i=2000000000$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZg",
		"weak": "vera:viewer:$pbkdf2-sha512$i=1$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZg", "cut": "vera:viewer:$pbkdf2-sha512$i=10000$MDEy",
	} {
		if _, _, err := parseUsers([]byte(text)); err == nil {
			t.Errorf("%s was read", name)
		}
	}
	if _, err := LoadUsers(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there was read")
	}
}

// FuzzUsers: whatever is in the file, it is read or refused, and cheaply.
func FuzzUsers(f *testing.F) {
	f.Add("vera:viewer:" + cheapHash + "MDEyMzQ1Njc4OWFiY2RlZg")
	f.Add("a:editor:$argon2id$v=19$m=65536,t=3,p=4$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZg")
	f.Add("a:editor:$2a$10$abc\n#\n:::\n")
	f.Fuzz(func(t *testing.T, text string) {
		users, first, err := parseUsers([]byte(text))
		if err == nil && (first == nil || users[first.name] != first) {
			t.Errorf("%q: %v, %v", text, users, first)
		}
	})
}
