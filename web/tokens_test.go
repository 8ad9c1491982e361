package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"flowtally/store/console"
)

// makeToken asks for a token as the page does.
func makeToken(h http.Handler, session, name, role string, days int, headers ...string) *httptest.ResponseRecorder {
	body, _ := json.Marshal(map[string]any{"name": name, "role": role, "days": days, "password": "right horse"})
	return request(h, http.MethodPost, pathTokens, string(body), append([]string{"Content-Type", "application/json", "Cookie", session}, headers...)...)
}

// madeToken returns a new token.
func madeToken(t *testing.T, h http.Handler, session, name, role string, days ...int) string {
	t.Helper()
	w := makeToken(h, session, name, role, append(days, 30)[0])
	var made MadeToken
	if err := json.Unmarshal(w.Body.Bytes(), &made); w.Code != http.StatusCreated || err != nil || !tokenForm.MatchString(made.Token) {
		t.Fatalf("no token: %d %s", w.Code, w.Body)
	}
	return made.Token
}

func bearing(token string) []string { return []string{"Authorization", "Bearer " + token} }

// Every route, asked by everybody there is: what a token may is the lesser of what it and
// its user may; what is about logging in, none may.
func TestRoutesAndTokens(t *testing.T) {
	doc := readDocument(t)
	c := &clock{testNow}
	db := &fake{}
	path := usersFile(t)
	writeUsers(t, path, "vera:viewer:"+hashOf(t, "right horse")+"\nedgar:editor:"+hashOf(t, "right horse")+"\nfred:editor:"+hashOf(t, "right horse")+
		"\npaul:editor:"+hashOf(t, "right horse")+"\ngina:editor:"+hashOf(t, "right horse")+"\n")
	h := newLoginHandler(t, c, withUsers(t, path), func(c *Config) { c.DB = faked(db); c.TrustProxy = []netip.Prefix{netip.MustParsePrefix("10.9.9.9/32")} })
	in := func(user string) string { s, _ := cookieOf(t, logIn(h, user, "right horse")); return s }
	vera, edgar, fred, paul, gina := in("vera"), in("edgar"), in("fred"), in("paul"), in("gina")
	viewer, editor := madeToken(t, h, vera, "a", RoleViewer), madeToken(t, h, edgar, "a", RoleEditor)
	looking := madeToken(t, h, edgar, "looks", RoleViewer)
	demoted, password, gone := madeToken(t, h, fred, "a", RoleEditor), madeToken(t, h, paul, "a", RoleEditor), madeToken(t, h, gina, "a", RoleEditor)
	revoked, forged, stolen, short := madeToken(t, h, edgar, "b", RoleEditor), madeToken(t, h, vera, "b", RoleViewer), madeToken(t, h, vera, "c", RoleViewer), madeToken(t, h, edgar, "short", RoleEditor, 1)
	find := func(user, name string) *console.Token {
		return &db.tokens[slices.IndexFunc(db.tokens, func(t console.Token) bool { return t.User == user && t.Name == name })]
	}
	find("vera", "b").Role = RoleEditor // by who can write into the database
	find("vera", "c").User = "edgar"
	for _, try := range []struct {
		who  string
		want int
	}{{vera, http.StatusNotFound}, {edgar, http.StatusNoContent}} {
		if w := request(h, http.MethodDelete, pathTokens+"/"+number(find("edgar", "b").ID), "", "Cookie", try.who); w.Code != try.want {
			t.Errorf("a token is revoked: %d, want %d", w.Code, try.want)
		}
	}
	// fred may look only from now on, paul has another password, and gina has left.
	writeUsers(t, path, "vera:viewer:"+hashOf(t, "right horse")+"\nedgar:editor:"+hashOf(t, "right horse")+"\nfred:viewer:"+hashOf(t, "right horse")+
		"\npaul:editor:"+hashOf(t, "another horse")+"\n")
	c.now = c.now.Add(25 * time.Hour)

	n := 0
	doc.each(func(op *operation, method, path, target, body string, headers []string) {
		n++
		changing := method != http.MethodGet && !asks[op.OperationID] && !own[op.OperationID]
		is := func(status ...int) []int { return status }
		answered := is(200, 201, 204, 404, 409, 422)
		may := func(editor bool) []int {
			switch {
			case person[op.OperationID], changing && !editor:
				return is(http.StatusForbidden)
			}
			return answered
		}
		for _, row := range []struct {
			who     string
			headers []string
			want    []int
		}{
			{"viewer's token", bearing(viewer), may(false)},
			{"editor's token", bearing(editor), may(true)},
			{"editor's token that may look", bearing(looking), may(false)},
			{"token of who is a viewer now", bearing(demoted), may(false)},
			{"small letters", []string{"Authorization", "bearer " + viewer}, may(false)},
			{"a viewer's token beside an editor's cookie", append(bearing(viewer), "Cookie", edgar), may(false)},
			{"the user of a proxy that is none", append(bearing(viewer), "X-Remote-User", "edgar"), may(false)},
			{"expired", bearing(short), is(401)},
			{"revoked", bearing(revoked), is(401)},
			{"ended with the password", bearing(password), is(401)},
			{"ended with the user", bearing(gone), is(401)},
			{"raised in the database", bearing(forged), is(401)},
			{"given to another in the database", bearing(stolen), is(401)},
			{"never made", bearing(TokenPrefix + strings.Repeat("0", 64)), is(401)},
			{"cut", bearing(viewer[:40]), is(401)},
			{"the hash in place of the secret", bearing(strings.TrimPrefix(viewer, TokenPrefix)), is(401)},
			{"empty", []string{"Authorization", "Bearer "}, is(401)},
			{"empty, beside a cookie", []string{"Authorization", "", "Cookie", edgar}, is(401)},
			{"another scheme, beside a cookie", []string{"Authorization", "Basic ZWRnYXI6cmlnaHQgaG9yc2U=", "Cookie", edgar}, is(401)},
			{"a foreign host", append(bearing(editor), "Host", "evil.example"), is(421)},
			{"a page of another site", append(bearing(editor), "Sec-Fetch-Site", "cross-site"), is(403)},
			{"a page of another port", append(bearing(editor), "Sec-Fetch-Site", "same-site"), is(403)},
			{"an old browser on another page", append(bearing(editor), "Origin", "http://evil.example"), is(403)},
			{"a form", append(bearing(editor), "Content-Type", "text/plain"), is(415)},
		} {
			c.now = c.now.Add(time.Minute) // nobody is limited here
			w := request(h, method, target, body, append(slices.Clone(headers), row.headers...)...)
			if !slices.Contains(row.want, w.Code) {
				t.Errorf("%s: %s %s: %d, want one of %v: %.200s", row.who, method, path, w.Code, row.want, w.Body)
			}
			if w.Code == http.StatusUnauthorized && !strings.Contains(w.Header().Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s: %s %s: WWW-Authenticate %q", row.who, method, path, w.Header().Get("WWW-Authenticate"))
			}
			if len(w.Result().Cookies()) > 0 && w.Code < 300 {
				t.Errorf("%s: %s %s sets a cookie", row.who, method, path)
			}
		}
		// In the address, wherever, and whoever sends it.
		for _, target := range []string{target + "?access_token=" + editor, target + "?filter=" + strings.Replace(editor, "f", "%66", 1), target + "?token=x", target + "/" + editor} {
			if w := request(h, method, target, body, append(slices.Clone(headers), "Cookie", edgar)...); w.Code != http.StatusBadRequest || strings.Contains(w.Body.String(), editor) {
				t.Errorf("%s %s: %d %s", method, target, w.Code, w.Body)
			}
		}
	})
	if n < 30 {
		t.Errorf("only %d operations", n)
	}
	if w := get(h, "/explore?token="+editor); w.Code != http.StatusBadRequest {
		t.Errorf("a page with a token in its address: %d", w.Code)
	}
	if got := get(h, pathMe, bearing(looking)...).Body.String(); strings.TrimSpace(got) != `{"user":"edgar","role":"viewer","login":"password","token":"looks"}` {
		t.Errorf("who asks with a token is %s", got)
	}
	two := httptest.NewRequest(http.MethodGet, pathTop, nil)
	two.Host, two.Header["Authorization"] = "localhost", []string{"Bearer " + editor, "Bearer " + viewer}
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, two); w.Code != http.StatusUnauthorized {
		t.Errorf("two tokens: %d", w.Code)
	}
}

// What is said of tokens: only to their person, never the secret, and the end is given.
func TestTokensAreMade(t *testing.T) {
	c := &clock{testNow}
	db := &fake{}
	h := newLoginHandler(t, c, withUsers(t, usersFile(t)), func(c *Config) { c.DB = faked(db) })
	vera, _ := cookieOf(t, logIn(h, "vera", "right horse"))
	edgar, _ := cookieOf(t, logIn(h, "edgar", "right horse"))
	for name, row := range map[string]struct {
		w    *httptest.ResponseRecorder
		want int
	}{
		"more than the user": {makeToken(h, vera, "x", RoleEditor, 30), http.StatusForbidden},
		"no role there is":   {makeToken(h, vera, "x", "admin", 30), http.StatusUnprocessableEntity},
		"no end":             {makeToken(h, vera, "x", RoleViewer, 0), http.StatusUnprocessableEntity},
		"too late an end":    {makeToken(h, vera, "x", RoleViewer, MaxTokenDays+1), http.StatusUnprocessableEntity},
		"nobody's":           {makeToken(h, "", "x", RoleViewer, 30), http.StatusUnauthorized},
		"without a password": {request(h, http.MethodPost, pathTokens, `{"name":"x","days":3,"password":""}`, "Content-Type", "application/json", "Cookie", vera), http.StatusForbidden},
		"end left out":       {request(h, http.MethodPost, pathTokens, `{"name":"x","password":"right horse"}`, "Content-Type", "application/json", "Cookie", vera), http.StatusUnprocessableEntity},
	} {
		if row.w.Code != row.want {
			t.Errorf("%s: %d %s", name, row.w.Code, row.w.Body)
		}
	}
	if len(db.tokens) > 0 {
		t.Fatalf("%d were made all the same", len(db.tokens))
	}
	secret := madeToken(t, h, vera, "nightly", RoleViewer)
	if w := makeToken(h, vera, "nightly", RoleViewer, 30); w.Code != http.StatusConflict {
		t.Errorf("the same name again: %d", w.Code)
	}
	if again := madeToken(t, h, edgar, "nightly", RoleEditor); again == secret {
		t.Error("two are the same")
	}
	if kept := db.tokens[0]; strings.Contains(string(kept.Secret[:]), secret) || !kept.Expires.Equal(testNow.AddDate(0, 0, 30)) || kept.User != "vera" {
		t.Errorf("%+v", kept)
	}
	get(h, pathTop, bearing(secret)...)
	list := get(h, pathTokens, "Cookie", vera)
	if got := strings.TrimSpace(list.Body.String()); got !=
		`{"tokens":[{"id":1,"name":"nightly","role":"viewer","made_at":"2026-11-21T12:00:00Z","expires_at":"2026-12-21T12:00:00Z","used_at":"2026-11-21T12:00:00Z","state":"valid"}]}` {
		t.Errorf("the list is %s", got)
	}
	if list.Header().Get("Cache-Control") != "no-store" {
		t.Error("the list may be kept")
	}
}

// Guesses are limited where they come from. They keep out no token that is good, and no
// person; and no database is asked for more of them.
func TestWrongTokensAreLimited(t *testing.T) {
	c := &clock{testNow}
	db := &fake{}
	h := newLoginHandler(t, c, withUsers(t, usersFile(t)), func(c *Config) { c.DB = faked(db) })
	vera, _ := cookieOf(t, logIn(h, "vera", "right horse"))
	good := madeToken(t, h, vera, "a", RoleViewer)
	var w *httptest.ResponseRecorder
	for range 40 {
		token, _ := newTokenSecret()
		w = get(h, pathTop, bearing(token)...)
	}
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("the fortieth: %d %v", w.Code, w.Header())
	}
	if db.looks > 11 {
		t.Errorf("the database was asked %d times", db.looks)
	}
	for range 3 {
		if w := get(h, pathTop, bearing(good)...); w.Code != http.StatusOK {
			t.Errorf("a good one from the same address: %d %s", w.Code, w.Body)
		}
	}
	if w := logIn(h, "vera", "right horse"); w.Code != http.StatusOK {
		t.Errorf("its user from the same address: %d", w.Code)
	}
	for range 40 {
		logIn(h, "vera", "wrong horse")
	}
	if w := get(h, pathTop, bearing(good)...); w.Code != http.StatusOK {
		t.Errorf("a good one while passwords are guessed: %d", w.Code)
	}
	c.now = c.now.Add(7 * time.Second)
	if w := get(h, pathTop, bearing(TokenPrefix+strings.Repeat("1", 64))...); w.Code != http.StatusUnauthorized {
		t.Errorf("a wrong one a little later: %d", w.Code)
	}
}

// Tokens stand in no log, whatever happens to them.
func TestTokensAreNotLogged(t *testing.T) {
	var log bytes.Buffer
	c := &clock{testNow}
	db := &fake{}
	h := newLoginHandler(t, c, withUsers(t, usersFile(t)), func(c *Config) {
		c.DB = faked(db)
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	vera, _ := cookieOf(t, logIn(h, "vera", "right horse"))
	good, wrong := madeToken(t, h, vera, "a", RoleViewer), TokenPrefix+strings.Repeat("ab", 32)
	for _, token := range []string{good, wrong} {
		get(h, pathTop, bearing(token)...)
		get(h, pathTop+"?access_token="+token)
		get(h, pathTop+"?x="+strings.Replace(token, "_", "%5F", 1))
		get(h, "/"+token)
		get(h, "/api/v1/"+token)
		logIn(h, token, token)
		madeToken(t, h, vera, "named "+token[:12], RoleViewer)
		makeToken(h, vera, token, RoleViewer, 3)
	}
	db.err = errors.New("away")
	get(h, pathTokens, "Cookie", vera)
	text := log.String()
	if !strings.Contains(text, "token refused") || !strings.Contains(text, "token made") || !strings.Contains(text, "path=/api/v1/top") {
		t.Errorf("the log has too little:\n%s", text)
	}
	for _, token := range []string{good, wrong} {
		if strings.Contains(text, token[len(TokenPrefix):]) {
			t.Errorf("a token is in the log:\n%s", text)
		}
	}
}

// Tokens are of those who have a password here: where nobody does, or where a proxy says who
// asks, there are none, and the header is the proxy's.
func TestTokensAndProxies(t *testing.T) {
	inside := func(c *Config) { c.TrustProxy = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28")} }
	users := withUsers(t, usersFile(t))
	make := func(h http.Handler, headers ...string) int {
		return makeToken(h, "", "x", RoleViewer, 3, headers...).Code
	}
	c := &clock{testNow}
	proxied := []string{"X-Remote-User", "vera"}
	basic := append([]string{"Authorization", "Basic dmVyYTp4"}, proxied...)
	nobody, byProxy, both := newLoginHandler(t, c), newLoginHandler(t, c, inside), newLoginHandler(t, c, inside, users)
	for name, row := range map[string]struct{ got, want int }{
		"made where nobody logs in":      {make(nobody), http.StatusConflict},
		"made by a proxy's user":         {make(byProxy, proxied...), http.StatusConflict},
		"made by a proxy's user of both": {make(both, proxied...), http.StatusConflict},
		"Basic where nobody logs in":     {get(nobody, pathTop, basic[:2]...).Code, http.StatusOK},
		"Basic of the proxy":             {get(byProxy, pathTop, basic...).Code, http.StatusOK},
		"Basic of the proxy before both": {get(both, pathTop, basic...).Code, http.StatusOK},
		"Basic, and nobody said so":      {get(both, pathTop, basic[:2]...).Code, http.StatusUnauthorized},
		"a wrong token beside the proxy": {get(both, pathTop, append(bearing(TokenPrefix+strings.Repeat("0", 64)), proxied...)...).Code, http.StatusUnauthorized},
		"a token where there is no file": {get(byProxy, pathTop, bearing(TokenPrefix+strings.Repeat("0", 64))...).Code, http.StatusUnauthorized},
	} {
		if row.got != row.want {
			t.Errorf("%s: %d, want %d", name, row.got, row.want)
		}
	}
}
