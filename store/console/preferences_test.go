package console_test

import (
	"context"
	"errors"
	"testing"

	"flowtally/query"
	"flowtally/store/console"
)

// What a person prefers is that person's alone, and replaces what was before.
func TestPreferences(t *testing.T) {
	ctx := context.Background()
	db, _ := asWeb(t)
	if p, err := console.New(db).Preferences(ctx, "ann"); err != nil || p != (console.Preferences{}) {
		t.Errorf("before anything was said: %+v, %v", p, err)
	}
	for _, want := range []console.Preferences{{Theme: "dark", Zone: "utc", Range: "-24h", Unit: "bytes", Rows: 50}, {Theme: "light"}, {}} {
		if err := console.New(db).SetPreferences(ctx, "ann", want); err != nil {
			t.Fatal(err)
		}
		if got, err := console.New(db).Preferences(ctx, "ann"); err != nil || got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
		if got, _ := console.New(db).Preferences(ctx, "bob"); got != (console.Preferences{}) {
			t.Errorf("another has %+v", got)
		}
	}
	for parameter, bad := range map[string]console.Preferences{
		"theme": {Theme: "red"}, "zone": {Zone: "Mars"}, "range": {Range: "yesterday"}, "unit": {Unit: "nibbles"}, "rows": {Rows: -1},
	} {
		err := console.New(db).SetPreferences(ctx, "ann", bad)
		if q, ok := errors.AsType[*query.Error](err); !ok || q.Parameter != parameter {
			t.Errorf("%+v: %v, want a word about %s", bad, err, parameter)
		}
	}
	if err := console.New(db).SetPreferences(ctx, "", console.Preferences{}); err == nil {
		t.Error("nobody's preferences were kept")
	}
}
