package web

import (
	"net/http"
	"strings"
	"testing"
)

// Where nobody logs in, the page keeps preferences: the server does not know whose
// they are.
func TestPreferencesOfNobody(t *testing.T) {
	h := newTestHandler(t, &fake{})
	if w := get(h, pathPreferences); w.Code != http.StatusOK || strings.TrimSpace(w.Body.String()) != `{"kept":false}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := request(h, http.MethodPut, pathPreferences, `{"theme":"dark"}`, "Content-Type", "application/json"); w.Code != http.StatusConflict {
		t.Errorf("kept: %d %s", w.Code, w.Body)
	}
}

// Everybody has their own, viewers too; no other site's page can set them.
func TestPreferencesOfPeople(t *testing.T) {
	h := newLoginHandler(t, &clock{testNow}, withUsers(t, usersFile(t)))
	put := func(cookie, body string, headers ...string) int {
		return request(h, http.MethodPut, pathPreferences, body, append([]string{"Content-Type", "application/json", "Cookie", cookie}, headers...)...).Code
	}
	vera, _ := cookieOf(t, logIn(h, "vera", "right horse"))
	edgar, _ := cookieOf(t, logIn(h, "edgar", "right horse"))
	if code := put(vera, `{"theme":"dark","zone":"utc","range":"-24h","unit":"bytes","rows":50}`); code != http.StatusNoContent {
		t.Errorf("a viewer's own: %d", code)
	}
	for cookie, want := range map[string]string{vera: `{"theme":"dark","zone":"utc","range":"-24h","unit":"bytes","rows":50,"kept":true}`, edgar: `{"kept":true}`} {
		if got := strings.TrimSpace(get(h, pathPreferences, "Cookie", cookie).Body.String()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for _, c := range []struct {
		code          int
		cookie, body  string
		header, value string
	}{
		{http.StatusUnauthorized, "", `{}`, "Accept", "*/*"},
		{http.StatusForbidden, vera, `{}`, "Sec-Fetch-Site", "cross-site"},
		{http.StatusForbidden, vera, `{}`, "Origin", "https://evil.example"},
		{http.StatusUnprocessableEntity, vera, `{"theme":"red"}`, "Accept", "*/*"},
		{http.StatusUnprocessableEntity, vera, `{"rows":-1}`, "Accept", "*/*"},
		{http.StatusUnprocessableEntity, vera, `{"user_name":"edgar"}`, "Accept", "*/*"},
	} {
		if code := put(c.cookie, c.body, c.header, c.value); code != c.code {
			t.Errorf("%s with %s %s: %d, want %d", c.body, c.header, c.value, code, c.code)
		}
	}
	if w := request(h, http.MethodPut, pathPreferences, `theme=dark`, "Content-Type", "text/plain", "Cookie", vera); w.Code != http.StatusUnsupportedMediaType {
		t.Errorf("a form's body: %d", w.Code)
	}
}
