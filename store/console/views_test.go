package console_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"flowtally/query"
	"flowtally/store/console"
)

func TestViewsAreKept(t *testing.T) {
	ctx := context.Background()
	db, _ := asWeb(t)
	v, err := console.New(db).SaveView(ctx, console.View{Name: " DNS ", URL: "/explore?key=src-addr", Filter: "proto udp  and dst port 53", Color: "#1f77b4", Pinned: true})
	if err != nil {
		t.Fatal(err)
	}
	if v.ID == 0 || v.Name != "DNS" || v.Sign != "+" || strings.Contains(v.Filter, "  ") || v.ChangedAt.IsZero() {
		t.Errorf("kept as %+v", v)
	}
	if _, err := console.New(db).SaveView(ctx, console.View{Name: "DNS", URL: "/"}); !errors.Is(err, console.ErrTaken) {
		t.Errorf("a second view of that name: %v", err)
	}
	again := *v
	again.Name, again.Sign = "names", "-"
	if _, err := console.New(db).SaveView(ctx, again); err != nil {
		t.Fatal(err)
	}
	list, err := console.New(db).Views(ctx)
	if err != nil || len(list) != 1 || list[0].Name != "names" || list[0].Sign != "-" || !list[0].Pinned {
		t.Errorf("the list is %+v, %v", list, err)
	}
	if err := console.New(db).DeleteView(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	if err := console.New(db).DeleteView(ctx, v.ID); !errors.Is(err, console.ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
	if _, err := console.New(db).SaveView(ctx, again); !errors.Is(err, console.ErrNotFound) {
		t.Errorf("changed what is gone: %v", err)
	}
	for parameter, bad := range map[string]console.View{
		"name":   {URL: "/"},
		"url":    {Name: "a", URL: "javascript:alert(1)"},
		"filter": {Name: "a", URL: "/", Filter: "src prot 53"},
		"color":  {Name: "a", URL: "/", Color: "red;}"},
		"sign":   {Name: "a", URL: "/", Sign: "*"},
	} {
		_, err := console.New(db).SaveView(ctx, bad)
		if q, ok := errors.AsType[*query.Error](err); !ok || q.Parameter != parameter {
			t.Errorf("%+v: %v, want a word about %s", bad, err, parameter)
		}
	}
	for _, url := range []string{"//evil.example/", "https://evil.example/", `/\evil.example`, ""} {
		if _, err := console.New(db).SaveView(ctx, console.View{Name: "a", URL: url}); err == nil {
			t.Errorf("%q was kept as an address", url)
		}
	}
}
