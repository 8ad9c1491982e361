package command

import (
	"bytes"
	"context"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"flowtally/lab/postgres/pgtest"
	"flowtally/store"
	"flowtally/web"
)

// A token made on the command line is known to every server on that database, also one that is
// started later; revoked, it is known to none, and at once.
func TestWebToken(t *testing.T) {
	dsn := pgtest.New(t)
	dir := t.TempDir()
	users := filepath.Join(dir, "users")
	run := func(stdin string, args ...string) (status int, stdout, stderr string) {
		t.Helper()
		cmd := webCommand()
		var out, errs bytes.Buffer
		cmd.SetIn(strings.NewReader(stdin))
		cmd.SetOut(&out)
		cmd.SetErr(&errs)
		cmd.SilenceUsage = true
		cmd.SetArgs(args)
		if err := cmd.ExecuteContext(t.Context()); err != nil {
			return 1, out.String(), err.Error()
		}
		return 0, out.String(), errs.String()
	}
	var file strings.Builder
	for user, role := range map[string]string{"alice": web.RoleEditor, "vera": web.RoleViewer} {
		status, line, stderr := run("right horse\n", "user", user, "--role", role)
		if status != 0 {
			t.Fatal(stderr)
		}
		file.WriteString(line)
	}
	if err := os.WriteFile(users, []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}

	serve := func() string {
		t.Helper()
		db, err := store.Open(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		u, err := web.LoadUsers(users)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ready, ended := make(chan netip.AddrPort, 1), make(chan error, 1)
		go func() {
			ended <- web.Run(ctx, web.Config{Listen: "127.0.0.1:0", DB: web.NewDatabase(db), Users: u, NoDNS: true, Ready: func(a netip.AddrPort) { ready <- a }})
		}()
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			db.Close()
		})
		return "http://" + (<-ready).String()
	}
	ask := func(server, token string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, server+"/api/v1/exporters/77", strings.NewReader(`{"name":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Body.Close()
		return w.StatusCode
	}

	first, second := serve(), serve()
	tokens := make(map[string]string)
	for name, args := range map[string][]string{
		"edits": {"--user", "alice", "--role", "editor", "--name", "edits"}, "looks": {"--user", "vera", "--name", "looks", "--days", "1"},
	} {
		status, stdout, stderr := run("", append([]string{"token", "--auth", users, "--database", dsn}, args...)...)
		if tokens[name] = strings.TrimSuffix(stdout, "\n"); status != 0 || !regexp.MustCompile(`^flowtally_[0-9a-f]{64}$`).MatchString(tokens[name]) {
			t.Fatalf("%s: %d %q %s", name, status, stdout, stderr)
		}
		if strings.Contains(stderr, tokens[name]) {
			t.Errorf("the secret is said twice: %s", stderr)
		}
	}
	third := serve()
	for _, server := range []string{first, second, third} {
		// There is no exporter 77: an editor is told so.
		if edits, looks := ask(server, tokens["edits"]), ask(server, tokens["looks"]); edits != http.StatusNotFound || looks != http.StatusForbidden {
			t.Errorf("an editor's token %d, a viewer's %d", edits, looks)
		}
	}
	_, list, _ := run("", "token", "list", "--auth", users, "--database", dsn)
	for _, want := range []string{`(?m)^\d+ +alice +edits +editor +valid +\d{4}-\d\d-\d\d +\d{4}-\d\d-\d\dT\d\d:\d\dZ$`, `(?m)^\d+ +vera +looks +viewer +valid `} {
		if !regexp.MustCompile(want).MatchString(list) {
			t.Errorf("no line %s in\n%s", want, list)
		}
	}
	for _, token := range tokens {
		if strings.Contains(list, token[10:]) {
			t.Errorf("the list has a secret:\n%s", list)
		}
	}
	id := regexp.MustCompile(`(?m)^(\d+) +alice`).FindStringSubmatch(list)[1]
	if status, _, stderr := run("", "token", "revoke", id, "--database", dsn); status != 0 {
		t.Error(stderr)
	}
	for _, server := range []string{first, second, third} {
		if got := ask(server, tokens["edits"]); got != http.StatusUnauthorized {
			t.Errorf("revoked: %d", got)
		}
	}

	// vera has another password from now on.
	changed := regexp.MustCompile(`(?m)^vera:.*\n`).ReplaceAllString(file.String(), "")
	_, line, _ := run("another horse\n", "user", "vera")
	if err := os.WriteFile(users, []byte(changed+line), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := ask(serve(), tokens["looks"]); got != http.StatusUnauthorized {
		t.Errorf("with another password: %d", got)
	}
	for end := time.Now().Add(10 * time.Second); ask(first, tokens["looks"]) != http.StatusUnauthorized; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a server that runs still takes the token of the password before")
		}
	}
	if _, list, _ := run("", "token", "list", "--auth", users, "--database", dsn, "--user", "vera"); !strings.Contains(list, " ended ") || strings.Contains(list, "alice") {
		t.Errorf("vera has\n%s", list)
	}

	for name, row := range map[string]struct {
		args []string
		says string
	}{
		"no user":          {[]string{"--name", "x"}, "give --user"},
		"no name":          {[]string{"--user", "alice"}, "--name"},
		"no file":          {[]string{"--user", "alice", "--name", "x", "--auth", ""}, "give --auth"},
		"a stranger":       {[]string{"--user", "eve", "--name", "x"}, `no user "eve"`},
		"more than he may": {[]string{"--user", "vera", "--name", "x", "--role", "editor"}, "vera is a viewer"},
		"no role there is": {[]string{"--user", "alice", "--name", "x", "--role", "admin"}, "viewer or editor"},
		"no end":           {[]string{"--user", "alice", "--name", "x", "--days", "0"}, "1 to 366"},
		"late end":         {[]string{"--user", "alice", "--name", "x", "--days", "1000"}, "1 to 366"},
		"the same name":    {[]string{"--user", "vera", "--name", "looks"}, "already"},
		"revoke nothing":   {[]string{"revoke"}, "give their ids"},
		"revoke a word":    {[]string{"revoke", "looks"}, `"looks" is no token's id`},
		"revoke again":     {[]string{"revoke", id}, "no token " + id},
	} {
		args := append([]string{"token", "--database", dsn}, row.args...)
		if row.args[0] == "revoke" {
			args = append([]string{"token", "revoke", "--database", dsn}, row.args[1:]...)
		} else if !strings.Contains(strings.Join(row.args, " "), "--auth") {
			args = append(args, "--auth", users)
		}
		if status, stdout, stderr := run("", args...); status == 0 || stdout != "" || !strings.Contains(stderr, row.says) {
			t.Errorf("%s: %d %q, want %q", name, status, stderr, row.says)
		}
	}
}
